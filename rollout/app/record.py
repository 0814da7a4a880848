"""What a report is: records of one rollout, from page one to each node. Their fields are those of its JSON document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rollout.app.cohorts import Cohort
from rollout.app.evidence import Evidence, Missing, Traffic
from rollout.domain.approval import Approval
from rollout.domain.plan import Excluded
from rollout.domain.policy import Waiver

SCHEMA = 1
"""Number of the report's JSON document. It grows when a reader of the old one would be misled."""


@dataclass(frozen=True, slots=True)
class Moved:
    """How many nodes were planned to move between two modes, and how."""

    source: str
    target: str
    nodes: int
    restarts: int
    reboots: int


@dataclass(frozen=True, slots=True)
class StepTime:
    """One try of one step. `end` None: it had not ended when the report was made."""

    track: str
    step: str
    attempt: int
    start: datetime
    end: datetime | None
    result: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that did not go on, and what was decided then."""

    node: str
    at: datetime
    track: str
    step: str
    result: str
    code: str
    reason: str
    hint: str
    decided: str
    phase: str
    """Where the node stands now."""


@dataclass(frozen=True, slots=True)
class ShownVerdict:
    """A check's judgement as the journal has it."""

    check: str
    status: str
    message: str
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Judged:
    """All verdicts at the end of one step, its last try."""

    track: str
    step: str
    at: datetime
    verdicts: tuple[ShownVerdict, ...]


@dataclass(frozen=True, slots=True)
class NodeDetail:
    """Everything measured on one node."""

    steps: tuple[StepTime, ...]
    judged: tuple[Judged, ...]
    before: Evidence | None
    after: Evidence | None
    back: Evidence | None
    """After it was led back; None for a node that was not."""
    absent: tuple[Missing, ...]
    """Looks that do not exist, and why."""


@dataclass(frozen=True, slots=True)
class NodeReport:
    """One node. `detail` None: left out of a large report, since nothing went wrong there."""

    name: str
    wave: int
    cohort: int
    method: str
    source: str
    target: str
    phase: str
    reason: str
    troubled: bool
    started: datetime | None
    ended: datetime | None
    verdicts: Mapping[str, int]
    """The last verdicts by status."""
    links_before: Mapping[str, int] | None
    links_after: Mapping[str, int] | None
    """By the kernel; after the way back when it was led back."""
    traffic: Traffic
    detail: NodeDetail | None


@dataclass(frozen=True, slots=True)
class WaveReport:
    """One wave: when its nodes were worked on, and every word of its gate."""

    number: int
    name: str
    nodes: int
    started: datetime | None
    ended: datetime | None
    phases: Mapping[str, int]
    gates: tuple[GateWord, ...]


@dataclass(frozen=True, slots=True)
class GateWord:
    """A gate's decision."""

    at: datetime
    decision: str
    reason: str


@dataclass(frozen=True, slots=True)
class Ask:
    """A person paused, resumed or aborted."""

    at: datetime
    verb: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Run:
    """A process took the rollout up."""

    at: datetime
    operator: str
    host: str


@dataclass(frozen=True, slots=True)
class Open:
    """What is not settled, and the command that moves it on; empty when no single one does."""

    what: str
    next: str


@dataclass(frozen=True, slots=True)
class Report:
    """All of it. Times in UTC."""

    schema: int
    made: datetime
    program: str
    rollout: str
    digest: str
    cluster: str
    agent_image: str
    purpose: str
    phase: str
    reason: str
    fleet: int
    planned: datetime
    started: datetime | None
    ended: datetime | None
    moved: tuple[Moved, ...]
    counts: Mapping[str, int]
    approvals: tuple[Approval, ...]
    runs: tuple[Run, ...]
    asks: tuple[Ask, ...]
    waivers: tuple[Waiver, ...]
    excluded: tuple[Excluded, ...]
    failures: tuple[Failure, ...]
    open: tuple[Open, ...]
    before: Traffic
    during: Traffic
    """From the first look after the change on, the way back included."""
    waves: tuple[WaveReport, ...]
    cohorts: tuple[Cohort, ...]
    nodes: tuple[NodeReport, ...]
    not_measured: tuple[Missing, ...]
    """What no probe measures anywhere, and why."""
