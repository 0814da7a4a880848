"""Our own limit on requests: a token bucket. Being a good guest does not depend on the server's mood."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, Lock


class Throttle:
    """Lets `qps` requests per second through, `burst` at once. Callers wait in the order in which they came."""

    def __init__(self, qps: float, burst: int, *, now: Callable[[], float] = time.monotonic) -> None:
        if qps <= 0 or burst < 1:
            raise ValueError("qps must be above 0 and burst at least 1")
        self._qps = qps
        self._burst = float(burst)
        self._now = now
        self._lock = Lock()
        self._tokens = float(burst)
        self._filled = now()

    def reserve(self) -> float:
        """Take a token, in advance if need be; the seconds until it is ours."""
        with self._lock:
            moment = self._now()
            self._tokens = min(self._burst, self._tokens + max(0.0, moment - self._filled) * self._qps)
            self._filled = moment
            self._tokens -= 1
            return max(0.0, -self._tokens / self._qps)

    def take(self, stop: Event) -> None:
        """Wait for a token, or for `stop`."""
        pause = self.reserve()
        if pause > 0:
            stop.wait(pause)
