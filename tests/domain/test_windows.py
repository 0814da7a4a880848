"""Windows and freezes: when nodes may begin, across midnight, weeks and clock changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.domain.node import DatapathMode
from rollout.domain.policy import Freeze, Policy, Window
from rollout.domain.windows import DAYS, longest_room_s, next_open, opening, room_s, window_span

BERLIN = ZoneInfo("Europe/Berlin")


def policy(*windows: Window, freezes: tuple[Freeze, ...] = ()) -> Policy:
    return Policy(target=DatapathMode.NETKIT, windows=windows, freezes=freezes)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NIGHTS = Window(("mon", "tue", "wed", "thu"), "22:00", "06:00", "Europe/Berlin")


def test_without_rules_it_is_always_open() -> None:
    found = opening(policy(), utc("2026-11-23T12:00"))
    assert (found.open, found.until, found.because) == (True, None, "")
    assert room_s(policy(), utc("2026-11-23T12:00")) is None
    assert longest_room_s(policy(), utc("2026-11-23T12:00")) is None


def test_a_window_over_midnight_belongs_to_the_day_it_starts() -> None:
    monday = utc("2026-11-23T12:00")
    closed = opening(policy(NIGHTS), monday)
    assert not closed.open
    assert closed.until == utc("2026-11-23T21:00"), "22:00 in Berlin in winter"
    inside = opening(policy(NIGHTS), utc("2026-11-24T03:00"))
    assert inside.open
    assert inside.until == utc("2026-11-24T05:00")
    assert "22:00-06:00 Europe/Berlin" in inside.because
    friday_morning, friday_night = utc("2026-11-27T04:00"), utc("2026-11-27T22:00")
    assert opening(policy(NIGHTS), friday_morning).open, "Thursday's window"
    weekend = opening(policy(NIGHTS), friday_night)
    assert (weekend.open, weekend.until) == (False, utc("2026-11-30T21:00"))


def test_touching_windows_are_one() -> None:
    two = policy(Window((), "00:00", "12:00"), Window((), "12:00", "24:00"))
    assert opening(two, utc("2026-11-23T11:00")).until is None
    one = policy(Window((), "10:00", "12:00"), Window((), "11:00", "13:00"))
    assert opening(one, utc("2026-11-23T10:30")).until == utc("2026-11-23T13:00")
    assert longest_room_s(one, utc("2026-11-23T00:00")) == 3 * 3600


def test_a_freeze_beats_a_window_and_ends_open_time() -> None:
    freeze = Freeze("Black Friday", "2026-11-27T00:00:00+01:00", "2026-12-01T00:00:00+01:00")
    both = policy(NIGHTS, freezes=(freeze,))
    before = opening(both, utc("2026-11-26T22:30"))
    assert (before.open, before.until) == (True, utc("2026-11-26T23:00"))
    held = opening(both, utc("2026-11-27T02:00"))
    assert not held.open
    assert held.because == "freeze 'Black Friday'"
    assert held.until == utc("2026-11-30T23:00"), "Monday's window is open when the freeze ends"


def test_overlapping_freezes_and_none_left() -> None:
    rows = (
        Freeze("a", "2026-11-01T00:00:00+00:00", "2026-11-24T00:00:00+00:00"),
        Freeze("b", "2026-11-23T00:00:00+00:00", "2026-11-25T00:00:00+00:00"),
    )
    assert next_open(policy(freezes=rows), utc("2026-11-23T12:00")) == utc("2026-11-25T00:00")
    forever = Freeze("for ever", "2026-01-01T00:00:00+00:00", "2030-01-01T00:00:00+00:00")
    assert opening(policy(NIGHTS, freezes=(forever,)), utc("2026-11-23T12:00")).until is None
    assert longest_room_s(policy(NIGHTS, freezes=(forever,)), utc("2026-11-23T12:00")) == 0


@pytest.mark.parametrize(
    ("day", "window", "hours"),
    [
        ("2026-03-28", Window((), "22:00", "06:00", "Europe/Berlin"), 7.0),
        ("2026-10-24", Window((), "22:00", "06:00", "Europe/Berlin"), 9.0),
        ("2026-03-29", Window((), "02:15", "02:45", "Europe/Berlin"), 0.5),
        ("2026-03-29", Window((), "00:00", "24:00", "Europe/Berlin"), 23.0),
        ("2026-06-01", Window((), "12:00", "12:00", "Europe/Berlin"), 24.0),
    ],
)
def test_clock_changes(day: str, window: Window, hours: float) -> None:
    span = window_span(window, datetime.fromisoformat(day).date())
    assert span is not None
    assert (span.end - span.start) == timedelta(hours=hours)


def test_a_window_that_the_clock_jumps_over_is_not_there() -> None:
    assert window_span(Window((), "02:30", "03:15", "Europe/Berlin"), datetime(2026, 3, 29).date()) is None  # noqa: DTZ001


ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland"])
TIMES = st.integers(0, 95).map(lambda n: f"{n // 4:02}:{n % 4 * 15:02}")
WINDOWS = st.builds(Window, st.lists(st.sampled_from(DAYS), unique=True, max_size=3).map(tuple), TIMES, TIMES, ZONES)
MOMENTS = st.integers(0, 400 * 24 * 4).map(lambda n: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=15 * n))


@settings(max_examples=150, deadline=None)
@given(st.lists(WINDOWS, max_size=3), MOMENTS, st.lists(st.tuples(MOMENTS, st.integers(1, 200)), max_size=3))
def test_what_is_promised_is_kept(windows: list[Window], now: datetime, frozen: list[tuple[datetime, int]]) -> None:
    """Nothing changes before `until`, and something does at it; open is what its definition says."""
    freezes = tuple(
        Freeze(f"f{n}", start.isoformat(), (start + timedelta(hours=hours)).isoformat())
        for n, (start, hours) in enumerate(frozen)
    )
    rules = policy(*windows, freezes=freezes)
    found = opening(rules, now)
    assert found.open is _plainly_open(windows, frozen, now)
    if found.until is None:
        return
    assert found.until > now
    assert opening(rules, found.until).open is not found.open
    step = (found.until - now) / 7
    for number in range(1, 7):
        assert opening(rules, now + number * step).open is found.open


def _plainly_open(windows: list[Window], frozen: list[tuple[datetime, int]], at: datetime) -> bool:
    if any(start <= at < start + timedelta(hours=hours) for start, hours in frozen):
        return False
    spans = [
        window_span(w, at.astimezone(ZoneInfo(w.timezone)).date() - timedelta(days=back))
        for w in windows
        for back in (0, 1, 2)
    ]
    return not windows or any(span is not None and span.holds(at) for span in spans)
