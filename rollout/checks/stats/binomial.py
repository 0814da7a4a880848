"""Binomial tails and the exact bounds made from them.

Tails come from the regularized incomplete beta function: P(X >= k) = I_p(k, n - k + 1) (NIST DLMF 8.17.5), which is
evaluated by its continued fraction (DLMF 8.17.22) with Lentz's method (Press et al., Numerical Recipes, 6.4). The
bounds are those of Clopper and Pearson (1934, doi:10.1093/biomet/26.4.404): never less sure than stated.
"""

from __future__ import annotations

import math
from functools import lru_cache

_TINY = 1e-300
_PRECISION = 1e-14
_MOST_TERMS = 2000
_HALVINGS = 60
_CLOSE = 1e-7
"""Relative width at which a bound is found; its lower end is taken, which errs on the safe side."""


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function I_x(a, b), for a, b > 0."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _fraction(x, a, b) / a
    return 1.0 - front * _fraction(1.0 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, _apart(1.0 - (a + b) * x / (a + 1.0))
    value = d = 1.0 / d
    for m in range(1, _MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        d, c = 1.0 / _apart(1.0 + even * d), _apart(1.0 + even / c)
        value *= d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        d, c = 1.0 / _apart(1.0 + odd * d), _apart(1.0 + odd / c)
        value *= d * c
        if abs(d * c - 1.0) < _PRECISION:
            break
    return value


def _apart(value: float) -> float:
    """Lentz's method must not divide by zero."""
    return value if abs(value) > _TINY else _TINY


@lru_cache(maxsize=8192)
def at_least(k: int, n: int, p: float) -> float:
    """P(X >= k) for X binomial with n trials of chance p."""
    if k <= 0:
        return 1.0
    return 0.0 if k > n else beta_cdf(p, k, n - k + 1)


def at_most(k: int, n: int, p: float) -> float:
    """P(X <= k), exact in its own tail: made from the mirrored one, not from 1 - P(X > k)."""
    return at_least(n - k, n, 1.0 - p)


@lru_cache(maxsize=2048)
def lower_bound(k: int, n: int, error: float) -> float:
    """The chance p is not below this, but for `error`: the p at which k or more successes of n have that chance."""
    if k <= 0:
        return 0.0
    low, high = 0.0, k / n
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if at_least.__wrapped__(k, n, middle) > error else (middle, high)
        if high - low <= _CLOSE * high:
            break
    return low


def upper_bound(k: int, n: int, error: float) -> float:
    """The chance p is not above this, but for `error`."""
    return 1.0 if n <= 0 else 1.0 - lower_bound(n - k, n, error)
