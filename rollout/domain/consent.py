"""Whether the approvals of a plan are enough.

Two sets of rules bind: the plan's own (part of its digest) and the site's (the configuration where it is applied). Both
must be met, so a plan cannot weaken what the site asks for. Names alone are a promise among colleagues; only a
signature proves who consented, and then two names with one key are one person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from rollout.domain.approval import Approval, SignatureCheck
from rollout.domain.errors import Refused
from rollout.domain.policy import ApprovalRules
from rollout.domain.verdict import Status


@dataclass(frozen=True, slots=True)
class Discounted:
    """An approval that does not count, and why."""

    approval: Approval
    why: str


@dataclass(frozen=True, slots=True)
class Consent:
    """The approvals of one plan, judged. It is enough when nothing is `missing`."""

    digest: str
    needed: int
    """Different people."""
    signed: bool
    """Whether each of them has to sign."""
    counted: tuple[Approval, ...]
    """Those that count, oldest first; one per person."""
    discounted: tuple[Discounted, ...]
    keys: Mapping[str, str] = field(default_factory=dict)
    """Fingerprint of the key that signed, by approver; approvers whose signature was checked and holds."""
    able: tuple[str, ...] = ()
    """Who still can approve; empty: anybody whom no rule excludes."""
    excluded: str = ""
    """Who made the plan, when that person may not approve it; empty: nobody is excluded."""
    impossible: str = ""
    """Why no approvals could ever be enough; empty when some could."""

    @property
    def missing(self) -> int:
        """How many more people have to approve."""
        return max(0, self.needed - len(self.counted))


def same_person(one: str, other: str) -> bool:
    """Whether two names are taken to be one person: equal but for case, or equal before an `@`.

    Erring on the safe side: `ann@bastion`, who planned, is `ann@example.com`, who would approve.
    """
    return _core(one) == _core(other)


def _core(name: str) -> str:
    return name.strip().casefold().partition("@")[0]


def judge_consent(
    approvals: Sequence[Approval],
    digest: str,
    rules: Sequence[ApprovalRules],
    *,
    makers: Sequence[str],
    now: datetime,
    checks: Mapping[Approval, SignatureCheck],
) -> Consent:
    """Which approvals of `digest` count under all `rules`, and how many are missing.

    `makers`: names of who made the plan, empty when that is not known (a journal older than the rule). `checks`: what
    is known of the signatures of signed approvals.
    """
    signed, own = any(r.signed for r in rules), all(r.own_plans for r in rules)
    needed = max((r.count for r in rules), default=1)
    counted: list[Approval] = []
    discounted: list[Discounted] = []
    keys: dict[str, str] = {}
    own_ones = sorted((a for a in approvals if a.digest == digest), key=lambda a: (a.at, a.by))
    people = _people(own_ones, checks)
    for approval in own_ones:
        check = checks.get(approval) if approval.signature else None
        why = (
            _lapsed(approval, now)
            or _not_allowed(approval.by, people[approval], rules, makers, own=own)
            or _unsigned(check, signed=signed)
            or _repeated(approval, people, counted)
        )
        if why:
            discounted.append(Discounted(approval, why))
            continue
        counted.append(approval)
        if check is not None and check.status is Status.PASS:
            keys[approval.by] = check.key
    able = _able(rules, makers, counted, people, own=own)
    return Consent(
        digest=digest,
        needed=needed,
        signed=signed,
        counted=tuple(counted),
        discounted=tuple(discounted),
        keys=keys,
        able=able or (),
        excluded="" if own else "".join(makers[:1]),
        impossible=_impossible(able, needed - len(counted), rules),
    )


def _people(approvals: Sequence[Approval], checks: Mapping[Approval, SignatureCheck]) -> dict[Approval, frozenset[str]]:
    """All names of whoever gave each approval: one person's names are alike, or have signed with one key.

    Expired and other approvals that do not count are looked at as well: what they tell about keys is true all the same.
    """
    groups: list[set[str]] = []
    for approval in approvals:
        check = checks.get(approval) if approval.signature else None
        marks = {f"name {_core(approval.by)}"} | ({f"key {check.key}"} if check is not None and check.key else set())
        for group in [g for g in groups if g & marks]:
            marks |= group
            groups.remove(group)
        groups.append(marks)
    group_of = {mark: frozenset(group) for group in groups for mark in group}
    return {approval: group_of[f"name {_core(approval.by)}"] for approval in approvals}


def _lapsed(approval: Approval, now: datetime) -> str:
    if approval.withdrawn is not None:
        return "it was withdrawn"
    return f"it expired at {approval.expires.isoformat()}" if approval.expires <= now else ""


def _not_allowed(
    by: str, person: frozenset[str], rules: Sequence[ApprovalRules], makers: Sequence[str], *, own: bool
) -> str:
    """Why a person may not approve at all; empty for one who may."""
    if not own and not makers:
        return "the rules let nobody approve a plan of their own, and the journal does not say who made this one"
    if not own and any(f"name {_core(maker)}" in person for maker in makers):
        known = (
            "" if any(same_person(by, maker) for maker in makers) else f" (one key has signed for both names, {by} too)"
        )
        return f"{makers[0]} made the plan, and may not approve it{known}"
    if any(r.approvers and by not in r.approvers for r in rules):
        return "not one of the approvers"
    return ""


def _unsigned(check: SignatureCheck | None, *, signed: bool) -> str:
    """A signature that is wrong never counts; one that cannot be checked counts where none is asked for."""
    if check is None:
        return "it is not signed" if signed else ""
    if check.status is Status.PASS or (check.status is Status.INCONCLUSIVE and not signed):
        return ""
    return f"its signature does not hold: {check.why}"


def _repeated(approval: Approval, people: Mapping[Approval, frozenset[str]], counted: Sequence[Approval]) -> str:
    for other in counted:
        if people[approval] == people[other]:
            shared = "" if same_person(approval.by, other.by) else ", and one key has signed for both names"
            return f"{other.by} is counted already{shared}"
    return ""


def _able(
    rules: Sequence[ApprovalRules],
    makers: Sequence[str],
    counted: Sequence[Approval],
    people: Mapping[Approval, frozenset[str]],
    *,
    own: bool,
) -> tuple[str, ...] | None:
    """Who of those listed still can approve; None: nobody is listed, so anybody may."""
    lists = [r.approvers for r in rules if r.approvers]
    if not lists:
        return None
    known = {mark: person for person in people.values() for mark in person}
    taken = {mark for one in counted for mark in people[one]}
    both = sorted(set(lists[0]).intersection(*lists[1:]))
    persons = {name: known.get(f"name {_core(name)}", frozenset({f"name {_core(name)}"})) for name in both}
    return tuple(
        name
        for name in both
        if not _not_allowed(name, persons[name], rules, makers, own=own) and not persons[name] & taken
    )


def _impossible(able: tuple[str, ...] | None, missing: int, rules: Sequence[ApprovalRules]) -> str:
    if able is None or missing <= 0 or len({_core(name) for name in able}) >= missing:
        return ""
    both = " that the plan and the configuration both name" if sum(bool(r.approvers) for r in rules) > 1 else ""
    return f"only {len(able)} of the approvers{both} can still approve"


def require_consent(consent: Consent) -> None:
    """Raises `Refused` unless the approvals are enough: how many are missing, whose do not count, who still can."""
    if not consent.missing:
        return
    plan, given = consent.digest[:12], consent.counted
    if not given and not consent.discounted:
        asked = f" ({_asked(consent)})" if consent.needed > 1 or consent.signed else ""
        raise Refused("not-approved", f"cannot apply plan {plan}: nobody has approved it{asked}", hint=_hint(consent))
    if consent.needed == 1 and len(consent.discounted) == 1:
        only = consent.discounted[0]
        code = "approval-expired" if only.why.startswith("it expired") else "approval-not-valid"
        why = f"the approval by {only.approval.by} {only.why.removeprefix('it ')}"
        if code != "approval-expired":
            why = f"the approval by {only.approval.by} does not count: {only.why}"
        raise Refused(code, f"cannot apply plan {plan}: {why}", hint=_hint(consent))
    lost = "".join(f"; {d.approval.by}'s does not count: {d.why}" for d in consent.discounted)
    names = f" ({', '.join(a.by for a in given)})" if given else ""
    raise Refused(
        "approvals-missing",
        f"cannot apply plan {plan}: it has {len(given)}{names} of the approvals it needs ({_asked(consent)}){lost}",
        hint=_hint(consent),
    )


def _asked(consent: Consent) -> str:
    people = "1 person" if consent.needed == 1 else f"{consent.needed} different people"
    return f"{people}, each signed" if consent.signed else people


def _hint(consent: Consent) -> str:
    """The command that adds what is missing, and who may give it."""
    if consent.impossible:
        return f"{consent.impossible}: change the approvers in the policy and plan again, or in the configuration"
    sign = " --sign" if consent.signed else ""
    command = f"rollout approve {consent.digest[:12]} --by NAME --ticket ID{sign}"
    if consent.able:
        return f"have it reviewed by {', '.join(consent.able)}, then: {command}"
    other = f" by somebody else than {consent.excluded}" if consent.excluded else ""
    return f"have it reviewed{other}, then: {command}"
