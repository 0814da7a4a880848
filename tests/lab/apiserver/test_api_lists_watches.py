"""Lists, paging and watches over raw HTTP."""

import gzip
import http.client
import json
import threading
import time
from collections.abc import Iterator

import pytest

from tests.lab.apiserver.api_rig import ADMIN, MAPS, NODES, PODS, Api, config_map, node, pod


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as running:
        yield running


def _names(items: list[dict[str, dict[str, str]]]) -> list[str]:
    return [item["metadata"]["name"] for item in items]


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("zone=a", ["n1", "n2"]),
        ("zone!=a", ["n3", "n4"]),
        ("zone in (a,b),disk", ["n2"]),
        ("zone notin (a)", ["n3", "n4"]),
        ("!zone", ["n4"]),
        ("size>3", ["n3"]),
    ],
)
def test_label_selectors(api: Api, selector: str, names: list[str]) -> None:
    for body in (node("n1", zone="a"), node("n2", zone="a", disk=""), node("n3", zone="b", size="5"), node("n4")):
        api.post(NODES, body)
    quoted = selector.replace(" ", "%20").replace(",", "%2C").replace(">", "%3E")
    assert _names(api.get(f"{NODES}?labelSelector={quoted}").body["items"]) == names


def test_bad_selectors_are_400(api: Api) -> None:
    assert api.get(f"{NODES}?labelSelector=a+in+b").code == 400
    answer = api.get(f"{NODES}?fieldSelector=spec.color%3Dred")
    assert answer.code == 400 and "field label not supported: spec.color" in answer.message


def test_field_selectors(api: Api) -> None:
    for name, where in (("p1", "n1"), ("p2", "n2"), ("p3", "")):
        api.post(PODS, pod(name, where))
    assert _names(api.get("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1").body["items"]) == ["p1"]
    assert _names(api.get("/api/v1/pods?fieldSelector=spec.nodeName%3D,status.phase%21%3DRunning").body["items"]) == [
        "p3"
    ]
    assert _names(api.get(f"{PODS}?fieldSelector=metadata.name%3Dp2").body["items"]) == ["p2"]
    api.post(NODES, node("n1"))
    api.post(NODES, {**node("n2"), "spec": {"unschedulable": True}})
    assert _names(api.get(f"{NODES}?fieldSelector=spec.unschedulable%3Dfalse").body["items"]) == ["n1"]


def test_lists_are_typed_and_their_items_are_not(api: Api) -> None:
    api.post(NODES, node("n1"))
    body = api.get(NODES).body
    assert (body["kind"], body["apiVersion"]) == ("NodeList", "v1") and int(body["metadata"]["resourceVersion"]) > 1
    assert "kind" not in body["items"][0]


def test_paging_is_a_consistent_snapshot(api: Api) -> None:
    for number in range(5):
        api.post(MAPS, config_map(f"c{number}"))
    first = api.get(f"{MAPS}?limit=2").body
    assert first["metadata"]["remainingItemCount"] == 3
    api.delete(f"{MAPS}/c3")
    api.post(MAPS, config_map("c9"))
    token = first["metadata"]["continue"]
    second = api.get(f"{MAPS}?limit=2&continue={token}").body
    third = api.get(f"{MAPS}?limit=2&continue={second['metadata']['continue']}").body
    assert _names([*first["items"], *second["items"], *third["items"]]) == ["c0", "c1", "c2", "c3", "c4"]
    assert "continue" not in third["metadata"]
    assert third["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_expired_and_broken_continue(api: Api) -> None:
    for number in range(3):
        api.post(MAPS, config_map(f"c{number}"))
    token = api.get(f"{MAPS}?limit=1").body["metadata"]["continue"]
    api.post(MAPS, config_map("later"))
    api.call(api.server.store.storage.compact)
    answer = api.get(f"{MAPS}?limit=1&continue={token}")
    assert (answer.code, answer.body["reason"]) == (410, "Expired")
    assert api.get(f"{MAPS}?continue=rubbish").code == 400


def test_too_large_resource_version_is_504(api: Api) -> None:
    answer = api.get(f"{NODES}?resourceVersion=999999")
    assert answer.code == 504 and "Too large resource version" in answer.message


def test_large_lists_are_compressed_on_request(api: Api) -> None:
    for number in range(20):
        api.post(MAPS, config_map(f"c{number}", text="x" * 10_000))
    connection = api.connect()
    connection.request("GET", MAPS, headers={"Authorization": f"Bearer {ADMIN}", "Accept-Encoding": "gzip"})
    answer = connection.getresponse()
    raw = answer.read()
    connection.close()
    assert answer.getheader("Content-Encoding") == "gzip" and len(raw) < 20_000
    assert len(json.loads(gzip.decompress(raw))["items"]) == 20


def test_watch_from_a_version_misses_nothing(api: Api) -> None:
    version = api.get(NODES).body["metadata"]["resourceVersion"]
    api.post(NODES, node("n1"))
    api.patch(f"{NODES}/n1", {"spec": {"unschedulable": True}})
    api.delete(f"{NODES}/n1")
    events = api.watch(f"{NODES}?watch=1&resourceVersion={version}&timeoutSeconds=1")
    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED"]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions)) and events[0]["object"]["kind"] == "Node"


def test_watch_without_version_starts_with_what_is_there(api: Api) -> None:
    api.post(NODES, node("n1"))
    threading.Timer(0.2, api.post, (NODES, node("n2"))).start()
    events = api.watch(f"{NODES}?watch=true&timeoutSeconds=1")
    assert [(e["type"], e["object"]["metadata"]["name"]) for e in events] == [("ADDED", "n1"), ("ADDED", "n2")]


def test_watch_sees_objects_enter_and_leave_its_selector(api: Api) -> None:
    version = api.get(NODES).body["metadata"]["resourceVersion"]
    api.post(NODES, node("n1"))
    for value in ("yes", "no"):
        api.patch(f"{NODES}/n1", {"metadata": {"labels": {"mine": value}}})
    events = api.watch(f"{NODES}?watch=1&resourceVersion={version}&timeoutSeconds=1&labelSelector=mine%3Dyes")
    assert [event["type"] for event in events] == ["ADDED", "DELETED"]
    assert events[1]["object"]["metadata"]["labels"] == {"mine": "yes"}
    assert events[1]["object"]["metadata"]["resourceVersion"] > events[0]["object"]["metadata"]["resourceVersion"]


def test_watch_of_pods_on_one_node(api: Api) -> None:
    version = api.get(PODS).body["metadata"]["resourceVersion"]
    api.post(PODS, pod("p1"))
    binding = {"apiVersion": "v1", "kind": "Binding", "target": {"name": "n1"}}
    api.post(f"{PODS}/p1/binding", binding)
    api.delete(f"{PODS}/p1?gracePeriodSeconds=0")
    query = f"watch=1&resourceVersion={version}&timeoutSeconds=1&fieldSelector=spec.nodeName%3Dn1"
    assert [event["type"] for event in api.watch(f"/api/v1/pods?{query}")] == ["ADDED", "DELETED"]


def test_compacted_version_is_an_error_event(api: Api) -> None:
    api.post(NODES, node("n1"))
    api.call(api.server.store.storage.compact)
    (event,) = api.watch(f"{NODES}?watch=1&resourceVersion=1&timeoutSeconds=1")
    assert event["type"] == "ERROR" and event["object"]["code"] == 410
    assert event["object"]["reason"] == "Expired" and event["object"]["message"].startswith("too old resource version")


def test_history_is_bounded() -> None:
    with Api() as api:
        api.server.store.storage._history_limit = 3
        for number in range(5):
            api.post(NODES, node(f"n{number}"))
        version = int(api.get(NODES).body["metadata"]["resourceVersion"])
        assert len(api.watch(f"{NODES}?watch=1&resourceVersion={version - 2}&timeoutSeconds=1")) == 2
        (event,) = api.watch(f"{NODES}?watch=1&resourceVersion={version - 5}&timeoutSeconds=1")
        assert event["object"]["code"] == 410


def test_bookmarks_only_for_those_who_ask(api: Api) -> None:
    version = api.get(NODES).body["metadata"]["resourceVersion"]
    base = f"{NODES}?watch=1&resourceVersion={version}&timeoutSeconds=1"
    assert api.watch(base) == []
    events = api.watch(base + "&allowWatchBookmarks=true")
    assert {event["type"] for event in events} == {"BOOKMARK"} and len(events) > 2
    assert int(events[-1]["object"]["metadata"]["resourceVersion"]) >= int(version)


def test_send_initial_events(api: Api) -> None:
    api.post(NODES, node("n1"))
    base = f"{NODES}?watch=1&sendInitialEvents=true&allowWatchBookmarks=true&timeoutSeconds=1"
    assert api.get(base).code == 422
    events = api.watch(base + "&resourceVersionMatch=NotOlderThan")
    assert [event["type"] for event in events[:2]] == ["ADDED", "BOOKMARK"]
    assert events[1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_a_client_that_leaves_frees_its_watch(api: Api) -> None:
    connection = api.connect()
    connection.request("GET", f"{NODES}?watch=1", headers={"Authorization": f"Bearer {ADMIN}"})
    answer = connection.getresponse()
    assert answer.status == 200 and api.server.open_watches == 1
    answer.close()
    connection.close()
    deadline = time.monotonic() + 5
    while api.server.open_watches and time.monotonic() < deadline:
        time.sleep(0.02)
    assert api.server.open_watches == 0


def test_watch_is_cut_by_a_fault(api: Api) -> None:
    for number in range(3):
        api.post(NODES, node(f"n{number}"))
    api.post("/_lab/faults", {"path": "watch=1", "close_after_events": 2})
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        api.watch(f"{NODES}?watch=1&timeoutSeconds=2")
    assert len(api.watch(f"{NODES}?watch=1&timeoutSeconds=1")) == 3


def test_tables(api: Api) -> None:
    api.post(NODES, {**node("n1"), "spec": {"unschedulable": True}})
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
    table = api.get(NODES, accept=accept).body
    assert table["kind"] == "Table" and [c["name"] for c in table["columnDefinitions"]][:3] == [
        "Name",
        "Status",
        "Roles",
    ]
    assert table["rows"][0]["cells"][:2] == ["n1", "Unknown,SchedulingDisabled"]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    events = api.watch(f"{NODES}?watch=1&timeoutSeconds=1", accept=accept)
    assert events[0]["object"]["kind"] == "Table"


def test_partial_metadata_list(api: Api) -> None:
    api.post(NODES, node("n1"))
    accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
    body = api.get(NODES, accept=accept).body
    assert body["kind"] == "PartialObjectMetadataList" and "spec" not in body["items"][0]


def test_large_cluster_lists_fast(api: Api) -> None:
    """5,000 nodes and 20,000 pods in well under a second each, pods of one node in far less."""

    def seed() -> None:
        for number in range(5_000):
            api.server.store.create(node(f"n{number}", zone=f"z{number % 3}"))
        for number in range(20_000):
            api.server.store.create(pod(f"p{number}", f"n{number % 5_000}", app=f"a{number % 100}"))

    api.call(seed)
    for path, count, limit in (
        (NODES, 5_000, 1.0),
        (PODS, 20_000, 1.5),
        (f"{PODS}?fieldSelector=spec.nodeName%3Dn7", 4, 0.5),
    ):
        times: list[float] = []
        for _ in range(3):
            start = time.monotonic()
            connection = api.connect()
            connection.request("GET", path, headers={"Authorization": f"Bearer {ADMIN}"})
            raw = connection.getresponse().read()
            times.append(time.monotonic() - start)
            connection.close()
        assert len(json.loads(raw)["items"]) == count
        # Other work shares these cores: the best of three speaks for the server.
        assert min(times) < limit, times
