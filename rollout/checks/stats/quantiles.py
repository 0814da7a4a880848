"""Intervals of latency quantiles, without any assumption about the shape of the distribution.

Order statistics: the number of samples at or below the q-quantile is binomial, so the l-th smallest sample is above it
only when fewer than l are below (David and Nagaraja, Order Statistics, 3rd ed., 7.1; sequentially: Howard and Ramdas
2022, doi:10.3150/21-BEJ1388, whose uniform bounds are replaced by exact ones with the error spent over the looks).

Round trips measured one after the other resemble their neighbours: a busy moment slows many in a row. Counted as
independent they would look surer than they are, so the binomial is that of the effective sample size
n / (1 + 2 sum rho_k), where the autocorrelations of "slower than the quantile", or than the median if they are larger,
are summed up to the first that is not positive (Geyer 1992, doi:10.1214/ss/1177011137, initial positive sequence).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

from rollout.checks.stats.binomial import at_least, at_most

_MOST_LAG = 64


@dataclass(frozen=True, slots=True)
class Interval:
    """A quantile in the unit of its samples: estimate and bounds. `high` None: the samples give no upper bound."""

    estimate: int
    low: int
    high: int | None


@dataclass(frozen=True, slots=True)
class Shift:
    """How a quantile moved: difference and ratio, with intervals. An upper end of None has no bound."""

    before: Interval
    now: Interval

    @property
    def change(self) -> int:
        """Estimate of the difference."""
        return self.now.estimate - self.before.estimate

    @property
    def low(self) -> int | None:
        """The least the difference may be; None when the time before has no upper bound."""
        return None if self.before.high is None else self.now.low - self.before.high

    @property
    def high(self) -> int | None:
        """The most the difference may be."""
        return None if self.now.high is None else self.now.high - self.before.low

    def evidence(self) -> dict[str, object]:
        """As integers, in microseconds and percent."""
        before, now = self.before, self.now
        return {
            "before_us": before.estimate,
            "now_us": now.estimate,
            "change_us": self.change,
            "change_low_us": self.low,
            "change_high_us": self.high,
            "ratio_percent": _percent(now.estimate, before.estimate),
            "ratio_low_percent": _percent(now.low, before.high),
            "ratio_high_percent": _percent(now.high, before.low),
        }


def _percent(over: int | None, under: int | None) -> int | None:
    return round(over * 100 / under) if over is not None and under else None


@lru_cache(maxsize=4096)
def ranks(size: int, q_percent: int, error: float) -> tuple[int, int | None]:
    """Ranks, from 1, of the samples that bound a quantile from below and above, each but for `error`.

    Rank 0: no sample bounds it from below. None: no sample bounds it from above.
    """
    q = q_percent / 100
    low = _most(size, lambda rank: at_most(rank - 1, size, q) <= error)
    above = _most(size, lambda mirrored: at_least(size + 1 - mirrored, size, q) <= error)
    return low, (size + 1 - above if above else None)


def _most(size: int, holds: object) -> int:
    """The largest rank for which a condition holds that holds for all smaller ones too; 0 when for none."""
    assert callable(holds)
    low, high = 0, size
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low


def effective_size(samples: Sequence[int], q_percent: int = 50) -> int:
    """How many independent samples a series in the order of time is worth; never more than it has."""
    size, border = len(samples), plain(samples, q_percent)
    above = [sample > border for sample in samples]
    mean = sum(above) / size if size else 0.0
    variance = mean * (1.0 - mean)
    if variance <= 0.0:
        return size
    total = 0.0
    for lag in range(1, min(_MOST_LAG, size // 4)):
        both = sum(map(_and, above, above[lag:]))
        rho = (both / (size - lag) - mean * mean) / variance
        if rho <= 0.0:
            break
        total += rho
    return max(1, math.floor(size / (1.0 + 2.0 * total)))


def _worth(window: Sequence[int], q_percent: int) -> int:
    return min(effective_size(window, q) for q in {50, q_percent})


def _and(one: bool, other: bool) -> bool:
    return one and other


def of_samples(windows: Sequence[Sequence[int]], q_percent: int, error: float) -> Interval | None:
    """The quantile of all windows' samples together, each window in the order of time; None without any sample."""
    ordered = sorted(sample for window in windows for sample in window)
    if not ordered:
        return None
    size = len(ordered)
    worth = max(1, sum(_worth(window, q_percent) for window in windows))
    low, high = ranks(worth, q_percent, error)
    first = math.floor(low * size / worth)
    last = None if high is None else min(size, math.ceil(high * size / worth))
    return Interval(
        ordered[max(0, math.ceil(q_percent * size / 100) - 1)],
        ordered[first - 1] if first else 0,
        None if last is None else ordered[last - 1],
    )


def plain(samples: Sequence[int], q_percent: int) -> int:
    """The quantile itself, without bounds: the smallest sample that q percent do not exceed. 0 without samples."""
    return sorted(samples)[max(0, math.ceil(q_percent * len(samples) / 100) - 1)] if samples else 0


def of_log2(counts: Sequence[int], q_percent: int, error: float) -> Interval | None:
    """The quantile of a histogram whose index i counts [2^i, 2^(i+1)): the edges of the buckets that bound it.

    The estimate is the lower edge of its bucket. None when nothing was counted.
    """
    totals = list(accumulate(counts))
    size = totals[-1] if totals else 0
    if not size:
        return None
    low, high = ranks(size, q_percent, error)
    at = bisect_left(totals, max(1, math.ceil(q_percent * size / 100)))
    return Interval(
        1 << at if at else 0,
        1 << index if low and (index := bisect_left(totals, low)) else 0,
        None if high is None else 1 << (bisect_left(totals, high) + 1),
    )
