"""iCalendar files (RFC 5545) as freezes.

Decision: `icalendar` reads the files, `dateutil` expands rules; putting both together is ours. The library that does so
(recurring-ical-events) allows only python-dateutil below 3, the Kubernetes client only 3 and above. Rules are expanded
in the event's own wall-clock time, so that "every Friday at 18:00" stays at 18:00 across clock changes.

What an event says is somebody else's text: it is kept as data, cut, and freed of control characters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr
from icalendar import Calendar, Event

from rollout.domain.errors import UsageError
from rollout.domain.policy import Freeze
from rollout.domain.windows import HORIZON

_MOST_BYTES = 5_000_000
_MOST_FREEZES = 2_000
"""A calendar of more events is no calendar of freezes; each is shown in the plan."""
_LONGEST_NAME = 120
_TOO_OFTEN = ("SECONDLY", "MINUTELY")
_HINT = "mend the calendar or take it out of policy.calendars"

Moment = date | datetime


@dataclass(frozen=True, slots=True)
class _Span:
    start: datetime
    end: datetime
    name: str


def read_freezes(files: Sequence[str], since: datetime) -> tuple[Freeze, ...]:
    """Events of all files that touch the time from the day of `since` to the horizon, by their start, each once.

    Raises `UsageError` naming the file and what is wrong in it: a calendar that is half understood might leave out the
    one freeze that counts.
    """
    begin = since.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    found: set[Freeze] = set()
    for file in files:
        for span in _spans(file, begin, begin + HORIZON):
            found.add(Freeze(span.name, span.start.isoformat(), span.end.isoformat(), file))
            if len(found) > _MOST_FREEZES:
                raise _wrong(file, f"it has more than {_MOST_FREEZES} events in {HORIZON.days} days")
    return tuple(sorted(found, key=lambda f: (f.start, f.end, f.name, f.calendar)))


def _spans(file: str, begin: datetime, end: datetime) -> Iterator[_Span]:
    for calendar in _calendars(file):
        zone = _zone_of(file, calendar)
        events = [event for event in calendar.walk("VEVENT") if isinstance(event, Event)]
        replaced = _replaced(file, events, zone)
        for event in events:
            if str(event.get("STATUS", "")).upper() != "CANCELLED":
                yield from _of_event(file, event, zone, replaced, begin, end)


def _calendars(file: str) -> list[Calendar]:
    text = _read(file)
    try:
        parsed = Calendar.from_ical(text, multiple=True)
    except (ValueError, IndexError, KeyError, AttributeError, TypeError) as error:
        raise _wrong(file, f"{_line_of(text)}it is no iCalendar file: {error}") from error
    found = [one for one in parsed if isinstance(one, Calendar)]
    if not found or len(found) < len(parsed):
        raise _wrong(file, "it is no iCalendar file: BEGIN:VCALENDAR is missing")
    for calendar in found:
        for part in calendar.walk():
            for name, why in part.errors:
                what = f"property {name} of {part.name}" if name else str(part.name)
                raise _wrong(file, f"{_line_of(text, str(name or ''))}{what}: {why}")
    return found


def _read(file: str) -> str:
    try:
        data = Path(file).read_bytes()
    except OSError as error:
        raise _wrong(file, error.strerror or str(error), "name an iCal file that can be read") from error
    if len(data) > _MOST_BYTES:
        raise _wrong(file, f"it has more than {_MOST_BYTES} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _wrong(file, f"it is no UTF-8 text: {error.reason} at byte {error.start}") from error


def _line_of(text: str, name: str = "") -> str:
    """`line 12: ` of the first line that starts with the property, or that is no content line; empty when none is."""
    for number, line in enumerate(text.splitlines(), 1):
        folded = line.startswith((" ", "\t")) or not line
        hit = line.upper().startswith(name.upper()) if name else not folded and ":" not in line
        if hit and not folded:
            return f"line {number}: "
    return ""


def _zone_of(file: str, calendar: Calendar) -> tzinfo:
    """The zone of days and of times without one: the calendar's own, else UTC."""
    name = str(calendar.get("X-WR-TIMEZONE", "UTC"))
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise _wrong(file, f"X-WR-TIMEZONE: there is no time zone {_clean(name)!r}") from error


def _replaced(file: str, events: Sequence[Event], zone: tzinfo) -> set[tuple[str, datetime]]:
    """Occurrences of a rule that an event of their own stands for, by UID and original start."""
    found = set()
    for event in events:
        instead = event.get("RECURRENCE-ID")
        if instead is not None:
            if str(instead.params.get("RANGE", "")).upper() == "THISANDFUTURE":
                raise _wrong(file, f"event {_name(event)!r}: RANGE=THISANDFUTURE is not understood")
            found.add((str(event.get("UID", "")), _instant(file, event, instead, zone)))
    return found


def _of_event(
    file: str,
    event: Event,
    zone: tzinfo,
    replaced: set[tuple[str, datetime]],
    begin: datetime,
    end: datetime,
) -> Iterator[_Span]:
    first, length, own = _first(file, event, zone)
    uid, single = str(event.get("UID", "")), event.get("RECURRENCE-ID") is not None
    left_out = {_instant(file, event, each, zone) for each in _dates(event, "EXDATE")}
    for wall in _walls(file, event, first, own, begin - length, end):
        start = wall.replace(tzinfo=own).astimezone(UTC)
        if start in left_out or (not single and (uid, start) in replaced):
            continue
        finish = (wall + length).replace(tzinfo=own).astimezone(UTC) if _is_day(event) else start + length
        if start < end and finish > begin:
            yield _Span(start, finish, _name(event))


def _first(file: str, event: Event, zone: tzinfo) -> tuple[datetime, timedelta, tzinfo]:
    """The first start as wall-clock time, how long each occurrence is, and the event's zone."""
    stated = event.get("DTSTART")
    if stated is None or isinstance(stated, list):
        raise _wrong(file, f"event {_name(event)!r} has no start, or several")
    start, finish = _moment(file, event, stated), event.get("DTEND")
    own = start.tzinfo if isinstance(start, datetime) and start.tzinfo else zone
    wall = _wall(start, own)
    if finish is not None and not isinstance(finish, list):
        ends = _moment(file, event, finish)
        length = (
            _wall(ends, own) - wall if not isinstance(ends, datetime) else _aware(ends, own) - wall.replace(tzinfo=own)
        )
    elif event.get("DURATION") is not None:
        length = event.get("DURATION").dt
    else:
        length = timedelta(0) if isinstance(start, datetime) else timedelta(days=1)
    if length <= timedelta(0):
        raise _wrong(file, f"event {_name(event)!r} ends no later than it starts, so it freezes nothing")
    return wall, length, own


def _walls(file: str, event: Event, first: datetime, own: tzinfo, begin: datetime, end: datetime) -> Iterator[datetime]:
    """Wall-clock starts of all occurrences that may touch the time between."""
    for each in _dates(event, "RDATE"):
        yield _wall(_moment(file, event, each), own)
    rules = event.get("RRULE")
    if rules is None:
        yield first
        return
    low, high = (moment.astimezone(own).replace(tzinfo=None) for moment in (begin, end))
    for rule in rules if isinstance(rules, list) else [rules]:
        if any(str(freq).upper() in _TOO_OFTEN for freq in rule.get("FREQ", ())):
            raise _wrong(file, f"event {_name(event)!r} comes more often than every hour")
        yield from _expanded(file, event, rule, first, own).between(low - timedelta(days=1), high, inc=True)


def _expanded(file: str, event: Event, rule: Any, first: datetime, own: tzinfo) -> Any:
    """The rule over wall-clock times. UNTIL is an instant in the file, a wall-clock time here."""
    parts = dict(rule)
    if "UNTIL" in parts:
        until = parts["UNTIL"][0]
        wall = _wall(until, own) if isinstance(until, datetime) else datetime.combine(until, time.max)
        parts["UNTIL"] = [wall.replace(microsecond=0)]
    try:
        return rrulestr(type(rule)(parts).to_ical().decode(), dtstart=first)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _wrong(file, f"event {_name(event)!r}: its RRULE is none: {error}") from error


def _dates(event: Event, key: str) -> Iterator[Any]:
    held = event.get(key)
    for each in held if isinstance(held, list) else [held] if held is not None else []:
        yield from each.dts


def _moment(file: str, event: Event, stated: Any) -> Moment:
    """The value of a property. Raises `UsageError` for a zone that is not known: it would be read as another time."""
    value = stated.dt
    if isinstance(value, tuple):
        value = value[0]
    if not isinstance(value, date):
        raise _wrong(file, f"event {_name(event)!r} has a time that is none: {_clean(str(value))!r}")
    named = str(stated.params.get("TZID", "")) if hasattr(stated, "params") else ""
    if named and isinstance(value, datetime) and value.tzinfo is None:
        raise _wrong(file, f"event {_name(event)!r}: there is no time zone {_clean(named)!r}")
    return value


def _instant(file: str, event: Event, stated: Any, zone: tzinfo) -> datetime:
    """A moment in UTC; a day begins at its midnight in the zone of the event's start."""
    start = event.get("DTSTART")
    own = getattr(getattr(start, "dt", None), "tzinfo", None) or zone
    return _aware(_moment(file, event, stated), own).astimezone(UTC)


def _aware(moment: Moment, zone: tzinfo) -> datetime:
    if not isinstance(moment, datetime):
        return datetime.combine(moment, time.min, zone)
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


def _wall(moment: Moment, zone: tzinfo) -> datetime:
    return _aware(moment, zone).astimezone(zone).replace(tzinfo=None)


def _is_day(event: Event) -> bool:
    return not isinstance(event.get("DTSTART").dt, datetime)


def _name(event: Event) -> str:
    return _clean(str(event.get("SUMMARY", ""))) or "(no summary)"


def _clean(text: str) -> str:
    """One line of printable characters, cut."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _LONGEST_NAME else line[: _LONGEST_NAME - 3] + "..."


def _wrong(file: str, why: str, hint: str = _HINT) -> UsageError:
    return UsageError("calendar-malformed", f"cannot use calendar {file}: {_clean(why)}", hint=hint)
