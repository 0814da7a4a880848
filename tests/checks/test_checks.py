"""Judging: links, agent, gate, refusal. Documents in the shapes the probes print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rollout.checks.catalog import judge_node, required_checks
from rollout.checks.refusal import parse_refusal
from rollout.domain.inventory import Observation
from rollout.domain.node import DatapathMode
from rollout.domain.verdict import Status, Verdict, merge
from tests.builders import NOW, agent_document, links_document, seen

NETKIT = DatapathMode.NETKIT


def judge(mode: DatapathMode = NETKIT, **documents: dict[str, Any]) -> dict[str, Status]:
    base: dict[str, dict[str, Any]] = {
        "links": links_document("netkit/l3"),
        "agent": agent_document("netkit"),
    } | documents
    observations = {probe: Observation("n1", probe, NOW, document) for probe, document in base.items()}
    return {v.check: v.status for v in judge_node("n1", observations, seen("n1"), mode)}


def test_a_sound_node_passes() -> None:
    assert set(judge().values()) == {Status.PASS}
    assert set(judge()) == set(required_checks(NETKIT))


@pytest.mark.parametrize(
    ("documents", "check", "status"),
    [
        ({"links": links_document("veth")}, "links", Status.FAIL),
        ({"links": links_document("netkit/l2")}, "links", Status.FAIL),
        ({"links": links_document("other")}, "links", Status.FAIL),
        ({"links": {"links": []}}, "links", Status.INCONCLUSIVE),
        ({"agent": agent_document("veth")}, "agent-mode", Status.FAIL),
        ({"agent": agent_document("netkit") | {"configured-datapath-mode": "auto"}}, "agent-mode", Status.FAIL),
        ({"agent": agent_document("netkit") | {"configured-datapath-mode": None}}, "agent-mode", Status.PASS),
        ({"agent": agent_document("netkit") | {"intra-host-routing-mode": "Legacy"}}, "host-routing", Status.FAIL),
        ({"agent": agent_document("netkit") | {"intra-host-routing-mode": None}}, "host-routing", Status.INCONCLUSIVE),
        ({"agent": {"agent": "slow", "reason": "30 s"}}, "agent-mode", Status.INCONCLUSIVE),
        ({"agent": {"agent": "down", "reason": "no socket"}}, "agent-health", Status.INCONCLUSIVE),
        (
            {"agent": agent_document("netkit") | {"endpoints": [{"state": "regenerating"}]}},
            "agent-health",
            Status.INCONCLUSIVE,
        ),
        ({"agent": agent_document("netkit") | {"endpoints": [{"state": "invalid"}]}}, "agent-health", Status.FAIL),
        ({"agent": agent_document("netkit") | {"controllers-failing": 2}}, "agent-health", Status.FAIL),
        (
            {"agent": agent_document("netkit") | {"endpoints": [{"state": "ready", "interface-name": "lxcgone"}]}},
            "links",
            Status.INCONCLUSIVE,
        ),
    ],
)
def test_each_check_sees_what_it_is_for(documents: dict[str, Any], check: str, status: Status) -> None:
    assert judge(**documents)[check] is status


def test_nothing_seen_is_inconclusive() -> None:
    verdicts = judge_node("n1", {}, {}, NETKIT)
    assert {v.status for v in verdicts} == {Status.INCONCLUSIVE}
    assert merge(verdicts, required_checks(NETKIT)) is Status.INCONCLUSIVE


def test_the_health_link_must_be_of_the_kind_too() -> None:
    links = links_document("netkit/l3")
    links["links"][-1]["kind"] = "veth"
    assert judge(links=links)["links"] is Status.FAIL


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([Status.PASS, Status.PASS], Status.PASS),
        ([Status.PASS, Status.INCONCLUSIVE], Status.INCONCLUSIVE),
        ([Status.INCONCLUSIVE, Status.FAIL], Status.FAIL),
        ([Status.PASS, Status.SKIPPED], Status.INCONCLUSIVE),
        ([], Status.INCONCLUSIVE),
    ],
)
def test_the_worst_wins_and_a_skipped_required_check_is_inconclusive(statuses: list[Status], expected: Status) -> None:
    verdicts = [Verdict(f"c{i}", "n1", status, "") for i, status in enumerate(statuses)]
    assert merge(verdicts, ["c0", "c1"]) is expected


RECORDED = Path(__file__).parents[1] / "recorded"


def test_the_recorded_refusal_is_read() -> None:
    refusal = parse_refusal((RECORDED / "agent-refuses.log").read_text())
    assert refusal is not None
    assert (refusal.mode, refusal.count) == ("netkit", 5)
    assert "default/logd-zfg2q" in refusal.pods
    assert len(refusal.pods) == 5


def test_an_ordinary_log_is_no_refusal() -> None:
    assert parse_refusal("level=info msg=ready\n") is None
