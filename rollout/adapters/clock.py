"""The system's clock."""

from __future__ import annotations

from datetime import UTC, datetime
from threading import Event


class SystemClock:
    """Wall-clock time in UTC. Waits go by the monotonic clock, so a clock that is set does not stretch them."""

    def now(self) -> datetime:
        """The present."""
        return datetime.now(UTC)

    def wait(self, seconds: float, cancel: Event | None = None) -> bool:
        """Wait; True when `cancel` was set before the time was over."""
        return (cancel or Event()).wait(max(0.0, seconds))
