"""Did round trips become slower than at the baseline, beyond the tolerance?

Median and p90 of each burst, against the same burst at the baseline. A fail needs the whole interval of the difference
beyond the tolerance, and the newest window's own estimate as well, so that what is over is not held against the node.
It also needs the fastest packet of the last two windows to be slower by more than the tolerance: a longer way delays
every packet, while on a busy node, as right after the agent's restart, packets wait and some do not. Where only the
slower ones became slower, it is inconclusive, until `_PATIENCE` windows in a row show it: that is how the node now is.
A median that seems slower but is not shown to be so is inconclusive; a p90 alone is not, since a tail of few
independent samples seems slower often: it passes, and the verdict says how many quantiles are proven to lie within.
The tolerance is the policy's microseconds, or its percentage of the baseline's upper bound, whichever is more. Half
of a comparison's error goes to the baseline's interval, which is looked at once, half to that of now, over the looks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rollout.checks.finding import Finding, conclude
from rollout.checks.material import Case
from rollout.checks.pooled import Bursts, Series, pool, way_of
from rollout.checks.stats.controls import common_shift
from rollout.checks.stats.looks import LATENCY as SHARE
from rollout.checks.stats.looks import at_look, error_of
from rollout.checks.stats.quantiles import Interval, Shift, of_samples, plain
from rollout.domain.observed import PROBE_REACH, Burst, parse_reach
from rollout.domain.policy import Tolerances
from rollout.domain.verdict import Status, Verdict

LATENCY = "latency"
_MEDIAN = 50
_QUANTILES = (_MEDIAN, 90)
_PATIENCE = 4
_FEWEST = 30
"""Fewer round trips than this give no interval of a median at the errors in use."""


def judge_latency(case: Case) -> Verdict:
    """Median and p90 of every burst."""
    now = parse_reach(case.seen.get(PROBE_REACH))
    if now is None:
        return case.unread(LATENCY, PROBE_REACH)
    if case.baseline is None:
        return case.excuse(LATENCY, "there is no baseline to compare with")
    if parse_reach(case.baseline.get(PROBE_REACH)) is None:
        why = case.unread(LATENCY, PROBE_REACH, case.baseline).message
        return case.say(LATENCY, Status.INCONCLUSIVE, f"there is no baseline to compare with: {why}")
    bursts = pool(case, now)
    more = {"look": bursts.look, "excluded": list(bursts.excluded)}
    if not bursts.now:
        return case.say(LATENCY, Status.INCONCLUSIVE, "no burst can be compared with the baseline", more)
    findings = [finding for series in bursts.now for finding in _findings(case, bursts, series)]
    return conclude(case, LATENCY, findings, _passed(findings), more)


def _passed(findings: list[Finding]) -> str:
    proven = sum(1 for each in findings if each.evidence.get("within"))
    if proven == len(findings):
        return f"{len(findings)} quantiles are within the tolerance"
    return f"{proven} of {len(findings)} quantiles are within the tolerance; no harm is shown in the others"


def _findings(case: Case, bursts: Bursts, series: Series) -> Iterator[Finding]:
    before = (bursts.before or {})[series.key]
    if min(len(before.rtt_us), sum(len(window.rtt_us) for window in series.windows)) < _FEWEST:
        words = f"{series.name}: too few round trips to compare"
        evidence = {"before": len(before.rtt_us), "now": sum(len(window.rtt_us) for window in series.windows)}
        yield Finding(series.name, Status.INCONCLUSIVE, words, evidence)
        return
    whole = error_of(SHARE, case.policy.tolerances.error_ppm, len(_QUANTILES) * len(bursts.now))
    for q in _QUANTILES:
        then = of_samples([before.rtt_us], q, whole / 2)
        now = of_samples([window.rtt_us for window in series.windows], q, at_look(whole / 2, bursts.look))
        latest = plain(series.latest.rtt_us, q)
        if then is not None and now is not None:
            shift = _shift_of_controls(bursts, series, q)
            found = _weigh((series.name, q), then, now, latest, shift, case.policy.tolerances)
            yield _waits(found, series, before, q, case.policy.tolerances) if found.status is Status.FAIL else found


def _waits(found: Finding, series: Series, before: Burst, q: int, tolerances: Tolerances) -> Finding:
    """Not yet a fail where the fastest packet is as fast as before."""
    floor = min(rtt for window in series.windows[-2:] for rtt in window.rtt_us)
    floor_before = min(before.rtt_us)
    evidence = {**found.evidence, "fastest_us": floor, "fastest_before_us": floor_before}
    if floor - floor_before > tolerance_us(floor_before, tolerances):
        return replace(found, evidence=evidence)
    border = plain(before.rtt_us, q)
    slow = [plain(window.rtt_us, q) - border > tolerance_us(border, tolerances) for window in series.windows]
    if len(slow) >= _PATIENCE and all(slow[-_PATIENCE:]):
        return replace(found, evidence=evidence)
    fastest = f"but the fastest packet took {floor} us, {floor_before} at the baseline"
    words = f"{found.words}, {fastest}: packets wait on a busy node rather than on the way"
    return replace(found, status=Status.INCONCLUSIVE, words=words, evidence=evidence)


def _shift_of_controls(bursts: Bursts, series: Series, q: int) -> int:
    pairs = bursts.controls.get(way_of(series.latest), [])
    return common_shift([plain(now.rtt_us, q) - plain(then.rtt_us, q) for then, now in pairs if _both(then, now)])


def _both(then: Burst, now: Burst) -> bool:
    return bool(then.rtt_us and now.rtt_us)


def _weigh(
    of: tuple[str, int], then: Interval, now: Interval, latest: int, controls: int, tolerances: Tolerances
) -> Finding:
    shift, name = Shift(then, now), f"{of[0]} p{of[1]}"
    allowed = tolerance_us(then.estimate if then.high is None else then.high, tolerances)
    evidence = shift.evidence() | {"tolerance_us": allowed, "latest_us": latest, "controls_shift_us": controls}
    words = f"{name}: {now.estimate} us, {then.estimate} us at the baseline"
    low, high = ("unknown" if end is None else end for end in (shift.low, shift.high))
    interval = f", slower by {low} to {high} us, {allowed} us are tolerated"
    if shift.high is not None and shift.high <= allowed:
        return Finding(name, Status.PASS, words, evidence | {"within": True})
    if min(shift.change, latest - then.estimate) <= allowed:
        return Finding(name, Status.PASS, words, evidence | {"within": False})
    if shift.low is None or shift.low <= allowed:
        unsure = Status.INCONCLUSIVE if of[1] == _MEDIAN else Status.PASS
        return Finding(name, unsure, f"{words}{interval}: not yet sure", evidence | {"within": False})
    if shift.low - controls <= allowed:
        told = f"{words}, but nodes not yet migrated became slower by {controls} us as well"
        return Finding(name, Status.INCONCLUSIVE, told, evidence)
    return Finding(name, Status.FAIL, f"{words}{interval}", evidence)


def tolerance_us(baseline_us: int, tolerances: Tolerances) -> int:
    """The tolerated rise of a quantile that was `baseline_us`."""
    return max(tolerances.latency_us, baseline_us * tolerances.latency_percent // 100)
