"""Plots as inline SVG: no script, no style sheet, no reference to anything outside.

Every text goes through `Markup.format`, which escapes, and every number is one of ours: no name can break out of an
attribute or element.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from rollout.cli.render.words import plain

INK, FAINT, RULE = "#1f2933", "#5b6770", "#d9dee3"
BEFORE, AFTER, BACK = "#0072b2", "#d55e00", "#8250a0"
"""Blue, vermilion, violet: told apart with every common colour blindness, and as greys by their marks."""

WIDTH = 980
_LABEL = 190
_RIGHT = 16
_ROW = 22
_LONGEST = 26
_TICK = 54
"""Room for a histogram's tick in pixels."""


@dataclass(frozen=True, slots=True)
class Point:
    """A value with its interval; None is an open end."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class RangeRow:
    """One line of a range plot: a label, and a point of each series (None: not measured)."""

    label: str
    points: tuple[Point | None, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """A name in the legend and its colour."""

    name: str
    colour: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A span of time on one line of a Gantt plot."""

    start: float
    end: float
    colour: str
    title: str
    failed: bool = False
    back: bool = False


@dataclass(frozen=True, slots=True)
class GanttRow:
    """One line of a Gantt plot."""

    label: str
    bars: tuple[Bar, ...]


_NO_XML = dict.fromkeys((0xFFFE, 0xFFFF), "\ufffd")


def shown(words: object) -> str:
    """Words as they are drawn: nothing that steers, nothing that XML forbids (XML 1.0, 2.2)."""
    return plain(words).translate(_NO_XML)


def text(x: float, y: float, words: object, *, anchor: str = "start", colour: str = INK, size: int = 12) -> Markup:
    """A piece of text."""
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}" fill="{}" font-size="{}">{}</text>').format(
        x, y, anchor, colour, size, shown(words)
    )


def line(x1: float, y1: float, x2: float, y2: float, colour: str = RULE, width: float = 1) -> Markup:
    """A straight line."""
    return Markup('<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" stroke="{}" stroke-width="{}"/>').format(
        x1, y1, x2, y2, colour, width
    )


def box(x: float, y: float, width: float, height: float, colour: str, title: str = "") -> Markup:
    """A filled rectangle; the title shows under a pointer."""
    inner = Markup("<title>{}</title>").format(shown(title)) if title else Markup()
    return Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill="{}">{}</rect>').format(
        x, y, max(width, 0.5), max(height, 0.0), colour, inner
    )


def cross(x: float, y: float) -> Markup:
    """What did not go through: black on a white edge, so that it stands out on every colour."""
    path = f"M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8"
    return Markup(
        '<path d="{0}" stroke="#fff" stroke-width="5"/><path d="{0}" stroke="{1}" stroke-width="2.2"/>'
    ).format(path, INK)


def cut(words: str, longest: int = _LONGEST) -> str:
    """A label that fits; the middle is left out, since names differ at their ends."""
    if len(words) <= longest:
        return words
    tail = longest // 2
    return f"{words[: longest - tail - 1]}…{words[-tail:]}"


def picture(width: float, height: float, title: str, parts: Sequence[Markup]) -> Markup:
    """The frame around a plot."""
    head = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {:.0f} {:.0f}" width="{:.0f}" height="{:.0f}" role="img"'
        ' font-family="system-ui, sans-serif"><title>{}</title>'
    ).format(width, height, width, height, shown(title))
    return head + Markup().join(parts) + Markup("</svg>")


def legend(series: Sequence[Series], x: float, y: float) -> list[Markup]:
    """Names beside their colours, in a row."""
    parts = []
    for index, each in enumerate(series):
        parts += [_mark(index, x + 5, y - 4, each.colour), text(x + 15, y, each.name, colour=FAINT)]
        x += 34 + 6.6 * len(each.name)
    return parts


def _mark(index: int, x: float, y: float, colour: str) -> Markup:
    """A mark of its own for each series, so that a print without colours can be read."""
    if index == 0:
        return Markup('<circle cx="{:.1f}" cy="{:.1f}" r="4" fill="{}"/>').format(x, y, colour)
    if index == 1:
        return box(x - 4, y - 4, 8, 8, colour)
    points = f"{x:.1f},{y - 5:.1f} {x + 5:.1f},{y:.1f} {x:.1f},{y + 5:.1f} {x - 5:.1f},{y:.1f}"
    return Markup('<polygon points="{}" fill="{}"/>').format(points, colour)


# --- ranges --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to pixels, with where its ticks stand."""

    ticks: tuple[float, ...]
    place: Callable[[float], float]


def log_scale(values: Sequence[float], left: float, right: float) -> Scale:
    """1, 2, 5, 10 and so on, widened to whole ticks."""
    low, high = max(min(values), 1.0), max(*values, 1.0)
    steps = [m * 10.0**e for e in range(16) for m in (1, 2, 5)]
    first = max((s for s in steps if s <= low), default=1.0)
    last = min((s for s in steps if s >= high and s > first), default=steps[-1])
    shown = [s for s in steps if first <= s <= last]
    if len(shown) > 9:
        shown = [s for s in shown if s in (first, last) or math.log10(s) == int(math.log10(s))]

    def place(value: float) -> float:
        inside = min(max(value, first), last)
        return left + (right - left) * math.log(inside / first) / math.log(last / first)

    return Scale(tuple(shown), place)


def linear_scale(values: Sequence[float], left: float, right: float, least: float) -> Scale:
    """From zero to a round number not below `least`."""
    top = max([*values, least])
    size = 10.0 ** math.floor(math.log10(top))
    step = next(size * m for m in (0.2, 0.5, 1, 2) if size * m * 5 >= top or m == 2)
    count = math.ceil(top / step - 1e-9)
    last = step * count
    return Scale(
        tuple(step * i for i in range(count + 1)), lambda v: left + (right - left) * min(max(v, 0.0), last) / last
    )


def ranges(
    title: str,
    rows: Sequence[RangeRow],
    series: Sequence[Series],
    named: Callable[[float], str],
    axis: str,
    *,
    log: bool = True,
    least: float = 1.0,
) -> Markup:
    """Points with their intervals, one line per row; `named` writes a tick, `axis` says what and in which unit."""
    left, right, top = float(_LABEL), float(WIDTH - _RIGHT - 10), 34.0
    values = [v for row in rows for p in row.points if p for v in (p.value, p.low, p.high) if v is not None]
    if not values:
        return Markup()
    scale = log_scale(values, left, right) if log else linear_scale(values, left, right, least)
    height = _ROW * len(rows)
    parts = [*legend(series, left, 14)]
    for tick in scale.ticks:
        x = scale.place(tick)
        parts += [line(x, top, x, top + height), text(x, top + height + 15, named(tick), anchor="middle", colour=FAINT)]
    for index, row in enumerate(rows):
        y = top + _ROW * index + _ROW / 2
        parts.append(text(left - 10, y + 4, cut(row.label), anchor="end"))
        parts += _range_row(row, series, scale, y)
    parts.append(text((left + right) / 2, top + height + 33, axis, anchor="middle", colour=FAINT))
    return picture(WIDTH, top + height + 42, title, parts)


def _range_row(row: RangeRow, series: Sequence[Series], scale: Scale, y: float) -> list[Markup]:
    parts = []
    offset = 8.0 / max(1, len(row.points) - 1) if len(row.points) > 1 else 0.0
    for index, (point, each) in enumerate(zip(row.points, series, strict=False)):
        at = y + (index - (len(row.points) - 1) / 2) * offset
        if point is None:
            continue
        low = scale.place(point.low if point.low is not None else point.value)
        high = scale.place(point.high if point.high is not None else point.value)
        parts.append(line(low, at, high, at, each.colour, 2))
        parts += [
            line(x, at - 3, x, at + 3, each.colour, 1.5)
            for x, end in ((low, point.low), (high, point.high))
            if end is not None
        ]
        parts.append(_mark(index, scale.place(point.value), at, each.colour))
    return parts


# --- histograms ----------------------------------------------------------------------------------------------------


def histogram(
    title: str, counts: Sequence[Sequence[int]], series: Sequence[Series], named: Callable[[int], str], axis: str
) -> Markup:
    """Shares per power of two, the series beside each other. `named` writes a bucket's lower end."""
    totals = [sum(each) for each in counts]
    used = [i for each in counts for i, number in enumerate(each) if number]
    if not used:
        return Markup()
    first, last = max(0, min(used) - 1), max(used) + 1
    width, height, left, top = WIDTH / 2 - 12, 130.0, 44.0, 30.0
    shares = [[n / total if total else 0.0 for n in each] for each, total in zip(counts, totals, strict=True)]
    most = max(max(each, default=0.0) for each in shares)
    scale = linear_scale([most * 100], 0.0, height, 5.0)
    slot = (width - left - 8) / (last - first + 1)
    parts = legend([Series(f"{s.name}, n = {t:,}", s.colour) for s, t in zip(series, totals, strict=True)], left, 14)
    for tick in scale.ticks:
        y = top + height - scale.place(tick)
        parts += [
            line(left, y, width - 8, y),
            text(left - 6, y + 4, f"{tick:g} %", anchor="end", colour=FAINT, size=11),
        ]
    bar = slot * 0.8 / len(shares)
    for index in range(first, last + 1):
        x = left + (index - first) * slot
        for number, (each, one) in enumerate(zip(shares, series, strict=True)):
            value = each[index] if index < len(each) else 0.0
            if value:
                tall = scale.place(value * 100)
                words = f"{one.name}: {named(index)} to {named(index + 1)}: {counts[number][index]:,} ({value:.1%})"
                parts.append(box(x + slot * 0.1 + number * bar, top + height - tall, bar, tall, one.colour, words))
        every = math.ceil(_TICK / slot)
        if (index - first) % every == 0:
            parts.append(text(x, top + height + 15, named(index), anchor="middle", colour=FAINT, size=11))
    parts.append(text((left + width) / 2, top + height + 33, axis, anchor="middle", colour=FAINT))
    return picture(width, top + height + 42, title, parts)


# --- time ----------------------------------------------------------------------------------------------------------

_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800)


def gantt(title: str, rows: Sequence[GanttRow], named: Callable[[float], str], axis: str) -> Markup:
    """Spans in seconds since a common beginning, one line per row; a failed span ends in a cross."""
    bars = [bar for row in rows for bar in row.bars]
    if not bars:
        return Markup()
    first, last = min(b.start for b in bars), max(b.end for b in bars)
    length = max(last - first, 1.0)
    left, right, top = float(_LABEL), float(WIDTH - _RIGHT), 22.0
    height = _ROW * len(rows)
    step = next((s for s in _STEPS_S if length / s <= 7), math.ceil(length / 7))

    def place(value: float) -> float:
        return left + (right - left) * (value - first) / length

    parts = []
    tick = math.ceil(first / step) * step
    while tick <= last:
        x = place(tick)
        parts += [line(x, top - 4, x, top + height), text(x, 12, named(tick), anchor="middle", colour=FAINT, size=11)]
        tick += step
    for index, row in enumerate(rows):
        y = top + _ROW * index
        parts.append(text(left - 10, y + _ROW / 2 + 4, cut(row.label), anchor="end"))
        for bar in row.bars:
            x = place(bar.start)
            parts.append(box(x, y + 4, place(bar.end) - x, _ROW - 9, bar.colour, bar.title))
            if bar.back:
                parts.append(line(x, y + _ROW - 2.5, place(bar.end), y + _ROW - 2.5, BACK, 2))
        parts += [cross(place(bar.end), y + _ROW / 2) for bar in row.bars if bar.failed]
    parts.append(text((left + right) / 2, top + height + 14, axis, anchor="middle", colour=FAINT, size=11))
    return picture(WIDTH, top + height + 20, title, parts)


def stacked(title: str, parts_of: Sequence[tuple[str, int, str]]) -> Markup:
    """Counts as one bar: (name, count, colour), with a legend below."""
    total = sum(number for _, number, _ in parts_of)
    if not total:
        return Markup()
    parts, x, legend_x = [], 0.0, 0.0
    for name, number, colour in parts_of:
        width = WIDTH * number / total
        parts.append(box(x, 0, max(width - 1, 1), 22, colour, f"{name}: {number}"))
        parts += [box(legend_x, 32, 10, 10, colour), text(legend_x + 15, 41, f"{number:,} {name}")]
        legend_x += 36 + 7.0 * len(f"{number:,} {name}")
        x += width
    return picture(WIDTH, 48, title, parts)
