"""Record a person's consent to one digest, or take it back."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from rollout.app.consent import approvals_in, consent_for
from rollout.app.journal import load, load_plan
from rollout.app.world import World
from rollout.domain.approval import Approval
from rollout.domain.consent import Consent
from rollout.domain.errors import Refused, UsageError
from rollout.domain.journal import ApprovalWithdrawn, Approved, Body, RolloutDecided, RolloutState
from rollout.domain.lifecycle import RolloutEvent, RolloutPhase
from rollout.domain.plan import Plan
from rollout.domain.verdict import Status
from rollout.ports.store import RolloutRecord

_LONGEST = 253
"""Characters of a name or ticket."""


_DAY = timedelta(days=1)


def approve(
    world: World,
    reference: str,
    *,
    by: str,
    ticket: str,
    valid: timedelta = _DAY,
    expires: datetime | None = None,
    signature: str = "",
    key: str = "",
) -> Approval:
    """Approve a saved plan, for `valid` from now or until `expires`, to the whole second.

    `signature`: made elsewhere over the statement, with the same `expires`. `key`: sign with this key now. Raises
    `UsageError` for an incomplete approval; `Refused` when the plan is used or aborted, when this approval could never
    count (who it is by, a signature that is missing or wrong), or when this person's approval stands already.
    """
    record, plan, state = _open(world, reference)
    approval = _approval(world, record, by, ticket, expires or world.clock.now() + valid)
    _require_new(consent_for(world, plan, state), by)
    if key:
        signature = world.signatures.sign(approval.statement(), key, by)
    if signature:
        approval = replace(approval, signature=signature)
        _require_sound(world, approval)
    consent = consent_for(world, plan, state, (*approvals_in(state.approvals), approval))
    _require_counted(consent, approval)
    bodies: list[Body] = [Approved(record.digest, by, ticket, approval.expires, signature)]
    if state.phase is RolloutPhase.DRAFT and not consent.missing:
        bodies.append(RolloutDecided(RolloutEvent.APPROVE, by))
    world.store.append(record.id, bodies, now=approval.at, expect_seq=state.seq)
    return approval


def statement_of(world: World, reference: str, *, by: str, ticket: str, expires: datetime) -> Approval:
    """The approval whose `statement` is to be signed elsewhere. Nothing is recorded. Raises as `approve` does."""
    record, _, _ = _open(world, reference)
    return _approval(world, record, by, ticket, expires)


def withdraw(world: World, reference: str, *, by: str, reason: str = "") -> Consent:
    """Take the approvals of `by` back before the plan is used; what is left, judged. Raises `Refused`, `UsageError`."""
    record, plan, state = _open(world, reference)
    _require_name("name", by)
    given = approvals_in(state.approvals)
    if not any(a.by == by and a.withdrawn is None for a in given):
        names = ", ".join(sorted({a.by for a in given if a.withdrawn is None}))
        raise Refused(
            "not-approved-by",
            f"cannot withdraw {by}'s approval of plan {record.id}: there is none",
            hint=f"approved by: {names}" if names else "nobody has approved it",
        )
    body = ApprovalWithdrawn(record.digest, by, world.who.operator, reason)
    left = consent_for(world, plan, state, tuple(a for a in given if a.by != by))
    bodies: tuple[Body, ...] = (body,)
    if state.phase is RolloutPhase.APPROVED and left.missing:
        bodies = (body, RolloutDecided(RolloutEvent.WITHDRAW, f"{by}'s approval was withdrawn"))
    world.store.append(record.id, bodies, now=world.clock.now(), expect_seq=state.seq)
    return consent_of(world, record.id)


def approvals_of(world: World, reference: str) -> tuple[Approval, ...]:
    """All approvals of a plan, oldest first."""
    return approvals_in(load(world.store, reference)[1].approvals)


def consent_of(world: World, reference: str) -> Consent:
    """The approvals of a plan, judged by its rules and the site's."""
    record, state = load(world.store, reference)
    return consent_for(world, load_plan(world.store, record.id), state)


def _open(world: World, reference: str) -> tuple[RolloutRecord, Plan, RolloutState]:
    record, state = load(world.store, reference)
    plan = load_plan(world.store, record.id)
    if state.used:
        raise Refused(
            "plan-used", f"cannot approve plan {record.id}: it was applied already", hint="make a new one: rollout plan"
        )
    if state.phase is RolloutPhase.ABORTED:
        raise Refused(
            "plan-aborted", f"cannot approve plan {record.id}: it was aborted", hint="make a new one: rollout plan"
        )
    return record, plan, state


def _approval(world: World, record: RolloutRecord, by: str, ticket: str, expires: datetime) -> Approval:
    now, until = world.clock.now(), expires.replace(microsecond=0)
    _require_name("name", by)
    _require_name("ticket", ticket)
    if until <= now:
        raise UsageError(
            "approval-incomplete",
            f"cannot approve: the approval would have expired at {until.isoformat()}",
            hint="rollout approve PLAN --by NAME --ticket ID --valid 8h",
        )
    return Approval(record.digest, by, ticket, now, until)


def _require_name(what: str, text: str) -> None:
    """Names are shown to people and signed by them: what does not print could pretend to be something else."""
    if text.strip() and text == text.strip() and text.isprintable() and len(text) <= _LONGEST:
        return
    raise UsageError(
        "approval-incomplete",
        f"cannot approve: the {what} {text!r} is empty, too long, or holds what cannot be seen"
        if text.strip()
        else f"cannot approve: a {what} is needed",
        hint="rollout approve PLAN --by NAME --ticket ID --valid 8h",
    )


def _require_new(consent: Consent, by: str) -> None:
    if any(a.by == by for a in consent.counted):
        plan = consent.digest[:12]
        raise Refused(
            "approved-twice",
            f"cannot approve plan {plan} again: {by}'s approval still stands",
            hint="somebody else has to approve it too; see: rollout show"
            if consent.missing
            else f"apply it: rollout apply {plan}",
        )


def _require_sound(world: World, approval: Approval) -> None:
    """Raises `Refused` for a signature that does not hold, or cannot be checked: it would be worth nothing later."""
    check = world.signatures.check(approval.statement(), approval.signature, approval.by, world.clock.now())
    if check.status is not Status.PASS:
        raise Refused(
            "signature-wrong",
            f"cannot approve plan {approval.digest[:12]} for {approval.by}: the signature does not hold: {check.why}",
            hint="what has to be signed: rollout approve PLAN --by NAME --ticket ID --expires TIME --statement",
        )


def _require_counted(consent: Consent, approval: Approval) -> None:
    """Raises `Refused` when this approval is one that does not count."""
    found = next((d for d in consent.discounted if d.approval == approval), None)
    if found is None:
        return
    plan, hint = approval.digest[:12], "see who may: rollout show"
    if consent.signed and not approval.signature:
        hint = f"rollout approve {plan} --by NAME --ticket ID --sign"
    elif consent.able:
        hint = f"who still can: {', '.join(consent.able)}"
    raise Refused("approval-not-valid", f"cannot approve plan {plan} for {approval.by}: {found.why}", hint=hint)
