"""Blocks as Markdown for a change record. Content is escaped: a name cannot become a link, a heading or HTML."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rollout.cli.render.blocks import Block, Bullets, Heading, Page, Pairs, Para, Table
from rollout.cli.render.words import plain

_MARKUP = re.compile(r"([\\`*_{}\[\]<>()#+!|~&$@])")
_AT_START = re.compile(r"^(\s*)([-=:]|\d+[.)])")


def escaped(text: object) -> str:
    """Text that Markdown shows as it is."""
    shown = _MARKUP.sub(r"\\\1", plain(text))
    shown = _AT_START.sub(
        lambda m: f"{m[1]}\\{m[2]}" if not m[2][0].isdigit() else f"{m[1]}{m[2][:-1]}\\{m[2][-1]}", shown
    )
    return re.sub(r"(?i)\b(https?|ftp|mailto|www)([:.])", r"\1\\\2", shown)


def render_markdown(page: Page) -> str:
    """The page, ending in one newline."""
    return "\n\n".join("\n".join(_lines(block)) for block in page) + "\n"


def _lines(block: Block) -> Iterator[str]:
    if isinstance(block, Heading):
        yield f"{'#' * block.level} {escaped(block.text)}"
    elif isinstance(block, Para):
        yield escaped(block.text)
    elif isinstance(block, Bullets):
        yield from (f"- {escaped(item)}" for item in block.items)
    elif isinstance(block, Pairs):
        yield from _table(("", ""), block.rows)
    elif isinstance(block, Table):
        yield from _table(block.headers, block.rows)
    else:
        yield "```sh"
        yield from (plain(line).replace("```", "'''") for line in block.lines)
        yield "```"


def _table(headers: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> Iterator[str]:
    yield _row(headers)
    yield "|" + " --- |" * len(headers)
    yield from (_row(row) for row in rows)


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(escaped(cell) for cell in cells) + " |"
