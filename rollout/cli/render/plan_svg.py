"""Pictures of a plan: its waves in time, its nodes by zone. Small for 5,000 nodes: one path per zone and wave."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from markupsafe import Markup

from rollout.cli.render import report_svg as svg
from rollout.cli.render.plan_view import lasts, names
from rollout.cli.render.words import span
from rollout.domain.plan import Plan
from rollout.planning.simulate.openings import closed_spans

QUICK, SLOW = "#0072b2", "#9cc4e0"
LEFT_OUT = "#ffffff"
CLOSED = "#ead9c0"
_LABEL = 190.0
_CELL, _STEP = 8, 10
_NAMED = 400
"""So many nodes have a name under the pointer; more are drawn together."""
_MOST_WAVES = 30
_MOST_CLOSED = 500
_SCALE = ((253, 212, 98), (94, 178, 122), (29, 96, 145), (40, 20, 74))
"""Light to dark: order is seen in grey as well."""
_TICKS_S = (60, 300, 600, 1800, 3600, 7200, 14400, 28800, 86400, 172800, 604800, 1209600)


# --- waves in time --------------------------------------------------------------------------------------------------


def gantt(plan: Plan) -> Markup:
    """Waves one after the other, once if all is quick and once if all is slow; shaded while windows are closed.

    Nothing when no time is known.
    """
    found = plan.estimate.waves if plan.estimate else ()
    if not found:
        return Markup()
    rows = found[:_MOST_WAVES]
    low_ends, high_ends = (list(accumulate(getattr(w, field) for w in found)) for field in ("low_s", "high_s"))
    last: int = max(high_ends[-1], 1)
    left, right, top, row = _LABEL, svg.WIDTH - 16.0, 40.0, 26.0
    bottom = top + row * len(rows)

    def place(seconds: int) -> float:
        return left + (right - left) * seconds / last

    legend = [svg.Series("if every step is quick (half of them are)", QUICK)]
    legend.append(svg.Series("if every step is slow (nine in ten are quicker)", SLOW))
    legend += [svg.Series("windows are closed", CLOSED)] if plan.policy.windows else []
    parts = [*svg.legend(legend, left, 14), *_closed(plan, last, place, top, bottom)]
    parts += _time_axis(last, place(0), place(last), top, bottom)
    for index, wave in enumerate(rows):
        y = top + row * index
        label = f"{wave.wave} {plan.waves[wave.wave].name}" if wave.wave < len(plan.waves) else str(wave.wave)
        parts.append(svg.text(left - 10, y + 17, svg.cut(label), anchor="end"))
        words = f"wave {wave.wave}: {lasts(wave.low_s, wave.high_s)}, {wave.evictions:,} evictions; {wave.binding}"
        for ends, lasting, colour, below in (
            (low_ends, wave.low_s, QUICK, 3),
            (high_ends, wave.high_s, SLOW, 13),
        ):
            x = place(ends[index] - lasting)
            parts.append(svg.box(x, y + below, max(place(ends[index]) - x, 1.5), 9, colour, words))
    more = f"and {len(found) - len(rows)} more waves; " if len(found) > len(rows) else ""
    parts.append(svg.text((left + right) / 2, bottom + 16, f"{more}{_began(plan)}", anchor="middle", colour=svg.FAINT))
    return svg.picture(svg.WIDTH, bottom + 24, "Waves in time", parts)


def _began(plan: Plan) -> str:
    return "time since it began, when a window opened" if plan.policy.windows else "time since it began"


def _time_axis(last: int, left: float, right: float, top: float, bottom: float) -> Iterator[Markup]:
    tick = next((t for t in _TICKS_S if last / t <= 8), -(-last // 8))
    for seconds in range(0, last + 1, tick):
        x = left + (right - left) * seconds / last
        yield svg.line(x, top - 4, x, bottom)
        yield svg.text(x, top - 8, span(seconds), anchor="middle", colour=svg.FAINT, size=11)


def _closed(plan: Plan, last: int, place: Callable[[int], float], top: float, bottom: float) -> Iterator[Markup]:
    for start, end in closed_spans(plan.policy, last)[:_MOST_CLOSED]:
        words = f"windows are closed: {span(start)} to {span(end)} after it began; no node begins"
        yield svg.box(place(start), top - 2, place(end) - place(start), bottom - top + 2, CLOSED, words)


# --- nodes by zone --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Cell:
    node: str
    wave: int
    """-1: left out."""
    words: str


def zone_map(plan: Plan) -> Markup:
    """Every node as a square, by zone and in the order of the waves; nodes left out are empty squares."""
    zones: dict[str, list[_Cell]] = {}
    for wave in plan.waves:
        for name in wave.nodes:
            node = plan.node(name)
            words = f"{name}: wave {wave.number}, {node.method.value}, {len(node.evictions)} pods evicted"
            zones.setdefault(node.zone, []).append(_Cell(name, wave.number, words))
    for each in plan.excluded:
        zones.setdefault(each.zone, []).append(_Cell(each.node, -1, f"{each.node}: left out, {names(each.reasons, 1)}"))
    named = sum(map(len, zones.values())) <= _NAMED
    parts, y = _wave_legend(plan), 34.0
    for zone in sorted(zones):
        cells = zones[zone]
        columns = int((svg.WIDTH - _LABEL - 16) // _STEP)
        parts.append(svg.text(_LABEL - 10, y + 9, svg.cut(f"{zone or 'no zone'} ({len(cells):,})"), anchor="end"))
        parts += _single(cells, columns, y, plan) if named else _together(cells, columns, y, plan, zone)
        y += _STEP * -(-len(cells) // columns) + 8
    return svg.picture(svg.WIDTH, y, "Nodes by zone and wave", parts)


def _places(cells: Sequence[_Cell], columns: int, y: float) -> Iterator[tuple[_Cell, int, int]]:
    for index, cell in enumerate(cells):
        yield cell, int(_LABEL) + _STEP * (index % columns), int(y) + _STEP * (index // columns)


def _single(cells: Sequence[_Cell], columns: int, y: float, plan: Plan) -> Iterator[Markup]:
    for cell, x, top in _places(cells, columns, y):
        yield _path(f"M{x} {top}h{_CELL}v{_CELL}h-{_CELL}z", cell.wave, plan, cell.words)


def _together(cells: Sequence[_Cell], columns: int, y: float, plan: Plan, zone: str) -> Iterator[Markup]:
    paths: dict[int, list[str]] = {}
    for cell, x, top in _places(cells, columns, y):
        paths.setdefault(cell.wave, []).append(f"M{x} {top}h{_CELL}v{_CELL}h-{_CELL}z")
    for wave, pieces in paths.items():
        what = f"wave {wave}" if wave >= 0 else "left out"
        yield _path("".join(pieces), wave, plan, f"{zone or 'no zone'}, {what}: {len(pieces):,} nodes")


def _path(outline: str, wave: int, plan: Plan, words: str) -> Markup:
    fill, edge = (wave_colour(wave, len(plan.waves)), "none") if wave >= 0 else (LEFT_OUT, "#a3211a")
    return Markup('<path d="{}" fill="{}" stroke="{}"><title>{}</title></path>').format(
        outline, fill, edge, svg.shown(words)
    )


def wave_colour(wave: int, waves: int) -> str:
    """A wave's colour: the first lightest, the last darkest."""
    legs = len(_SCALE) - 1
    total = max(1, waves - 1)
    leg = min(legs - 1, wave * legs // total)
    along, whole = wave * legs - leg * total, total
    mixed = (a + (b - a) * along // whole for a, b in zip(_SCALE[leg], _SCALE[leg + 1], strict=True))
    return "#" + "".join(f"{min(255, max(0, value)):02x}" for value in mixed)


def _wave_legend(plan: Plan) -> list[Markup]:
    waves = plan.waves
    shown = waves if len(waves) <= 8 else (*waves[:3], waves[len(waves) // 2], *waves[-3:])
    parts, x = [], _LABEL
    for wave in shown:
        words = f"{wave.number} {svg.cut(wave.name, 14)}" if len(shown) < 6 else str(wave.number)
        parts += [svg.box(x, 4, 10, 10, wave_colour(wave.number, len(waves)), wave.name), svg.text(x + 15, 13, words)]
        x += 34 + 6.6 * len(words)
    if plan.excluded:
        parts.append(_path(f"M{x:.0f} 4h10v10h-10z", -1, plan, "left out"))
        parts.append(svg.text(x + 15, 13, "left out"))
    return parts
