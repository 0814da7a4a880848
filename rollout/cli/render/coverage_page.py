"""How much of the fleet is on target, as a page and as plain values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rollout.cli.render.blocks import Block, Commands, Heading, Page, Pairs, Para, Table, Tone
from rollout.domain.codec import to_plain
from rollout.planning.coverage import Coverage, Standing

_TONES = {
    Standing.ON_TARGET: Tone.GOOD,
    Standing.TO_ADOPT: Tone.CARE,
    Standing.TO_DO: Tone.PLAIN,
    Standing.EXEMPT: Tone.FAINT,
    Standing.UNKNOWN: Tone.BAD,
}


def coverage_page(found: Coverage) -> Page:
    """The share first, then every node that is not on target or is new, then what to do."""
    return tuple(_blocks(found))


def coverage_values(found: Coverage) -> dict[str, Any]:
    """All nodes, with the counts that people ask for first."""
    counts = {each.value: number for each, number in found.counts.items()}
    return {**to_plain(found), "counts": counts, "permille": found.permille, "fleet": len(found.nodes)}


def _blocks(found: Coverage) -> Iterator[Block]:
    counts = found.counts
    yield Heading(f"Coverage of {found.target.value}", 1)
    yield Para(
        f"{counts[Standing.ON_TARGET]} of {len(found.nodes)} nodes of the current fleet are on {found.target.value}:"
        f" {found.permille // 10}.{found.permille % 10} %"
    )
    rows = [(each.value, str(number)) for each, number in counts.items()]
    if found.since:
        joined = sum(1 for node in found.nodes if node.joined)
        rows += [
            (f"joined since plan {found.since[:12]}", str(joined)),
            ("gone since", ", ".join(found.vanished) or "none"),
        ]
    yield Pairs(tuple(rows))
    shown = [node for node in found.nodes if node.standing is not Standing.ON_TARGET or node.joined or node.why]
    if shown:
        table = tuple((n.node, n.standing.value, "joined" if n.joined else "", n.why) for n in shown)
        yield Table(("node", "stands", "new", "why"), table, tuple(_TONES[n.standing] for n in shown))
    next_lines = _next(found)
    if next_lines:
        yield Commands(next_lines)


def _next(found: Coverage) -> tuple[str, ...]:
    counts = found.counts
    lines = ["rollout adopt"] if counts[Standing.TO_ADOPT] else []
    lines += ["rollout plan"] if counts[Standing.TO_DO] else []
    lines += ["rollout preflight"] if counts[Standing.EXEMPT] or counts[Standing.UNKNOWN] else []
    return tuple(lines)
