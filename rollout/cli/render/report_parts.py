"""What reports and plans are made of beside blocks: plots, folds, tiles, and the table of nodes."""

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


@dataclass(frozen=True, slots=True)
class Tile:
    """A number with what it counts; `source`: the name under which its source is told, empty for none."""

    number: str
    words: str
    tone: Tone
    source: str


@dataclass(frozen=True, slots=True)
class Tiles:
    """Numbers beside each other; in text a table."""

    rows: tuple[Tile, ...]

    @property
    def table(self) -> Table:
        """The same as a table."""
        rows = tuple((tile.number, tile.words, tile.source) for tile in self.rows)
        return Table(("number", "what", "source"), rows, tuple(tile.tone for tile in self.rows))


Part = Block | Figure | Fold | NodeTable | Tiles


def flat(parts: Iterable[Part]) -> list[Block]:
    """What text and Markdown show: folds opened, plots left out, their numbers being in the tables."""
    page: list[Block] = []
    for part in parts:
        if isinstance(part, Fold):
            page += [Heading(part.summary, 3), *flat(part.blocks)]
        elif isinstance(part, NodeTable | Tiles):
            page.append(part.table)
        elif not isinstance(part, Figure):
            page.append(part)
    return page


def tone_of(phase: str) -> Tone:
    """The tone of a node's phase."""
    return PHASE_TONES.get(phase, Tone.CARE)
