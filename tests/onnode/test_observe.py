"""The order of an observation, and that one probe's trouble is its own."""

from __future__ import annotations

import sys
import time
import types
from typing import Any

import pytest

from rollout.onnode import entry, observe, policy, reach

ALL = [*observe.PROBES]


class Wire:
    """Records what is asked of it."""

    watching = True
    calls: list[str] = []
    fails_at = ""

    def __init__(self, wanted: tuple[str, ...], request: entry.Document) -> None:
        self.wanted = wanted
        self._say(f"wants {' '.join(wanted)} of {request.get('endpoint_links')}")

    def _say(self, word: str) -> None:
        self.calls.append(word)
        if self.fails_at == word:
            raise OSError("no such luck")

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._say("close")

    def open(self) -> None:
        self._say("open")

    def begin(self) -> None:
        self._say("begin")

    def end(self) -> dict[str, entry.Document]:
        self._say("end")
        return {name: entry.document(name, time.monotonic(), {"seen": True}) for name in self.wanted}


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> type[Wire]:
    module = types.ModuleType("rollout.onnode.wire")

    class Fresh(Wire):
        calls = []

    fresh = Fresh
    module.Wire = Fresh  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "rollout.onnode.wire", module)
    monkeypatch.setattr("rollout.onnode.wire", module, raising=False)
    monkeypatch.setattr(
        "rollout.onnode.agent.main", lambda _: {"agent": "up", "endpoints": [{"interface-name": "lxc9"}]}
    )

    def noted(name: str, body: dict[str, Any]) -> Any:
        def make(self: Any, *_: Any) -> None:
            self.until_us, self.done = 0, True
            fresh.calls.append(name)

        return make

    for kind, name in ((reach.Matrix, "reach"), (policy.Pairs, "policy")):
        monkeypatch.setattr(kind, "__init__", noted(name, {}))
        monkeypatch.setattr(kind, "done", True)
        monkeypatch.setattr(kind, "begin", lambda self, _: None)
        monkeypatch.setattr(kind, "body", lambda self, _: {"made": True})
    return fresh


def observed(probes: list[str], **more: Any) -> dict[str, Any]:
    request = {"probes": probes, "inputs": {"window": {"seconds": 1}}, **more}
    found: dict[str, Any] = observe.main(request)["documents"]
    assert list(found) == [name for name in observe.PROBES if name in probes]
    assert all(document["schema"] == 1 and document["probe"] == name for name, document in found.items())
    return found


def test_traffic_is_made_inside_the_window(wire: type[Wire]) -> None:
    begun = time.monotonic()
    found = observed(ALL)
    assert wire.calls == ["wants path drops tcp of ['lxc9']", "open", "begin", "policy", "reach", "end", "close"]
    assert 1 <= time.monotonic() - begun < 3
    assert found["path"]["seen"]
    assert found["reach"]["made"]


def test_no_window_where_nothing_watches(wire: type[Wire]) -> None:
    wire.watching = False
    begun = time.monotonic()
    observed(["tcp", "reach"])
    assert time.monotonic() - begun < 0.9


def test_without_ebpf_probes_nothing_is_attached(wire: type[Wire]) -> None:
    found = observed(["reach", "policy", "links"])
    assert wire.calls == ["policy", "reach"]
    assert found["links"]["links"] is not None


def test_a_node_that_is_only_compared_with_runs_what_it_is_told(wire: type[Wire]) -> None:
    found = observe.main({"probes": ALL, "inputs": {"only": ["reach"]}})["documents"]
    assert list(found) == ["reach"]
    assert wire.calls == ["reach"]


@pytest.mark.parametrize("word", ["open", "begin", "end"])
def test_reach_is_tried_whatever_becomes_of_ebpf(wire: type[Wire], word: str) -> None:
    wire.fails_at = word
    found = observed(["drops", "tcp", "reach", "policy"])
    assert wire.calls.count("reach") == wire.calls.count("policy") == 1
    assert wire.calls.count("close") == 1
    assert found["reach"]["made"]
    assert [found[name]["failed"] for name in ("drops", "tcp")] == [True, True]
    assert "no such luck" in found["tcp"]["message"]


def test_a_module_that_was_not_shipped_is_a_failed_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rollout.onnode.wire", None)
    found = observe.main({"probes": ["tcp", "links"]})["documents"]
    assert found["tcp"]["failed"]
    assert "links" in found["links"]


def test_what_there_is_no_time_for_says_so(wire: type[Wire]) -> None:
    found = observed(["links", "reach", "policy", "path"], limit_s=1)
    assert {document["code"] for document in found.values()} == {"out-of-time"}
    assert wire.calls[-1] == "close"


def test_reach_with_nothing_to_reach_skips_all() -> None:
    found = observe.main({"probes": ["reach", "policy"]})["documents"]
    assert (found["reach"]["cells"], found["reach"]["bursts"], found["policy"]["pairs"]) == ([], [], [])
    paths = {row["path"] for row in found["reach"]["skipped"]}
    assert paths == {"same-node", "cross-node", "inbound", "node-to-pod", "service", "pod-to-api", "dns"}
    assert found["reach"]["took_ms"] < 500
