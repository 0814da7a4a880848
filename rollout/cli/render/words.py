"""Values as words: times, durations, journal entries. Nothing here can carry a terminal's control characters."""

from __future__ import annotations

import unicodedata
from datetime import datetime, timedelta

from rollout.domain.errors import RolloutError
from rollout.domain.journal import (
    ApprovalWithdrawn,
    Approved,
    Body,
    Control,
    Entry,
    GateDecided,
    Intent,
    NodeDecided,
    Outcome,
    PlanSaved,
    Result,
    RolloutDecided,
    RunEnded,
    RunStarted,
    Waiting,
    WaveTakenBack,
)
from rollout.domain.step import Track

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Unicode categories that steer a terminal or change the order of what is read (escape codes, bidi marks)."""


def plain(text: object) -> str:
    """Text in one line that shows what it is: control and formatting characters as \\x1b or \\u202e."""
    shown = str(text)
    return shown if shown.isprintable() else "".join(_visible(c) for c in shown)


def _visible(character: str) -> str:
    if unicodedata.category(character) not in _UNSAFE:
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def span(seconds: float) -> str:
    """A duration in at most two units: 45 s, 5 m, 1 h 30 m, 2 d 4 h."""
    left = max(0, int(seconds))
    parts = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"


def moment(at: datetime | None) -> str:
    """A time in UTC, to the second; a dash for none."""
    return at.strftime("%Y-%m-%d %H:%M:%S UTC") if at else "-"


def since(at: datetime | None, now: datetime) -> str:
    """How long ago; a dash for never."""
    return span((now - at).total_seconds()) if at else "-"


def until(left: timedelta) -> str:
    """Time left until a deadline, or by how much it passed."""
    seconds = left.total_seconds()
    return f"in {span(seconds)}" if seconds >= 0 else f"passed {span(-seconds)} ago"


def count(number: int, noun: str) -> str:
    """`1 node`, `3 nodes`."""
    return f"{number} {noun}" if number == 1 else f"{number:,} {noun}s"


def failure(error: RolloutError) -> str:
    """An error for people: what, where, what next."""
    lines = [f"error: {plain(error.message)}"]
    if error.context:
        lines += [f"  {plain(line)}" for line in error.context.splitlines()]
    if error.hint:
        lines.append(f"  next: {plain(error.hint)}")
    return "\n".join(lines)


def entry_line(entry: Entry) -> str:
    """One line of progress: time, subject, what happened."""
    subject = getattr(entry.body, "node", "") or "rollout"
    return f"{entry.at:%H:%M:%S} {plain(subject)}: {plain(told(entry.body))}"


def told(body: Body) -> str:
    """A journal entry in words, its node left out."""
    return _of_node(body) if isinstance(body, Intent | Outcome | Waiting | NodeDecided) else _of_rollout(body)


def _of_node(body: Intent | Outcome | Waiting | NodeDecided) -> str:
    if isinstance(body, Intent):
        again = f", try {body.attempt}" if body.attempt > 1 else ""
        return f"{_step(body.step.value, body.track)} begins{again}"
    if isinstance(body, Outcome):
        return _outcome(body)
    if isinstance(body, Waiting):
        return f"{body.step.value} waits: {body.reason}" + _next(body.hint)
    return f"decided: {body.event.value}" + _because(body.reason)


def _outcome(body: Outcome) -> str:
    found = " (found so after a restart)" if body.settled and body.result is Result.DONE else ""
    words = f"{_step(body.step.value, body.track)} {body.result.value}{found}" + _because(body.reason)
    return words + _next(body.hint)


def _of_rollout(body: Body) -> str:
    if isinstance(body, PlanSaved):
        return f"plan {body.digest[:12]} saved" + (f" by {body.by}" if body.by else "")
    if isinstance(body, Approved):
        signed = " with a signature" if body.signature else ""
        return f"approved by {body.by}{signed} for {body.ticket}, until {moment(body.expires)}"
    if isinstance(body, ApprovalWithdrawn):
        return f"the approval by {body.by} was withdrawn by {body.operator}" + _because(body.reason)
    if isinstance(body, RunStarted):
        return f"taken up by {body.operator} on {body.host}, process {body.pid}"
    if isinstance(body, RunEnded):
        return f"process ended: {body.reason}"
    if isinstance(body, GateDecided):
        return f"gate of wave {body.wave}: {body.decision}" + _because(body.reason)
    if isinstance(body, WaveTakenBack):
        return f"wave {body.wave} is taken back ({', '.join(body.nodes)})" + _because(body.reason)
    if isinstance(body, Control):
        return f"{body.verb.value} asked by {body.by}" + _because(body.reason)
    assert isinstance(body, RolloutDecided)
    return f"decided: {body.event.value}" + _because(body.reason)


def _step(name: str, track: Track) -> str:
    return name if track is Track.FORWARD else f"{name} ({track.value})"


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


def _next(hint: str) -> str:
    return f"; next: {hint}" if hint else ""
