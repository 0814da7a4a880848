"""Signatures by ssh-keygen: what people are told when something is wrong."""

from __future__ import annotations

import os
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from rollout.adapters.signatures import SignatureSettings, SshSignatures
from rollout.domain.approval import Approval, SignatureCheck
from rollout.domain.errors import Refused, Unavailable, UsageError
from rollout.domain.verdict import Status
from rollout.ports.signatures import AGENT
from tests.builders import NOW
from tests.support.keys import allow, as_env, make_key, public, sign, ssh_agent

STATEMENT = Approval("ab" * 32, "ann", "CHG-1", NOW, NOW + timedelta(hours=8)).statement()


@pytest.fixture
def ann(tmp_path: Path) -> Path:
    return make_key(tmp_path, "ann")


def check(allowed: Path, signature: str, by: str = "ann", revoked_keys: Path | None = None) -> SignatureCheck:
    return SshSignatures(SignatureSettings(allowed, revoked_keys), as_env()).check(STATEMENT, signature, by, NOW)


def test_a_signature_made_by_hand_holds(tmp_path: Path, ann: Path) -> None:
    found = check(allow(tmp_path / "allowed", ("ann", ann)), sign(ann, STATEMENT))
    assert found.status is Status.PASS


def test_each_fault_is_named(tmp_path: Path, ann: Path) -> None:
    allowed = allow(tmp_path / "allowed", ("ann", ann))
    good = sign(ann, STATEMENT)
    assert check(allowed, good, "bob").why.endswith("is the key of ann, not of bob")
    assert "made for another purpose" in check(allowed, sign(ann, STATEMENT, "git")).why
    assert "over another text" in check(allowed, sign(ann, STATEMENT.rstrip(b"\n"))).why
    eve = make_key(tmp_path, "eve")
    assert "is not listed for ann in" in check(allowed, sign(eve, STATEMENT)).why
    other = allow(tmp_path / "other", ("ann", ann, 'namespaces="git"'))
    assert "line 2: key is not permitted for use in signature namespace" in check(other, good).why
    early = allow(tmp_path / "early", ("ann", ann, 'valid-after="20990101"'))
    assert "key is not yet valid" in check(early, good).why


def test_a_certificate_authoritys_signer_holds(tmp_path: Path, ann: Path) -> None:
    import subprocess

    authority = make_key(tmp_path, "authority")
    subprocess.run(
        ["ssh-keygen", "-q", "-s", str(authority), "-I", "id", "-n", "ann", "-V", "20260101:20270101", f"{ann}.pub"],
        check=True,
        timeout=30,
    )
    file = tmp_path / "allowed"
    file.write_text(f"*@corp,ann cert-authority {public(authority)}\n")
    signature = sign(Path(f"{ann}-cert.pub"), STATEMENT)
    assert check(file, signature).status is Status.PASS
    assert check(file, signature, "bob").status is Status.FAIL


@pytest.mark.parametrize("name", ["allowed_signers", "revoked_keys"])
def test_a_file_that_cannot_be_read_concludes_nothing(tmp_path: Path, ann: Path, name: str) -> None:
    files = {"allowed_signers": allow(tmp_path / "allowed", ("ann", ann)), name: tmp_path / "nowhere"}
    settings = SignatureSettings(files["allowed_signers"], files.get("revoked_keys"))
    found = SshSignatures(settings, as_env()).check(STATEMENT, sign(ann, STATEMENT), "ann", NOW)
    assert found.status is Status.INCONCLUSIVE
    assert f"cannot read {tmp_path / 'nowhere'} (approval.{name})" in found.why


def test_a_damaged_revocation_list_is_not_taken_for_an_empty_one(tmp_path: Path, ann: Path) -> None:
    allowed, damaged = allow(tmp_path / "allowed", ("ann", ann)), tmp_path / "krl"
    damaged.write_bytes(b"SSHKRL\n\0\0garbage")
    found = check(allowed, sign(ann, STATEMENT), revoked_keys=damaged)
    assert found.status is Status.FAIL
    assert f"or {damaged} is damaged" in found.why


def test_without_the_program_nothing_is_concluded_and_nothing_signed(tmp_path: Path, ann: Path) -> None:
    signatures = SshSignatures(
        SignatureSettings(allow(tmp_path / "allowed", ("ann", ann))), {"PATH": str(tmp_path / "empty")}
    )
    found = signatures.check(STATEMENT, sign(ann, STATEMENT), "ann", NOW)
    assert found.status is Status.INCONCLUSIVE
    assert "ssh-keygen was not found" in found.why
    for key in (str(ann), AGENT):
        with pytest.raises(Unavailable, match="was not found"):
            signatures.sign(STATEMENT, key, "ann")


def fake_program(folder: Path, name: str, body: str) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    return as_env((("PATH", f"{folder}:{os.environ['PATH']}"),))


def test_a_program_that_hangs_is_ended(tmp_path: Path, ann: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollout.adapters.signatures._CHECK_S", 1)
    env = fake_program(tmp_path / "bin", "ssh-keygen", "exec sleep 60")
    signatures = SshSignatures(SignatureSettings(allow(tmp_path / "allowed", ("ann", ann))), env)
    found = signatures.check(STATEMENT, "x", "ann", NOW)
    assert (found.status, found.why) == (
        Status.INCONCLUSIVE,
        "it could not be checked: ssh-keygen did not answer within 1 s",
    )
    with pytest.raises(Unavailable, match="did not end within 1 s"):
        signatures.sign(STATEMENT, str(ann), "ann")


def test_files_are_private_and_the_environment_is_clean(tmp_path: Path, ann: Path) -> None:
    told = tmp_path / "told"
    env = fake_program(
        tmp_path / "bin",
        "ssh-keygen",
        f'[ -e "{told}" ] && exit 1; {{ env; stat -c "%a %n" "${{10}}"; }} >>"{told}"; exit 1',
    )
    env |= {"LD_PRELOAD_NOT": "x", "SSH_AUTH_SOCK": "/agent", "AWS_SECRET_ACCESS_KEY": "s3cret"}
    SshSignatures(SignatureSettings(allow(tmp_path / "allowed", ("ann", ann))), env).check(STATEMENT, "x", "ann", NOW)
    text = told.read_text()
    assert "s3cret" not in text
    assert "SSH_AUTH_SOCK" not in text
    assert "LC_ALL=C\n" in text
    mode, _, file = text.splitlines()[-1].partition(" ")
    assert stat.S_IMODE(int(mode, 8)) == 0o600
    assert not Path(file).exists()


def test_a_key_others_may_read_and_one_without_its_private_half(tmp_path: Path, ann: Path) -> None:
    signatures = SshSignatures(SignatureSettings(), as_env())
    ann.chmod(0o644)
    with pytest.raises(UsageError, match="others may read it"):
        signatures.sign(STATEMENT, str(ann), "ann")
    ann.unlink()
    with pytest.raises(UsageError, match="neither beside it nor in the agent"):
        signatures.sign(STATEMENT, f"{ann}.pub", "ann")


def test_the_agents_key_that_is_listed_for_the_signer_is_taken(tmp_path: Path, ann: Path) -> None:
    bob, stray = make_key(tmp_path, "bob", "rsa"), make_key(tmp_path, "stray")
    with ssh_agent(tmp_path) as agent:
        env = as_env((("SSH_AUTH_SOCK", agent.socket),))
        with pytest.raises(UsageError, match="no SSH agent with a key"):
            SshSignatures(SignatureSettings(), env).sign(STATEMENT, AGENT, "ann")
        for key in (stray, bob, ann):
            agent.add(key)
        allowed = allow(tmp_path / "allowed", ("ann", ann), ("bob", bob))
        signature = SshSignatures(SignatureSettings(allowed), env).sign(STATEMENT, AGENT, "ann")
        assert check(allowed, signature).status is Status.PASS
        with pytest.raises(UsageError, match="cannot be told which of the agent's keys is ann's: stray, bob, ann"):
            SshSignatures(SignatureSettings(), env).sign(STATEMENT, AGENT, "ann")


def test_a_locked_key_asks_nobody_where_there_is_no_terminal(tmp_path: Path) -> None:
    locked = make_key(tmp_path, "locked", passphrase="secret")
    with pytest.raises(Refused, match="there is no terminal to ask on") as caught:
        SshSignatures(SignatureSettings(), as_env()).sign(STATEMENT, str(locked), "ann")
    assert "ssh-add" in caught.value.hint
