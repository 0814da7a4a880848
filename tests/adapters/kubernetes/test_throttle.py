"""The token bucket."""

from __future__ import annotations

import threading
import time

import pytest

from rollout.adapters.kubernetes.throttle import Throttle


class Hands:
    """A monotonic clock moved by hand."""

    moment = 100.0

    def __call__(self) -> float:
        return self.moment


def test_a_burst_passes_and_the_rest_waits_its_turn() -> None:
    hands = Hands()
    throttle = Throttle(10.0, 3, now=hands)
    assert [throttle.reserve() for _ in range(3)] == [0.0, 0.0, 0.0]
    assert [round(throttle.reserve(), 3) for _ in range(3)] == [0.1, 0.2, 0.3]
    hands.moment += 0.3
    assert round(throttle.reserve(), 3) == 0.1
    hands.moment += 1000
    assert [throttle.reserve() for _ in range(3)] == [0.0, 0.0, 0.0]
    assert throttle.reserve() > 0


def test_a_clock_that_goes_back_gives_nothing_away() -> None:
    hands = Hands()
    throttle = Throttle(1.0, 1, now=hands)
    throttle.reserve()
    hands.moment -= 50
    assert throttle.reserve() == pytest.approx(1.0)


def test_stopping_ends_the_wait() -> None:
    throttle = Throttle(0.001, 1)
    stop = threading.Event()
    throttle.take(stop)
    started = time.monotonic()
    threading.Timer(0.05, stop.set).start()
    throttle.take(stop)
    assert time.monotonic() - started < 5


def test_nonsense_is_refused() -> None:
    for qps, burst in ((0.0, 1), (-1.0, 1), (1.0, 0)):
        with pytest.raises(ValueError, match="qps"):
            Throttle(qps, burst)
