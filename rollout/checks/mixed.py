"""Do nodes of both modes understand each other's packets?

A netkit L3 link bears no Ethernet header. A packet that meets a program made for the other framing is dropped by the
agent's own programs as `Unsupported L3 protocol`, which the kernel's drop reasons do not tell apart.
"""

from __future__ import annotations

from rollout.checks.material import Case
from rollout.checks.stats.controls import common_shift
from rollout.domain.observed import PROBE_AGENT, AgentState, parse_agent
from rollout.domain.verdict import Status, Verdict

MIXED = "mixed-mode"
SIGNATURE = "Unsupported L3 protocol"
_TRIFLE = 10
"""Growth that is inconclusive where the counter moved before we came: a veth bears other frames too."""


def judge_mixed(case: Case) -> Verdict:
    """The agent's counter of the signature has not grown since the baseline."""
    agent = parse_agent(case.seen.get(PROBE_AGENT))
    if agent is None:
        return case.unread(MIXED, PROBE_AGENT)
    now = unsupported(agent)
    if now is None:
        return case.say(MIXED, Status.INCONCLUSIVE, "the agent does not serve its drop counters")
    if case.baseline is None:
        return case.excuse(MIXED, f"there is no baseline; {now} packets dropped as {SIGNATURE} so far", {"now": now})
    before = unsupported(parse_agent(case.baseline.get(PROBE_AGENT)))
    if before is None:
        return case.say(
            MIXED, Status.INCONCLUSIVE, "the agent's drop counters were not read at the baseline", {"now": now}
        )
    return _compare(case, before, now)


def _compare(case: Case, before: int, now: int) -> Verdict:
    growth = now - before if now >= before else now
    shift = common_shift(_controls(case))
    evidence = {"reason": SIGNATURE, "before": before, "now": now, "growth": growth, "controls_growth": shift}
    words = f"{growth} packets dropped as {SIGNATURE} since the baseline"
    if not growth:
        return case.say(MIXED, Status.PASS, f"no packet dropped as {SIGNATURE} since the baseline", evidence)
    if growth <= shift:
        return case.say(MIXED, Status.INCONCLUSIVE, f"{words}; nodes not yet migrated drop as many", evidence)
    if before and growth < _TRIFLE:
        return case.say(MIXED, Status.INCONCLUSIVE, f"{words}, as some were before it", evidence)
    return case.say(MIXED, Status.FAIL, f"{words}: veth and netkit nodes do not understand each other", evidence)


def unsupported(agent: AgentState | None) -> int | None:
    """Packets dropped under the signature; None when the agent tells no drops. A counter that is not there is 0."""
    if agent is None or agent.drops is None:
        return None
    return sum(drop.packets for drop in agent.drops if drop.reason.lower() == SIGNATURE.lower())


def _controls(case: Case) -> list[int]:
    pairs = [
        (
            unsupported(parse_agent(control.baseline.get(PROBE_AGENT))),
            unsupported(parse_agent(control.seen.get(PROBE_AGENT))),
        )
        for control in case.controls
    ]
    return [now - before for before, now in pairs if before is not None and now is not None]
