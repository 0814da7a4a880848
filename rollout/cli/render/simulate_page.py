"""A simulated plan: its waves, how often pods move, and what another policy would change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rollout.app.simulate import Run, Simulated
from rollout.cli.render.blocks import Block, Bullets, Heading, Page, Pairs, Para, Table, Tone
from rollout.cli.render.words import count, span
from rollout.domain.codec import to_plain
from rollout.planning.simulate import Simulation
from rollout.planning.simulate.what_if import in_words

MOVES_BUDGET = 1050
"""Evictions per thousand pods that a rollout with growing waves should keep to."""
TIME_BUDGET = 110
"""Percent of the lower bound of its limits that its wall time should keep to."""


def simulate_page(found: Simulated) -> Page:
    """First the whole, then each wave, then what else is possible."""
    return list(_page(found))


def _page(found: Simulated) -> Iterator[Block]:
    yield Heading(f"Simulation of plan {found.plan.digest[:12]}", 1)
    if found.moved:
        yield Para("Not as it was when the plan was made:", Tone.CARE)
        yield Bullets(found.moved, Tone.CARE)
    yield Pairs((*_whole(found.planned), ("step times", found.basis)))
    yield from _waves(found.planned)
    if found.planned.low.busiest:
        yield Heading("Busiest nodes")
        yield Table(
            ("node", "pods evicted", "of them again", "landed before its turn"),
            tuple(
                (row.node, str(row.evicted), str(row.moved_again), str(row.landed)) for row in found.planned.low.busiest
            ),
        )
    if found.other is not None:
        yield from _side_by_side(found.planned, found.other)
    yield from _more(found)


def _whole(run: Run) -> tuple[tuple[str, str], ...]:
    low, high = run.low, run.high
    late = sorted({*low.late, *high.late})
    rows = [
        ("takes", _range(run)),
        ("binding", high.binding),
        ("evictions", _evictions(low)),
        ("pods that move", ", ".join(f"{number} {_times(times)}" for times, number in low.moves.items())),
        ("refused at first", count(sum(w.refused for w in low.waves), "eviction")),
        ("against the lower bound of its limits", _against_bound(low)),
        ("without a place", count(low.homeless, "pod") if low.homeless else ""),
        ("not emptied in time", ", ".join(late)),
    ]
    return tuple((name, value) for name, value in rows if value)


def _times(times: int) -> str:
    return "once" if times == 1 else "twice" if times == 2 else f"{times} times"


def _range(run: Run) -> str:
    low, high = sorted((run.low.seconds, run.high.seconds))
    return span(low) if low == high else f"{span(low)} to {span(high)}"


def _evictions(found: Simulation) -> str:
    if not found.pods:
        return "none"
    share = found.moves_per_thousand
    word = "within" if share <= MOVES_BUDGET else "above"
    return f"{found.evictions} of {found.pods} pods, {_thousandths(share)} each; {word} {_thousandths(MOVES_BUDGET)}"


def _thousandths(number: int) -> str:
    return f"{number // 1000}.{number % 1000:03}"


def _against_bound(found: Simulation) -> str:
    if not found.bound_s:
        return ""
    percent = -(-found.seconds * 100 // found.bound_s)
    word = "within" if percent <= TIME_BUDGET else "above"
    return f"{percent} % of {span(found.bound_s)}; {word} {TIME_BUDGET} %"


def _waves(run: Run) -> Iterator[Block]:
    yield Heading("Waves")
    yield Table(
        ("wave", "nodes", "takes", "most out", "evictions", "again", "refused", "CPU free", "memory free", "binding"),
        tuple(
            (
                low.name,
                str(low.nodes),
                f"{span(low.seconds)} to {span(high.seconds)}" if low.seconds != high.seconds else span(low.seconds),
                str(low.most_out),
                str(low.evictions),
                str(low.moved_again),
                str(low.refused),
                _percent(low.headroom_cpu_percent),
                _percent(low.headroom_memory_percent),
                high.binding,
            )
            for low, high in zip(run.low.waves, run.high.waves, strict=True)
        ),
    )


def _percent(share: int) -> str:
    return "not told" if share < 0 else f"{share} %"


def _side_by_side(planned: Run, other: Run) -> Iterator[Block]:
    yield Heading("As planned, and as asked")
    yield Table(
        ("", planned.name, other.name),
        (
            ("waves", str(len(planned.low.waves)), str(len(other.low.waves))),
            ("takes", _range(planned), _range(other)),
            ("evictions", _evictions(planned.low), _evictions(other.low)),
            ("refusals", str(planned.low.refusals), str(other.low.refusals)),
            ("most out", _most_out(planned.low), _most_out(other.low)),
            ("binding", planned.high.binding, other.high.binding),
        ),
    )
    yield Para("The plan itself is as it was; for the other policy make a plan of its own: rollout plan", Tone.FAINT)


def _most_out(found: Simulation) -> str:
    return str(max((wave.most_out for wave in found.waves), default=0))


def _more(found: Simulated) -> Iterator[Block]:
    words = in_words(found.more)
    refused = tuple(f"{row.name} cannot be: {row.refused}" for row in found.more if row.refused)
    if words or refused:
        yield Heading("What would bind next")
        yield Bullets((*words, *refused))


def simulated_values(found: Simulated) -> dict[str, Any]:
    """The same as values. Times in seconds, shares in thousandths or percent."""
    return {
        "plan": found.plan.digest,
        "basis": found.basis,
        "moved": list(found.moved),
        "planned": _run_values(found.planned),
        "other": None if found.other is None else _run_values(found.other),
        "more": [to_plain(row) for row in found.more],
    }


def _run_values(run: Run) -> dict[str, Any]:
    return {"name": run.name, "low": _simulation_values(run.low), "high": _simulation_values(run.high)}


def _simulation_values(found: Simulation) -> dict[str, Any]:
    return {
        "seconds": found.seconds,
        "bound_s": found.bound_s,
        "pods": found.pods,
        "evictions": found.evictions,
        "moves_per_thousand": found.moves_per_thousand,
        "moves": {str(times): number for times, number in found.moves.items()},
        "refusals": found.refusals,
        "homeless": found.homeless,
        "late": list(found.late),
        "binding": found.binding,
        "waves": [{**_plain(wave), "seconds": wave.seconds} for wave in found.waves],
        "busiest": [_plain(row) for row in found.busiest],
    }


def _plain(value: Any) -> dict[str, Any]:
    plain = to_plain(value)
    assert isinstance(plain, dict)
    return plain
