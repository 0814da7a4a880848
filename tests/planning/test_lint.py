"""The linter finds what is wrong with a plan: one thing is broken in a sound one, each time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.domain.errors import Refused
from rollout.domain.inventory import Inventory
from rollout.domain.node import DatapathMode
from rollout.domain.plan import Finding, Going, Limit, NodePlan, Plan
from rollout.domain.policy import Freeze, KeepRule, Policy, SpreadRule, Waiver, Window
from rollout.planning.lint import lint
from rollout.planning.planner import PlanRequest, make_plan
from tests.builders import agent_pod, budget, daemon_pod, inventory, node, pod, seen

ZONE = "topology.kubernetes.io/zone"
GIB = 1 << 30
POLICY = Policy(
    target=DatapathMode.NETKIT,
    max_unavailable="4",
    soak_fenced_s=0,
    spread=(SpreadRule(ZONE, "2", 1),),
    keep=(KeepRule("db", "60%", "prod", {"app": "db"}), KeepRule("edge", "1", nodes={"edge": "yes"})),
    windows=(Window(("mon", "fri"), "22:00", "06:00", "Europe/Berlin"),),
)


@cache
def sound() -> tuple[Plan, Inventory]:
    nodes = tuple(
        node(
            f"n{i:02}",
            zone="ab"[i % 2],
            labels={"kubernetes.io/hostname": f"n{i:02}", ZONE: "ab"[i % 2]} | ({"edge": "yes"} if i in (1, 3) else {}),
            cpu_millis=8000,
            memory_bytes=32 * GIB,
            pod_slots=110,
        )
        for i in range(10)
    )
    web = [pod(f"web-{i}", f"n{i % 10:02}", cpu_millis=2300, memory_bytes=GIB) for i in range(20)]
    db = [pod(f"db-{i}", f"n{i:02}", namespace="prod", labels={"app": "db"}, owner_uid="rs-db") for i in range(5)]
    etcd = [
        pod(f"etcd-{i}", f"n{i:02}", namespace="kube-system", labels={"component": "etcd"}, mirror=True,
            host_network=True, owner_kind="Node")
        for i in (5, 6, 7)
    ]  # fmt: skip
    others = [agent_pod(n.name) for n in nodes] + [daemon_pod("logd-1", "n01")]
    found = inventory(
        nodes,
        (*web, *db, *etcd, *others),
        {n.name: seen(n.name) for n in nodes},
        budgets=(budget("web", 10, expected_pods=20, current_healthy=20, desired_healthy=10),),
    )
    return make_plan(found, POLICY, PlanRequest(serial=1, program="test")), found


def faults(**changed: Any) -> str:
    plan, found = sound()
    return "; ".join(lint(replace(plan, **changed), found))


def with_node(name: str, change: Callable[[NodePlan], NodePlan]) -> tuple[NodePlan, ...]:
    return tuple(change(n) if n.name == name else n for n in sound()[0].nodes)


def with_limit(which: str, **changed: Any) -> tuple[Limit, ...]:
    plan = sound()[0]
    assert any(limit.name == which for limit in plan.limits)
    return tuple(replace(limit, **changed) if limit.name == which else limit for limit in plan.limits)


def without(name: str) -> tuple[Limit, ...]:
    assert any(limit.name == name for limit in sound()[0].limits)
    return tuple(limit for limit in sound()[0].limits if limit.name != name)


def test_a_sound_plan_has_no_faults() -> None:
    plan, found = sound()
    assert lint(plan, found) == ()
    assert len(plan.nodes) == 10
    assert {limit.name for limit in plan.limits} == {
        "zone a", "zone b", "keep db", "keep edge", "etcd kube-system", "capacity",
    }  # fmt: skip


def test_waves() -> None:
    first, second, *rest = sound()[0].waves
    assert "wave 1 stands at place 0" in faults(waves=(second, first, *rest))
    assert "is in a wave but has no plan" in faults(nodes=sound()[0].nodes[1:])
    assert "has a plan but is in no wave" in faults(waves=(first, second, *rest[:-1]))
    big = replace(first, nodes=(*first.nodes, *second.nodes))
    assert "wave 0 has" in faults(waves=(big, *rest))
    assert "wave 1 is empty" in faults(waves=(first, replace(second, nodes=()), *rest))
    swapped = replace(first, nodes=tuple(n for n in second.nodes if int(n[1:]) % 2 == int(first.nodes[0][1:]) % 2)[:1])
    assert "has no node in the first wave" in faults(waves=(swapped, *rest))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("zone a", "no limit keeps 1 value(s) at once on node(s) n00"),
        ("keep db", "keep rule db: 1 more of its 5 can be out than may be"),
        ("keep edge", "keep rule edge: 1 more of its 2 can be out than may be"),
        ("etcd kube-system", "etcd kube-system is a set to keep, and no limit keeps it"),
        ("capacity", "the pods of all do not fit on the rest: CPU is short"),
    ],
)
def test_a_limit_that_is_missing(name: str, said: str) -> None:
    both = without(name)
    if name == "keep edge":  # its two nodes are in one zone, of which two may go
        both = tuple(replace(x, most_out=2) if x.name == "zone b" else x for x in both)
    assert said in faults(limits=both)


@pytest.mark.parametrize(
    ("name", "changed", "said"),
    [
        ("zone a", {"most_out": 3}, f"{ZONE} a: 3 nodes can be out, policy.spread allows 2"),
        ("zone b", {"groups_at_once": 2}, "no limit keeps 1 value(s) at once"),
        ("zone b", {"group": ""}, "has a group without a number at once, or the other way round"),
        ("zone a", {"nodes": ("n00", "n01", "n02", "n04", "n06", "n08")}, "no limit keeps 1 value(s) at once"),
        ("etcd kube-system", {"most_out": 2}, "etcd kube-system is a set to keep, and no limit keeps it"),
        ("etcd kube-system", {"nodes": ("n05", "n06")}, "etcd kube-system is a set to keep"),
        ("keep db", {"most_out": 3}, "keep rule db: 1 more of its 5"),
        ("keep db", {"most_out": 0}, "node n00 can never be taken out: keep db lets no node go"),
        ("keep db", {"nodes": ()}, "limit keep db names no node"),
        ("keep db", {"nodes": ("n00", "n00")}, "limit keep db names a node twice"),
        ("keep db", {"name": "zone a"}, "2 limits are called zone a"),
        ("keep db", {"why": ""}, "limit keep db does not say where its number comes from"),
        ("capacity", {"most_out": 4}, "with 4 nodes out the pods of all do not fit"),
        ("keep db", {"group": ZONE, "groups_at_once": 1}, "it stands in 2 limits of"),
    ],
)
def test_a_limit_that_says_something_else(name: str, changed: dict[str, Any], said: str) -> None:
    assert said in faults(limits=with_limit(name, **changed))


def test_pods() -> None:
    plan, _ = sound()
    victim = next(n for n in plan.nodes if n.evictions)
    gone = victim.evictions[0]
    fewer = with_node(victim.name, lambda n: replace(n, evictions=n.evictions[1:]))
    assert f"pod {gone.ref} must be evicted, and the plan is silent" in faults(nodes=fewer)
    twice = with_node(victim.name, lambda n: replace(n, evictions=(*n.evictions, gone)))
    assert f"pod {gone.ref} moves 2 times" in faults(nodes=twice)
    never = with_node(victim.name, lambda n: replace(n, evictions=(replace(gone, going=Going.NEVER), *n.evictions[1:])))
    assert f"pod {gone.ref} never goes" in faults(nodes=never)
    daemon = with_node("n01", lambda n: replace(n, daemon_pods=()))
    assert "must be sent away by the taint" in faults(nodes=daemon)
    stranger = with_node("n01", lambda n: replace(n, stragglers=(gone,)))
    assert "is no pod to be deleted while the agent is down" in faults(nodes=stranger)
    reborn = with_node("n01", lambda n: replace(n, facts=replace(n.facts, uid="other")))
    assert "planned as another node of that name" in faults(nodes=reborn)


def test_waivers_windows_and_freezes() -> None:
    plan, _ = sound()
    waived = (*plan.findings, Finding("kernel", "n00", "waived", "old"))
    assert "kernel counts as waived on n00, and nobody waived it" in faults(findings=waived)
    asked = replace(plan.policy, waivers=(Waiver("kernel", "ann", "CHG-1", ("n00",)),))
    assert lint(replace(plan, findings=waived, policy=asked)) == ()
    for waiver in (Waiver("kernel", "", "x"), Waiver("kernel", "ann", "x", ("n01",)), Waiver("other", "ann", "x")):
        assert "nobody waived it" in faults(findings=waived, policy=replace(plan.policy, waivers=(waiver,)))
    for window in (Window(("day",)), Window((), "25:00"), Window((), timezone="Mars/Base")):
        assert "a window has the" in faults(policy=replace(plan.policy, windows=(window,)))
    for freeze in (Freeze("x", "soon", "later"), Freeze("x", "2026-12-02T00:00:00+00:00", "2026-12-01T00:00:00+00:00")):
        assert "freeze 'x' has" in faults(policy=replace(plan.policy, freezes=(freeze,)))


def test_a_window_too_short_for_any_node() -> None:
    policy = replace(sound()[0].policy, soak_fenced_s=9 * 3600)
    assert "one node takes 32408 s at least, windows and freezes leave 28800 s open at most" in faults(policy=policy)


def test_waves_that_finished_nodes_cannot_take() -> None:
    plan, found = sound()
    flat = [name for wave in plan.waves for name in wave.nodes]
    waves = (plan.waves[0], replace(plan.waves[1], nodes=tuple(flat[2:])))
    loose = replace(plan, waves=waves, policy=replace(plan.policy, growth=9))
    assert "wave 1 sends more pods away than finished nodes take: CPU is short" in "; ".join(lint(loose, found))


ROWS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4), st.booleans()), min_size=2, max_size=9)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.sampled_from(["1", "2", "50%"]), st.integers(0, 2), st.sampled_from(["", "1", "50%"]), st.data())
def test_what_is_packed_is_sound_and_what_is_loosened_is_found(
    rows: list[tuple[str, int, bool]], most: str, at_once: int, per_value: str, data: st.DataObject
) -> None:
    nodes = tuple(
        node(f"n{i}", zone=z, labels={ZONE: z}, cpu_millis=8000, memory_bytes=GIB, pod_slots=50)
        for i, (z, _, _) in enumerate(rows)
    )
    pods = [
        pod(f"p{i}-{j}", f"n{i}", cpu_millis=800, labels={"app": "db"} if member else {"app": "web"})
        for i, (_, count, member) in enumerate(rows)
        for j in range(count)
    ]
    members = any(count and member for _, count, member in rows)
    policy = Policy(
        target=DatapathMode.NETKIT, max_unavailable=most, soak_fenced_s=0,
        spread=(SpreadRule(ZONE, per_value, at_once),),
        keep=(KeepRule("db", "1", pods={"app": "db"}),) if members else (),
    )  # fmt: skip
    found = inventory(nodes, (*pods, *(agent_pod(n.name) for n in nodes)))
    try:
        plan = make_plan(found, policy, PlanRequest(serial=1, program="test"))
    except Refused as refused:
        assert refused.code in ("never-met", "no-canary", "nothing-to-do")
        return
    assert lint(plan, found) == ()
    if plan.limits:
        limit = data.draw(st.sampled_from(plan.limits))
        none = tuple(replace(x, most_out=0) if x is limit else x for x in plan.limits)
        assert "can never be taken out" in "; ".join(lint(replace(plan, limits=none), found))
