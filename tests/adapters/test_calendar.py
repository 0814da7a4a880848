"""iCalendar files as people export them: recurrences, zones, days, exceptions, and files that are none."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from rollout.adapters.calendar import read_freezes
from rollout.domain.errors import UsageError
from rollout.domain.policy import Freeze

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)


def event(*lines: str, uid: str = "1", summary: str = "freeze") -> str:
    return "\r\n".join(
        ["BEGIN:VEVENT", f"UID:{uid}", "DTSTAMP:20261101T000000Z", f"SUMMARY:{summary}", *lines, "END:VEVENT"]
    )


def calendar(*events: str, head: str = "") -> str:
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//test//",
        *([head] if head else []),
        *events,
        "END:VCALENDAR",
        "",
    ]
    return "\r\n".join(lines)


def read(folder: Path, text: str | bytes, now: datetime = NOW) -> list[tuple[str, str, str]]:
    file = folder / "freezes.ics"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    found = read_freezes([str(file)], now)
    assert all(freeze.calendar == str(file) for freeze in found)
    return [(f.name, f.start.removesuffix(":00+00:00"), f.end.removesuffix(":00+00:00")) for f in found]


def test_a_plain_event_in_a_zone(tmp_path: Path) -> None:
    text = event("DTSTART;TZID=Europe/Berlin:20261127T000000", "DTEND;TZID=Europe/Berlin:20261201T060000")
    assert read(tmp_path, calendar(text)) == [("freeze", "2026-11-26T23:00", "2026-12-01T05:00")]


def test_days_are_days_of_the_calendars_zone(tmp_path: Path) -> None:
    day = event("DTSTART;VALUE=DATE:20261224", "DTEND;VALUE=DATE:20261227")
    alone = event("DTSTART;VALUE=DATE:20261231", uid="2", summary="new year's eve")
    assert read(tmp_path, calendar(day, alone)) == [
        ("freeze", "2026-12-24T00:00", "2026-12-27T00:00"),
        ("new year's eve", "2026-12-31T00:00", "2027-01-01T00:00"),
    ]
    berlin = read(tmp_path, calendar(day, head="X-WR-TIMEZONE:Europe/Berlin"))
    assert berlin == [("freeze", "2026-12-23T23:00", "2026-12-26T23:00")]


def test_a_rule_keeps_its_wall_clock_time_across_clock_changes(tmp_path: Path) -> None:
    text = event(
        "DTSTART;TZID=Europe/Berlin:20260102T180000",
        "DURATION:PT6H",
        "RRULE:FREQ=WEEKLY;BYDAY=FR;UNTIL=20270402T160000Z",
    )
    found = read(tmp_path, calendar(text), datetime(2027, 3, 19, tzinfo=UTC))
    assert found == [
        ("freeze", "2027-03-19T17:00", "2027-03-19T23:00"),
        ("freeze", "2027-03-26T17:00", "2027-03-26T23:00"),
        ("freeze", "2027-04-02T16:00", "2027-04-02T22:00"),
    ]


def test_exceptions_moved_occurrences_and_further_dates(tmp_path: Path) -> None:
    rule = event(
        "DTSTART;TZID=Europe/Berlin:20261201T100000", "DTEND;TZID=Europe/Berlin:20261201T110000",
        "RRULE:FREQ=DAILY;COUNT=4", "EXDATE;TZID=Europe/Berlin:20261202T100000",
        "RDATE;TZID=Europe/Berlin:20261210T100000",
    )  # fmt: skip
    moved = event(
        "RECURRENCE-ID;TZID=Europe/Berlin:20261203T100000", "DTSTART;TZID=Europe/Berlin:20261203T150000",
        "DTEND;TZID=Europe/Berlin:20261203T160000", summary="moved",
    )  # fmt: skip
    off = event("RECURRENCE-ID;TZID=Europe/Berlin:20261204T100000", "DTSTART;TZID=Europe/Berlin:20261204T100000",
                "DTEND;TZID=Europe/Berlin:20261204T110000", "STATUS:CANCELLED")  # fmt: skip
    assert read(tmp_path, calendar(rule, moved, off)) == [
        ("freeze", "2026-12-01T09:00", "2026-12-01T10:00"),
        ("moved", "2026-12-03T14:00", "2026-12-03T15:00"),
        ("freeze", "2026-12-10T09:00", "2026-12-10T10:00"),
    ]


def test_yearly_days_and_what_is_past_or_beyond_the_horizon(tmp_path: Path) -> None:
    text = event("DTSTART;VALUE=DATE:20101224", "DTEND;VALUE=DATE:20101227", "RRULE:FREQ=YEARLY")
    past = event("DTSTART:20260101T000000Z", "DTEND:20261122T000000Z", uid="2")
    running = event("DTSTART:20261120T000000Z", "DTEND:20261123T000001Z", uid="3", summary="since Friday")
    assert read(tmp_path, calendar(text, past, running)) == [
        ("since Friday", "2026-11-20T00:00", "2026-11-23T00:00:01+00:00"),
        ("freeze", "2026-12-24T00:00", "2026-12-27T00:00"),
        ("freeze", "2027-12-24T00:00", "2027-12-27T00:00"),
    ]


def test_a_zone_of_its_own_definition(tmp_path: Path) -> None:
    zone = "\r\n".join(
        ["BEGIN:VTIMEZONE", "TZID:Office", "BEGIN:STANDARD", "DTSTART:19700101T000000", "TZOFFSETFROM:+0500",
         "TZOFFSETTO:+0500", "TZNAME:OFF", "END:STANDARD", "END:VTIMEZONE"]
    )  # fmt: skip
    text = event("DTSTART;TZID=Office:20261201T100000", "DTEND;TZID=Office:20261201T110000")
    assert read(tmp_path, calendar(zone, text)) == [("freeze", "2026-12-01T05:00", "2026-12-01T06:00")]


def test_the_same_twice_and_several_files(tmp_path: Path) -> None:
    one, two = tmp_path / "a.ics", tmp_path / "b.ics"
    text = event("DTSTART:20261201T100000Z", "DTEND:20261201T110000Z")
    one.write_text(calendar(text, text))
    two.write_text(calendar(text) + calendar(event("DTSTART:20261101T100000Z", "DTEND:20261231T110000Z", uid="9")))
    found = read_freezes([str(two), str(one)], NOW)
    assert found == read_freezes([str(one), str(two)], NOW.replace(hour=23))
    assert found[0] == Freeze("freeze", "2026-11-01T10:00:00+00:00", "2026-12-31T11:00:00+00:00", str(two))
    assert len(found) == 3


def test_a_hostile_summary_is_only_text(tmp_path: Path) -> None:
    text = event("DTSTART:20261201T100000Z", "DTEND:20261201T110000Z", summary="<b>x</b>\\n\x1b[31m" + "y" * 500)
    name = read(tmp_path, calendar(text))[0][0]
    assert name.startswith("<b>x</b> [31my")
    assert len(name) == 120
    assert name.isprintable()


TIMES = ("DTSTART:20261201T100000Z", "DTEND:20261201T110000Z")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is no iCalendar file"),
        ("hello", "line 1: it is no iCalendar file"),
        (b"\xff\xfe\x00", "no UTF-8 text"),
        (event(*TIMES), "BEGIN:VCALENDAR is missing"),
        (calendar(event(*TIMES))[:-20], "it is no iCalendar file"),
        (calendar(event(*TIMES, "what is this")), "line 10: VEVENT: Content line could not be parsed"),
        (calendar(event("DTSTART:tomorrow", "DTEND:later")), "line 8: property DTSTART of VEVENT"),
        (calendar(event("DTEND:20261201T110000Z")), "event 'freeze' has no start"),
        (calendar(event("DTSTART:20261201T100000Z")), "freezes nothing"),
        (calendar(event("DTSTART:20261201T100000Z", "DTEND:20261130T100000Z")), "ends no later than it starts"),
        (calendar(event("DTSTART;TZID=Mars/Base:20261201T100000", "DURATION:PT1H")), "no time zone 'Mars/Base'"),
        (calendar(event(*TIMES), head="X-WR-TIMEZONE:Mars/Base"), "X-WR-TIMEZONE: there is no time zone"),
        (calendar(event(*TIMES, "RRULE:FREQ=SECONDLY")), "more often than every hour"),
        (calendar(event(*TIMES, "RRULE:FREQ=NEVER")), "RRULE"),
        (calendar(event(*TIMES, "RECURRENCE-ID;RANGE=THISANDFUTURE:20261201T100000Z")), "THISANDFUTURE"),
        (calendar(*(event(*TIMES, uid=str(n), summary=f"e{n}") for n in range(2001))), "more than 2000 events"),
    ],
)
def test_a_file_that_is_no_calendar_of_freezes(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(UsageError, match=r"cannot use calendar .*freezes.ics: ") as error:
        read(tmp_path, text)
    assert said in error.value.message
    assert error.value.hint


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_freezes([str(tmp_path / "none.ics")], NOW)
