"""What is shown, before it is known how: text and Markdown are two renderings of the same blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Tone(Enum):
    """Meaning of a line; the value is its ANSI code."""

    PLAIN = "0"
    TITLE = "1"
    FAINT = "2"
    GOOD = "32"
    CARE = "33"
    BAD = "31"


@dataclass(frozen=True, slots=True)
class Heading:
    """A title; level 1 is the page's."""

    text: str
    level: int = 2
    anchor: str = ""
    """Where links in HTML jump to; one of our own words."""


@dataclass(frozen=True, slots=True)
class Para:
    """A sentence or more."""

    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Pairs:
    """Names and values."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headers. `tones`: one per row, or none."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    tones: tuple[Tone, ...] = ()


@dataclass(frozen=True, slots=True)
class Commands:
    """Commands to copy. They hold nothing but our own words and checked ids."""

    lines: tuple[str, ...]


Block = Heading | Para | Bullets | Pairs | Table | Commands
Page = Sequence[Block]
