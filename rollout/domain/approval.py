"""A named person's consent to one digest, and what they sign."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

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
