"""Named people's consent to one digest, and whether it is enough.

Two sets of rules bind: the plan's own (part of its digest) and the site's (the configuration where it is applied). Both
must be met, so a plan cannot weaken what the site asks for. Names alone are a promise among colleagues; only a
signature proves who consented, and then two names with one key are one person.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from rollout.domain.errors import Refused
from rollout.domain.policy import ApprovalRules
from rollout.domain.verdict import Status

NAMESPACE = "netkit-rollout-plan@v1"
"""Namespace of signatures (`ssh-keygen -Y sign -n`): one made for anything else never counts here."""


@dataclass(frozen=True, slots=True)
class Approval:
    """Who approved which digest, for which ticket, from when until when."""

    digest: str
    by: str
    ticket: str
    at: datetime
    expires: datetime
    signature: str = ""
    """SSH signature over `statement`, armoured; empty: unsigned."""
    withdrawn: datetime | None = None
    """When it was taken back; None while it stands."""

    def statement(self) -> bytes:
        """The bytes that are signed."""
        return statement(self.digest, self.by, self.ticket, self.expires)


@dataclass(frozen=True, slots=True)
class SignatureCheck:
    """What is known about a signature: pass, fail, or inconclusive when it could not be checked.

    `key`: fingerprint of the key it was made with, when it holds. `why`: in words, when it does not.
    """

    status: Status
    key: str = ""
    why: str = ""


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


def statement(digest: str, by: str, ticket: str, expires: datetime) -> bytes:
    """What an approver signs: one line of canonical JSON in ASCII, so that no name can pretend to be another field."""
    content = {
        "approve": NAMESPACE,
        "by": by,
        "digest": digest,
        "expires": expires.astimezone(UTC).isoformat(),
        "ticket": ticket,
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"


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
    maker: str,
    now: datetime,
    checks: Mapping[Approval, SignatureCheck],
) -> Consent:
    """Which approvals of `digest` count under all `rules`, and how many are missing.

    `maker`: who made the plan, empty when that is not known (a journal older than the rule). `checks`: what is known of
    the signatures of signed approvals.
    """
    signed, own = any(r.signed for r in rules), all(r.own_plans for r in rules)
    needed = max((r.count for r in rules), default=1)
    counted: list[Approval] = []
    discounted: list[Discounted] = []
    keys: dict[str, str] = {}
    for approval in sorted((a for a in approvals if a.digest == digest), key=lambda a: (a.at, a.by)):
        check = checks.get(approval) if approval.signature else None
        why = (
            _lapsed(approval, now)
            or _not_allowed(approval.by, rules, maker, own=own)
            or _unsigned(check, signed=signed)
            or _repeated(approval.by, check, counted, keys)
        )
        if why:
            discounted.append(Discounted(approval, why))
            continue
        counted.append(approval)
        if check is not None and check.status is Status.PASS:
            keys[approval.by] = check.key
    able = _able(rules, maker, counted, own=own)
    return Consent(
        digest=digest,
        needed=needed,
        signed=signed,
        counted=tuple(counted),
        discounted=tuple(discounted),
        keys=keys,
        able=able or (),
        excluded="" if own else maker,
        impossible=_impossible(able, needed - len(counted), rules),
    )


def _lapsed(approval: Approval, now: datetime) -> str:
    if approval.withdrawn is not None:
        return "it was withdrawn"
    return f"it expired at {approval.expires.isoformat()}" if approval.expires <= now else ""


def _not_allowed(by: str, rules: Sequence[ApprovalRules], maker: str, *, own: bool) -> str:
    """Why a person may not approve at all; empty for one who may."""
    if not own and not maker:
        return "the rules let nobody approve a plan of their own, and the journal does not say who made this one"
    if not own and same_person(by, maker):
        return f"{maker} made the plan, and may not approve it"
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


def _repeated(by: str, check: SignatureCheck | None, counted: Sequence[Approval], keys: Mapping[str, str]) -> str:
    for other in counted:
        if same_person(by, other.by):
            return f"{other.by} is counted already"
        if check is not None and check.key and keys.get(other.by) == check.key:
            return f"it is signed with the key of {other.by}, who is counted already"
    return ""


def _able(
    rules: Sequence[ApprovalRules], maker: str, counted: Sequence[Approval], *, own: bool
) -> tuple[str, ...] | None:
    """Who of those listed still can approve; None: nobody is listed, so anybody may."""
    lists = [r.approvers for r in rules if r.approvers]
    if not lists:
        return None
    return tuple(
        name
        for name in sorted(set(lists[0]).intersection(*lists[1:]))
        if not _not_allowed(name, rules, maker, own=own) and not any(same_person(name, a.by) for a in counted)
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
