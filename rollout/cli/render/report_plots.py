"""Which plots a report has, and from which numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from markupsafe import Markup

from rollout.app.cohorts import Cohort, TcpTotals
from rollout.app.evidence import Evidence, Histogram, Tcp
from rollout.app.intervals import MILLION, Interval, Share
from rollout.app.record import NodeReport, Report, StepTime
from rollout.cli.render import report_svg as svg
from rollout.cli.render.report_words import duration, step_name
from rollout.cli.render.words import moment, span

BEFORE = svg.Series("before", svg.BEFORE)
AFTER = svg.Series("after", svg.AFTER)
BACK = svg.Series("after the way back", svg.BACK)

PHASE_COLOURS: Mapping[str, str] = {
    "done": "#1a7f5a",
    "running": "#4a90d9",
    "held": "#c98a00",
    "quarantined": "#b3261e",
    "lost": "#6e1410",
    "returning": "#b9a03c",
    "returned": "#b9a03c",
    "rolling-back": "#8250a0",
    "rolled-back": "#8250a0",
    "skipped": "#8a949c",
    "pending": "#ccd3d9",
}

STEP_GROUPS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "prepare": ("#9aa5ad", ("recheck", "baseline")),
    "empty": ("#c98a00", ("cordon", "drain", "evacuate")),
    "switch": ("#b3261e", ("assign-mode", "restart-agent", "reboot", "clear-stragglers")),
    "prove": ("#0072b2", ("confirm-mode", "verify")),
    "soak": ("#7fb2d6", ("soak",)),
    "give back": ("#1a7f5a", ("release", "uncordon")),
}
_COLOUR_OF_STEP = {step: colour for colour, steps in STEP_GROUPS.values() for step in steps}
_MOST_ROWS = 40


def outcome(report: Report) -> Markup:
    """Nodes by how they ended."""
    known = [(phase, report.counts[phase], colour) for phase, colour in PHASE_COLOURS.items() if phase in report.counts]
    return svg.stacked("Nodes by where they stand", known)


def step_legend() -> Markup:
    """The colours of steps."""
    parts, x = [], 0.0
    for name, (colour, steps) in STEP_GROUPS.items():
        parts += [svg.box(x, 2, 10, 10, colour, ", ".join(steps)), svg.text(x + 15, 11, name, colour=svg.FAINT)]
        x += 40 + 6.6 * len(name)
    parts += [svg.line(x, 11, x + 14, 11, svg.BACK, 2), svg.text(x + 19, 11, "the way back", colour=svg.FAINT)]
    parts += [svg.cross(x + 120, 7), svg.text(x + 131, 11, "did not go through", colour=svg.FAINT)]
    return svg.picture(svg.WIDTH, 16, "Colours of steps", parts)


def timeline(report: Report) -> Markup:
    """One line per node while they are few; else one per wave and one per node in trouble."""
    rows = [node for node in report.nodes if node.detail is not None and node.detail.steps]
    if len(report.nodes) > _MOST_ROWS:
        rows = [node for node in rows if node.troubled]
        waves = [
            (f"wave {w.number}: {w.nodes} nodes", (w.started, w.ended or report.made))
            for w in report.waves
            if w.started is not None
        ]
    else:
        waves = []
    starts = [start for _, (start, _) in waves if start is not None]
    starts += [step.start for node in rows for step in (node.detail.steps if node.detail else ())]
    if not starts:
        return Markup()
    zero = min(starts)
    lines = [
        svg.GanttRow(name, (_wave_bar(name, start, end, zero),)) for name, (start, end) in waves if start is not None
    ]
    lines += [_steps_row(node, zero, report.made) for node in rows[:_MOST_ROWS]]
    return svg.gantt("When each node was worked on", lines, _clock(zero), f"time of day, UTC, from {moment(zero)}")


def _wave_bar(name: str, start: datetime, end: datetime, zero: datetime) -> svg.Bar:
    words = f"{name}: {moment(start)} to {moment(end)}"
    return svg.Bar((start - zero).total_seconds(), (end - zero).total_seconds(), "#4a90d9", words)


def node_timeline(node: NodeReport, made: datetime) -> Markup:
    """One line per step, its tries behind each other."""
    steps = node.detail.steps if node.detail else ()
    if not steps:
        return Markup()
    zero = min(s.start for s in steps)
    names = dict.fromkeys((s.track, s.step) for s in steps)
    lines = [
        svg.GanttRow(
            step_name(step, track), tuple(_bar(s, zero, made) for s in steps if (s.track, s.step) == (track, step))
        )
        for track, step in names
    ]
    return svg.gantt(f"Steps of {node.name}", lines, _clock(zero), f"time of day, UTC, from {moment(zero)}")


def _steps_row(node: NodeReport, zero: datetime, made: datetime) -> svg.GanttRow:
    steps = node.detail.steps if node.detail else ()
    return svg.GanttRow(node.name, tuple(_bar(step, zero, made) for step in steps))


def _bar(step: StepTime, zero: datetime, made: datetime) -> svg.Bar:
    end = step.end or made
    length = (end - step.start).total_seconds()
    again = f", try {step.attempt}" if step.attempt > 1 else ""
    ended = step.result or "not ended"
    return svg.Bar(
        (step.start - zero).total_seconds(),
        (end - zero).total_seconds(),
        _COLOUR_OF_STEP.get(step.step, "#9aa5ad"),
        f"{step_name(step.step, step.track)}{again}: {ended}, {span(length)} from {moment(step.start)}",
        failed=step.result in ("failed", "held", "lost"),
        back=step.track != "forward",
    )


def _clock(zero: datetime) -> Callable[[float], str]:
    """Ticks stand at whole seconds since `zero`; they are named by the time of day."""
    base = zero.astimezone(UTC).timestamp()
    return lambda seconds: datetime.fromtimestamp(base + seconds, UTC).strftime("%H:%M:%S")


# --- measured ------------------------------------------------------------------------------------------------------


def cohort_latency(cohort: Cohort) -> Markup:
    """Round trips before and after, by path and quantile."""
    rows = [
        svg.RangeRow(f"{c.key} {c.quantile}", (_microseconds(c.before), _microseconds(c.after))) for c in cohort.latency
    ]
    return _latency(f"Round-trip times of {cohort.title}", rows, (BEFORE, AFTER))


def cohort_loss(cohort: Cohort) -> Markup:
    """Lost packets before and after, by path."""
    rows = [svg.RangeRow(c.key, (_percent(c.before), _percent(c.after))) for c in cohort.loss]
    return _loss(f"Lost packets of {cohort.title}", rows, (BEFORE, AFTER))


def cohort_hops(cohort: Cohort) -> list[Markup]:
    """Time across a pod's link, before and after, one plot per direction."""
    return _hops([("before", svg.BEFORE, cohort.hops[0]), ("after", svg.AFTER, cohort.hops[1])])


def cohort_tcp(cohort: Cohort) -> list[Markup]:
    """Connect latency and smoothed round-trip time, before and after."""
    before, after = cohort.tcp
    if before is None or after is None:
        return []
    return _tcp([_sides("before", svg.BEFORE, before), _sides("after", svg.AFTER, after)])


def _sides(name: str, colour: str, tcp: Tcp | TcpTotals) -> tuple[str, str, Histogram, Histogram]:
    return name, colour, tcp.connect_us, tcp.srtt_us


def looks_of(node: NodeReport) -> list[tuple[svg.Series, Evidence]]:
    """A node's looks that exist, with their colours."""
    if node.detail is None:
        return []
    found = ((BEFORE, node.detail.before), (AFTER, node.detail.after), (BACK, node.detail.back))
    return [(series, evidence) for series, evidence in found if evidence is not None]


def node_latency(node: NodeReport) -> Markup:
    """A node's own round trips."""
    looks = looks_of(node)
    tables = [{f.key: f.rtt_us for f in evidence.flows} for _, evidence in looks]
    rows = []
    for key in sorted({key for table in tables for key in table}):
        for name in ("p50", "p90", "p99"):
            points = tuple(_microseconds(getattr(q, name)) if (q := t.get(key)) else None for t in tables)
            rows.append(svg.RangeRow(f"{key} {name}", points))
    return _latency(f"Round-trip times of {node.name}", rows, [series for series, _ in looks])


def node_loss(node: NodeReport) -> Markup:
    """A node's own lost packets."""
    looks = looks_of(node)
    tables = [{f.key: f.loss for f in evidence.flows} for _, evidence in looks]
    keys = sorted({key for table in tables for key in table})
    rows = [svg.RangeRow(key, tuple(_percent(s) if (s := t.get(key)) else None for t in tables)) for key in keys]
    return _loss(f"Lost packets of {node.name}", rows, [series for series, _ in looks])


def node_hops(node: NodeReport) -> list[Markup]:
    """A node's own times across a pod's link."""
    return _hops([(series.name, series.colour, evidence.hops) for series, evidence in looks_of(node)])


def node_tcp(node: NodeReport) -> list[Markup]:
    """A node's own connections."""
    found = [(s, e.tcp) for s, e in looks_of(node) if e.tcp is not None]
    return _tcp([_sides(series.name, series.colour, tcp) for series, tcp in found])


def _latency(title: str, rows: Sequence[svg.RangeRow], series: Sequence[svg.Series]) -> Markup:
    axis = "round-trip time of a probe's packet, logarithmic; whiskers: 95 % interval, or range of few nodes"
    return svg.ranges(title, rows, series, lambda v: duration(round(v), "us"), axis)


def _loss(title: str, rows: Sequence[svg.RangeRow], series: Sequence[svg.Series]) -> Markup:
    axis = "packets lost, in percent of those sent; whiskers: 95 % interval"
    return svg.ranges(title, rows, series, lambda v: f"{v:g} %", axis, log=False, least=0.5)


def _hops(sides: Sequence[tuple[str, str, tuple[Histogram, ...]]]) -> list[Markup]:
    plots = []
    for direction in ("from-pod", "to-pod"):
        found = [
            (svg.Series(f"{hop.key.rsplit(' ', 1)[0]} {name}", colour), hop)
            for name, colour, hops in sides
            for hop in hops
            if hop.key.endswith(f" {direction}")
        ]
        plots.append(_histogram(f"Time across the pod's link, {direction}", found, f"hop time {direction}"))
    return [plot for plot in plots if plot]


def _tcp(sides: Sequence[tuple[str, str, Histogram, Histogram]]) -> list[Markup]:
    connect = [(svg.Series(name, colour), histogram) for name, colour, histogram, _ in sides]
    srtt = [(svg.Series(name, colour), histogram) for name, colour, _, histogram in sides]
    plots = [
        _histogram("TCP connect latency", connect, "TCP connect latency"),
        _histogram("TCP smoothed round-trip time", srtt, "TCP smoothed round-trip time"),
    ]
    return [plot for plot in plots if plot]


def _histogram(title: str, found: Sequence[tuple[svg.Series, Histogram]], axis: str) -> Markup:
    shown = [(series, histogram) for series, histogram in found if sum(histogram.counts)]
    if not shown:
        return Markup()
    unit = shown[0][1].unit
    return svg.histogram(
        title,
        [histogram.counts for _, histogram in shown],
        [series for series, _ in shown],
        lambda index: duration(1 << index, unit),
        f"{axis}, by powers of two; share of n",
    )


def _microseconds(value: Interval) -> svg.Point:
    return svg.Point(value.value, value.low, value.high)


def _percent(value: Share) -> svg.Point | None:
    if value.ppm is None or value.low_ppm is None or value.high_ppm is None:
        return None
    scale = MILLION / 100
    return svg.Point(value.ppm / scale, value.low_ppm / scale, value.high_ppm / scale)
