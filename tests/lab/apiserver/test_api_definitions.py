"""Custom resources: Cilium's, and definitions made while the server runs."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from rollout.lab.apiserver import ServerSettings
from tests.lab.apiserver.api_rig import Api

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CNC = "/apis/cilium.io/v2/namespaces/kube-system/ciliumnodeconfigs"


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as running:
        yield running


def _config(**defaults: Any) -> dict[str, Any]:
    spec = {"nodeSelector": {"matchLabels": {"a": "b"}}, "defaults": defaults}
    return {"apiVersion": "cilium.io/v2", "kind": "CiliumNodeConfig", "metadata": {"name": "zz"}, "spec": spec}


def test_node_config_is_validated(api: Api) -> None:
    answer = api.post(CNC, _config(mtu=1500))
    assert (answer.code, answer.body["reason"]) == (422, "Invalid")
    assert 'spec.defaults.mtu in body must be of type string: "integer"' in answer.message
    missing = _config()
    del missing["spec"]["nodeSelector"]
    answer = api.post(CNC, missing)
    assert answer.body["details"]["causes"][0]["field"] == "spec.nodeSelector"
    created = api.post(CNC, _config(mode="netkit")).body
    assert created["metadata"]["generation"] == 1
    assert api.patch(f"{CNC}/zz", {"spec": {"defaults": {"mode": 1}}}).code == 422
    assert api.patch(f"{CNC}/zz", {"spec": {"defaults": {"mode": "veth"}}}).body["metadata"]["generation"] == 2


def test_unknown_fields_are_pruned_or_refused(api: Api) -> None:
    body = _config(a="b")
    body["spec"]["extra"] = 1
    strict = api.post(f"{CNC}?fieldValidation=Strict", body)
    assert strict.code == 400 and 'unknown field "spec.extra"' in strict.message
    assert "extra" not in api.post(CNC, body).body["spec"]


def test_custom_put_needs_a_version(api: Api) -> None:
    created = api.post(CNC, _config(a="b")).body
    answer = api.put(f"{CNC}/zz", _config(a="c"))
    assert answer.code == 422 and "metadata.resourceVersion" in answer.message
    created["spec"]["defaults"]["a"] = "c"
    assert api.put(f"{CNC}/zz", created).code == 200


def test_older_cilium_serves_v2alpha1_only() -> None:
    with Api(settings=ServerSettings(node_config_version="v2alpha1")) as api:
        body = {**_config(a="b"), "apiVersion": "cilium.io/v2alpha1"}
        assert api.post(CNC.replace("v2", "v2alpha1"), body).code == 201
        assert api.get(CNC).code == 404
        assert "ciliumnodeconfigs" not in {r["name"] for r in api.get("/apis/cilium.io/v2").body["resources"]}


def test_endpoint_status_is_part_of_the_object(api: Api) -> None:
    path = "/apis/cilium.io/v2/namespaces/default/ciliumendpoints"
    body = {"apiVersion": "cilium.io/v2", "kind": "CiliumEndpoint", "metadata": {"name": "p"}, "status": {"id": 7}}
    assert api.post(path, body).body["status"] == {"id": 7}
    assert api.patch(f"{path}/p", {"status": {"id": 8}}).body["status"] == {"id": 8}
    assert api.patch(f"{path}/p/status", {}).code == 404
    nodes = "/apis/cilium.io/v2/ciliumnodes"
    created = {"apiVersion": "cilium.io/v2", "kind": "CiliumNode", "metadata": {"name": "n"}, "status": {"a": 1}}
    assert "status" not in api.post(nodes, created).body
    assert api.patch(f"{nodes}/n/status", {"status": {"a": 1}}).body["status"] == {"a": 1}


def _definition() -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {
            "spec": {"type": "object", "properties": {"size": {"type": "integer", "default": 3, "maximum": 9}}}
        },
    }
    version = {
        "name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
    }  # fmt: skip
    spec = {
        "group": "lab.example",
        "scope": "Cluster",
        "names": {"plural": "gadgets", "kind": "Gadget"},
        "versions": [version],
    }
    metadata = {"name": "gadgets.lab.example"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata,
        "spec": spec,
    }


def test_a_definition_is_served_a_moment_later(api: Api) -> None:
    path = "/apis/lab.example/v1/gadgets"
    created = api.post(CRDS, _definition())
    assert created.code == 201 and created.body["spec"]["names"]["listKind"] == "GadgetList"
    deadline = time.monotonic() + 5
    while api.get(path).code == 404 and time.monotonic() < deadline:
        time.sleep(0.01)
    conditions = api.get(f"{CRDS}/gadgets.lab.example").body["status"]["conditions"]
    assert {c["type"]: c["status"] for c in conditions} == {"NamesAccepted": "True", "Established": "True"}
    gadget = {"apiVersion": "lab.example/v1", "kind": "Gadget", "metadata": {"name": "g"}, "spec": {}}
    assert api.post(path, gadget).body["spec"] == {"size": 3}
    assert api.patch(f"{path}/g", {"spec": {"size": 10}}).code == 422
    table = api.get(path, accept="application/json;as=Table;v=v1;g=meta.k8s.io").body
    assert table["rows"][0]["cells"] == ["g", 3]
    assert api.delete(f"{CRDS}/gadgets.lab.example").code == 200
    assert api.get(path).code == 404


def test_definitions_of_a_fixture_are_served_at_once(api: Api) -> None:
    definition = {**_definition(), "status": {"conditions": [{"type": "Established", "status": "True"}]}}
    gadget = {"apiVersion": "lab.example/v1", "kind": "Gadget", "metadata": {"name": "g"}, "spec": {}}
    listed = {"apiVersion": "v1", "kind": "List", "items": [definition, gadget]}
    api.call(api.server.store.seed, [listed])
    assert api.get("/apis/lab.example/v1/gadgets/g").body["spec"] == {"size": 3}


def test_seeding_keeps_what_was_recorded(api: Api) -> None:
    times = {"uid": "u-1", "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 7, "resourceVersion": "99"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "new", **times}}
    api.call(
        api.server.store.seed,
        [{**pod, "spec": {"containers": [{"name": "c", "image": "x"}]}, "status": {"phase": "Running"}}],
    )
    found = api.get("/api/v1/namespaces/new/pods/p").body
    assert found["status"]["phase"] == "Running" and found["metadata"]["resourceVersion"] != "99"
    assert {key: found["metadata"][key] for key in ("uid", "creationTimestamp", "generation")} == {
        key: times[key] for key in ("uid", "creationTimestamp", "generation")
    }


def test_a_name_that_is_no_text_is_400(api: Api) -> None:
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": 5}}
    answer = api.post("/api/v1/nodes", body)
    assert answer.code == 400 and answer.body["kind"] == "Status"
    assert api.get("/api/v1/nodes").code == 200
