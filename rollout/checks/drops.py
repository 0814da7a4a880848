"""Does the kernel drop more than at the baseline, or for new reasons?

Each reason's rate is compared with the baseline's by the conditional Poisson test. Drops come in bunches, so counts are
divided by `_BUNCH` first, which covers a variance of three times the mean (quasi-Poisson, McCullagh and Nelder 1989,
6.2.3). A fail needs the rise to be shown, to be no trifle, and to go on in the newest window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rollout.checks.finding import Finding, conclude
from rollout.checks.frame import baseline, earlier, read
from rollout.checks.material import Case
from rollout.checks.stats.controls import common_shift
from rollout.checks.stats.counts import Count, compare_rates, percent
from rollout.checks.stats.looks import DROPS as SHARE
from rollout.checks.stats.looks import at_look, error_of
from rollout.domain.observed import PROBE_DROPS, Drops, parse_drops
from rollout.domain.verdict import Status, Verdict

DROPS = "drops"

NOISE = frozenset(
    {
        "NO_SOCKET", "NOT_DROPPED_YET", "SKB_CONSUMED", "OTHERHOST", "UNHANDLED_PROTO", "IPV6DISABLED", "DUP_FRAG",
        "TCP_OLD_DATA", "TCP_OLD_ACK", "TCP_OLD_SEQUENCE", "TCP_INVALID_SEQUENCE", "TCP_INVALID_END_SEQUENCE",
        "TCP_OFO_DROP", "TCP_OVERWINDOW", "TCP_ZEROWINDOW", "TCP_RFC7323_PAWS", "TCP_RFC7323_PAWS_ACK", "TCP_CLOSE",
        "TCP_FASTOPEN", "TCP_ACK_UNSENT_DATA", "TCP_TOO_OLD_ACK", "TCP_RESET", "TCP_INVALID_SYN", "TCP_FLAGS",
        "TCP_ABORT_ON_DATA", "SOCKET_CLOSE", "UNIX_DISCONNECT", "UNIX_SKIP_OOB", "SOCKET_FILTER", "PACKET_SOCK_ERROR",
        "SOCKET_RCVBUFF", "SOCKET_BACKLOG", "QUEUE_PURGE",
    }
)  # fmt: skip
"""Reasons that tell of sockets and their ends, not of the way (include/net/dropreason-core.h): shown, never judged.

QUEUE_PURGE is what a socket had not read when it was closed: every raw socket of `reach` gets all echo replies of its
namespace. It alone failed 8 of 200 looks at sound nodes before it stood here.
"""

BY_PROGRAM = "by a program"
_PROGRAM_REASONS = frozenset({"NOT_SPECIFIED", "TC_INGRESS", "TC_EGRESS", "BPF_CGROUP_EGRESS", "QUEUE_PURGE_BPF"})
"""A packet that a program denies bears another reason on netkit (netkit_xmit frees without one) than behind tc."""

_BUNCH = 3
_TRIFLE = 20
"""Packets more than expected that are not worth a word."""


@dataclass(frozen=True, slots=True)
class _Rates:
    before: Count
    now: Count
    latest: Count


def reason_class(reason: str) -> str:
    """Reasons under which drops are compared; the kernel's prefix is left off."""
    bare = reason.removeprefix("SKB_DROP_REASON_").removeprefix("SKB_")
    return BY_PROGRAM if bare in _PROGRAM_REASONS else bare


def judge_drops(case: Case) -> Verdict:
    """Every reason but noise, against the baseline."""
    document = read(case, DROPS, PROBE_DROPS, parse_drops)
    if isinstance(document, Verdict):
        return document
    if case.baseline is None:
        return case.excuse(DROPS, "there is no baseline to compare with", {"now": _by_reason([document])})
    before = baseline(case, PROBE_DROPS, parse_drops)
    if before is None:
        return case.say(DROPS, Status.INCONCLUSIVE, "there is no baseline that may be counted", {})
    if not before.frame.window_ms or not document.frame.window_ms:
        return case.say(DROPS, Status.INCONCLUSIVE, "a window of no length tells no rate", {})
    windows = [*earlier(case, PROBE_DROPS, parse_drops), document]
    rates = _rates(before, windows)
    judged = sorted(set(rates) - NOISE)
    error = at_look(error_of(SHARE, case.policy.tolerances.error_ppm, len(judged)), len(windows))
    findings = [_finding(case, reason, rates[reason], windows, error) for reason in judged]
    more = {
        "window_ms": document.frame.window_ms,
        "reasons_from": document.reasons_from,
        "noise": {reason: rate.now.events for reason, rate in sorted(rates.items()) if reason in NOISE},
    }
    return conclude(case, DROPS, findings, "no reason to drop packets is new or more frequent", more)


def _rates(before: Drops, windows: Sequence[Drops]) -> dict[str, _Rates]:
    then, now, latest = _by_reason([before]), _by_reason(windows), _by_reason(windows[-1:])
    watched = sum(window.frame.window_ms for window in windows)
    return {
        reason: _Rates(
            Count(then.get(reason, 0), before.frame.window_ms),
            Count(now.get(reason, 0), watched),
            Count(latest.get(reason, 0), windows[-1].frame.window_ms),
        )
        for reason in then.keys() | now.keys()
    }


def _by_reason(windows: Sequence[Drops]) -> dict[str, int]:
    found: dict[str, int] = {}
    for window in windows:
        for drop in window.drops:
            found[reason_class(drop.reason)] = found.get(reason_class(drop.reason), 0) + drop.packets
    return found


def _finding(case: Case, reason: str, rates: _Rates, windows: Sequence[Drops], error: float) -> Finding:
    before, now, latest = rates.before, rates.now, rates.latest
    ratio = compare_rates(
        Count(before.events // _BUNCH, before.exposure), Count(now.events // _BUNCH, now.exposure), error
    )
    shift = _controls_shift(case, reason, latest.exposure)
    excess = latest.events - before.events * latest.exposure // before.exposure
    evidence: Mapping[str, object] = {
        "before": before.events,
        "before_ms": before.exposure,
        "now": now.events,
        "now_ms": now.exposure,
        "excess_latest": excess,
        "ratio_low_percent": percent(ratio.low),
        "ratio_high_percent": percent(ratio.high),
        "chance_ppb": round(ratio.chance * 1_000_000_000),
        "controls_excess": shift,
        "links": _links(reason, windows[-1]),
    }
    words = (
        f"{reason}: {now.events} packets dropped in {now.exposure} ms, {before.events} in {before.exposure} ms"
        f" at the baseline, on {', '.join(_links(reason, windows[-1])[:3]) or 'no link'}"
    )
    if ratio.chance > error or excess <= _TRIFLE:
        return Finding(reason, Status.PASS, words, evidence)
    if excess - shift <= _TRIFLE:
        return Finding(reason, Status.INCONCLUSIVE, f"{words}; nodes not yet migrated drop more as well", evidence)
    return Finding(reason, Status.FAIL, f"{'new: ' if not before.events else ''}{words}", evidence)


def _links(reason: str, window: Drops) -> list[str]:
    found = {drop.link: drop.packets for drop in window.drops if reason_class(drop.reason) == reason and drop.link}
    return sorted(found, key=lambda name: (-found[name], name))[:5]


def _controls_shift(case: Case, reason: str, window_ms: int) -> int:
    """How many packets more than at their baselines the controls dropped, in a window of this length."""
    shifts = []
    for control in case.controls:
        before, now = parse_drops(control.baseline.get(PROBE_DROPS)), parse_drops(control.seen.get(PROBE_DROPS))
        if before and now and before.frame.window_ms and now.frame.window_ms:
            rate = _by_reason([now]).get(reason, 0) * window_ms // now.frame.window_ms
            shifts.append(rate - _by_reason([before]).get(reason, 0) * window_ms // before.frame.window_ms)
    return common_shift(shifts)
