"""When nodes may begin: windows less freezes, as pure questions about a moment.

Decision: a window is wall-clock time in its own zone. Where clocks are put forward or back inside it, it is an hour
shorter or longer; a start or end that the clock skips is read with the offset from before the change, one that comes
twice is its first. Instead of a fixed length: people agree on "from 22:00 to 06:00", never on seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from rollout.domain.policy import Freeze, Policy, Window

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HORIZON = timedelta(days=400)
"""How far ahead an opening is looked for: longer than a year, so that a yearly freeze is seen through."""
_CLOSE_HORIZON = timedelta(days=14)
"""How far ahead a closing is looked for: longer than any node takes."""
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Opening:
    """Whether nodes may begin. `until`: when that changes; None: not within the horizon."""

    open: bool
    until: datetime | None
    because: str
    """Which window or freeze it is, in words; empty when no rule speaks."""


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` up to, not including, `end`, in UTC."""

    start: datetime
    end: datetime
    name: str = ""

    def holds(self, at: datetime) -> bool:
        """Whether the moment lies inside."""
        return self.start <= at < self.end


def opening(policy: Policy, at: datetime) -> Opening:
    """Whether a node may begin at `at`, and until when that stays so. `at` is timezone-aware."""
    now = at.astimezone(UTC)
    if not policy.windows and not policy.freezes:
        return Opening(True, None, "")
    frozen = _frozen(policy.freezes, now)
    if frozen is not None:
        return Opening(False, next_open(policy, now), f"freeze {frozen.name!r}")
    inside = _inside(policy.windows, now)
    if policy.windows and inside is None:
        return Opening(False, next_open(policy, now), "outside of every window")
    return Opening(True, _closes(policy, now), inside.name if inside else "")


def next_open(policy: Policy, at: datetime) -> datetime | None:
    """The first moment from `at` on at which a node may begin; None within the horizon."""
    moment, last = at.astimezone(UTC), at.astimezone(UTC) + HORIZON
    while moment <= last:
        frozen = _frozen(policy.freezes, moment)
        if frozen is not None:
            moment = frozen.end
            continue
        if not policy.windows or _inside(policy.windows, moment):
            return moment
        coming = next(_occurrences(policy.windows, moment), None)
        moment = max(moment, coming.start) if coming else moment + 7 * _DAY
    return None


def room_s(policy: Policy, at: datetime) -> int | None:
    """Whole seconds left at `at` in which nodes may begin: 0 when closed, None when no end is near."""
    found = opening(policy, at)
    if not found.open:
        return 0
    return None if found.until is None else int((found.until - at).total_seconds())


def longest_room_s(policy: Policy, at: datetime) -> int | None:
    """The longest stretch of open time within the horizon from `at` on, in seconds; None: one that has no near end.

    0: it never opens.
    """
    best, moment, last = 0, next_open(policy, at), at.astimezone(UTC) + HORIZON
    while moment is not None and moment <= last:
        ends = _closes(policy, moment)
        if ends is None:
            return None
        best = max(best, int((ends - moment).total_seconds()))
        moment = next_open(policy, ends)
    return best


def window_span(window: Window, day: date) -> Span | None:
    """The window that starts on a day of its own zone; None when that is none of its days or it has no length."""
    if window.days and DAYS[day.weekday()] not in window.days:
        return None
    zone, start_s, end_s = ZoneInfo(window.timezone), _minutes(window.start), _minutes(window.end)
    ends_on = day + _DAY if end_s <= start_s else day
    start, end = _moment(day, start_s, zone), _moment(ends_on, end_s, zone)
    days = ",".join(window.days) if window.days else "daily"
    name = f"window {days} {window.start}-{window.end} {window.timezone}"
    return Span(start, end, name) if start < end else None


def freeze_span(freeze: Freeze) -> Span:
    """A freeze as a span. Raises ValueError for a time that is none or has no offset."""
    start, end = datetime.fromisoformat(freeze.start), datetime.fromisoformat(freeze.end)
    if start.tzinfo is None or end.tzinfo is None:
        raise ValueError("a time without an offset from UTC")
    return Span(start.astimezone(UTC), end.astimezone(UTC), freeze.name)


def _minutes(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


def _moment(day: date, minutes: int, zone: ZoneInfo) -> datetime:
    """A wall-clock time as UTC. 24:00 is midnight of the next day."""
    wall = time(minutes // 60 % 24, minutes % 60)
    return datetime.combine(day + timedelta(days=minutes // 1440), wall, zone).astimezone(UTC)


@lru_cache(maxsize=8)
def _freezes(freezes: tuple[Freeze, ...]) -> tuple[Span, ...]:
    return tuple(sorted((freeze_span(f) for f in freezes), key=lambda s: (s.start, s.end, s.name)))


def _frozen(freezes: tuple[Freeze, ...], at: datetime) -> Span | None:
    """The freeze that lasts longest of those that hold now."""
    return max((s for s in _freezes(freezes) if s.holds(at)), key=lambda s: s.end, default=None)


def _occurrences(windows: Sequence[Window], at: datetime) -> Iterator[Span]:
    """Window times that end after `at`, by their start, for eight days: each window comes round in seven."""
    found = []
    for window in windows:
        first = at.astimezone(ZoneInfo(window.timezone)).date() - 2 * _DAY
        spans = (window_span(window, first + number * _DAY) for number in range(10))
        found += [span for span in spans if span is not None and span.end > at]
    return iter(sorted(found, key=lambda s: (s.start, s.end, s.name)))


def _inside(windows: Sequence[Window], at: datetime) -> Span | None:
    held = (span for span in _occurrences(windows, at) if span.holds(at))
    return max(held, key=lambda s: (s.end, s.name), default=None)


def _closes(policy: Policy, at: datetime) -> datetime | None:
    """The end of open time that holds at `at`: of the windows that overlap or touch, or the next freeze's start."""
    last = at + _CLOSE_HORIZON
    ahead = [span.start for span in _freezes(policy.freezes) if span.start > at]
    frozen = min(ahead, default=None)
    ends: datetime | None = None
    if policy.windows:
        ends = at
        while ends <= last and (inside := _inside(policy.windows, ends)) is not None:
            ends = inside.end
    known = [moment for moment in (ends, frozen) if moment is not None and moment <= last]
    return min(known, default=None)


def least_node_s(policy: Policy) -> int:
    """Seconds that one node takes at the very least, by the policy's fixed waits: watching twice, and the soak.

    A lower bound that always holds; drains and restarts come on top, and take as long as they take.
    """
    return policy.soak_fenced_s + 2 * policy.probes.window_s
