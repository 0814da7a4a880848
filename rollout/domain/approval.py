"""A named person's consent to one digest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rollout.domain.errors import Refused


@dataclass(frozen=True, slots=True)
class Approval:
    """Who approved which digest, for which ticket, from when until when."""

    digest: str
    by: str
    ticket: str
    at: datetime
    expires: datetime


def require_valid(approvals: tuple[Approval, ...], digest: str, now: datetime) -> Approval:
    """The newest approval of `digest` that has not expired. Raises `Refused`."""
    own = sorted((a for a in approvals if a.digest == digest), key=lambda a: a.at)
    if not own:
        raise Refused(
            "not-approved",
            f"cannot apply plan {digest[:12]}: nobody has approved it",
            hint=f"have it reviewed, then: rollout approve {digest[:12]} --by NAME --ticket ID",
        )
    newest = own[-1]
    if newest.expires <= now:
        raise Refused(
            "approval-expired",
            f"cannot apply plan {digest[:12]}: the approval by {newest.by} expired at {newest.expires.isoformat()}",
            hint="check that the plan still stands (rollout show), then have it approved again",
        )
    return newest
