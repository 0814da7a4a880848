"""Approving, signing, withdrawing, and what apply and resume make of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from rollout.app.apply import Application
from rollout.app.approve import approve, consent_of, statement_of, withdraw
from rollout.app.control import abort
from rollout.app.make_plan import plan_rollout
from rollout.app.status import status
from rollout.app.world import Who, World
from rollout.domain.errors import Refused, UsageError
from rollout.domain.journal import ApprovalWithdrawn, Approved, Entry, PlanSaved, decode_body, encode_body, fold
from rollout.domain.lifecycle import RolloutPhase
from rollout.domain.policy import ApprovalRules
from tests.app.test_crash import Death, Fate, run
from tests.builders import NOW
from tests.fakes.store import MemoryJournalStore, MemoryState
from tests.support.world import Model, quick

SIGNED = ApprovalRules(signed=True)


def planned(model: Model, rules: ApprovalRules, **more: Any) -> str:
    return plan_rollout(model.world(**more), quick(approval=rules)).record.id


def give(model: Model, rollout: str, by: str, world: World | None = None, **more: Any) -> None:
    approve(world or model.world(), rollout, by=by, ticket="T-1", **more)


def start(model: Model, rollout: str, **more: Any) -> RolloutPhase:
    return Application(model.world(**more), rollout).start().phase


def test_two_people_have_to_approve_and_the_plan_says_so() -> None:
    model = Model()
    rollout = planned(model, ApprovalRules(count=2))
    give(model, rollout, "bob")
    assert status(model.world(), rollout).state.phase is RolloutPhase.DRAFT
    assert "approve" in status(model.world(), rollout).next_command
    with pytest.raises(Refused, match=r"it has 1 \(bob\) of the approvals it needs \(2 different people\)"):
        start(model, rollout)
    with pytest.raises(Refused, match="bob is counted already"):
        give(model, rollout, "Bob")
    give(model, rollout, "eve")
    assert status(model.world(), rollout).state.phase is RolloutPhase.APPROVED
    assert start(model, rollout) is RolloutPhase.COMPLETED


@pytest.mark.parametrize("by", ["ann", "mia", "Mia@corp"])
def test_who_made_the_plan_may_not_approve_it_by_name_nor_by_account(by: str) -> None:
    model = Model()
    rollout = planned(model, ApprovalRules(own_plans=False), who=Who("ann", "bastion", 1, "mia"))
    assert model.world().store.read(rollout)[0].body.by == "mia"  # type: ignore[union-attr]
    with pytest.raises(Refused, match="mia made the plan, and may not approve it"):
        give(model, rollout, by)
    assert len(model.world().store.read(rollout)) == 1
    give(model, rollout, "bob")
    assert start(model, rollout) is RolloutPhase.COMPLETED


def test_a_plan_cannot_ask_for_less_than_the_site() -> None:
    model = Model()
    rollout = planned(model, ApprovalRules())
    give(model, rollout, "ann")
    for site in (
        ApprovalRules(count=2),
        ApprovalRules(signed=True),
        ApprovalRules(own_plans=False),
        ApprovalRules(approvers=("bob",)),
    ):
        with pytest.raises(Refused, match="cannot apply plan"):
            start(model, rollout, approval=site)
    assert model.leftovers() == []
    assert start(model, rollout) is RolloutPhase.COMPLETED


def test_the_rules_are_those_at_the_moment_it_is_applied() -> None:
    model = Model()
    rollout = planned(model, ApprovalRules())
    strict = model.world(approval=ApprovalRules(count=2))
    give(model, rollout, "bob", strict)
    assert status(strict, rollout).state.phase is RolloutPhase.DRAFT
    assert start(model, rollout) is RolloutPhase.COMPLETED


def test_an_unsigned_approval_is_refused_where_signatures_are_asked_for() -> None:
    model = Model()
    rollout = planned(model, SIGNED)
    with pytest.raises(Refused, match="it is not signed") as caught:
        give(model, rollout, "bob")
    assert caught.value.hint.endswith("--sign")
    key = model.signatures.add("k-bob", "bob")
    give(model, rollout, "bob", key=key)
    found = consent_of(model.world(), rollout)
    assert found.keys == {"bob": model.signatures.keys[key].fingerprint}
    assert start(model, rollout) is RolloutPhase.COMPLETED


def test_a_signature_made_elsewhere_needs_the_very_same_values() -> None:
    model = Model()
    rollout = planned(model, SIGNED)
    key = model.signatures.add("k-bob", "bob")
    expires = NOW + timedelta(days=3)
    asked = statement_of(model.world(), rollout, by="bob", ticket="T-1", expires=expires)
    signature = model.signatures.sign(asked.statement(), key, "bob")
    for wrong in (
        {"by": "eve", "ticket": "T-1", "expires": expires},
        {"by": "bob", "ticket": "T-2", "expires": expires},
        {"by": "bob", "ticket": "T-1", "expires": expires + timedelta(seconds=1)},
    ):
        with pytest.raises(Refused, match="the signature does not hold"):
            approve(model.world(), rollout, signature=signature, **wrong)  # type: ignore[arg-type]
    assert len(model.world().store.read(rollout)) == 1
    approve(model.world(), rollout, by="bob", ticket="T-1", expires=expires, signature=signature)
    other = plan_rollout(model.world(), quick(approval=SIGNED, canary=2)).record.id
    with pytest.raises(Refused, match="over another text"):
        approve(model.world(), other, by="bob", ticket="T-1", expires=expires, signature=signature)


def test_a_signature_that_cannot_be_checked_is_not_taken() -> None:
    model = Model()
    rollout = planned(model, ApprovalRules())
    model.signatures.configured = False
    with pytest.raises(Refused, match="allowed_signers is not configured"):
        give(model, rollout, "bob", key=model.signatures.add("k-bob", "bob"))


def test_signatures_are_checked_again_when_the_plan_is_applied() -> None:
    model = Model()
    rollout = planned(model, SIGNED)
    give(model, rollout, "bob", key=model.signatures.add("k-bob", "bob"))
    model.signatures.keys["k-bob"].revoked = True
    with pytest.raises(Refused, match="its key is revoked") as caught:
        start(model, rollout)
    assert caught.value.code == "approval-not-valid"
    assert model.leftovers() == []
    model.signatures.keys["k-bob"].revoked = False
    model.signatures.configured = False
    with pytest.raises(Refused, match="allowed_signers is not configured"):
        start(model, rollout)


def test_an_edited_approval_does_not_hold() -> None:
    """A state whose entries were rewritten, chain and all, cannot forge what was signed."""
    model = Model()
    rollout = planned(model, SIGNED)
    give(model, rollout, "bob", valid=timedelta(hours=1), key=model.signatures.add("k-bob", "bob"))
    journal = model.state.journals[rollout]
    for number, entry in enumerate(journal):
        if isinstance(entry.body, Approved):
            tag, plain = encode_body(entry.body)
            later = (entry.body.expires + timedelta(days=30)).isoformat()
            journal[number] = Entry(entry.seq, entry.at, decode_body(tag, {**plain, "expires": later}))
    with pytest.raises(Refused, match="over another text"):
        start(model, rollout)


def test_resume_checks_signatures_again_but_an_expiry_behind_the_start_does_not_matter() -> None:
    model = Model()
    rollout = planned(model, SIGNED)
    give(model, rollout, "bob", valid=timedelta(days=1), key=model.signatures.add("k-bob", "bob"))
    model.stick("web-0")
    model.stick("web-1")
    assert start(model, rollout) is RolloutPhase.HELD
    model.loosen()
    model.clock.wait(2 * 86400)
    model.signatures.keys["k-bob"].until = model.clock.now() - timedelta(hours=1)
    model.signatures.keys["k-bob"].revoked = True
    with pytest.raises(Refused, match="cannot go on with plan") as caught:
        Application(model.world(), rollout).resume()
    assert caught.value.code == "approval-gone"
    assert "rollout abort, then rollout resume" in caught.value.hint
    model.signatures.keys["k-bob"].revoked = False
    assert Application(model.world(), rollout).resume().phase is RolloutPhase.COMPLETED


def test_an_abort_brings_nodes_to_rest_whatever_became_of_the_approval() -> None:
    model = Model()
    rollout = planned(model, SIGNED)
    give(model, rollout, "bob", key=model.signatures.add("k-bob", "bob"))
    model.stick("web-0")
    model.stick("web-1")
    assert start(model, rollout) is RolloutPhase.HELD
    model.signatures.keys["k-bob"].revoked = True
    abort(model.world(), rollout)
    assert Application(model.world(), rollout).resume().phase is RolloutPhase.ABORTED
    assert model.leftovers() == []


def test_an_approval_is_withdrawn_before_use_only() -> None:
    model = Model()
    rollout = planned(model, ApprovalRules())
    with pytest.raises(Refused, match="there is none"):
        withdraw(model.world(), rollout, by="bob")
    give(model, rollout, "bob")
    left = withdraw(model.world(), rollout, by="bob", reason="wrong window")
    assert left.missing == 1
    assert status(model.world(), rollout).state.phase is RolloutPhase.DRAFT
    with pytest.raises(Refused, match="it was withdrawn"):
        start(model, rollout)
    give(model, rollout, "bob")
    assert start(model, rollout) is RolloutPhase.COMPLETED
    with pytest.raises(Refused, match="it was applied already"):
        withdraw(model.world(), rollout, by="bob")


def test_two_keys_are_two_people_and_one_is_one() -> None:
    model = Model()
    rollout = planned(model, ApprovalRules(count=2, signed=True))
    shared = model.signatures.add("shared", "bob", "eve")
    give(model, rollout, "bob", key=shared)
    with pytest.raises(Refused, match="one key has signed for both names"):
        give(model, rollout, "eve", key=shared)
    give(model, rollout, "eve", key=model.signatures.add("k-eve", "eve"))
    assert start(model, rollout) is RolloutPhase.COMPLETED


@pytest.mark.parametrize("field", ["by", "ticket"])
@pytest.mark.parametrize("text", ["", "  ", " ann", "a\nb", "a\x1b[2Jb", "a\u202eb", "x" * 254])
def test_names_that_could_deceive_are_refused(field: str, text: str) -> None:
    model = Model()
    rollout = planned(model, ApprovalRules())
    with pytest.raises(UsageError, match="cannot approve"):
        approve(model.world(), rollout, **{"by": "ann", "ticket": "T", field: text})  # type: ignore[arg-type]
    assert len(model.world().store.read(rollout)) == 1


def test_journals_from_before_signatures_still_read() -> None:
    saved = decode_body("plan-saved", {"digest": "d" * 64, "cluster": "c"})
    old = decode_body(
        "approved", {"digest": "d" * 64, "by": "ann", "ticket": "T", "expires": "2026-11-23T20:00:00+00:00"}
    )
    gone = ApprovalWithdrawn("d" * 64, "ann", "bob", "why")
    assert decode_body(*encode_body(gone)) == gone
    state = fold([Entry(1, NOW, saved), Entry(2, NOW, old), Entry(3, NOW, gone)])
    assert state.makers == ()
    assert [type(e.body) for e in state.approvals] == [Approved, ApprovalWithdrawn]
    assert fold([Entry(1, NOW, PlanSaved("d", "c", "mia", "ann@bastion"))]).makers == ("mia", "ann@bastion")


# --- beyond one process and one state ----------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("number", [12, 24, 36])
def test_after_a_crash_the_approval_is_judged_anew_and_an_abort_needs_none(number: int) -> None:
    model = Model()
    rollout = planned(model, SIGNED)
    give(model, rollout, "bob", key=model.signatures.add("k-bob", "bob"))
    fate = Fate()
    fate.at = number
    try:
        with pytest.raises((Death, Refused)):
            run(model, rollout, fate, 1)
    finally:
        fate.dead = True
        model.cluster.hook = lambda *_: None
    assert status(model.world(), rollout).state.phase is RolloutPhase.RUNNING
    model.signatures.keys["k-bob"].revoked = True
    before = len(model.state.journals[rollout])
    with pytest.raises(Refused, match="cannot go on with plan"):
        Application(model.world(), rollout).resume()
    assert len(model.state.journals[rollout]) == before
    abort(model.world(), rollout)
    assert Application(model.world(), rollout).resume().phase is RolloutPhase.ABORTED
    assert model.leftovers() == []


def test_the_same_plan_in_a_second_state_needs_its_own_approval_and_is_stopped_by_facts() -> None:
    """Single use is kept by the state. Another state file does not know of it: there, what has moved is refused."""
    model = Model()
    other = MemoryState()
    rollout = planned(model, ApprovalRules())
    twin = plan_rollout(model.world(store=MemoryJournalStore(other)), quick()).record.id
    assert twin == rollout
    give(model, rollout, "bob")
    assert start(model, rollout) is RolloutPhase.COMPLETED
    second = model.world(store=MemoryJournalStore(other))
    with pytest.raises(Refused, match="nobody has approved it"):
        Application(second, rollout).start()
    approve(second, rollout, by="bob", ticket="T-1", valid=timedelta(days=1))
    reboots = {name: node.boot_id for name, node in model.cluster.nodes.items()}
    end = Application(second, rollout).start()
    assert end.phase is RolloutPhase.HELD
    assert {n.last.code for n in end.nodes.values() if n.last is not None} == {"stale-facts"}
    assert {name: node.boot_id for name, node in model.cluster.nodes.items()} == reboots
    assert model.kinds() == {"n1": {"netkit"}, "n2": {"netkit"}}
