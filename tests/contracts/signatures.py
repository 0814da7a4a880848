"""What every `Signatures` has to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest

from rollout.domain.approval import Approval
from rollout.domain.errors import Refused, UsageError
from rollout.domain.verdict import Status
from rollout.ports.signatures import AGENT, SIGNATURE_LIMIT, Signatures
from tests.builders import NOW

APPROVAL = Approval("ab" * 32, "ann", "CHG-1", NOW, NOW + timedelta(hours=8))


@dataclass(frozen=True)
class Scene:
    """A `Signatures` and keys: ann's, bob's (expires at `expired`), one shared by both, a stranger's, a locked one.

    The agent holds ann's key alone. `unconfigured`: the same without an allowed-signers file.
    """

    signatures: Signatures
    unconfigured: Signatures
    ann: str
    bob: str
    shared: str
    stranger: str
    locked: str
    expired: datetime
    revoke: Callable[[str], Signatures]


class SignaturesContract:
    """Subclasses give the fixture `scene`."""

    def test_a_signature_holds_for_its_signer_and_tells_the_key(self, scene: Scene) -> None:
        for key in (scene.ann, AGENT):
            signature = scene.signatures.sign(APPROVAL.statement(), key, "ann")
            found = scene.signatures.check(APPROVAL.statement(), signature, "ann", NOW)
            assert (found.status, found.why) == (Status.PASS, "")
            assert found.key.startswith("SHA256:")

    @pytest.mark.parametrize(
        "change",
        [
            {"digest": "cd" * 32},
            {"by": "Ann"},
            {"ticket": "CHG-10"},
            {"expires": NOW + timedelta(hours=9)},
        ],
    )
    def test_it_holds_for_nothing_but_what_was_signed(self, scene: Scene, change: dict[str, object]) -> None:
        signature = scene.signatures.sign(APPROVAL.statement(), scene.ann, "ann")
        other = replace(APPROVAL, **change)  # type: ignore[arg-type]
        found = scene.signatures.check(other.statement(), signature, "ann", NOW)
        assert (found.status, found.key) == (Status.FAIL, "")
        assert "over another text" in found.why

    def test_nor_for_anybody_else(self, scene: Scene) -> None:
        signature = scene.signatures.sign(APPROVAL.statement(), scene.ann, "ann")
        found = scene.signatures.check(APPROVAL.statement(), signature, "bob", NOW)
        assert found.status is Status.FAIL
        assert "bob" in found.why

    def test_a_key_that_nobody_listed_signs_for_nobody(self, scene: Scene) -> None:
        signature = scene.signatures.sign(APPROVAL.statement(), scene.stranger, "ann")
        assert scene.signatures.check(APPROVAL.statement(), signature, "ann", NOW).status is Status.FAIL

    def test_one_key_of_two_people_is_told_as_one(self, scene: Scene) -> None:
        keys = set()
        for by in ("ann", "bob"):
            text = replace(APPROVAL, by=by).statement()
            keys.add(scene.signatures.check(text, scene.signatures.sign(text, scene.shared, by), by, NOW).key)
        assert len(keys) == 1
        assert keys != {""}

    def test_a_key_counts_by_the_time_that_is_asked_about(self, scene: Scene) -> None:
        text = replace(APPROVAL, by="bob").statement()
        signature = scene.signatures.sign(text, scene.bob, "bob")
        before, after = scene.expired - timedelta(days=2), scene.expired + timedelta(days=2)
        assert scene.signatures.check(text, signature, "bob", before).status is Status.PASS
        found = scene.signatures.check(text, signature, "bob", after)
        assert found.status is Status.FAIL
        assert "expired" in found.why

    def test_a_revoked_key_counts_no_more(self, scene: Scene) -> None:
        signature = scene.signatures.sign(APPROVAL.statement(), scene.ann, "ann")
        found = scene.revoke(scene.ann).check(APPROVAL.statement(), signature, "ann", NOW)
        assert found.status is Status.FAIL
        assert "revoked" in found.why

    @pytest.mark.parametrize("text", ["", "x", "-----BEGIN SSH SIGNATURE-----\nU1NI\n-----END SSH SIGNATURE-----\n"])
    def test_what_is_no_signature_does_not_hold(self, scene: Scene, text: str) -> None:
        found = scene.signatures.check(APPROVAL.statement(), text, "ann", NOW)
        assert found.status is Status.FAIL
        assert found.why
        assert scene.signatures.check(APPROVAL.statement(), "x" * (SIGNATURE_LIMIT + 1), "ann", NOW).why

    @pytest.mark.parametrize("by", ["", "-I", "ann\n", "ann\0", "*", "ann,bob", "a nn"])
    def test_odd_names_pass_for_nobody(self, scene: Scene, by: str) -> None:
        signature = scene.signatures.sign(APPROVAL.statement(), scene.ann, "ann")
        assert scene.signatures.check(APPROVAL.statement(), signature, by, NOW).status is Status.FAIL

    def test_without_allowed_signers_nothing_is_concluded(self, scene: Scene) -> None:
        signature = scene.signatures.sign(APPROVAL.statement(), scene.ann, "ann")
        found = scene.unconfigured.check(APPROVAL.statement(), signature, "ann", NOW)
        assert found.status is Status.INCONCLUSIVE
        assert "approval.allowed_signers is not configured" in found.why

    def test_a_key_that_is_not_there_and_one_that_stays_locked(self, scene: Scene) -> None:
        with pytest.raises(UsageError, match="there is no key"):
            scene.signatures.sign(APPROVAL.statement(), "/no/such/key", "ann")
        with pytest.raises(Refused, match="passphrase"):
            scene.signatures.sign(APPROVAL.statement(), scene.locked, "ann")
