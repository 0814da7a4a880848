"""Which checks make up the proof of a node, how much each counts, and the one way to judge all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rollout.checks.agent import HEALTH, MODE, ROUTING, judge_agent
from rollout.checks.drops import DROPS, judge_drops
from rollout.checks.latency import LATENCY, judge_latency
from rollout.checks.links import LINKS, judge_links
from rollout.checks.loss import LOSS, judge_loss
from rollout.checks.material import Case, Control, Seen
from rollout.checks.mixed import MIXED, judge_mixed
from rollout.checks.pairs import CLOSED, OPENED, judge_closed, judge_opened
from rollout.checks.path import PATH, judge_path
from rollout.checks.programs import PROGRAMS, judge_programs
from rollout.checks.reach import DNS, REACH, asks_dns, judge_dns, judge_reach
from rollout.checks.tcp import TCP, judge_tcp
from rollout.domain.node import DatapathMode
from rollout.domain.observed import (
    BPF_PROBES,
    PROBE_AGENT,
    PROBE_DROPS,
    PROBE_LINKS,
    PROBE_PATH,
    PROBE_POLICY,
    PROBE_PROGRAMS,
    PROBE_REACH,
    PROBE_TCP,
    parse_agent,
    parse_links,
)
from rollout.domain.policy import CheckLevel, Policy
from rollout.domain.verdict import Status, Verdict, merge

CHECKS: Mapping[str, str] = {
    LINKS: "every endpoint host link is of the target's kind, by the kernel's own table",
    PROGRAMS: "every endpoint link has its program at the target's place, host devices have theirs as at the baseline",
    MODE: "the agent's operational and configured mode are the target",
    ROUTING: "host routing is BPF when the target is netkit",
    HEALTH: "all endpoints are ready and no more controllers fail than at the baseline",
    MIXED: "no packet is dropped as `Unsupported L3 protocol` since the baseline",
    OPENED: "no pair that a NetworkPolicy denied at the baseline passes",
    REACH: "every request that passed at the baseline passes",
    DNS: "every DNS request that was answered at the baseline is answered",
    LOSS: "no more packets are lost than at the baseline, beyond the tolerance",
    LATENCY: "median and p90 of round trips are not slower than at the baseline, beyond the tolerance",
    CLOSED: "every pair that a NetworkPolicy allowed at the baseline passes",
    PATH: "known traffic crosses links of the target's kind, and no others",
    DROPS: "the kernel drops no more packets than at the baseline, for no new reason",
    TCP: "retransmits, resets, round trips and connects of TCP are as at the baseline",
}
"""In the order in which a failing one names the cause best."""

SETTLING: frozenset[str] = frozenset({LINKS, PROGRAMS, MODE, ROUTING, HEALTH})
"""Checks that may fail for a moment after the agent's restart: believed when two windows in a row fail.

Links and programs are made one after the other. All others replicate inside one window (several tries, hundreds of
packets, a stated error rate) and are believed at once: latency too, which fails only when the fastest packet is slower.
"""


@dataclass(frozen=True, slots=True)
class Check:
    """One check: the probe it rests on, and how it is judged."""

    probe: str
    judge: Callable[[Case], Verdict]


def _links(case: Case) -> Verdict:
    agent = parse_agent(case.seen.get(PROBE_AGENT))
    return judge_links(case.node, parse_links(case.seen.get(PROBE_LINKS)), agent, case.target)


def _of_agent(place: int) -> Callable[[Case], Verdict]:
    def judge(case: Case) -> Verdict:
        before = parse_agent((case.baseline or {}).get(PROBE_AGENT))
        return judge_agent(case.node, parse_agent(case.seen.get(PROBE_AGENT)), before, case.target)[place]

    return judge


_JUDGES: Mapping[str, Check] = {
    LINKS: Check(PROBE_LINKS, _links),
    PROGRAMS: Check(PROBE_PROGRAMS, judge_programs),
    MODE: Check(PROBE_AGENT, _of_agent(0)),
    ROUTING: Check(PROBE_AGENT, _of_agent(1)),
    HEALTH: Check(PROBE_AGENT, _of_agent(2)),
    MIXED: Check(PROBE_AGENT, judge_mixed),
    OPENED: Check(PROBE_POLICY, judge_opened),
    REACH: Check(PROBE_REACH, judge_reach),
    DNS: Check(PROBE_REACH, judge_dns),
    LOSS: Check(PROBE_REACH, judge_loss),
    LATENCY: Check(PROBE_REACH, judge_latency),
    CLOSED: Check(PROBE_POLICY, judge_closed),
    PATH: Check(PROBE_PATH, judge_path),
    DROPS: Check(PROBE_DROPS, judge_drops),
    TCP: Check(PROBE_TCP, judge_tcp),
}

NEEDS_BPF: frozenset[str] = frozenset(name for name, check in _JUDGES.items() if check.probe in BPF_PROBES)
"""Checks that rest on an eBPF probe: not part of the fast look."""


def levels(
    target: DatapathMode, policy: Policy | None = None, *, quick: bool = False, baseline: Seen | None = None
) -> Mapping[str, CheckLevel]:
    """How much each check counts on a node: the catalogue's own levels, the policy's over them.

    `policy` None: only what needs no probe pods is asked. `quick`: the fast look, without what needs eBPF. `baseline`:
    DNS is required where it was asked before; elsewhere it is advisory.
    """
    if policy is None:
        return dict.fromkeys(required_checks(target), CheckLevel.REQUIRED)
    chosen = dict.fromkeys(CHECKS, CheckLevel.REQUIRED) | {TCP: CheckLevel.ADVISORY}
    if target is DatapathMode.VETH:
        chosen[ROUTING] = CheckLevel.ADVISORY
    if not asks_dns(baseline):
        chosen[DNS] = CheckLevel.ADVISORY
    chosen |= {name: level for name, level in policy.checks.items() if name in CHECKS}
    return chosen | (dict.fromkeys(NEEDS_BPF, CheckLevel.OFF) if quick else {})


def required_checks(target: DatapathMode) -> tuple[str, ...]:
    """Checks whose silence is inconclusive wherever a node is looked at, with probe pods or without."""
    return (LINKS, MODE, HEALTH) if target is DatapathMode.VETH else (LINKS, MODE, ROUTING, HEALTH)


def decide(verdicts: Iterable[Verdict], counted: Mapping[str, CheckLevel]) -> Status:
    """What the verdicts come to: the worst of the required checks, where silence is inconclusive (`merge`)."""
    required = [name for name, level in counted.items() if level is CheckLevel.REQUIRED]
    return merge([verdict for verdict in verdicts if verdict.check in required], required)


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
    """All verdicts on one node, in the order of `CHECKS`: the first failing one names the cause best.

    `seen`: this window's observations by probe. `baseline`: those before the node was touched; None when there never
    was one (`rollout verify` on its own): comparisons are skipped, excused. An empty mapping is a lost baseline:
    inconclusive. `policy`: tolerances, error rate, probe rules and levels; checks that are off are left out; None:
    only what needs no probe pods is judged. `history`: earlier windows in the new mode since the agent's restart,
    oldest first, without `seen`; the statistics are valid however often one looks. `controls`: nodes not yet migrated,
    each with its own baseline and as it was seen in the same minutes. `quick`: leave out what needs eBPF.
    """
    rules = policy or Policy(target=target)
    case = Case(node, seen, baseline, target, rules, tuple(controls), tuple(history))
    counted = levels(target, policy, quick=quick, baseline=baseline)
    asked = [name for name in _JUDGES if counted.get(name, CheckLevel.OFF) is not CheckLevel.OFF or _free(name, policy)]
    return tuple(_JUDGES[name].judge(case) for name in asked)


def _free(name: str, policy: Policy | None) -> bool:
    """Without a policy the agent's verdicts are all shown, required or not."""
    return policy is None and name in (LINKS, MODE, ROUTING, HEALTH)
