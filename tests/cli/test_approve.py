"""approve, show --stale and --by with real keys, as people use them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rollout.domain.errors import ExitCode
from tests.cli.conftest import QUICK, Run, approved, planned
from tests.cli.simulated import SimulatedWiring
from tests.support.keys import allow, make_key, revoke, sign


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, Path]:
    """Keys of bob and eve, who are allowed; and of mallory, who is not."""
    found = {name: make_key(tmp_path, name) for name in ("bob", "eve", "mallory")}
    allow(tmp_path / "allowed", ("bob", found["bob"]), ("eve", found["eve"]))
    return found


def configure(text: str) -> None:
    Path("rollout.yaml").write_text(text)


SIGNED = "approval: {count: 2, signed: true, own_plans: false, allowed_signers: allowed}\n"


def test_a_signed_plan_from_plan_to_apply(run: Run, keys: dict[str, Path]) -> None:
    configure(SIGNED)
    rollout = planned(run, "--by", "carol")
    unsigned = run("approve", rollout, "--by", "bob", "--ticket", "CHG-7")
    assert unsigned.exit_code == ExitCode.REFUSED
    assert f"error: cannot approve plan {rollout} for bob: it is not signed" in unsigned.stderr
    assert unsigned.stderr.rstrip().endswith("--sign")
    own = run("approve", rollout, "--by", "carol", "--ticket", "CHG-7", "--sign", "--key", str(keys["eve"]))
    assert own.exit_code == ExitCode.REFUSED
    stranger = run("approve", rollout, "--by", "bob", "--ticket", "CHG-7", "--sign", "--key", str(keys["mallory"]))
    assert stranger.exit_code == ExitCode.REFUSED
    assert "is not listed for bob in" in stranger.stderr

    one = run("approve", rollout, "--by", "bob", "--ticket", "CHG-7", "--sign", "--key", str(keys["bob"]))
    assert one.exit_code == 0, one.stderr
    assert 'signing as bob: {"approve":"netkit-rollout-plan@v1","by":"bob"' in one.stderr
    assert "bob (signed with SHA256:" in one.stdout
    assert "1 approval, signed" in one.stdout
    assert "1 approval, signed" in run("status", rollout).stdout
    few = run("apply", rollout)
    assert few.exit_code == ExitCode.REFUSED
    assert "it has 1 (bob) of the approvals it needs (2 different people, each signed)" in few.stderr

    two = run("approve", rollout, "--by", "eve", "--ticket", "CHG-7", "--sign", "--key", str(keys["eve"]), "-o", "json")
    values = json.loads(two.stdout)
    assert (values["missing"], values["by"], len(values["counted"])) == (0, "eve", 2)
    assert run("apply", rollout).exit_code == 0
    assert "approved by" in run("status", rollout).stdout


def test_a_signature_made_elsewhere(run: Run, keys: dict[str, Path]) -> None:
    configure("approval: {signed: true, allowed_signers: allowed}\n")
    rollout = planned(run)
    terms = ("approve", rollout, "--by", "bob", "--ticket", 'C"}\\', "--expires", "2026-12-01T08:00:00+01:00")
    told = run(*terms, "--statement")
    assert told.exit_code == 0, told.stderr
    assert json.loads(told.stdout)["ticket"] == 'C"}\\'
    assert "--expires 2026-12-01T07:00:00+00:00" in told.stderr
    Path("approval.sig").write_text(sign(keys["bob"], told.stdout.encode()))
    wrong = run("approve", rollout, "--by", "bob", "--ticket", "C", "--expires", "2026-12-01T07:00:00Z",
                "--signature", "approval.sig")  # fmt: skip
    assert wrong.exit_code == ExitCode.REFUSED
    assert "over another text" in wrong.stderr
    assert run(*terms, "--signature", "approval.sig").exit_code == 0
    assert run("apply", rollout).exit_code == 0


def test_a_key_revoked_between_approval_and_apply(run: Run, keys: dict[str, Path], tmp_path: Path) -> None:
    configure("approval: {signed: true, allowed_signers: allowed}\n")
    rollout = planned(run)
    assert run("approve", rollout, "--by", "bob", "--ticket", "C", "--sign", "--key", str(keys["bob"])).exit_code == 0
    revoke(tmp_path / "krl", keys["bob"])
    configure("approval: {signed: true, allowed_signers: allowed, revoked_keys: krl}\n")
    late = run("apply", rollout)
    assert late.exit_code == ExitCode.REFUSED
    assert "its key is revoked" in late.stderr


def test_an_approval_is_withdrawn(run: Run) -> None:
    rollout = approved(run)
    gone = run("approve", rollout, "--by", "bob", "--revoke", "--reason", "wrong window")
    assert gone.exit_code == 0, gone.stderr
    assert "Approval withdrawn" in gone.stdout
    assert f"rollout approve {rollout} --by NAME" in gone.stdout
    assert run("apply", rollout).exit_code == ExitCode.REFUSED
    assert run("approve", rollout, "--by", "bob", "--revoke").exit_code == ExitCode.REFUSED
    assert run("approve", rollout, "--by", "bob", "--ticket", "C").exit_code == 0
    assert run("apply", rollout).exit_code == 0


@pytest.mark.parametrize(
    "words",
    [
        ("--by", "bob"),
        ("--by", "bob", "--ticket", "C", "--revoke"),
        ("--by", "bob", "--ticket", "C", "--reason", "x"),
        ("--by", "bob", "--ticket", "C", "--valid", "1h", "--expires", "2027-01-01T00:00:00Z"),
        ("--by", "bob", "--ticket", "C", "--key", "k"),
        ("--by", "bob", "--ticket", "C", "--sign", "--statement"),
        ("--by", "bob", "--ticket", "C", "--signature", "x.sig"),
        ("--by", "bob", "--ticket", "C", "--expires", "2027-01-01T00:00:00"),
        ("--by", "bob", "--ticket", "C", "--expires", "tomorrow"),
        ("--by", "bob", "--ticket", "C", "--expires", "2020-01-01T00:00:00Z"),
        ("--by", "bob", "--ticket", "C", "--expires", "2027-01-01T00:00:00Z", "--signature", "nowhere.sig"),
        ("--by", "bob", "--ticket", "C", "--sign", "--key", "nowhere"),
        ("--by", "b\nob", "--ticket", "C"),
    ],
)
def test_options_that_make_no_sense_change_nothing(run: Run, wiring: SimulatedWiring, words: tuple[str, ...]) -> None:
    rollout = planned(run)
    result = run("approve", rollout, *words)
    assert result.exit_code == ExitCode.USAGE, result.stderr
    assert result.stderr.splitlines()[-2].startswith("error: cannot ")
    assert len(wiring.state.journals[rollout]) == 1


def test_a_site_that_asks_for_nobody_is_a_wrong_configuration(run: Run) -> None:
    configure("approval: {count: 0}\n")
    result = run("plan", *QUICK)
    assert result.exit_code == ExitCode.USAGE
    assert "approval.count: 0 is too small" in result.stderr


@pytest.mark.parametrize("rules", ["{count: 0}", "{count: 2, approvers: [bob]}", "{count: 2, approvers: [bob, bob]}"])
def test_rules_that_can_never_be_met_are_a_wrong_policy(run: Run, rules: str) -> None:
    configure(f"policy: {{approval: {rules}}}\n")
    result = run("plan", *QUICK)
    assert result.exit_code == ExitCode.USAGE
    assert "error: cannot use the policy: approval.count: " in result.stderr


def test_who_made_the_plan_is_in_the_journal(run: Run, wiring: SimulatedWiring) -> None:
    configure("operator: carol\n")
    for more, by in (((), "carol"), (("--by", "dave", "--canary", "2"), "dave")):
        rollout = planned(run, *more)
        assert wiring.state.journals[rollout][0].body.by == by  # type: ignore[union-attr]
        assert wiring.state.journals[rollout][0].body.account == "ann@ops-1"  # type: ignore[union-attr]
    Path("rollout.yaml").unlink()
    rollout = planned(run, "--canary", "3")
    assert wiring.state.journals[rollout][0].body.by == "ann@ops-1"  # type: ignore[union-attr]


def test_show_says_what_moved(run: Run, wiring: SimulatedWiring) -> None:
    rollout = planned(run)
    fits = run("show", rollout, "--stale")
    assert (fits.exit_code, "the plan still fits" in fits.stdout) == (0, True)
    wiring.cluster.change_node("n2", kernel="6.13.0")
    moved = run("show", rollout, "--stale")
    assert moved.exit_code == ExitCode.REFUSED
    assert "its kernel changed" in moved.stdout
    values = json.loads(run("show", rollout, "--stale", "-o", "json").stdout)
    assert {n["node"]: [d["now"] for d in n["drifts"]] for n in values["nodes"]} == {
        "n1": [],
        "n2": ["6.13.0"],
        "n3": [],
    }
    assert run("show", rollout, "--stale", "-o", "html").exit_code == ExitCode.USAGE
