"""The report's assembly: what is counted, compared, missing and left out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.app.evidence import Evidence, look, traffic
from rollout.app.intervals import Interval, Kind, across, bucket, quantiles, rate_milli, share
from rollout.app.record import Report
from rollout.app.report import FEW_NODES, report
from rollout.domain.errors import NotFound
from rollout.domain.inventory import Observation
from rollout.domain.journal import Intent, NodeDecided, Result, RunStarted, WaveTakenBack
from rollout.domain.lifecycle import NodeEvent
from rollout.domain.node import DatapathMode
from rollout.domain.policy import Policy
from rollout.domain.step import StepKind, Track
from tests import builders
from tests.app import evidence_documents as documents
from tests.app.evidence_documents import Telling
from tests.fakes.store import MemoryJournalStore
from tests.support.world import Model


class Hands:
    """A clock that stands where the story ended."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    def wait(self, seconds: float, cancel: object = None) -> bool:
        raise AssertionError("a report waits for nothing")


def telling(nodes: int) -> Telling:
    plan = builders.plan_of(tuple(f"n{i}" for i in range(1, nodes + 1)), Policy(target=DatapathMode.NETKIT))
    return Telling(MemoryJournalStore(), plan)


def reported(story: Telling, **more: Any) -> Report:
    return report(Model().world(store=story.store, clock=Hands(story.at)), story.rollout, **more)


def moved(nodes: int, failing: tuple[int, ...] = ()) -> Telling:
    story = telling(nodes)
    story.begin()
    for number, node in enumerate(story.plan.nodes):
        story.move(node, number, failing=number in failing)
    story.end()
    return story


def evidence(by_probe: Mapping[str, Any], error: str = "") -> Evidence:
    rows = [("forward/baseline/1", Observation("n1", p, builders.NOW, d, error)) for p, d in by_probe.items()]
    found = look(rows, "forward/baseline/")
    assert found is not None
    return found


def test_a_rollout_that_went_well() -> None:
    found = reported(moved(3))
    assert (found.phase, found.counts, found.failures, found.open) == ("completed", {"done": 3}, (), ())
    assert [(a.by, a.ticket) for a in found.approvals] == [("Bob Reviewer", "CHG-4711")]
    assert [(r.operator, r.host) for r in found.runs] == [("ann", "ops-1")]
    assert (found.moved[0].source, found.moved[0].target, found.moved[0].nodes) == ("veth", "netkit", 3)
    assert (found.before.packets, found.before.packets_lost) == (3 * 800, 0)
    assert (found.during.packets, found.during.requests) == (3 * 800, 3 * 12)
    assert [g.decision for w in found.waves for g in w.gates] == ["proceed"] * len(found.waves)
    (cohort,) = found.cohorts
    assert (cohort.measured, cohort.links) == (3, ({"veth": 15}, {"netkit/l3": 15}))
    p50 = next(c for c in cohort.latency if (c.key, c.quantile) == ("same-node udp v4", "p50"))
    assert 195 < p50.before.value < 225 and 175 < p50.after.value < 205
    assert p50.change.value < 0 and p50.before.kind is Kind.RANGE
    assert {h.key for h in cohort.hops[0]} == {"veth from-pod", "veth to-pod"}
    assert {h.key for h in cohort.hops[1]} == {"netkit/l3 from-pod", "netkit/l3 to-pod"}
    node = found.nodes[0]
    assert (node.links_before, node.links_after) == ({"veth": 5}, {"netkit/l3": 5})
    assert node.verdicts == {"pass": 3, "skipped": 1} and not node.troubled
    assert node.detail is not None and node.detail.before is not None and node.detail.before.tcp is not None
    assert node.detail.before.tcp.rate_milli is not None
    assert node.detail.before.tcp.rate_milli.value == node.detail.before.tcp.connects * 250


def test_a_node_led_back_is_told_in_both_directions_and_left_out_of_its_cohort() -> None:
    found = reported(moved(3, failing=(1,)))
    (failure,) = found.failures
    assert (failure.node, failure.step, failure.result, failure.code) == ("n2", "verify", "failed", "check-latency")
    assert (failure.decided, failure.phase) == ("roll-back", "rolled-back")
    node = found.nodes[1]
    assert node.troubled and node.detail is not None
    assert node.detail.after is not None and node.detail.back is not None
    assert (node.detail.after.links, node.detail.back.links) == ({"netkit/l3": 5}, {"veth": 5})
    assert node.links_after == {"veth": 5}
    assert [j.track for j in node.detail.judged] == ["forward", "back"]
    assert found.during.packets_lost == 18
    (cohort,) = found.cohorts
    assert (cohort.measured, cohort.apart) == (2, ("n2",))
    assert all(c.after.value < 5000 for c in cohort.latency)


def test_what_is_open_names_the_way_on() -> None:
    story = telling(3)
    story.begin()
    first = story.plan.nodes[0].name
    story.say(NodeDecided(first, NodeEvent.START))
    story.step(first, StepKind.RECHECK, 3)
    story.step(
        first, StepKind.CORDON, 3, Result.HELD, code="ssh", reason="the key is not trusted", hint="ssh-add, then resume"
    )
    story.say(NodeDecided(first, NodeEvent.HOLD, "the key is not trusted"))
    found = reported(story)
    words = [(o.what, o.next) for o in found.open]
    assert words[0][0].startswith("the rollout is running")
    assert ("node n1 is held: the key is not trusted", "ssh-add, then resume") in words
    assert any(what.startswith("2 node") for what, _ in words)
    assert found.nodes[0].detail is not None
    assert found.nodes[0].detail.absent[0].why == "the node never came to the step baseline; it is held"
    assert found.cohorts[0].measured == 0


def test_a_step_without_an_outcome_has_no_end() -> None:
    story = telling(1)
    story.begin()
    story.say(NodeDecided("n1", NodeEvent.START))
    story.say(Intent("n1", Track.FORWARD, StepKind.RECHECK, 1, {}, story.at, 1), RunStarted("eve", "ops-2", 7, 2))
    found = reported(story)
    assert found.nodes[0].detail is not None
    (step,) = found.nodes[0].detail.steps
    assert (step.step, step.end, step.result) == ("recheck", None, "")
    assert [r.operator for r in found.runs] == ["ann", "eve"]


def test_a_wave_taken_back_is_told_beside_its_gate() -> None:
    story = moved(1)
    story.say(WaveTakenBack(0, ("n1",), "the gate asked for it"))
    words = reported(story).waves[0].gates
    assert [(g.decision, g.reason) for g in words][-1] == ("taken back", "n1: the gate asked for it")


def test_a_plan_that_was_never_applied() -> None:
    found = reported(telling(2))
    assert (found.phase, found.started, found.approvals, found.runs) == ("draft", None, (), ())
    assert found.before.packets == 0 and found.nodes[0].links_before is None
    with pytest.raises(NotFound):
        report(Model().world(store=MemoryJournalStore()), "abcdef")


def test_of_many_nodes_only_those_in_trouble_are_detailed() -> None:
    story = moved(FEW_NODES + 1, failing=(4,))
    found = reported(story)
    assert [n.name for n in found.nodes if n.detail] == [story.plan.nodes[4].name]
    assert all(n.detail for n in reported(story, every=True).nodes)
    p50 = found.cohorts[0].latency[0]
    assert p50.nodes == FEW_NODES and p50.before.kind is Kind.CONFIDENCE
    assert p50.before.low is not None and p50.before.low <= p50.before.value


def test_the_newest_readable_look_counts_and_a_verification_beats_a_confirmation() -> None:
    def seen(attempt: str, count: int, error: str = "", probe: str = "links") -> tuple[str, Observation]:
        document = {} if error else builders.links_document("netkit/l3", count)
        return attempt, Observation("n1", probe, builders.at(count), document, error)

    rows = [
        seen("forward/confirm-mode/1", 9),
        seen("forward/verify/1", 1),
        seen("forward/verify/2", 2),
        seen("forward/verify/3", 3, error="ssh: refused"),
    ]
    found = look(rows, "forward/verify/", "forward/confirm-mode/")
    assert found is not None and found.links == {"netkit/l3": 3} and found.attempt == "forward/verify/2"
    confirmed = look(rows[:1], "forward/verify/", "forward/confirm-mode/")
    assert confirmed is not None and confirmed.links == {"netkit/l3": 10}
    assert look(rows, "back/verify/") is None


def test_what_was_not_measured_says_why() -> None:
    found = evidence({"tcp": {}}, error="bpf-unavailable: python3-bpfcc is missing; apt install it")
    why = {m.what: m.why for m in found.missing}
    assert why["tcp"].endswith("apt install it") and why["reach"] == "the probe was not run"
    assert found.tcp is None and found.drops_window_ms is None and not found.agent_counted
    found = evidence({"reach": documents.reach_document(1, 200), "agent": builders.agent_document()})
    why = {m.what: m.why for m in found.missing}
    assert why["reach same-node"] == "the probe pod has no IPv6 address"
    assert why["drops by the agent"] == "the agent served no metrics"
    miscounts = {"selftest": {"sent": 64, "seen": 12, "ok": False, "message": "saw too few"}}
    found = evidence({"path": documents.path_document(1, "veth", 10, **miscounts)})
    assert {m.what: m.why for m in found.missing}["path, reliably"] == "its self-test sent 64 and saw 12: saw too few"


@pytest.mark.parametrize("probe", ["links", "agent", "reach", "policy", "path", "drops", "tcp"])
@pytest.mark.parametrize(
    "document", [{}, {"cells": 7, "bursts": {"a": 1}}, {"links": [3], "hops": None, "selftest": 1}]
)
def test_a_document_that_makes_no_sense_is_no_evidence(probe: str, document: dict[str, Any]) -> None:
    found = evidence({probe: document})
    assert found.flows == () and found.tcp is None
    assert traffic([("forward/baseline/1", Observation("n1", probe, builders.NOW, document))], "").packets == 0


def test_flows_of_several_peers_are_one_path() -> None:
    document = documents.reach_document(3, 200, lost=4)
    cross = [b for b in document["bursts"] if b["path"] == "cross-node"]
    document["bursts"] += [replace_all(cross[0], peer="n7", peer_kind="netkit/l3")]
    flow = next(f for f in evidence({"reach": document}).flows if f.key == "cross-node udp v4")
    assert flow.peers == ("n7 (netkit/l3)", "n9 (veth)")
    assert (flow.loss.count, flow.loss.of, flow.rtt_us and flow.rtt_us.n) == (8, 800, 792)


def replace_all(row: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {**row, **more}


def test_a_request_without_an_answer_is_named() -> None:
    document = documents.reach_document(3, 200)
    document["cells"][0].update(ok=0, error="timed out", rtt_us=[])
    cells = next(c for c in evidence({"reach": document}).cells if c.key == "same-node tcp v4")
    assert (cells.tries, cells.ok, cells.failures) == (6, 3, ("same-node/tcp/v4/64: timed out",))


# --- intervals -----------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=300))
def test_a_quantile_lies_in_its_interval_and_in_the_sample(values: list[int]) -> None:
    found = quantiles([values])
    assert found is not None and found.n == len(values)
    for _, interval in found.items():
        assert interval.value in values
        assert interval.low is None or interval.low <= interval.value
        assert interval.high is None or interval.value <= interval.high
    assert found.p50.value <= found.p90.value <= found.p99.value
    plain = quantiles([values], sure=False)
    assert plain is not None and plain.p50 == Interval(found.p50.value)


@given(st.integers(0, 500), st.integers(1, 500))
def test_a_share_lies_in_its_interval(count: int, more: int) -> None:
    found = share(count, count + more)
    assert found.ppm is not None and found.low_ppm is not None and found.high_ppm is not None
    assert 0 <= found.low_ppm <= found.ppm <= found.high_ppm <= 1_000_000
    assert (found.low_ppm == 0) == (count == 0)


def test_known_intervals() -> None:
    assert quantiles([]) is None and across([]) is None and rate_milli(3, 0) is None
    assert share(0, 0).ppm is None
    nothing_lost = share(0, 400)
    assert nothing_lost.high_ppm == 9180  # 1 - 0.025 ** (1 / 400), Clopper and Pearson
    rate = rate_milli(100, 4000)
    assert rate is not None and (rate.value, rate.low, rate.high) == (25000, 20341, 30407)  # Byar: 81.36 to 121.63
    own = Interval(5, 4, 6, Kind.CONFIDENCE)
    assert across([own]) == own
    assert across([Interval(v) for v in (3, 1, 2)]) == Interval(2, 1, 3, Kind.RANGE)
    assert across([Interval(v) for v in range(1, 7)]) == Interval(3, 1, 6, Kind.CONFIDENCE)
    assert bucket((0, 0, 5, 5), 500) == (4, 8) and bucket((0, 0, 5, 5), 990) == (8, 16) and bucket((0,), 500) is None
