"""What a report is made of beside blocks: plots, folds, and the table of nodes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from rollout.cli.render.blocks import Block, Heading, Table, Tone

STATUS_TONES = {"pass": Tone.GOOD, "fail": Tone.BAD, "inconclusive": Tone.CARE, "skipped": Tone.FAINT}
PHASE_TONES = {
    "done": Tone.GOOD,
    "pending": Tone.FAINT,
    "running": Tone.PLAIN,
    "skipped": Tone.FAINT,
    "quarantined": Tone.BAD,
    "lost": Tone.BAD,
}
"""Every other phase needs care."""


@dataclass(frozen=True, slots=True)
class Figure:
    """Plots beside each other, for HTML only."""

    plots: tuple[Markup, ...]
    caption: str


@dataclass(frozen=True, slots=True)
class Fold:
    """Blocks under a summary; closed in HTML unless `shown`."""

    summary: str
    tone: Tone
    anchor: str
    shown: bool
    blocks: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class NodeTable:
    """The table of all nodes; `anchors`: the fold of each row's node, empty for none."""

    table: Table
    anchors: tuple[str, ...]


Part = Block | Figure | Fold | NodeTable


def flat(parts: Iterable[Part]) -> list[Block]:
    """What text and Markdown show: folds opened, plots left out, their numbers being in the tables."""
    page: list[Block] = []
    for part in parts:
        if isinstance(part, Fold):
            page += [Heading(part.summary, 3), *flat(part.blocks)]
        elif isinstance(part, NodeTable):
            page.append(part.table)
        elif not isinstance(part, Figure):
            page.append(part)
    return page


def tone_of(phase: str) -> Tone:
    """The tone of a node's phase."""
    return PHASE_TONES.get(phase, Tone.CARE)
