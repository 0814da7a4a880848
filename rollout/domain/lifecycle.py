"""Phases of a node and of a rollout, and the only transitions there are.

Each phase says what a dead process means for it: `stable` (nothing was going on), `in-flight` (go on from the journal),
`needs-person` (stays as it is until somebody decides). The README's picture is drawn from these tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class IllegalTransition(AssertionError):
    """An event that the table does not allow in this phase. A bug, never a user's mistake."""


class Death(Enum):
    """What it means for a phase when the process dies in it."""

    STABLE = "stable"
    IN_FLIGHT = "in-flight"
    NEEDS_PERSON = "needs-person"


class NodePhase(Enum):
    """Where a node stands in its rollout."""

    PENDING = "pending"
    RUNNING = "running"
    HELD = "held"
    RETURNING = "returning"
    ROLLING_BACK = "rolling-back"
    QUARANTINED = "quarantined"
    DONE = "done"
    RETURNED = "returned"
    ROLLED_BACK = "rolled-back"
    SKIPPED = "skipped"
    LOST = "lost"
    REPLACED = "replaced"


class NodeEvent(Enum):
    """What moves a node from phase to phase."""

    START = "start"
    FINISH = "finish"
    HOLD = "hold"
    CONTINUE = "continue"
    GIVE_BACK = "give-back"
    ROLL_BACK = "roll-back"
    QUARANTINE = "quarantine"
    SKIP = "skip"
    LOSE = "lose"
    REPLACE = "replace"
    POSTPONE = "postpone"
    """Give back, since its window ended; its turn comes again."""
    REQUEUE = "requeue"
    """Wait for the next turn: nothing of ours is left on it."""


class RolloutPhase(Enum):
    """Where a rollout stands."""

    DRAFT = "draft"
    APPROVED = "approved"
    RUNNING = "running"
    HELD = "held"
    ABORTING = "aborting"
    COMPLETED = "completed"
    ABORTED = "aborted"


class RolloutEvent(Enum):
    """What moves a rollout from phase to phase."""

    APPROVE = "approve"
    WITHDRAW = "withdraw"
    START = "start"
    HOLD = "hold"
    RESUME = "resume"
    ABORT = "abort"
    COMPLETE = "complete"


NODE_TABLE: Mapping[NodePhase, Mapping[NodeEvent, NodePhase]] = {
    NodePhase.PENDING: {
        NodeEvent.START: NodePhase.RUNNING,
        NodeEvent.SKIP: NodePhase.SKIPPED,
        NodeEvent.LOSE: NodePhase.LOST,
    },
    NodePhase.RUNNING: {
        NodeEvent.FINISH: NodePhase.DONE,
        NodeEvent.REPLACE: NodePhase.REPLACED,
        NodeEvent.HOLD: NodePhase.HELD,
        NodeEvent.GIVE_BACK: NodePhase.RETURNING,
        NodeEvent.ROLL_BACK: NodePhase.ROLLING_BACK,
        NodeEvent.QUARANTINE: NodePhase.QUARANTINED,
        NodeEvent.SKIP: NodePhase.SKIPPED,
        NodeEvent.LOSE: NodePhase.LOST,
        NodeEvent.POSTPONE: NodePhase.RETURNING,
        NodeEvent.REQUEUE: NodePhase.PENDING,
    },
    NodePhase.HELD: {
        NodeEvent.CONTINUE: NodePhase.RUNNING,
        NodeEvent.GIVE_BACK: NodePhase.RETURNING,
        NodeEvent.QUARANTINE: NodePhase.QUARANTINED,
        NodeEvent.SKIP: NodePhase.SKIPPED,
        NodeEvent.LOSE: NodePhase.LOST,
    },
    NodePhase.RETURNING: {
        NodeEvent.FINISH: NodePhase.RETURNED,
        NodeEvent.REQUEUE: NodePhase.PENDING,
        NodeEvent.QUARANTINE: NodePhase.QUARANTINED,
        NodeEvent.LOSE: NodePhase.LOST,
    },
    NodePhase.ROLLING_BACK: {
        NodeEvent.FINISH: NodePhase.ROLLED_BACK,
        NodeEvent.QUARANTINE: NodePhase.QUARANTINED,
        NodeEvent.LOSE: NodePhase.LOST,
    },
    NodePhase.QUARANTINED: {
        NodeEvent.CONTINUE: NodePhase.RUNNING,
        NodeEvent.GIVE_BACK: NodePhase.RETURNING,
        NodeEvent.ROLL_BACK: NodePhase.ROLLING_BACK,
        NodeEvent.LOSE: NodePhase.LOST,
    },
    NodePhase.DONE: {NodeEvent.ROLL_BACK: NodePhase.ROLLING_BACK},
    NodePhase.RETURNED: {},
    NodePhase.ROLLED_BACK: {},
    NodePhase.SKIPPED: {},
    NodePhase.LOST: {},
    NodePhase.REPLACED: {},
}

NODE_DEATH: Mapping[NodePhase, Death] = {
    NodePhase.PENDING: Death.STABLE,
    NodePhase.RUNNING: Death.IN_FLIGHT,
    NodePhase.HELD: Death.NEEDS_PERSON,
    NodePhase.RETURNING: Death.IN_FLIGHT,
    NodePhase.ROLLING_BACK: Death.IN_FLIGHT,
    NodePhase.QUARANTINED: Death.NEEDS_PERSON,
    NodePhase.DONE: Death.STABLE,
    NodePhase.RETURNED: Death.STABLE,
    NodePhase.ROLLED_BACK: Death.STABLE,
    NodePhase.SKIPPED: Death.STABLE,
    NodePhase.LOST: Death.STABLE,
    NodePhase.REPLACED: Death.STABLE,
}

ROLLOUT_TABLE: Mapping[RolloutPhase, Mapping[RolloutEvent, RolloutPhase]] = {
    RolloutPhase.DRAFT: {RolloutEvent.APPROVE: RolloutPhase.APPROVED},
    RolloutPhase.APPROVED: {
        RolloutEvent.APPROVE: RolloutPhase.APPROVED,
        RolloutEvent.WITHDRAW: RolloutPhase.DRAFT,
        RolloutEvent.START: RolloutPhase.RUNNING,
        RolloutEvent.ABORT: RolloutPhase.ABORTED,
    },
    RolloutPhase.RUNNING: {
        RolloutEvent.HOLD: RolloutPhase.HELD,
        RolloutEvent.ABORT: RolloutPhase.ABORTING,
        RolloutEvent.COMPLETE: RolloutPhase.COMPLETED,
    },
    RolloutPhase.HELD: {
        RolloutEvent.HOLD: RolloutPhase.HELD,
        RolloutEvent.RESUME: RolloutPhase.RUNNING,
        RolloutEvent.ABORT: RolloutPhase.ABORTING,
    },
    RolloutPhase.ABORTING: {RolloutEvent.COMPLETE: RolloutPhase.ABORTED},
    RolloutPhase.COMPLETED: {},
    RolloutPhase.ABORTED: {},
}

FENCED_PHASES = frozenset(
    {NodePhase.RUNNING, NodePhase.HELD, NodePhase.RETURNING, NodePhase.ROLLING_BACK, NodePhase.QUARANTINED}
)
"""Phases in which a node may be out of service by our hand."""

SETTLED_PHASES = frozenset(
    {NodePhase.DONE, NodePhase.RETURNED, NodePhase.ROLLED_BACK, NodePhase.SKIPPED, NodePhase.LOST, NodePhase.REPLACED}
)
"""Phases in which a node's own way is over. Out of `done` alone a decision about its whole wave leads back."""


def advance_node(phase: NodePhase, event: NodeEvent) -> NodePhase:
    """The node's next phase. Raises `IllegalTransition`."""
    try:
        return NODE_TABLE[phase][event]
    except KeyError as error:
        raise IllegalTransition(f"a node that is {phase.value} cannot {event.value}") from error


def advance_rollout(phase: RolloutPhase, event: RolloutEvent) -> RolloutPhase:
    """The rollout's next phase. Raises `IllegalTransition`."""
    try:
        return ROLLOUT_TABLE[phase][event]
    except KeyError as error:
        raise IllegalTransition(f"a rollout that is {phase.value} cannot {event.value}") from error


def render_mermaid() -> str:
    """The two tables as one Mermaid state diagram each, for the README."""
    lines: list[str] = []
    for title, table in (("node", NODE_TABLE), ("rollout", ROLLOUT_TABLE)):
        lines += ["```mermaid", "stateDiagram-v2", f"    %% a {title}'s phases"]
        for phase, row in table.items():
            for event, target in row.items():
                lines.append(f"    {_name(phase)} --> {_name(target)}: {event.value}")
        lines.append("```")
    return "\n".join(lines) + "\n"


def _name(phase: NodePhase | RolloutPhase) -> str:
    return str(phase.value).replace("-", "_")
