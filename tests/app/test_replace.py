"""Nodes of a pool are replaced by new ones that start in the new mode: nothing is deleted by us, no pod is lost."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from rollout.app.adopt import fleet_coverage, plan_adoption
from rollout.app.apply import Application
from rollout.app.approve import approve
from rollout.app.control import abort
from rollout.app.journal import load
from rollout.app.make_plan import PlanResult, plan_rollout
from rollout.app.rollback import plan_rollback
from rollout.domain.errors import Refused
from rollout.domain.journal import failed_nodes
from rollout.domain.lifecycle import NodePhase, RolloutPhase
from rollout.domain.node import LABEL_MODE, Method, Taint
from rollout.domain.plan import decode_plan
from rollout.domain.policy import HandOver, MethodChoice, Policy, ReplaceRules
from rollout.domain.step import REPLACE_STEPS
from rollout.planning.lint import lint
from rollout.ports.hosts import Host, HostResult, HostRun
from tests.app.test_crash import live_through
from tests.builders import node
from tests.support.world import Model, quick

POOL = {"eks.amazonaws.com/nodegroup": "web"}
NEW = {**POOL, LABEL_MODE: "netkit"}


class Pooled(Model):
    """Three old nodes of a pool, and one new node that runs in the new mode already: the proof that others will."""

    def __init__(self) -> None:
        super().__init__(("n1", "n2", "n3"), replicas=6)
        for name in ("n1", "n2", "n3"):
            self.label(name, POOL)
        self.number = 4
        self._prove_the_template()

    def label(self, name: str, labels: dict[str, str]) -> None:
        self.cluster.change_node(name, labels={**self.cluster.nodes[name].labels, **labels})

    def join(self, labels: dict[str, str] | None = None) -> str:
        """A new node of the pool, with what its template says."""
        name = f"n{self.number}"
        self.number += 1
        labels = {"kubernetes.io/hostname": name, **(NEW if labels is None else labels)}
        self.cluster.add_node(node(name, internal_ip=f"10.0.0.{name[1:]}", labels=labels))
        return name

    def _prove_the_template(self) -> None:
        joining = Taint("example.com/joining", "", "NoSchedule")
        self.cluster.add_node(
            node("n0", internal_ip="10.0.0.200", labels={"kubernetes.io/hostname": "n0", **POOL}, taints=(joining,))
        )
        self.settle()
        made = plan_adoption(self.world(), quick(nodes=("n0",)))
        approve(self.world(), made.record.id, by="bob", ticket="T-0", valid=timedelta(days=1))
        assert Application(self.world(), made.record.id).start().phase is RolloutPhase.COMPLETED
        self.cluster.change_node("n0", taints=())
        self.settle()

    def owner(self, *, late: int = 0, labels: dict[str, str] | None = None) -> Owner:
        """The pool's owner from now on."""
        return Owner(self, late, labels)


class Owner:
    """Deletes a node once it is cordoned and empty, as a person told to would, and puts a new one in its place."""

    def __init__(self, model: Pooled, late: int, labels: dict[str, str] | None) -> None:
        self.model, self.late, self.labels = model, late, labels
        self.deleted: list[str] = []
        self.least_in_service = 99
        self._look()

    def _look(self) -> None:
        cluster = self.model.cluster
        if len(self.deleted) < 3:
            cluster._later(1, self._look)
        in_service = [n for n in cluster.nodes.values() if not n.unschedulable and n.ready]
        self.least_in_service = min(self.least_in_service, len(in_service))
        for name in sorted(name for name, each in cluster.nodes.items() if each.unschedulable):
            if any(p.owner_kind != "DaemonSet" for p in cluster.pods_on(name)):
                continue
            self.late -= 1
            if self.late < 0:
                cluster.remove_node(name)
                self.deleted.append(name)
                self.model.join(self.labels)


def replacing(**more: Any) -> Policy:
    return quick(method=MethodChoice.REPLACE, **more)


def saved(model: Model, policy: Policy | None = None) -> PlanResult:
    made = plan_rollout(model.world(), policy or replacing())
    approve(model.world(), made.record.id, by="bob", ticket="T-1", valid=timedelta(days=1))
    return made


def hint_of(call: Callable[[], Any]) -> str:
    with pytest.raises(Refused) as refused:
        call()
    return refused.value.hint


def web_pods(model: Model) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in model.cluster.pods.values():
        if each.labels.get("app") == "web" and each.ready:
            found[each.node] = found.get(each.node, 0) + 1
    return found


def test_a_whole_pool_is_replaced() -> None:
    model = Pooled()
    made = saved(model)
    assert lint(made.plan) == ()
    assert decode_plan(made.document) == made.plan
    assert [n.name for n in made.plan.nodes] == ["n1", "n2", "n3"]
    for planned in made.plan.nodes:
        assert (planned.method, planned.pool) == (Method.REPLACE, "EKS node group web")
        assert tuple(step.kind for step in planned.steps) == REPLACE_STEPS
        assert (planned.assign, planned.config_change, planned.backing) == ("", {}, ())
    assert made.plan.pool("EKS node group web").in_service == 4
    assert [(x.name, x.most_out) for x in made.plan.limits if x.name.startswith("pool")] == [
        ("pool EKS node group web", 1)
    ]
    owner = model.owner(late=3)
    state = Application(model.world(), made.record.id).start()
    assert state.phase is RolloutPhase.COMPLETED, state.reason
    assert {name: each.phase for name, each in state.nodes.items()} == dict.fromkeys(
        ("n1", "n2", "n3"), NodePhase.REPLACED
    )
    assert sorted(owner.deleted) == ["n1", "n2", "n3"]
    assert owner.least_in_service >= 3
    assert failed_nodes(state) == frozenset()
    model.settle()
    assert set(model.cluster.nodes) == {"n0", "n4", "n5", "n6"}
    assert set(model.cluster.modes.values()) == {"netkit"}
    assert sum(web_pods(model).values()) == 6
    assert fleet_coverage(model.world(), quick()).permille == 1000
    assert model.leftovers() == []


def test_nothing_is_deleted_by_us() -> None:
    model = Pooled()
    made = saved(model)
    deletions = model.cluster.request_counts().get("delete_pod", 0)
    model.owner()
    Application(model.world(), made.record.id).start()
    assert model.cluster.request_counts().get("delete_pod", 0) == deletions
    assert model.cluster.request_counts()["evict"] >= 6


def test_without_slack_a_new_node_comes_before_an_old_one_goes() -> None:
    model = Pooled()
    made = saved(model, replacing(replace=ReplaceRules(slack=0), deadlines_s={"await-capacity": 120}))
    owner = model.owner()
    state = Application(model.world(), made.record.id).start()
    first = made.plan.waves[0].nodes[0]
    assert state.node(first).phase is NodePhase.SKIPPED
    assert "await-capacity" in state.node(first).reason
    assert owner.deleted == []
    assert model.leftovers() == []

    model = Pooled()
    made = saved(model, replacing(replace=ReplaceRules(slack=0)))
    model.join()
    model.settle()
    owner = model.owner()
    assert Application(model.world(), made.record.id).start().phase is RolloutPhase.COMPLETED
    assert owner.least_in_service >= 4


def test_a_new_node_in_the_old_mode_holds_the_rollout() -> None:
    model = Pooled()
    made = saved(model)
    owner = model.owner(labels=POOL)
    state = Application(model.world(), made.record.id).start()
    assert state.phase is RolloutPhase.HELD
    assert len(owner.deleted) == 1
    held = [each for each in state.nodes.values() if each.phase is NodePhase.HELD]
    assert len(held) == 1
    assert held[0].last is not None
    assert "new node n4 of EKS node group web" in held[0].last.reason
    assert f"addOrUpdateLabels={LABEL_MODE}=netkit" in held[0].last.hint
    assert not model.cluster.nodes[held[0].name].unschedulable


def test_a_node_that_nobody_deletes_goes_back_into_service() -> None:
    model = Pooled()
    made = saved(model, replacing(nodes=("n1",), deadlines_s={"retire": 300}))
    state = Application(model.world(), made.record.id).start()
    assert state.node("n1").phase is NodePhase.RETURNED
    assert not model.cluster.nodes["n1"].unschedulable
    assert model.leftovers() == []


def test_an_abort_gives_the_node_back() -> None:
    model = Pooled()
    made = saved(model, replacing(nodes=("n1",)))
    asked: list[object] = []

    def hook(when: str, method: str, args: tuple[Any, ...]) -> None:
        if (when, method) == ("after", "cordon") and not asked:
            asked.append(args)
            abort(model.world(), made.record.id, "never mind")

    model.cluster.hook = hook
    state = Application(model.world(), made.record.id).start()
    assert state.phase is RolloutPhase.ABORTED
    assert state.node("n1").phase is NodePhase.RETURNED
    assert model.leftovers() == []


def test_the_operators_own_playbook_deletes_the_node_and_only_there() -> None:
    model = Pooled()
    runs: list[str] = []
    policy = replacing(nodes=("n1",), replace=ReplaceRules(hand_over=HandOver.HOOK))
    assert "hooks/after-node.yml has no tasks" in hint_of(lambda: plan_rollout(model.world(), policy))

    def delete(host: Host, _variables: Any) -> HostRun:
        runs.append(host.node)
        model.cluster.remove_node(host.node)
        model.join()
        return HostRun(host.node, HostResult.SUCCEEDED)

    model.hosts.hook_files["after-node"] = ("1" * 64, False)
    model.hosts.playbooks["hooks/after-node.yml"] = delete
    made = saved(model, policy)
    state = Application(model.world(), made.record.id).start()
    assert state.node("n1").phase is NodePhase.REPLACED
    assert runs == ["n1"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.cluster.change_node("n1", labels={}), "belongs to no pool"),
        (lambda m: m.cluster.change_node("n0", labels=POOL), "no node of EKS node group web runs on netkit yet"),
        (lambda m: m.cluster.change_node("n0", ready=False), "no node of EKS node group web runs on netkit yet"),
        (lambda m: m.blind.add("n0"), "no node of EKS node group web runs on netkit yet"),
        (
            lambda m: (m.cluster.configs.clear(), m.cluster.change_node("n0", labels=POOL)),
            "no CiliumNodeConfig of ours",
        ),
    ],
)
def test_what_must_be_proven_before_anything_is_emptied(change: Callable[[Pooled], Any], words: str) -> None:
    model = Pooled()
    change(model)
    assert words in hint_of(lambda: plan_rollout(model.world(), replacing(nodes=("n1",))))


def test_an_old_kernel_is_no_reason_against_replacing_its_node() -> None:
    model = Pooled()
    model.cluster.change_node("n1", kernel="5.15.0-generic")
    assert "n1" in [n.name for n in saved(model).plan.nodes]


def test_what_was_replaced_cannot_be_taken_back() -> None:
    model = Pooled()
    made = saved(model, replacing(nodes=("n1",)))
    model.owner()
    Application(model.world(), made.record.id).start()
    with pytest.raises(Refused, match="none of these nodes was moved"):
        plan_rollback(model.world(), made.record.id)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("seed", range(6))
def test_any_deaths_end_in_the_same_state(seed: int) -> None:
    chance = random.Random(seed)
    model = Pooled()
    made = saved(model, replacing(nodes=("n1",)))
    model.owner(late=chance.randint(0, 9))
    live_through(model, made.record.id, [chance.randint(1, 30) for _ in range(chance.randint(1, 5))])
    state = load(model.world().store, made.record.id)[1]
    assert state.node("n1").phase is NodePhase.REPLACED
    assert "n1" not in model.cluster.nodes
    assert model.leftovers() == []
    assert model.world().store.verify_chain() == ()
