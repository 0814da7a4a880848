"""Blocks as text for a terminal. Content goes through `plain`, colour is added afterwards: no name brings its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rollout.cli.render.blocks import Block, Bullets, Heading, Page, Pairs, Para, Table, Tone
from rollout.cli.render.words import plain

_WIDTH = 118


def render_text(page: Page, *, colour: bool = False) -> str:
    """The page, ending in one newline."""
    lines: list[str] = []
    for block in page:
        if isinstance(block, Heading) and lines:
            lines.append("")
        lines += [_painted(text, tone, colour=colour) for text, tone in _lines(block)]
    return "\n".join(lines) + "\n"


def _lines(block: Block) -> Iterator[tuple[str, Tone]]:
    if isinstance(block, Heading):
        yield plain(block.text), Tone.TITLE
    elif isinstance(block, Para):
        yield from ((line, block.tone) for line in _wrapped(plain(block.text), 2, 2))
    elif isinstance(block, Bullets):
        for item in block.items:
            yield from ((line, block.tone) for line in _wrapped(f"- {plain(item)}", 2, 4))
    elif isinstance(block, Pairs):
        width = max((len(plain(name)) for name, _ in block.rows), default=0)
        for name, value in block.rows:
            yield f"  {plain(name):<{width}}  {plain(value)}".rstrip(), Tone.PLAIN
    elif isinstance(block, Table):
        yield from _table(block)
    else:
        yield from ((f"  {plain(line)}", Tone.PLAIN) for line in block.lines)


def _wrapped(text: str, first: int, rest: int) -> Iterator[str]:
    pad, line = first, ""
    for word in text.split(" "):
        if line and pad + len(line) + 1 + len(word) > _WIDTH:
            yield " " * pad + line
            pad, line = rest, word
        else:
            line = f"{line} {word}" if line else word
    yield " " * pad + line


def _table(block: Table) -> Iterator[tuple[str, Tone]]:
    headers = [plain(cell) for cell in block.headers]
    cells = [[plain(cell) for cell in row] for row in block.rows]
    widths = [max(len(row[i]) for row in [headers, *cells]) for i in range(len(headers))]
    yield _row(headers, widths), Tone.FAINT
    for number, row in enumerate(cells):
        yield _row(row, widths), block.tones[number] if block.tones else Tone.PLAIN


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return ("  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))).rstrip()


def _painted(text: str, tone: Tone, *, colour: bool) -> str:
    return f"\x1b[{tone.value}m{text}\x1b[0m" if colour and tone is not Tone.PLAIN and text else text
