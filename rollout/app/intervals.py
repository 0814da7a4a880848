"""Intervals shown beside measured numbers. For display only: what decides is judged in `checks`.

Every interval is two-sided at 95 % unless its kind says `range`, which is smallest to largest of too few values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from rollout.checks.stats.binomial import lower_bound, upper_bound
from rollout.checks.stats.quantiles import effective_size, ranks

ERROR = 0.025
"""Chance of each end of an interval to lie on the wrong side: two-sided 95 %."""

_Z = 1.959963984540054
"""The 97.5 % point of the normal distribution."""

MILLION = 1_000_000


class Kind(Enum):
    """What the two ends of an interval mean."""

    CONFIDENCE = "95%"
    RANGE = "range"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Interval:
    """A value and its interval, all in one unit. None: that end is open, the sample is too small to close it."""

    value: int
    low: int | None = None
    high: int | None = None
    kind: Kind = Kind.NONE


@dataclass(frozen=True, slots=True)
class Share:
    """`count` of `of`, in parts per million with its interval. `ppm` is None when there is nothing to share."""

    count: int
    of: int
    ppm: int | None
    low_ppm: int | None
    high_ppm: int | None


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Median, 90th and 99th percentile of `n` values."""

    n: int
    p50: Interval
    p90: Interval
    p99: Interval

    def items(self) -> tuple[tuple[str, Interval], ...]:
        """By name, in order."""
        return ("p50", self.p50), ("p90", self.p90), ("p99", self.p99)


def quantiles(windows: Sequence[Sequence[int]], *, sure: bool = True) -> Quantiles | None:
    """The three quantiles of all windows together, each window in the order of time; None of nothing.

    Intervals stand between order statistics of the effective sample size, as in the checks (`stats.quantiles`).
    `sure` False leaves them out, which is ten times faster.
    """
    ordered = sorted(value for window in windows for value in window)
    if not ordered:
        return None
    worth = max(1, sum(effective_size(window) for window in windows)) if sure else 0
    return Quantiles(len(ordered), *(_quantile(ordered, percent, worth) for percent in (50, 90, 99)))


def _quantile(ordered: Sequence[int], percent: int, worth: int) -> Interval:
    """`worth`: as how many independent values they count; 0 for no interval."""
    size = len(ordered)
    value = ordered[max(0, math.ceil(percent * size / 100) - 1)]
    if not worth:
        return Interval(value)
    low, high = ranks(worth, percent, ERROR)
    first = math.floor(low * size / worth)
    last = None if high is None else min(size, math.ceil(high * size / worth))
    ends = ordered[first - 1] if first else None, None if last is None else ordered[last - 1]
    return Interval(value, *ends, Kind.CONFIDENCE)


def across(values: Sequence[Interval]) -> Interval | None:
    """The median over nodes. One node keeps its own interval, a few have a range, more an interval over nodes.

    Packets of one node are not independent of each other, so a cohort's interval is over nodes, not over packets.
    """
    if not values:
        return None
    if len(values) == 1:
        return values[0]
    ordered = sorted(value.value for value in values)
    median = _quantile(ordered, 50, len(ordered))
    if median.low is None or median.high is None:
        return Interval(median.value, ordered[0], ordered[-1], Kind.RANGE)
    return median


def share(count: int, of: int) -> Share:
    """A proportion with the exact interval of Clopper and Pearson, as in the checks (`stats.binomial`)."""
    if of <= 0:
        return Share(count, of, None, None, None)
    low, high = lower_bound(count, of, ERROR), upper_bound(count, of, ERROR)
    return Share(count, of, round(count / of * MILLION), math.floor(low * MILLION), math.ceil(high * MILLION))


def rate_milli(count: int, window_ms: int) -> Interval | None:
    """Events per second, in thousandths, of a count that is taken for Poisson; None of no time.

    The interval is Byar's approximation (Breslow and Day, Statistical Methods in Cancer Research II, 2.3).
    """
    if window_ms <= 0:
        return None
    scale = MILLION / window_ms
    low = count * (1 - 1 / (9 * count) - _Z / (3 * math.sqrt(count))) ** 3 if count > 0 else 0.0
    above = count + 1
    high = above * (1 - 1 / (9 * above) + _Z / (3 * math.sqrt(above))) ** 3
    return Interval(round(count * scale), round(max(0.0, low) * scale), round(high * scale), Kind.CONFIDENCE)


def bucket(counts: Sequence[int], permille: int) -> tuple[int, int] | None:
    """The bucket [low, high) of a log2 histogram that holds a quantile; index i is [2^i, 2^(i+1)). None of nothing."""
    total, seen = sum(counts), 0
    for index, number in enumerate(counts):
        seen += number
        if number and seen * 1000 >= total * permille:
            return 1 << index, 1 << (index + 1)
    return None
