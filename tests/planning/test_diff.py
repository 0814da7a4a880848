"""What changed between two plans: nothing left out, nothing made up, alike nodes together."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from rollout.domain.codec import DecodeError, from_plain, to_plain
from rollout.domain.node import Method, PodRef
from rollout.domain.plan import Excluded, Finding, Going, Plan, PlannedPod, Wave
from rollout.domain.policy import Waiver
from rollout.planning.diff import PlanDiff, diff_plans
from rollout.planning.diff_pods import Change
from tests.cli.plan_examples import full_plan
from tests.support.plans import sixty_plan

PLAN = full_plan()


def changes(found: PlanDiff, section: str) -> tuple[Change, ...]:
    return next((s.changes for s in found.sections if s.name == section), ())


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict | list):
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        for key, each in entries:
            yield from _leaves(each, (*path, key))
        if isinstance(value, list) and value:
            yield (*path, "-")
    else:
        yield path


def _altered(document: Any, path: tuple[Any, ...]) -> Any:
    """The document with one leaf changed, or one list an entry shorter."""
    made = copy.deepcopy(document)
    place = made
    for key in path[:-1]:
        place = place[key]
    if path[-1] == "-":
        place.pop()
        return made
    was = place[path[-1]]
    place[path[-1]] = (not was) if isinstance(was, bool) else was + 1 if isinstance(was, int) else f"{was}~"
    return made


DOCUMENT = json.loads(PLAN.encode())


def _with(path: tuple[Any, ...]) -> Plan:
    """A plan that differs from `PLAN` at one place."""
    try:
        return from_plain(Plan, _altered(DOCUMENT, path))
    except DecodeError as error:  # a word of a fixed set: another of them
        made = copy.deepcopy(DOCUMENT)
        place = made
        for key in path[:-1]:
            place = place[key]
        known = str(error).partition(" is not one of ")[2].split(", ")
        place[path[-1]] = next(word for word in known if word != place[path[-1]])
        return from_plain(Plan, made)


def _sound(plan: Plan) -> bool:
    """Whether every planned node has a wave: what a plan that was read always is."""
    return {n.name for n in plan.nodes} == {name for wave in plan.waves for name in wave.nodes}


def test_no_difference_is_left_out() -> None:
    """Every leaf of a full plan changed in turn, every list made shorter: each time there is something to tell."""
    tried = 0
    for path in _leaves(DOCUMENT):
        if path[:1] == ("nodes",) and path[2:3] == ("name",):
            continue  # a node that changes its name is told below
        other = _with(path)
        if other == PLAN or not _sound(other):
            continue
        tried += 1
        assert diff_plans(PLAN, other).sections, path
        assert diff_plans(other, PLAN).sections, path
    assert tried > 400


@pytest.mark.parametrize("plan", [PLAN, sixty_plan()])
def test_a_plan_does_not_differ_from_itself(plan: Plan) -> None:
    assert diff_plans(plan, from_plain(Plan, to_plain(plan))) == PlanDiff(plan.digest, plan.digest, ())


def test_nodes_that_come_go_and_move_say_why() -> None:
    after = replace(
        PLAN,
        nodes=(PLAN.nodes[0], replace(PLAN.nodes[2], name="n9"), replace(PLAN.nodes[1], name="n5")),
        waves=(Wave(0, "canary", ("n9",)), Wave(1, "wave 1", ("n1", "n5"), "room for two")),
        excluded=(Excluded("n2", ("no netkit", "bare pod")),),
    )
    told = changes(diff_plans(PLAN, after), "Nodes")
    assert Change("added", "moves", "", "yes", "the plan before did not speak of it", ("n5",)) in told
    assert Change("added", "moves", "", "yes", "was left out: no netkit", ("n9",)) in told
    assert Change("removed", "moves", "yes", "", "left out: no netkit; bare pod", ("n2",)) in told
    assert Change("removed", "moves", "yes", "", "the plan no longer speaks of it", ("n3",)) in told
    assert Change("changed", "wave", "wave 0 (plain)", "wave 1 (wave 1)", "room for two", ("n1",)) in told


def test_nodes_that_change_alike_are_one_change() -> None:
    plan = sixty_plan()
    nodes = tuple(
        replace(n, method=Method.REBOOT, facts=replace(n.facts, kernel="6.12.200", boot_id=f"b-{n.name}"))
        for n in plan.nodes
    )
    found = diff_plans(plan, replace(plan, nodes=nodes))
    (method,) = changes(found, "Nodes")
    assert (method.what, method.before, method.after, len(method.nodes)) == ("method", "restart", "reboot", len(nodes))
    kernels = [c for c in changes(found, "Facts") if c.what == "kernel"]
    assert sum(len(c.nodes) for c in kernels) == len(nodes) and len(kernels) == len(
        {n.facts.kernel for n in plan.nodes}
    )


def test_what_becomes_of_pods() -> None:
    first = PLAN.nodes[0]
    goes, waits, lone = first.evictions
    new = [PlannedPod(PodRef("shop", f"web-6d4-n{i}", f"n{i}"), "ReplicaSet/web-6d4") for i in range(3)]
    stuck = replace(goes, going=Going.NEVER, why="two budgets", remedy="delete one")
    evictions = (stuck, replace(waits, lands_on="n3"), *new)
    after = replace(PLAN, nodes=(replace(first, evictions=evictions), *PLAN.nodes[1:]))
    told = changes(diff_plans(PLAN, after), "Pods")
    assert told[0] == Change(
        "changed", "pod shop/web-6d4-x1", "evicted, goes now", "evicted, goes never", "two budgets; delete one", ("n1",)
    )
    assert Change("removed", "pods of shop no owner, evicted", str(lone.ref), "", "", ("n1",)) in told
    assert Change("added", "pods of shop ReplicaSet/web-6d4, evicted", "", "3 pods", "", ("n1",)) in told
    assert any(c.what.endswith(": lands_on") and c.after == "n3" for c in told)


def test_limits_policy_waivers_findings_and_time_say_what_and_why() -> None:
    policy = replace(PLAN.policy, max_unavailable="20%", waivers=(*PLAN.policy.waivers, Waiver("r", "ann", "tested")))
    limits = (replace(PLAN.limits[0], most_out=4, why="more zones"), *PLAN.limits[1:])
    assert PLAN.estimate is not None
    after = replace(
        PLAN,
        policy=policy,
        limits=limits,
        findings=(*PLAN.findings, Finding("new-row", "n2", "warn", "look out")),
        estimate=replace(PLAN.estimate, high_s=9999),
    )
    found = diff_plans(PLAN, after)
    assert Change("changed", "max_unavailable", "1", "20%") in changes(found, "Policy")
    (waiver,) = changes(found, "Waivers")
    assert (waiver.kind, waiver.what, waiver.why) == ("added", "r ann", "tested")
    most = next(c for c in changes(found, "Limits") if c.what == "plain: most_out")
    assert (most.before, most.after, most.why) == ("1", "4", "more zones")
    (finding,) = changes(found, "Preflight")
    assert (finding.kind, finding.what, finding.why) == ("added", "new-row n2", "look out")
    assert [c.what for c in changes(found, "Time")] == ["estimate: high_s"]
    assert [s.name for s in found.sections] == ["Waivers", "Limits", "Policy", "Preflight", "Time"]


def test_another_max_unavailable_of_a_real_fleet() -> None:
    found = diff_plans(sixty_plan(), sixty_plan("1"))
    assert Change("changed", "max_unavailable", "10%", "1") in changes(found, "Policy")
    assert diff_plans(sixty_plan("1"), sixty_plan()).counts["Policy"] == found.counts["Policy"]
