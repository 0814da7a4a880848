"""What a judgement is made from: the documents of one node now, earlier and before, and those of its controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rollout.domain.inventory import Observation
from rollout.domain.node import DatapathMode
from rollout.domain.policy import Policy
from rollout.domain.verdict import Status, Verdict

Seen = Mapping[str, Observation]
"""Observations of one node, by probe."""


@dataclass(frozen=True, slots=True)
class Control:
    """A node that was not migrated, seen at its own baseline and in the same minutes as the node that is judged."""

    node: str
    baseline: Seen
    seen: Seen


@dataclass(frozen=True, slots=True)
class Case:
    """One node to judge.

    `baseline` None: there never was one (a node looked at outside a rollout), so that checks which compare are skipped,
    excused. An empty or unreadable baseline is something else: it was meant to be there, so they are inconclusive.
    `history` holds the earlier windows in the new mode, oldest first, without `seen`: the present one.
    """

    node: str
    seen: Seen
    baseline: Seen | None
    target: DatapathMode
    policy: Policy
    controls: Sequence[Control] = ()
    history: Sequence[Seen] = field(default_factory=tuple)

    @property
    def windows(self) -> tuple[Seen, ...]:
        """Every window in the new mode, oldest first; the present one is last."""
        return (*self.history, self.seen)

    def say(self, check: str, status: Status, message: str, evidence: Mapping[str, object] | None = None) -> Verdict:
        """A verdict on this node."""
        return Verdict(check, self.node, status, message, dict(evidence or {}))

    def excuse(self, check: str, message: str, evidence: Mapping[str, object] | None = None) -> Verdict:
        """A verdict that nothing was to be judged here."""
        return Verdict(check, self.node, Status.SKIPPED, message, dict(evidence or {}), excused=True)

    def unread(self, check: str, probe: str, seen: Seen | None = None) -> Verdict:
        """Inconclusive: the document of `probe` is missing or cannot be understood."""
        found = (self.seen if seen is None else seen).get(probe)
        if found is None:
            why = f"{self.node} was not observed by the probe {probe}"
        elif found.error:
            why = found.error
        else:
            why = f"the document of the probe {probe} on {self.node} cannot be understood"
        return self.say(check, Status.INCONCLUSIVE, why, {"code": found.code} if found and found.code else None)
