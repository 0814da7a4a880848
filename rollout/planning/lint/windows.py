"""Whether windows and freezes are times, and leave any."""

from __future__ import annotations

import re
from datetime import datetime
from zoneinfo import ZoneInfo

from rollout.domain.plan import Plan
from rollout.domain.policy import Freeze, Window
from rollout.domain.windows import least_node_s, longest_room_s

_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d|24:00")
_DAYS = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"}


def window_faults(plan: Plan, at: datetime | None = None) -> list[str]:
    """Times that are none, and, from `at` on, no open time as long as one node takes at least."""
    faults = [fault for window in plan.policy.windows for fault in _window(window)]
    faults += [fault for freeze in plan.policy.freezes for fault in _freeze(freeze)]
    if faults or at is None:
        return faults
    room, least = longest_room_s(plan.policy, at), least_node_s(plan.policy)
    fits = room is None or room >= max(1, least)
    return [] if fits else [f"one node takes {least} s at least, windows and freezes leave {room} s open at most"]


def _window(window: Window) -> list[str]:
    faults = [f"a window has the day {day}" for day in window.days if day not in _DAYS]
    faults += [f"a window has the time {text}" for text in (window.start, window.end) if not _CLOCK.fullmatch(text)]
    try:
        ZoneInfo(window.timezone)
    except (KeyError, ValueError, OSError):
        faults.append(f"a window has the time zone {window.timezone}")
    return faults


def _freeze(freeze: Freeze) -> list[str]:
    try:
        start, end = datetime.fromisoformat(freeze.start), datetime.fromisoformat(freeze.end)
        return [] if start < end and start.tzinfo else [f"freeze {freeze.name!r} has no length or no offset"]
    except (ValueError, TypeError):
        return [f"freeze {freeze.name!r} has a time that is none"]
