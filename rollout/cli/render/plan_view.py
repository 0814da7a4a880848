"""What the pages of a plan share: the plan, who consents, how long lists may be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from rollout.cli.render.blocks import Block, Para, Table, Tone
from rollout.cli.render.report_parts import Fold, Part
from rollout.cli.render.words import span
from rollout.domain.approval import Approval
from rollout.domain.consent import Consent
from rollout.domain.plan import Plan
from rollout.planning.summary import PlanSummary

MOST_ROWS = 100
"""Rows of a list, or nodes in detail, before text and Markdown cut it and say how many are left."""
MOST_NAMES = 6
"""Names in one cell before the rest becomes a count."""


@dataclass(frozen=True)  # no slots: the summary is kept
class PlanView:
    """A plan as it is shown. `most`: longest list; None: everything."""

    plan: Plan
    digest: str
    approvals: tuple[Approval, ...] = ()
    consent: Consent | None = None
    """None: the state does not know the plan, so nobody's consent can be judged."""
    most: int | None = MOST_ROWS
    folded: bool = False
    """Nothing is cut; the end of a long list is folded away. For HTML."""
    known: bool = True
    """Whether this state knows the plan; if not, approvals cannot be told."""

    @property
    def id(self) -> str:
        """Short form of the digest."""
        return self.digest[:12]

    @cached_property
    def summary(self) -> PlanSummary:
        """The plan in numbers."""
        return PlanSummary(self.plan)

    def left(self, rows: Sequence[object], noun: str) -> Iterator[Block]:
        """A line about the rows that are not shown; nothing when all are."""
        if self.most is not None and len(rows) > self.most:
            left = len(rows) - self.most
            yield Para(f"and {left:,} more {noun}; all of them: rollout show {self.id} --all", Tone.CARE)

    def table(
        self, headers: tuple[str, ...], rows: Sequence[tuple[str, ...]], noun: str, tones: Sequence[Tone] = ()
    ) -> Iterator[Part]:
        """A table cut to what is shown, with a line about the rest; or with the rest folded away."""
        most = MOST_ROWS if self.folded else self.most
        yield Table(headers, tuple(rows[:most]), tuple(tones[:most]))
        if self.folded and len(rows) > MOST_ROWS:
            rest = Table(headers, tuple(rows[MOST_ROWS:]), tuple(tones[MOST_ROWS:]))
            yield Fold(f"{len(rest.rows):,} more {noun}", Tone.FAINT, "", False, (rest,))
        elif not self.folded:
            yield from self.left(rows, noun)


def names(found: Iterable[str], most: int = MOST_NAMES) -> str:
    """Names with commas; those beyond `most` as a count."""
    every = list(found)
    if len(every) <= most + 1:
        return ", ".join(every)
    return f"{', '.join(every[:most])} and {len(every) - most:,} more"


def lasts(low_s: int, high_s: int) -> str:
    """A range of time."""
    low, high = span(low_s), span(high_s)
    return low if low == high else f"{low} to {high}"


def settings(items: Iterable[tuple[str, str]]) -> str:
    """Pairs in order of their keys."""
    return ", ".join(f"{key}={value}" for key, value in sorted(items))
