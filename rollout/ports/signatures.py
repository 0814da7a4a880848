"""Signatures of approvals."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from rollout.domain.approval import SignatureCheck

AGENT = "agent"
"""In place of a key's file: the one key of the SSH agent that fits."""

SIGNATURE_LIMIT = 1 << 16
"""Longest signature in characters; an SSH signature has about 300 to 1,500."""


class Signatures(Protocol):
    """Makes and checks SSH signatures in the namespace `rollout.domain.approval.NAMESPACE`.

    Who may sign as whom is said by the site's allowed-signers file, read anew for each check, and so are revoked keys.
    Usable from several threads.
    """

    def check(self, statement: bytes, signature: str, signer: str, at: datetime) -> SignatureCheck:
        """Whether `signature` over exactly `statement` is by a key that may sign as `signer` at the time `at`.

        Never raises: what cannot be checked (no allowed-signers file, no program) is inconclusive.
        """
        ...

    def sign(self, statement: bytes, key: str, signer: str) -> str:
        """Sign with the key in the file `key` (private, or public with the private one in the agent), or with `AGENT`.

        Raises `UsageError` for a key that is not there or not to be told, `Refused` when the key's holder did not let
        it be used, `Unavailable` when the program is missing or does not answer.
        """
        ...
