"""Which checks make up the proof of a node, how much each counts, and the one way to judge all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rollout.checks.agent import HEALTH, MODE, ROUTING, judge_agent
from rollout.checks.links import LINKS, judge_links
from rollout.checks.material import Control, Seen
from rollout.domain.node import DatapathMode
from rollout.domain.observed import PROBE_AGENT, PROBE_LINKS, parse_agent, parse_links
from rollout.domain.policy import CheckLevel, Policy
from rollout.domain.verdict import Status, Verdict, merge

CHECKS: Mapping[str, str] = {
    LINKS: "every endpoint host link is of the target's kind, by the kernel's own table",
    MODE: "the agent's operational and configured mode are the target",
    ROUTING: "host routing is BPF when the target is netkit",
    HEALTH: "all endpoints are ready and no more controllers fail than at the baseline",
}

SETTLING: frozenset[str] = frozenset({LINKS, MODE, ROUTING, HEALTH, "programs", "latency"})
"""Checks that may fail for a moment after the agent's restart: believed when two windows in a row fail.

All others replicate inside one window (several tries, hundreds of packets, a stated error rate) and are believed at once.
"""


def levels(
    target: DatapathMode, policy: Policy | None = None, *, quick: bool = False, baseline: Seen | None = None
) -> Mapping[str, CheckLevel]:
    """How much each check counts on a node: the catalogue's own levels, the policy's over them.

    `quick`: the fast look, which has no eBPF probes. `baseline`: DNS is required only where it was asked before.
    """
    chosen = dict.fromkeys(required_checks(target), CheckLevel.REQUIRED)
    return chosen | {name: level for name, level in (policy.checks if policy else {}).items() if name in CHECKS}


def required_checks(target: DatapathMode) -> tuple[str, ...]:
    """Checks whose silence is inconclusive wherever a node is looked at, with probe pods or without."""
    return (LINKS, MODE, HEALTH) if target is DatapathMode.VETH else (LINKS, MODE, ROUTING, HEALTH)


def decide(verdicts: Iterable[Verdict], counted: Mapping[str, CheckLevel]) -> Status:
    """What the verdicts come to: the worst of the required checks, where silence is inconclusive (`merge`)."""
    required = [name for name, level in counted.items() if level is CheckLevel.REQUIRED]
    return merge([v for v in verdicts if v.check in required], required)


def judge_node(
    node: str,
    seen: Seen,
    baseline: Seen | None,
    target: DatapathMode,
    *,
    policy: Policy | None = None,
    controls: Sequence[Control] = (),
    history: Sequence[Seen] = (),
    quick: bool = False,
) -> tuple[Verdict, ...]:
    """All verdicts on one node, the most telling first: the first failing one names the cause best.

    `seen`: this window's observations by probe. `baseline`: those before the node was touched; None when there never
    was one (`rollout verify` on its own): comparisons are skipped, excused. An empty mapping is a lost baseline:
    inconclusive. `policy`: tolerances, error rate, probe rules and levels; checks that are off are left out; None:
    only what needs no probe pods is judged. `history`: earlier windows in the new mode since the agent's restart,
    oldest first, without `seen`; the statistics are valid however often one looks. `controls`: nodes not yet migrated.
    `quick`: leave out what needs eBPF.
    """
    agent = parse_agent(seen.get(PROBE_AGENT))
    before = parse_agent((baseline or {}).get(PROBE_AGENT))
    return (
        judge_links(node, parse_links(seen.get(PROBE_LINKS)), agent, target),
        *judge_agent(node, agent, before, target),
    )
