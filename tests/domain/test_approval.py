"""Whether the approvals of a plan are enough."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta, timezone
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.domain.approval import Approval, SignatureCheck, statement
from rollout.domain.consent import Consent, judge_consent, require_consent, same_person
from rollout.domain.errors import Refused
from rollout.domain.policy import ApprovalRules
from rollout.domain.verdict import Status
from tests.builders import NOW, at

DIGEST = "ab" * 32


def approval(by: str, *, minute: int = 0, hours: float = 8, signature: str = "", **more: object) -> Approval:
    given_at = at(60 * minute - 3600)
    return Approval(DIGEST, by, "CHG-1", given_at, NOW + timedelta(hours=hours), signature, **more)  # type: ignore[arg-type]


def judged(
    approvals: tuple[Approval, ...],
    *rules: ApprovalRules,
    makers: tuple[str, ...] = ("mia@bastion",),
    checks: Mapping[Approval, SignatureCheck] | None = None,
) -> Consent:
    return judge_consent(approvals, DIGEST, rules or (ApprovalRules(),), makers=makers, now=NOW, checks=checks or {})


def sound(*approvals: Approval, key: str = "") -> dict[Approval, SignatureCheck]:
    return {a: SignatureCheck(Status.PASS, key=key or f"SHA256:{a.by}") for a in approvals}


def why(consent: Consent, by: str) -> str:
    return next(d.why for d in consent.discounted if d.approval.by == by)


def refusal(consent: Consent) -> Refused:
    with pytest.raises(Refused) as caught:
        require_consent(consent)
    return caught.value


def test_nobody_one_and_an_expired_one() -> None:
    assert refusal(judged(())).code == "not-approved"
    require_consent(judged((approval("ann"),)))
    late = refusal(judged((approval("ann", hours=-1),)))
    assert late.code == "approval-expired"
    assert "by ann expired at 2026-11-23T11:00:00" in late.message


def test_an_approval_of_another_digest_is_none() -> None:
    other = Approval("cd" * 32, "ann", "CHG-1", NOW, NOW + timedelta(hours=1))
    assert judged((other,)) == judged(())


def test_two_are_needed_and_one_expired_and_one_is_the_same_person() -> None:
    rules = ApprovalRules(count=2)
    found = judged((approval("ann"), approval("ANN@corp", minute=1), approval("bob", hours=-2)), rules)
    assert [a.by for a in found.counted] == ["ann"]
    told = refusal(found)
    assert told.code == "approvals-missing"
    assert "it has 1 (ann) of the approvals it needs (2 different people)" in told.message
    assert "ANN@corp's does not count: ann is counted already" in told.message
    assert "bob's does not count: it expired at" in told.message
    require_consent(judged((approval("ann"), approval("bob")), rules))


@pytest.mark.parametrize("by", ["mia", "Mia@elsewhere", "root@bastion"])
def test_who_made_the_plan_under_any_name_may_not_approve_it(by: str) -> None:
    rules, makers = ApprovalRules(own_plans=False), ("mia", "root@bastion")
    found = judged((approval(by),), rules, makers=makers)
    assert found.missing == 1
    assert "mia made the plan" in why(found, by)
    assert "by somebody else than mia" in refusal(found).hint
    require_consent(judged((approval(by),), makers=makers))
    require_consent(judged((approval("ann"),), rules, makers=makers))


def test_without_a_known_maker_own_plans_cannot_be_told_apart() -> None:
    found = judged((approval("ann"),), ApprovalRules(own_plans=False), makers=())
    assert "the journal does not say who made this one" in why(found, "ann")


def test_the_stricter_of_plan_and_site_wins_in_both_directions() -> None:
    lax, strict = ApprovalRules(), ApprovalRules(count=2, own_plans=False, approvers=("ann", "bob", "mia"))
    for rules in permutations((lax, strict)):
        found = judged((approval("ann"), approval("eve"), approval("mia")), *rules)
        assert (found.needed, found.missing, found.able) == (2, 1, ("bob",))
        assert why(found, "eve") == "not one of the approvers"
        assert "reviewed by bob" in refusal(found).hint


def test_lists_that_share_too_few_names_are_said_to_be_impossible() -> None:
    found = judged((), ApprovalRules(approvers=("ann",)), ApprovalRules(approvers=("bob",)))
    assert found.impossible == "only 0 of the approvers that the plan and the configuration both name can still approve"
    assert "change the approvers" in refusal(found).hint
    own = judged((), ApprovalRules(own_plans=False, approvers=("mia",)))
    assert own.impossible
    assert not judged((), ApprovalRules(approvers=("ann",))).impossible


def test_only_signatures_that_hold_count_where_they_are_asked_for() -> None:
    good, bad, bare, unsure = (approval(by, signature=by) for by in ("ann", "bob", "eve", "joe"))
    bare = approval("eve")
    checks = {
        **sound(good),
        bad: SignatureCheck(Status.FAIL, why="it is over another text"),
        unsure: SignatureCheck(Status.INCONCLUSIVE, why="ssh-keygen was not found"),
    }
    found = judged((good, bad, bare, unsure), ApprovalRules(count=4, signed=True), checks=checks)
    assert [a.by for a in found.counted] == ["ann"]
    assert found.keys == {"ann": "SHA256:ann"}
    assert why(found, "bob") == "its signature does not hold: it is over another text"
    assert why(found, "eve") == "it is not signed"
    assert "ssh-keygen was not found" in why(found, "joe")
    assert "each signed" in refusal(found).message
    assert refusal(found).hint.endswith("--sign")
    lax = judged((good, bad, bare, unsure), ApprovalRules(count=4), checks=checks)
    assert [a.by for a in lax.counted] == ["ann", "eve", "joe"], "a wrong signature is worse than none"


def test_one_key_under_two_names_is_one_person() -> None:
    two = (approval("ann", signature="a"), approval("bob", minute=1, signature="b"))
    found = judged(two, ApprovalRules(count=2, signed=True), checks=sound(*two, key="SHA256:same"))
    assert [a.by for a in found.counted] == ["ann"]
    assert why(found, "bob") == "ann is counted already, and one key has signed for both names"


def test_a_key_that_signed_for_several_names_ties_them_together_even_when_expired() -> None:
    old, new = approval("ann", hours=-1, signature="a"), approval("bob", minute=1, signature="b")
    third = approval("Ann@corp", minute=2, signature="c")
    checks = {**sound(old, new, key="SHA256:same"), **sound(third)}
    found = judged((old, new, third), ApprovalRules(count=2), checks=checks)
    assert [a.by for a in found.counted] == ["bob"]
    assert "one key has signed for both names" in why(found, "Ann@corp")
    made = judged((old, new), ApprovalRules(own_plans=False), makers=("ann",), checks=checks)
    assert "ann made the plan" in why(made, "bob")


def test_a_withdrawn_approval_does_not_count() -> None:
    found = judged((approval("ann", withdrawn=NOW),))
    assert why(found, "ann") == "it was withdrawn"
    assert refusal(found).code == "approval-not-valid"


# --- whatever is given -------------------------------------------------------------------------------------------

names = st.sampled_from(["ann", "Ann", "ann@corp", "bob", "eve", "mia", "mia@bastion"])
rules = st.builds(
    ApprovalRules,
    count=st.integers(1, 3),
    signed=st.booleans(),
    own_plans=st.booleans(),
    approvers=st.lists(names, max_size=4, unique=True).map(tuple),
)
statuses = st.sampled_from([None, Status.PASS, Status.FAIL, Status.INCONCLUSIVE])


@st.composite
def cases(draw: st.DrawFn) -> tuple[tuple[Approval, ...], dict[Approval, SignatureCheck]]:
    given_ones, checks = [], {}
    for minute, (by, hours, status, gone) in enumerate(
        draw(st.lists(st.tuples(names, st.sampled_from([-1, 8]), statuses, st.booleans()), max_size=6))
    ):
        one = approval(by, minute=minute, hours=hours, signature="s" if status else "", withdrawn=NOW if gone else None)
        given_ones.append(one)
        if status is not None:
            key = f"SHA256:{draw(st.integers(0, 2))}" if status is Status.PASS else ""
            checks[one] = SignatureCheck(status, key, "" if key else "why")
    return tuple(given_ones), checks


@given(cases(), rules, rules)
def test_what_counts_always_meets_both_sets_of_rules(
    case: tuple[tuple[Approval, ...], dict[Approval, SignatureCheck]], plan: ApprovalRules, site: ApprovalRules
) -> None:
    given_ones, checks = case
    found = judged(given_ones, plan, site, checks=checks)
    assert len(found.counted) + len(found.discounted) == len(given_ones)
    for one in found.counted:
        assert one.expires > NOW
        assert one.withdrawn is None
        assert not (plan.signed or site.signed) or checks[one].status is Status.PASS
        assert one.signature == "" or checks[one].status is not Status.FAIL
        assert (plan.own_plans and site.own_plans) or not same_person(one.by, "mia@bastion")
        assert all(not r.approvers or one.by in r.approvers for r in (plan, site))
    for number, one in enumerate(found.counted):
        for other in found.counted[:number]:
            assert not same_person(one.by, other.by)
            if one.by in found.keys and other.by in found.keys:
                assert found.keys[one.by] != found.keys[other.by]
    assert found.missing == max(0, max(plan.count, site.count) - len(found.counted))
    assert all(d.why for d in found.discounted)
    if found.missing:
        assert refusal(found).message.startswith("cannot apply plan abababababab")
    else:
        require_consent(found)


@given(cases(), rules, rules)
def test_adding_the_sites_rules_never_makes_a_plan_easier_to_apply(
    case: tuple[tuple[Approval, ...], dict[Approval, SignatureCheck]], plan: ApprovalRules, site: ApprovalRules
) -> None:
    given_ones, checks = case
    if judged(given_ones, plan, checks=checks).missing:
        assert judged(given_ones, plan, site, checks=checks).missing


# --- what is signed ----------------------------------------------------------------------------------------------


def test_the_statement_is_one_line_in_ascii_and_says_utc() -> None:
    told = statement(DIGEST, "Jürgen", "CHG-1", NOW.astimezone(timezone(timedelta(hours=5))))
    assert told == (
        b'{"approve":"netkit-rollout-plan@v1","by":"J\\u00fcrgen","digest":"' + DIGEST.encode() + b'",'
        b'"expires":"2026-11-23T12:00:00+00:00","ticket":"CHG-1"}\n'
    )


@given(st.text(), st.text(), st.text(), st.text())
def test_different_approvals_never_have_the_same_statement(by: str, ticket: str, by2: str, ticket2: str) -> None:
    one, other = statement(DIGEST, by, ticket, NOW), statement(DIGEST, by2, ticket2, NOW)
    assert (one == other) == ((by, ticket) == (by2, ticket2))
    assert one.isascii()
    assert one.count(b"\n") == 1
    assert json.loads(one)["by"] == by
