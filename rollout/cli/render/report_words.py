"""Numbers of a report as words, each with its unit and interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rollout.app.evidence import Crossing, Evidence, Histogram, Missing, Traffic
from rollout.app.intervals import Interval, Kind, Share, bucket
from rollout.app.record import Failure, Report, ShownVerdict
from rollout.cli.render.words import count, moment

_SCALES = {"ns": ("ns", "µs", "ms", "s"), "us": ("µs", "ms", "s")}
_MAX_GROUPS = 24
NOT_MEASURED = "not measured"


def duration(value: int, unit: str) -> str:
    """A time of `unit` (ns or us) in the unit that reads best, three significant digits."""
    shown, names = float(value), _SCALES[unit]
    for name in names:
        if abs(shown) < 1000 or name == names[-1]:
            return f"{_digits(shown)} {name}"
        shown /= 1000
    raise AssertionError("there is a last unit")


def _digits(value: float) -> str:
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}".rstrip("0").rstrip(".")


def interval(value: Interval, unit: str) -> str:
    """`310 µs (290 µs to 330 µs)`; an open end is said, a range is named."""
    shown = duration(value.value, unit)
    if value.kind is Kind.NONE:
        return shown
    if value.low is None and value.high is None:
        return f"{shown} (too few independent samples for an interval)"
    low = duration(value.low, unit) if value.low is not None else "open"
    high = duration(value.high, unit) if value.high is not None else "open"
    return f"{shown} ({'range ' if value.kind is Kind.RANGE else ''}{low} to {high})"


def change(value: Interval) -> str:
    """A difference in microseconds, with its sign."""
    sign = "+" if value.value > 0 else ""
    return sign + interval(value, "us")


def per_second(value: Interval | None) -> str:
    """A rate given in thousandths per second."""
    if value is None:
        return NOT_MEASURED
    shown = f"{_digits(value.value / 1000)}/s"
    if value.low is None or value.high is None:
        return shown
    name = "range " if value.kind is Kind.RANGE else ""
    return f"{shown} ({name}{_digits(value.low / 1000)} to {_digits(value.high / 1000)})"


def percent(ppm: int) -> str:
    """A share in percent, two significant digits."""
    value = ppm / 10_000
    digits = 0 if value >= 10 else 1 if value >= 1 else 2 if value >= 0.1 else 3
    return f"{value:.{digits}f}".rstrip("0").rstrip(".") + " %" if digits else f"{value:.0f} %"


def share(value: Share) -> str:
    """`0 of 400: 0 % (0 % to 0.951 %)`."""
    if value.ppm is None or value.low_ppm is None or value.high_ppm is None:
        return NOT_MEASURED
    ends = f"{percent(value.low_ppm)} to {percent(value.high_ppm)}"
    return f"{value.count:,} of {value.of:,}: {percent(value.ppm)} ({ends})"


def bucket_words(histogram: Histogram, permille: int) -> str:
    """The bucket that holds a quantile."""
    found = bucket(histogram.counts, permille)
    return f"{duration(found[0], histogram.unit)} to {duration(found[1], histogram.unit)}" if found else NOT_MEASURED


def kinds(links: Mapping[str, int] | None) -> str:
    """`netkit/l3: 5`."""
    if links is None:
        return NOT_MEASURED
    return ", ".join(f"{kind}: {number}" for kind, number in links.items()) or "none"


def crossings(found: Sequence[Crossing]) -> str:
    """Packets counted by kind of link."""
    each = (f"{c.kind}: {c.to_pod:,} to pods, {c.from_pod:,} from pods" for c in found)
    return "; ".join(each) or NOT_MEASURED


def lost(traffic: Traffic) -> str:
    """What the probes sent and lost."""
    if not traffic.packets and not traffic.requests:
        return f"{NOT_MEASURED}: no reach probe answered"
    packets = f"{traffic.packets_lost:,} of {traffic.packets:,} packets"
    return f"{packets}, {traffic.requests_failed:,} of {traffic.requests:,} requests"


def numbers(verdict: ShownVerdict) -> str:
    """What a verdict compared, one group for each thing compared: `same-node p50: before_us 210, now_us 190; ...`."""
    rows = list(_groups(verdict.evidence, ""))
    more = f"; and {len(rows) - _MAX_GROUPS} more" if len(rows) > _MAX_GROUPS else ""
    return "; ".join(rows[:_MAX_GROUPS]) + more


def _groups(value: Mapping[str, Any], name: str) -> Iterator[str]:
    plain = [f"{key} {_told(inner)}" for key, inner in value.items() if not _nested(inner) and inner not in ([], ())]
    if plain:
        yield (f"{name}: " if name else "") + ", ".join(plain)
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _groups(inner, str(key) if not name or name == "compared" else f"{name} {key}")
        elif _nested(inner):
            for index, item in enumerate(inner, 1):
                yield from _groups(item if isinstance(item, Mapping) else {"": item}, f"{name} {key} {index}".strip())


def _nested(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, list | tuple) and any(isinstance(item, Mapping | list | tuple) for item in value)
    )


def _told(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value[:8]) + (", ..." if len(value) > 8 else "")
    return "not told" if value is None else str(value)


_DECIDED = {
    "hold": "held for a person",
    "continue": "taken up again",
    "give-back": "given back as it was, never changed",
    "roll-back": "led back to its old mode",
    "quarantine": "fenced, in quarantine",
    "skip": "left alone",
    "lose": "taken for lost",
    "finish": "finished",
}


def done_about(failure: Failure) -> str:
    """What was done about a failure, and where the node stands now."""
    decided = _DECIDED.get(failure.decided, failure.decided) or "nothing decided yet"
    return f"{decided}; now {failure.phase.replace('-', ' ')}" if failure.phase else decided


def step_name(step: str, track: str) -> str:
    """A step, the way back or return named."""
    return step if track == "forward" else f"{step} ({track})"


def headline(report: Report) -> str:
    """The rollout in one sentence."""
    done = report.counts.get("done", 0)
    total = len(report.nodes)
    modes = sorted({m.target for m in report.moved})
    words = f"{done} of {count(total, 'node')} moved to {' and '.join(modes)} and proven"
    rest = [f"{number} {phase.replace('-', ' ')}" for phase, number in report.counts.items() if phase != "done"]
    return words + (f"; {', '.join(rest)}" if rest else "") + "."


def open_words(report: Report) -> str:
    """Whether anything is open."""
    if not report.open:
        return "Nothing is open."
    return f"{count(len(report.open), 'point')} open, see below."


def moved_words(report: Report) -> Iterator[str]:
    """What was planned to move."""
    for row in report.moved:
        ways = f"{row.restarts} by restarting the agent, {row.reboots} by a reboot"
        yield f"{count(row.nodes, 'node')} of {report.fleet} from {row.source} to {row.target}: {ways}"


def cluster_words(report: Report) -> str:
    """Which cluster and agent."""
    return f"{report.cluster}, {count(report.fleet, 'node')}, agent {report.agent_image}"


def approval_words(report: Report) -> Iterator[str]:
    """Who approved what, for which ticket."""
    for each in report.approvals:
        signed = " (signed)" if each.signature else ""
        ended = f"withdrawn {moment(each.withdrawn)}" if each.withdrawn else f"valid until {moment(each.expires)}"
        yield f"{each.by}{signed} for {each.ticket or 'no ticket'}, {moment(each.at)}, {ended}"


def run_words(report: Report) -> Iterator[str]:
    """Who applied it."""
    for run in report.runs:
        yield f"{run.operator} on {run.host}, {moment(run.at)}"


def missing_of(evidence: Evidence | None) -> tuple[Missing, ...]:
    """What one look lacks."""
    return evidence.missing if evidence else ()
