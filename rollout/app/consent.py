"""Who approved a plan, and whether that is enough, by the plan's rules and by the site's."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from rollout.app.world import World
from rollout.domain.approval import Approval, SignatureCheck
from rollout.domain.consent import Consent, judge_consent
from rollout.domain.journal import ApprovalWithdrawn, Approved, Entry, RolloutState
from rollout.domain.plan import Plan
from rollout.domain.policy import ApprovalRules


def approvals_in(entries: Iterable[Entry]) -> tuple[Approval, ...]:
    """The approvals of journal entries, oldest first; withdrawn ones say so."""
    found: list[Approval] = []
    for entry in entries:
        body = entry.body
        if isinstance(body, Approved):
            found.append(Approval(body.digest, body.by, body.ticket, entry.at, body.expires, body.signature))
        elif isinstance(body, ApprovalWithdrawn):
            found = [_withdrawn(one, body, entry.at) for one in found]
    return tuple(found)


def _withdrawn(one: Approval, body: ApprovalWithdrawn, at: datetime) -> Approval:
    if one.by != body.by or one.withdrawn is not None:
        return one
    return Approval(one.digest, one.by, one.ticket, one.at, one.expires, one.signature, at)


def judged_at(state: RolloutState, now: datetime) -> datetime:
    """When approvals have to stand: at the moment the plan is used, so not longer than to its start."""
    return state.started or now


def check_signatures(world: World, approvals: Iterable[Approval], at: datetime) -> dict[Approval, SignatureCheck]:
    """What is known of each signature now; keys and their validity are those of the moment `at`."""
    return {
        each: world.signatures.check(each.statement(), each.signature, each.by, at)
        for each in approvals
        if each.signature
    }


def consent_for(
    world: World, plan: Plan, state: RolloutState, approvals: tuple[Approval, ...] | None = None
) -> Consent:
    """The approvals of `state` (or those given) judged by the plan's rules and the site's, signatures checked anew."""
    at = judged_at(state, world.clock.now())
    given = approvals_in(state.approvals) if approvals is None else approvals
    return judge_consent(
        given,
        plan.digest,
        rules_for(world, plan),
        makers=state.makers,
        now=at,
        checks=check_signatures(world, given, at),
    )


def rules_for(world: World, plan: Plan) -> tuple[ApprovalRules, ApprovalRules]:
    """The plan's rules and the site's: both bind."""
    return plan.policy.approval, world.approval
