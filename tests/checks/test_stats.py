"""The statistics against SciPy, against exact small cases, and by simulation: stated errors hold, also when peeking."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rollout.checks.stats.binomial import at_least, at_most, lower_bound, upper_bound
from rollout.checks.stats.controls import common_shift
from rollout.checks.stats.counts import Count, chance_of_rise, compare_rates, compare_shares
from rollout.checks.stats.looks import DROPS, LATENCY, LOSS, TCP, at_look, error_of
from rollout.checks.stats.quantiles import effective_size, of_log2, of_samples, plain, ranks

CHANCES = st.floats(1e-6, 1 - 1e-6)
RUNS, WINDOWS = 2000, 8


@settings(deadline=None)
@given(st.integers(1, 5000), st.data(), CHANCES)
def test_tails_are_those_of_scipy(n: int, data: st.DataObject, p: float) -> None:
    k = data.draw(st.integers(0, n))
    assert at_least(k, n, p) == pytest.approx(stats.binom.sf(k - 1, n, p), rel=1e-8, abs=1e-200)
    assert at_most(k, n, p) == pytest.approx(stats.binom.cdf(k, n, p), rel=1e-8, abs=1e-200)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3000), st.data(), st.sampled_from([0.05, 1e-3, 1e-5, 1e-7]))
def test_bounds_are_clopper_and_pearsons(n: int, data: st.DataObject, error: float) -> None:
    k = data.draw(st.integers(0, n))
    interval = stats.binomtest(k, n).proportion_ci(1 - 2 * error, "exact")
    assert lower_bound(k, n, error) == pytest.approx(interval.low, rel=1e-5, abs=1e-12)
    assert upper_bound(k, n, error) == pytest.approx(interval.high, rel=1e-5, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40), st.integers(1, 5000), st.integers(0, 80), st.integers(1, 5000))
def test_the_rate_test_is_the_conditional_binomial_test(a: int, ta: int, b: int, tb: int) -> None:
    if a + b:
        expected = stats.binomtest(b, a + b, tb / (ta + tb), alternative="greater").pvalue
        assert compare_rates(Count(a, ta), Count(b, tb), 1e-3).chance == pytest.approx(expected, rel=1e-8)


def test_for_shares_it_is_no_surer_than_fishers_exact_test_where_it_decides() -> None:
    """Where either would call a rise shown, the conditional binomial test gives the larger chance."""
    judged = 0
    for sent in (50, 400, 1600):
        for lost_before in (0, 1, 5, 40):
            for lost in range(lost_before, 50):
                fisher = stats.hypergeom.sf(lost - 1, 2 * sent, lost + lost_before, sent)
                ours = compare_rates(Count(lost_before, sent), Count(lost, sent), 1e-3).chance
                if fisher < 0.05 and lost <= sent:
                    judged += 1
                    assert ours >= fisher * (1 - 1e-9)
    assert judged > 100


def test_known_small_cases() -> None:
    assert compare_rates(Count(0, 100), Count(10, 100), 1e-3).chance == pytest.approx(2**-10)
    assert compare_rates(Count(0, 300), Count(3, 100), 1e-3).chance == pytest.approx(4**-3)
    assert compare_rates(Count(0, 0), Count(3, 100), 1e-3).low == 0.0
    assert math.isinf(compare_rates(Count(0, 100), Count(3, 100), 1e-3).high)
    assert ranks(10, 50, 0.011) == (2, 9)  # P(X <= 1) = 11/1024 for ten coins, P(X <= 2) = 56/1024
    assert ranks(10, 50, 0.01) == (1, 10)
    assert ranks(5, 50, 0.01) == (0, None)


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 30), st.integers(50, 3000), st.integers(0, 60), st.integers(60, 3000), st.sampled_from([0.01, 1e-5])
)
def test_the_interval_of_a_difference_agrees_with_the_decision(a: int, na: int, b: int, nb: int, error: float) -> None:
    change = compare_shares(Count(a, na), Count(b, nb), error)
    assert change.low_ppm <= change.change_ppm <= change.high_ppm
    assert change.shown == (chance_of_rise(Count(a, na), Count(b, nb)) <= error)
    assert not change.shown or change.low_ppm >= 0
    assert change.shown or change.low_ppm <= 0


def test_the_interval_of_a_difference_covers_it() -> None:
    generator = np.random.default_rng(7)
    missed = 0
    for _ in range(RUNS):
        p, q = generator.uniform(0, 0.05, 2)
        before, now = int(generator.binomial(400, p)), int(generator.binomial(900, q))
        change = compare_shares(Count(before, 400), Count(now, 900), 0.025)
        missed += not change.low_ppm <= (q - p) * 1e6 <= change.high_ppm
    assert missed / RUNS <= 0.1, missed  # at most four bounds of 2.5 % each


def peeking(alarm: Callable[[np.random.Generator, float], bool], error: float, seed: int) -> float:
    """Share of runs in which any of the looks raised an alarm."""
    generator = np.random.default_rng(seed)
    return sum(alarm(generator, error) for _ in range(RUNS)) / RUNS


def loss_alarm(p: float) -> Callable[[np.random.Generator, float], bool]:
    def run(generator: np.random.Generator, error: float) -> bool:
        before, now = Count(int(generator.binomial(1600, p)), 1600), Count(0, 0)
        for look in range(1, WINDOWS + 1):
            now += Count(int(generator.binomial(400, p)), 400)
            if chance_of_rise(before, now) <= at_look(error, look):
                return True
        return False

    return run


def rate_alarm(generator: np.random.Generator, error: float) -> bool:
    before, now = Count(int(generator.poisson(30)), 4000), Count(0, 0)
    for look in range(1, WINDOWS + 1):
        now += Count(int(generator.poisson(30)), 4000)
        if chance_of_rise(before, now) <= at_look(error, look):
            return True
    return False


def quantile_alarm(q: int) -> Callable[[np.random.Generator, float], bool]:
    def run(generator: np.random.Generator, error: float) -> bool:
        before = of_samples([tuple(generator.lognormal(6, 0.5, 100).astype(int).tolist())], q, error / 2)
        windows: list[tuple[int, ...]] = []
        for look in range(1, WINDOWS + 1):
            windows.append(tuple(generator.lognormal(6, 0.5, 100).astype(int).tolist()))
            now = of_samples(windows, q, at_look(error / 2, look))
            if before and now and before.high is not None and now.low > before.high:
                return True
        return False

    return run


@pytest.mark.parametrize(
    ("name", "alarm"),
    [
        ("loss of 1 %", loss_alarm(0.01)),
        ("loss of 10 %", loss_alarm(0.1)),
        ("Poisson rate", rate_alarm),
        ("median", quantile_alarm(50)),
        ("p90", quantile_alarm(90)),
    ],
)
def test_peeking_at_every_window_stays_below_the_stated_error(
    name: str, alarm: Callable[[np.random.Generator, float], bool], record_property: Callable[[str, object], None]
) -> None:
    """No change, and not even a tolerance: an alarm is any rise shown at any of eight looks."""
    share = peeking(alarm, 0.05, seed=11)
    record_property(name, share)
    assert share <= 0.05, name


def test_samples_that_resemble_their_neighbours_count_less() -> None:
    rng = random.Random(3)
    white = [rng.gauss(0, 1) for _ in range(400)]
    sticky = [0.0]
    for _ in range(399):
        sticky.append(0.9 * sticky[-1] + rng.gauss(0, 1))
    as_us = [[int(1000 + 100 * value) for value in series] for series in (white, sticky)]
    assert effective_size(as_us[0]) > 250
    assert effective_size(as_us[1]) < 120
    assert effective_size([5] * 400) == 400
    assert effective_size([]) == 0


def test_sticky_series_raise_no_more_alarms_than_stated() -> None:
    rng, alarms, runs = random.Random(5), 0, 600

    def series() -> list[int]:
        value, found = rng.gauss(0, 2.29), []
        for _ in range(400):
            value = 0.9 * value + rng.gauss(0, 1)
            found.append(int(1000 + 100 * value))
        return found

    for _ in range(runs):
        before, now = of_samples([series()], 50, 0.025), of_samples([series()], 50, 0.025)
        assert before is not None and now is not None
        alarms += before.high is not None and now.low > before.high
    assert alarms / runs <= 0.05


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=300), st.sampled_from([50, 90]))
def test_an_interval_holds_its_estimate(samples: list[int], q: int) -> None:
    found = of_samples([samples], q, 1e-3)
    assert found is not None
    assert found.low <= found.estimate <= (found.estimate if found.high is None else found.high)
    assert found.estimate == plain(samples, q) == np.percentile(samples, q, method="inverted_cdf")


@settings(deadline=None)
@given(st.lists(st.integers(1, 2**20), min_size=1, max_size=400), st.sampled_from([50, 90]))
def test_a_histogram_bounds_what_its_samples_would(samples: list[int], q: int) -> None:
    counts = [0] * 24
    for sample in samples:
        counts[sample.bit_length() - 1] += 1
    coarse, estimate = of_log2(counts, q, 1e-3), plain(samples, q)
    assert coarse is not None
    assert coarse.low <= estimate
    assert coarse.high is None or coarse.high > estimate
    assert of_log2([0] * 24, q, 1e-3) is None


def test_the_error_of_a_node_is_shared_out_whole_and_never_more() -> None:
    shares = [error_of(LOSS, 1000, 1), error_of(LATENCY, 1000, 8) * 8, error_of(DROPS, 1000, 3) * 3]
    assert sum(shares) + error_of(TCP, 1000, 6) * 6 == pytest.approx(1e-3)
    assert sum(at_look(0.05, look) for look in range(1, 10_000)) == pytest.approx(0.05, rel=1e-3)


def test_controls_count_only_when_half_of_them_show_it() -> None:
    assert common_shift([]) == 0
    assert common_shift([5000]) == 5000
    assert common_shift([0, 9000]) == 0
    assert common_shift([4000, 9000, 5000]) == 5000
    assert common_shift([-4000, -100]) == 0
