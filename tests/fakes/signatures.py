"""The port `Signatures` in memory: keys are names, and a signature is the text of who signed what."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime

from rollout.domain.approval import SignatureCheck
from rollout.domain.errors import Refused, UsageError
from rollout.domain.verdict import Status
from rollout.ports.signatures import AGENT


@dataclass
class FakeKey:
    """A key. `locked`: nobody types its passphrase. `until`: it may not sign behind this time."""

    fingerprint: str
    locked: bool = False
    revoked: bool = False
    until: datetime | None = None


@dataclass
class FakeSignatures:
    """Keys by name; `allowed`: which keys may sign as whom. `configured` False: there is no allowed-signers file."""

    keys: dict[str, FakeKey] = field(default_factory=dict)
    allowed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    agent: tuple[str, ...] = ()
    configured: bool = True

    def add(self, name: str, *signers: str) -> str:
        """A new key that may sign as `signers`; its name."""
        self.keys[name] = FakeKey("SHA256:" + hashlib.sha256(name.encode()).hexdigest()[:16])
        self.allowed[name] = signers
        return name

    def check(self, statement: bytes, signature: str, signer: str, at: datetime) -> SignatureCheck:
        """By what was arranged."""
        if not self.configured:
            return SignatureCheck(Status.INCONCLUSIVE, why="approval.allowed_signers is not configured")
        try:
            told = json.loads(signature)
            name, key = told["key"], self.keys[told["key"]]
        except (ValueError, KeyError, TypeError):
            return SignatureCheck(Status.FAIL, why="it is not an SSH signature")
        if told["over"] != hashlib.sha256(statement).hexdigest():
            return SignatureCheck(Status.FAIL, why="it is over another text")
        if signer not in self.allowed[name]:
            return SignatureCheck(Status.FAIL, why=f"it is not the key of {signer}")
        if key.revoked or (key.until is not None and at > key.until):
            return SignatureCheck(Status.FAIL, why="its key is revoked" if key.revoked else "its key has expired")
        return SignatureCheck(Status.PASS, key=key.fingerprint)

    def sign(self, statement: bytes, key: str, signer: str) -> str:
        """Text that `check` understands."""
        name = self._agent_key() if key == AGENT else key
        if name not in self.keys:
            raise UsageError("signing-key", f"cannot sign: there is no key {key}")
        if self.keys[name].locked:
            raise Refused("signing-locked", f"cannot sign: the key {key} asks for a passphrase")
        return json.dumps({"key": name, "over": hashlib.sha256(statement).hexdigest()})

    def _agent_key(self) -> str:
        if len(self.agent) != 1:
            raise UsageError("signing-key", "cannot sign: it cannot be told which key")
        return self.agent[0]
