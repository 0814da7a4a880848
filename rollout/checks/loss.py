"""Does the node lose more packets than at its baseline?

A fail needs both: a rise that is shown (the exact interval excludes that nothing happened) and an estimate beyond the
tolerance, in all windows together and in the newest alone, so that what is over is not held against the node. That the
whole interval lie beyond the tolerance is not asked: to tell 2 % from 0.5 % with an error of 1e-4 takes some 1,500
packets, to tell it from none a third of that. Half of the error goes to all bursts together, half to single ones.
"""

from __future__ import annotations

from collections.abc import Sequence

from rollout.checks.finding import Finding, conclude
from rollout.checks.material import Case
from rollout.checks.pooled import Bursts, Series, controls_of, loss_of, pool
from rollout.checks.stats.binomial import lower_bound
from rollout.checks.stats.controls import common_shift
from rollout.checks.stats.counts import Count, ShareChange, compare_shares
from rollout.checks.stats.looks import LOSS as SHARE
from rollout.checks.stats.looks import at_look, error_of
from rollout.domain.observed import PROBE_REACH, parse_reach
from rollout.domain.verdict import Status, Verdict

LOSS = "loss"
ALL = "all bursts"
_SUSPECT_PPB = 50_000_000
"""Rises beyond the tolerance that chance brings about more seldom than this, 5 %, are looked at again."""
_MILLION = 1_000_000


def judge_loss(case: Case) -> Verdict:
    """All bursts together, then each."""
    now = parse_reach(case.seen.get(PROBE_REACH))
    if now is None:
        return case.unread(LOSS, PROBE_REACH)
    if case.baseline is not None and parse_reach(case.baseline.get(PROBE_REACH)) is None:
        why = case.unread(LOSS, PROBE_REACH, case.baseline).message
        return case.say(LOSS, Status.INCONCLUSIVE, f"there is no baseline to compare with: {why}")
    bursts = pool(case, now)
    more = {"look": bursts.look, "tolerance_ppm": case.policy.tolerances.loss_ppm, "excluded": list(bursts.excluded)}
    if not bursts.now:
        return case.say(LOSS, Status.INCONCLUSIVE, "no burst can be compared with the baseline", more)
    findings = [_finding(case, bursts, ALL, bursts.now, 1)]
    if len(bursts.now) > 1:
        findings += [_finding(case, bursts, each.name, (each,), len(bursts.now)) for each in bursts.now]
    total = loss_of(burst for series in bursts.now for burst in series.windows)
    return conclude(
        case, LOSS, findings, f"{total.events} of {total.exposure} packets lost, within the tolerance", more
    )


def _finding(case: Case, bursts: Bursts, name: str, series: Sequence[Series], shared_by: int) -> Finding:
    error = at_look(error_of(SHARE, case.policy.tolerances.error_ppm, 2 * shared_by), bursts.look)
    now = loss_of(burst for each in series for burst in each.windows)
    latest = loss_of(each.latest for each in series)
    if bursts.before is None:
        return _without_baseline(case, name, now, error)
    before = loss_of(bursts.before[each.key] for each in series)
    change = compare_shares(before, now, error)
    shift = common_shift([loss_of(after).ppm - loss_of(then).ppm for then, after in controls_of(bursts, series)])
    evidence = {
        "lost": now.events,
        "sent": now.exposure,
        "lost_before": before.events,
        "sent_before": before.exposure,
        "latest_ppm": latest.ppm,
        "controls_shift_ppm": shift,
        "error_ppb": round(error * 1_000_000_000),
        **change.evidence(),
    }
    status, words = _weigh(change, latest.ppm - change.before_ppm, shift, case.policy.tolerances.loss_ppm)
    told = f"{name}: {_share(now)} lost, {_share(before)} at the baseline"
    return Finding(name, status, f"{told}{words}", evidence)


def _weigh(change: ShareChange, latest_change_ppm: int, shift_ppm: int, tolerance_ppm: int) -> tuple[Status, str]:
    rise = min(change.change_ppm, latest_change_ppm)
    if rise <= tolerance_ppm:
        return Status.PASS, ""
    if not change.shown:
        suspect = change.chance_ppb <= _SUSPECT_PPB
        return (Status.INCONCLUSIVE, "; not enough packets to tell it from chance") if suspect else (Status.PASS, "")
    interval = f", a rise of {_percent(change.low_ppm)} to {_percent(change.high_ppm)}"
    if shift_ppm and (rise - shift_ppm <= tolerance_ppm or change.low_ppm <= shift_ppm):
        return Status.INCONCLUSIVE, f"{interval}, but nodes not yet migrated lose {_percent(shift_ppm)} more as well"
    return Status.FAIL, interval


def _without_baseline(case: Case, name: str, now: Count, error: float) -> Finding:
    least_ppm = int(lower_bound(now.events, now.exposure, error) * _MILLION)
    evidence = {"lost": now.events, "sent": now.exposure, "now_ppm": now.ppm, "now_low_ppm": least_ppm}
    worse = least_ppm > case.policy.tolerances.loss_ppm
    return Finding(name, Status.FAIL if worse else Status.PASS, f"{name}: {_share(now)} lost; no baseline", evidence)


def _share(count: Count) -> str:
    return f"{_percent(count.ppm)} of {count.exposure} packets"


def _percent(ppm: int) -> str:
    return f"{ppm / 10_000:.2f} %"
