"""Is TCP of the node's endpoints as well as at the baseline: retransmits, resets, round trips, connects?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest

from rollout.checks.finding import Finding, conclude
from rollout.checks.frame import baseline, earlier, read
from rollout.checks.latency import tolerance_us
from rollout.checks.material import Case
from rollout.checks.stats.counts import Count, compare_rates, compare_shares, percent
from rollout.checks.stats.looks import TCP as SHARE
from rollout.checks.stats.looks import at_look, error_of
from rollout.checks.stats.quantiles import Shift, of_log2
from rollout.domain.observed import PROBE_TCP, Tcp, TcpEndpoint, parse_tcp
from rollout.domain.verdict import Status, Verdict

TCP = "tcp"
_COMPARISONS = 6
_BUNCH = 3
_TRIFLE = 20
_HISTOGRAMS: tuple[tuple[str, Callable[[TcpEndpoint], Sequence[int]]], ...] = (
    ("srtt", lambda endpoint: endpoint.srtt_log2_us),
    ("connect", lambda endpoint: endpoint.connect_log2_us),
)
_QUANTILES = (50, 90)


def judge_tcp(case: Case) -> Verdict:
    """All endpoints of the node together: addresses come and go with the pods."""
    document = read(case, TCP, PROBE_TCP, parse_tcp)
    if isinstance(document, Verdict):
        return document
    if case.baseline is None:
        return case.excuse(TCP, "there is no baseline to compare with")
    before = baseline(case, PROBE_TCP, parse_tcp)
    if before is None:
        return case.say(TCP, Status.INCONCLUSIVE, "there is no baseline that may be counted")
    windows = [*earlier(case, PROBE_TCP, parse_tcp), document]
    whole = error_of(SHARE, case.policy.tolerances.error_ppm, _COMPARISONS)
    error = at_look(whole / 2, len(windows))
    findings = [
        _retransmits(case, before, windows, error),
        _resets(before, windows, error),
        *_latencies(case, before, windows, whole / 2, error),
    ]
    more = {"look": len(windows), "endpoints": len(document.endpoints)}
    if not any(endpoint.connects for endpoint in document.endpoints):
        return case.say(TCP, Status.INCONCLUSIVE, "no connection was seen in the window", more)
    return conclude(case, TCP, findings, "retransmits, resets and latencies are as at the baseline", more)


def _sum(windows: Sequence[Tcp], value: Callable[[TcpEndpoint], int]) -> int:
    return sum(value(endpoint) for window in windows for endpoint in window.endpoints)


def _span_ms(windows: Sequence[Tcp]) -> int:
    return sum(window.frame.window_ms for window in windows)


def _retransmits(case: Case, before: Tcp, windows: Sequence[Tcp], error: float) -> Finding:
    """As a share of segments where they are counted, else over time."""
    name = "retransmits"
    then, now = (_sum(each, lambda endpoint: endpoint.retransmits) for each in ((before,), windows))
    counted = all(endpoint.segments is not None for each in (before, *windows) for endpoint in each.endpoints)
    segments = [_sum(each, lambda endpoint: endpoint.segments or 0) for each in ((before,), windows)]
    if not counted or not all(segments):
        return _rate(name, Count(then, _span_ms([before])), Count(now, _span_ms(windows)), error)
    change = compare_shares(Count(then, segments[0]), Count(now, segments[1]), error)
    words = f"{name}: {now} of {segments[1]} segments, {then} of {segments[0]} at the baseline"
    worse = change.shown and change.change_ppm > case.policy.tolerances.loss_ppm
    return Finding(name, Status.FAIL if worse else Status.PASS, words, change.evidence())


def _resets(before: Tcp, windows: Sequence[Tcp], error: float) -> Finding:
    def resets(endpoint: TcpEndpoint) -> int:
        return endpoint.resets_sent + endpoint.resets_received

    then, now = Count(_sum((before,), resets), _span_ms([before])), Count(_sum(windows, resets), _span_ms(windows))
    return _rate("resets", then, now, error)


def _rate(name: str, then: Count, now: Count, error: float) -> Finding:
    """A Poisson rate in bunches, as in `drops`."""
    ratio = compare_rates(Count(then.events // _BUNCH, then.exposure), Count(now.events // _BUNCH, now.exposure), error)
    expected = then.events * now.exposure // then.exposure if then.exposure else now.events
    words = f"{name}: {now.events} in {now.exposure} ms, {then.events} in {then.exposure} ms at the baseline"
    evidence = {
        "before": then.events,
        "now": now.events,
        "ratio_low_percent": percent(ratio.low),
        "ratio_high_percent": percent(ratio.high),
    }
    worse = ratio.chance <= error and now.events - expected > _TRIFLE
    return Finding(name, Status.FAIL if worse else Status.PASS, words, evidence)


def _latencies(case: Case, before: Tcp, windows: Sequence[Tcp], once: float, error: float) -> list[Finding]:
    findings = []
    for name, histogram in _HISTOGRAMS:
        for q in _QUANTILES:
            then = of_log2(_added((before,), histogram), q, once)
            now = of_log2(_added(windows, histogram), q, error)
            if then is None or now is None:
                continue
            shift = Shift(then, now)
            allowed = tolerance_us(then.estimate if then.high is None else then.high, case.policy.tolerances)
            words = f"{name} p{q}: about {now.estimate} us, about {then.estimate} us at the baseline"
            worse = shift.low is not None and shift.low > allowed
            evidence = shift.evidence() | {"tolerance_us": allowed}
            findings.append(Finding(f"{name} p{q}", Status.FAIL if worse else Status.PASS, words, evidence))
    return findings


def _added(windows: Sequence[Tcp], histogram: Callable[[TcpEndpoint], Sequence[int]]) -> list[int]:
    all_counts = [histogram(endpoint) for window in windows for endpoint in window.endpoints]
    return [sum(column) for column in zip_longest(*all_counts, fillvalue=0)]
