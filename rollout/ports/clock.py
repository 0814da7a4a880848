"""Time."""

from __future__ import annotations

from datetime import datetime
from threading import Event
from typing import Protocol


class Clock(Protocol):
    """Timezone-aware UTC, and waiting."""

    def now(self) -> datetime:
        """The present."""
        ...

    def wait(self, seconds: float, cancel: Event | None = None) -> bool:
        """Wait; True when `cancel` was set before the time was over."""
        ...
