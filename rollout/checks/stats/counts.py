"""Two counts over two exposures: lost of sent packets, drops or resets over time.

The conditional test (C-test, Przyborowski and Wilenski 1940, doi:10.1093/biomet/31.3-4.313; discussed in Krishnamoorthy
and Thomson 2004, doi:10.1016/S0378-3758(02)00408-1): given the sum of two Poisson counts, the second is binomial with
chance r e1 / (r e1 + e0) for the ratio of rates r, so a Clopper-Pearson bound of that chance bounds r. It needs no
estimate of the common rate. For shares of packets the same test errs on the safe side: given the sum, the second count
is then hypergeometric, whose tails are lighter than the binomial's (Hoeffding 1963, theorem 4).

The difference follows from ratio and share together: with r >= low and p1 >= l1, p1 - p0 = p1 (1 - 1 / r) is at least
l1 (1 - 1 / low), so the interval of the difference excludes zero exactly when that of the ratio excludes one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from rollout.checks.stats.binomial import at_least, lower_bound, upper_bound

_MILLION = 1_000_000
_HUGE_PERCENT = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Count:
    """Events over an exposure: packets sent, or milliseconds watched."""

    events: int
    exposure: int

    def __add__(self, other: Count) -> Count:
        return Count(self.events + other.events, self.exposure + other.exposure)

    @property
    def ppm(self) -> int:
        """Events per million of exposure."""
        return round(self.events * _MILLION / self.exposure) if self.exposure else 0


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ratio of the rate now to the one before: its interval, and the chance of so many events now were they equal."""

    low: float
    high: float
    chance: float


@dataclass(frozen=True, slots=True)
class ShareChange:
    """How a share of packets changed, in parts per million of packets. The interval's ends err with `error` each."""

    before_ppm: int
    now_ppm: int
    change_ppm: int
    low_ppm: int
    high_ppm: int
    chance_ppb: int
    """Chance of so many now if nothing had changed, in parts per billion."""
    shown: bool
    """The interval excludes that nothing, or an improvement, happened."""

    def evidence(self) -> dict[str, object]:
        """As integers."""
        return {
            "before_ppm": self.before_ppm,
            "now_ppm": self.now_ppm,
            "change_ppm": self.change_ppm,
            "change_low_ppm": self.low_ppm,
            "change_high_ppm": self.high_ppm,
            "chance_ppb": self.chance_ppb,
        }


def compare_rates(before: Count, now: Count, error: float) -> Ratio:
    """The ratio of two Poisson rates; either end of its interval is wrong with a chance of at most `error`."""
    total = before.events + now.events
    if not total or not before.exposure or not now.exposure:
        return Ratio(0.0, math.inf, 1.0)
    low = _odds(lower_bound(now.events, total, error))
    high = _odds(upper_bound(now.events, total, error))
    scale = before.exposure / now.exposure
    return Ratio(low * scale, high * scale, chance_of_rise(before, now))


def chance_of_rise(before: Count, now: Count) -> float:
    """The chance of so many events now, given their sum, were the rates equal; at most the error: a rise is shown."""
    total = before.events + now.events
    if not total or not before.exposure or not now.exposure:
        return 1.0
    return at_least(now.events, total, now.exposure / (now.exposure + before.exposure))


def compare_shares(before: Count, now: Count, error: float) -> ShareChange:
    """The change of a share; whether a rise is shown errs with a chance of at most `error`."""
    ratio = compare_rates(before, now, error)
    least = lower_bound(now.events, now.exposure, error) if now.exposure else 0.0
    most = upper_bound(now.events, now.exposure, error)
    if ratio.chance <= error:
        low = least * (1.0 - 1.0 / max(1.0, ratio.low))
    else:
        low = min(0.0, least - upper_bound(before.events, before.exposure, error))
    if ratio.high < 1.0:
        high = least * (1.0 - 1.0 / max(ratio.high, 1e-9))
    else:
        high = most - (lower_bound(before.events, before.exposure, error) if before.exposure else 0.0)
    return ShareChange(
        before.ppm,
        now.ppm,
        now.ppm - before.ppm,
        math.floor(max(-1.0, low) * _MILLION),
        math.ceil(min(1.0, high) * _MILLION),
        round(ratio.chance * 1_000_000_000),
        ratio.chance <= error,
    )


def percent(ratio: float) -> int | None:
    """A ratio as whole percent; None when it has no bound."""
    return round(ratio * 100) if ratio * 100 < _HUGE_PERCENT else None


def _odds(chance: float) -> float:
    return chance / (1.0 - chance) if chance < 1.0 else math.inf
