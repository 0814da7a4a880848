"""Record a person's consent to one digest."""

from __future__ import annotations

from datetime import timedelta

from rollout.app.apply import approvals_in
from rollout.app.journal import load, load_plan
from rollout.app.world import World
from rollout.domain.approval import Approval
from rollout.domain.errors import Refused, UsageError
from rollout.domain.journal import Approved, RolloutDecided
from rollout.domain.lifecycle import RolloutEvent, RolloutPhase


def approve(world: World, reference: str, *, by: str, ticket: str, valid: timedelta) -> Approval:
    """Approve a saved plan, for `valid` from now. Raises `Refused` when it is used or already approved by `by`."""
    if not by.strip() or valid <= timedelta(0):
        raise UsageError(
            "approval-incomplete",
            "cannot approve: a name and a positive validity are needed",
            hint="rollout approve PLAN --by NAME --ticket ID --valid 8h",
        )
    record, state = load(world.store, reference)
    load_plan(world.store, record.id)
    now = world.clock.now()
    if state.used:
        raise Refused(
            "plan-used", f"cannot approve plan {record.id}: it was applied already", hint="make a new one: rollout plan"
        )
    if state.phase is RolloutPhase.ABORTED:
        raise Refused(
            "plan-aborted", f"cannot approve plan {record.id}: it was aborted", hint="make a new one: rollout plan"
        )
    standing = [e.body for e in state.approvals if isinstance(e.body, Approved)]
    if any(a.by == by and a.expires > now for a in standing):
        raise Refused(
            "approved-twice",
            f"cannot approve plan {record.id} again: {by}'s approval still stands",
            hint=f"apply it: rollout apply {record.id}",
        )
    body = Approved(record.digest, by, ticket, now + valid)
    bodies = (body,) if state.phase is RolloutPhase.APPROVED else (body, RolloutDecided(RolloutEvent.APPROVE, by))
    world.store.append(record.id, bodies, now=now, expect_seq=state.seq)
    return Approval(record.digest, by, ticket, now, body.expires)


def approvals_of(world: World, reference: str) -> tuple[Approval, ...]:
    """All approvals of a plan, oldest first."""
    return approvals_in(load(world.store, reference)[1])
