"""What changed between two plans, for who approved the first and is asked for the second."""

from __future__ import annotations

from collections.abc import Iterator

from rollout.cli.render.blocks import Block, Heading, Pairs, Para, Table, Tone
from rollout.cli.render.plan_view import MOST_ROWS, names
from rollout.cli.render.words import count, span
from rollout.planning.diff import PlanDiff, Section
from rollout.planning.diff_pods import Change

_TONES = {"added": Tone.GOOD, "removed": Tone.BAD, "changed": Tone.CARE}
_LONGEST = 160
"""Characters of one value; JSON has all of them."""


def diff_page(found: PlanDiff, most: int | None = MOST_ROWS) -> Iterator[Block]:
    """The changes by their weight. `most`: longest list; None: everything."""
    yield Heading(f"From plan {found.before[:12]} to plan {found.after[:12]}", 1)
    if not found.sections:
        yield Para("nothing changed: they are the same plan")
        return
    yield Pairs(tuple((name, count(number, "change")) for name, number in found.counts.items()))
    for section in found.sections:
        yield Heading(section.name)
        yield from _section(section, most)


def _section(section: Section, most: int | None) -> Iterator[Block]:
    shown = section.changes[:most]
    columns = [_row(change) for change in shown]
    headers = ("", "what", "before", "after", "nodes", "why")
    used = [at for at, _ in enumerate(headers) if at < 2 or any(row[at] for row in columns)]
    rows = tuple(tuple(row[at] for at in used) for row in columns)
    yield Table(tuple(headers[at] for at in used), rows, tuple(_TONES[change.kind] for change in shown))
    if len(shown) < len(section.changes):
        yield Para(f"and {len(section.changes) - len(shown):,} more; all of them: --all", Tone.CARE)


def _row(change: Change) -> tuple[str, ...]:
    where = names(change.nodes, 4)
    if len(change.nodes) > 1:
        where = f"{len(change.nodes):,}: {where}"
    before, after = (_value(change.what, text) for text in (change.before, change.after))
    return change.kind, change.what, before, after, where, _cut(change.why)


def _value(what: str, text: str) -> str:
    """Seconds as people say them, by the name of their field."""
    return span(int(text)) if what.endswith("_s") and text.isdigit() else _cut(text)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} … ({len(text) - _LONGEST:,} more characters)"
