"""The contract of `Signatures` on the fake and on ssh-keygen with real keys."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from rollout.adapters.signatures import SignatureSettings, SshSignatures
from rollout.ports.signatures import Signatures
from tests.builders import NOW
from tests.contracts.signatures import Scene, SignaturesContract
from tests.fakes.signatures import FakeSignatures
from tests.support.keys import allow, as_env, make_key, revoke, ssh_agent

EXPIRED = datetime(2026, 12, 1).astimezone()
"""Local time: so are times without a zone in an allowed-signers file."""


class TestFake(SignaturesContract):
    @pytest.fixture
    def scene(self) -> Scene:
        fake = FakeSignatures(agent=("ann",))
        for name, signers in (("ann", ("ann",)), ("bob", ("bob",)), ("shared", ("ann", "bob"))):
            fake.add(name, *signers)
        fake.add("stranger")
        fake.add("locked", "ann")
        fake.keys["bob"].until = EXPIRED
        fake.keys["locked"].locked = True

        def revoked(key: str) -> Signatures:
            fake.keys[key].revoked = True
            return fake

        bare = FakeSignatures(configured=False)
        return Scene(fake, bare, "ann", "bob", "shared", "stranger", "locked", EXPIRED, revoked)


class TestSsh(SignaturesContract):
    @pytest.fixture(params=["ed25519", "rsa"])
    def scene(self, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Scene]:
        ann = make_key(tmp_path, "ann", request.param)
        bob, shared, stranger = (make_key(tmp_path, name) for name in ("bob", "shared", "stranger"))
        locked = make_key(tmp_path, "locked", passphrase="secret")
        file = allow(
            tmp_path / "allowed",
            ("ann", ann),
            ("bob", bob, f'valid-before="{EXPIRED:%Y%m%d}"'),
            ("ann,bob", shared),
            ("ann", locked),
        )
        with ssh_agent(tmp_path) as agent:
            agent.add(ann)
            env = as_env((("SSH_AUTH_SOCK", agent.socket),))

            def revoked(key: str) -> Signatures:
                listed = revoke(tmp_path / "krl", Path(key))
                return SshSignatures(SignatureSettings(file, listed), env)

            yield Scene(
                SshSignatures(SignatureSettings(file), env),
                SshSignatures(SignatureSettings(), env),
                str(ann),
                str(bob),
                str(shared),
                str(stranger),
                str(locked),
                EXPIRED,
                revoked,
            )


def test_the_contract_is_of_a_moment_before_that_expiry() -> None:
    assert NOW < EXPIRED
