"""Which checks make up the proof of a node, and which of them must have answered."""

from __future__ import annotations

from collections.abc import Mapping

from rollout.checks.agent import HEALTH, MODE, ROUTING, judge_agent
from rollout.checks.links import LINKS, judge_links
from rollout.domain.inventory import Observation
from rollout.domain.node import DatapathMode
from rollout.domain.observed import PROBE_AGENT, PROBE_LINKS, parse_agent, parse_links
from rollout.domain.verdict import Verdict

CHECKS: Mapping[str, str] = {
    LINKS: "every endpoint host link is of the target's kind, by the kernel's own table",
    MODE: "the agent's operational and configured mode are the target",
    ROUTING: "host routing is BPF when the target is netkit",
    HEALTH: "all endpoints are ready and no more controllers fail than at the baseline",
}


def required_checks(target: DatapathMode) -> tuple[str, ...]:
    """Checks whose silence is inconclusive."""
    return (LINKS, MODE, HEALTH) if target is DatapathMode.VETH else (LINKS, MODE, ROUTING, HEALTH)


def judge_node(
    node: str, seen: Mapping[str, Observation], baseline: Mapping[str, Observation], target: DatapathMode
) -> tuple[Verdict, ...]:
    """All verdicts on one node from what was seen now and at the baseline."""
    agent = parse_agent(seen.get(PROBE_AGENT))
    before = parse_agent(baseline.get(PROBE_AGENT))
    return (
        judge_links(node, parse_links(seen.get(PROBE_LINKS)), agent, target),
        *judge_agent(node, agent, before, target),
    )
