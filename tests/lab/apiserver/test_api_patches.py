"""Patches of all four kinds."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.apiserver.api_rig import (
    APPLY,
    JSON_PATCH,
    MAPS,
    MERGE,
    NODES,
    PODS,
    STRATEGIC,
    Api,
    config_map,
    node,
    pod,
)

CNC = "/apis/cilium.io/v2/namespaces/kube-system/ciliumnodeconfigs"


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as running:
        yield running


def test_json_patch(api: Api) -> None:
    api.post(NODES, node("n1", a="b"))
    patch = [{"op": "test", "path": "/metadata/labels/a", "value": "b"}, {"op": "remove", "path": "/metadata/labels/a"}]
    assert "a" not in api.patch(f"{NODES}/n1", patch, JSON_PATCH).body["metadata"].get("labels", {})
    again = api.patch(f"{NODES}/n1", patch, JSON_PATCH)
    assert again.code == 422 and "rejected our request" in again.message
    assert api.patch(f"{NODES}/n1", {"not": "a list"}, JSON_PATCH).code == 400


def test_merge_patch_removes_with_null_and_replaces_lists(api: Api) -> None:
    api.post(NODES, {**node("n1"), "spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}})
    patch = {"metadata": {"labels": {"x": "y"}}, "spec": {"taints": [{"key": "b", "effect": "NoExecute"}]}}
    body = api.patch(f"{NODES}/n1", patch, MERGE).body
    assert [taint["key"] for taint in body["spec"]["taints"]] == ["b"]
    assert api.patch(f"{NODES}/n1", {"spec": {"taints": None}}).body["spec"] == {}


def test_merge_patch_with_a_stale_version_conflicts(api: Api) -> None:
    version = api.post(NODES, node("n1")).body["metadata"]["resourceVersion"]
    patch = {"metadata": {"resourceVersion": version, "labels": {"a": "1"}}}
    assert api.patch(f"{NODES}/n1", patch).code == 200
    patch["metadata"]["labels"] = {"a": "2"}
    assert api.patch(f"{NODES}/n1", patch).code == 409


def test_strategic_patch_replaces_taints_and_merges_conditions(api: Api) -> None:
    api.post(NODES, {**node("n1"), "spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}})
    body = api.patch(f"{NODES}/n1", {"spec": {"taints": [{"key": "b", "effect": "NoExecute"}]}}, STRATEGIC).body
    assert [taint["key"] for taint in body["spec"]["taints"]] == ["b"]
    for condition in (
        {"type": "Ready", "status": "True"},
        {"type": "Disk", "status": "False"},
        {"type": "Ready", "status": "False"},
    ):
        body = api.patch(f"{NODES}/n1/status", {"status": {"conditions": [condition]}}, STRATEGIC).body
    assert {c["type"]: c["status"] for c in body["status"]["conditions"]} == {"Ready": "False", "Disk": "False"}
    for address in ({"type": "InternalIP", "address": "1"}, {"type": "Hostname", "address": "n1"}):
        body = api.patch(f"{NODES}/n1/status", {"status": {"addresses": [address]}}, STRATEGIC).body
    assert len(body["status"]["addresses"]) == 2


def test_strategic_patch_directives(api: Api) -> None:
    body = pod("p")
    body["spec"]["containers"][0]["env"] = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    template = {"metadata": {"labels": {"a": "b"}}, "spec": body["spec"]}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    path = "/apis/apps/v1/namespaces/default/daemonsets"
    api.post(
        path,
        {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d", "finalizers": ["a/b"]}, "spec": spec},
    )

    def patched(env: list[Any]) -> list[Any]:
        change = {"spec": {"template": {"spec": {"containers": [{"name": "c", "env": env}]}}}}
        answer = api.patch(f"{path}/d", change, STRATEGIC)
        assert answer.code == 200, answer.body
        containers = answer.body["spec"]["template"]["spec"]["containers"]
        assert len(containers) == 1 and containers[0]["image"] == "x:1"
        found: list[Any] = containers[0]["env"]
        return found

    assert patched([{"name": "A", "value": "9"}, {"name": "C", "value": "3"}]) == [
        {"name": "A", "value": "9"}, {"name": "B", "value": "2"}, {"name": "C", "value": "3"},
    ]  # fmt: skip
    assert [e["name"] for e in patched([{"$patch": "delete", "name": "B"}])] == ["A", "C"]
    assert patched([{"$patch": "replace"}, {"name": "Z", "value": "0"}]) == [{"name": "Z", "value": "0"}]
    gone = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a/b"], "finalizers": ["c/d"]}}
    assert api.patch(f"{path}/d", gone, STRATEGIC).body["metadata"]["finalizers"] == ["c/d"]


def test_unknown_patch_types_are_415(api: Api) -> None:
    api.post(NODES, node("n1"))
    answer = api.patch(f"{NODES}/n1", {}, "application/json")
    assert answer.code == 415 and "application/strategic-merge-patch+json" in answer.message
    answer = api.patch(f"{CNC}/x", {}, STRATEGIC)
    assert answer.code == 415 and "strategic" not in answer.message


def test_patch_may_not_rename_and_must_find(api: Api) -> None:
    api.post(NODES, node("n1"))
    assert api.patch(f"{NODES}/n1", {"metadata": {"name": "n2"}}).code == 400
    assert api.patch(f"{NODES}/n9", {}).code == 404


def test_patch_on_an_unchanged_object_keeps_its_version(api: Api) -> None:
    version = api.post(NODES, node("n1", a="b")).body["metadata"]["resourceVersion"]
    for patch, content in (({"metadata": {"labels": {"a": "b"}}}, MERGE), ({}, STRATEGIC), ([], JSON_PATCH)):
        assert api.patch(f"{NODES}/n1", patch, content).body["metadata"]["resourceVersion"] == version


# -- server-side apply ------------------------------------------------------------------------------------------


def _apply(api: Api, path: str, body: Any, manager: str, extra: str = "") -> Any:
    return api.patch(f"{path}?fieldManager={manager}{extra}", body, APPLY)


def test_apply_creates_then_owns(api: Api) -> None:
    path = f"{MAPS}/c"
    created = _apply(api, path, config_map("c", a="1"), "one")
    assert created.code == 201
    (entry,) = created.body["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"], entry["fieldsV1"]) == ("one", "Apply", {"f:data": {"f:a": {}}})
    version = created.body["metadata"]["resourceVersion"]
    same = _apply(api, path, config_map("c", a="1"), "one")
    assert same.code == 200 and same.body["metadata"]["resourceVersion"] == version


def test_apply_conflicts_unless_forced(api: Api) -> None:
    path = f"{MAPS}/c"
    _apply(api, path, config_map("c", a="1", b="1"), "one")
    refused = _apply(api, path, config_map("c", a="2"), "two")
    assert refused.code == 409
    assert refused.message == 'Apply failed with 1 conflict: conflict with "one": .data.a'
    assert refused.body["details"]["causes"][0]["reason"] == "FieldManagerConflict"
    assert _apply(api, path, config_map("c", a="1"), "two").code == 200
    forced = _apply(api, path, config_map("c", a="2"), "three", "&force=true").body
    assert forced["data"] == {"a": "2", "b": "1"}


def test_apply_removes_what_its_manager_dropped(api: Api) -> None:
    path = f"{MAPS}/c"
    _apply(api, path, config_map("c", a="1", b="1"), "one")
    _apply(api, path, config_map("c", b="1"), "two")
    body = _apply(api, path, config_map("c"), "one").body
    assert body["data"] == {"b": "1"}


def test_apply_conflicts_with_a_plain_update(api: Api) -> None:
    api.post(f"{MAPS}?fieldManager=editor", config_map("c", a="1"))
    refused = _apply(api, f"{MAPS}/c", config_map("c", a="2"), "one")
    assert refused.code == 409 and 'conflict with "editor" using v1: .data.a' in refused.message


def test_apply_merges_lists_by_key_and_replaces_atomic_ones(api: Api) -> None:
    path = f"{NODES}/n1"
    api.post(NODES, node("n1"))

    def taints(*keys: str) -> dict[str, Any]:
        return {**node("n1"), "spec": {"taints": [{"key": key, "effect": "NoSchedule"} for key in keys]}}

    assert _apply(api, path, taints("a"), "one").code == 200
    assert _apply(api, path, taints("b"), "two").code == 409

    def conditions(kind: str) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": "n1"},
            "status": {"conditions": [{"type": kind, "status": "True"}]},
        }

    assert _apply(api, f"{path}/status", conditions("A"), "one").code == 200
    body = _apply(api, f"{path}/status", conditions("B"), "two").body
    assert [c["type"] for c in body["status"]["conditions"]] == ["A", "B"]
    managers = {(e["manager"], e.get("subresource", "")) for e in body["metadata"]["managedFields"]}
    assert ("two", "status") in managers


def test_apply_needs_a_manager_and_takes_yaml(api: Api) -> None:
    assert api.patch(f"{MAPS}/c", config_map("c"), APPLY).code == 422
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '1'}\n"
    assert api.patch(f"{MAPS}/c?fieldManager=y", text, APPLY).code == 201
    assert api.patch(f"{MAPS}/d?fieldManager=y&dryRun=All", text.replace(b"name: c", b"name: d"), APPLY).code == 201
    assert api.get(f"{MAPS}/d").code == 404


def test_apply_on_a_custom_resource(api: Api) -> None:
    body = {
        "apiVersion": "cilium.io/v2", "kind": "CiliumNodeConfig", "metadata": {"name": "zz"},
        "spec": {"nodeSelector": {"matchLabels": {"a": "b"}}, "defaults": {"datapath-mode": "netkit"}},
    }  # fmt: skip
    assert _apply(api, f"{CNC}/zz", body, "one").code == 201
    assert _apply(api, f"{PODS}/absent", body, "one").code == 400
