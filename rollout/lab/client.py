"""A steady client: one HTTP request after the other, each counted, lost ones with their reason."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Tally:
    """What a client saw."""

    sent: int = 0
    lost: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    worst_ms: int = 0


class SteadyClient:
    """Asks `url` every `interval_s` seconds from a thread of its own, until stopped. Nothing is retried.

    A request is lost when it has no answer 200 within `timeout_s`.
    """

    def __init__(self, url: str, interval_s: float = 0.05, timeout_s: float = 5.0) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._interval_s, self._timeout_s = interval_s, timeout_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="client", daemon=True)
        self.tally = Tally()

    def __enter__(self) -> SteadyClient:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(self._timeout_s + 1)

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            began = time.monotonic()
            reason = self._ask()
            self.tally.sent += 1
            self.tally.worst_ms = max(self.tally.worst_ms, int((time.monotonic() - began) * 1000))
            if reason:
                self.tally.lost += 1
                self.tally.reasons[reason] += 1

    def _ask(self) -> str:
        connection = http.client.HTTPConnection(*self._address, timeout=self._timeout_s)
        try:
            connection.request("GET", "/")
            answer = connection.getresponse()
            answer.read()
            return "" if answer.status == 200 else f"HTTP {answer.status}"
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__
        finally:
            connection.close()
