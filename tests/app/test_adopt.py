"""Newly joined nodes: labelled while nothing runs on them yet; and how much of the fleet is on target."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from rollout.app.adopt import fleet_coverage, plan_adoption
from rollout.app.apply import Application
from rollout.app.approve import approve
from rollout.app.journal import load
from rollout.app.make_plan import PlanResult
from rollout.app.rollback import plan_rollback
from rollout.domain.errors import NotFound, Refused, UsageError
from rollout.domain.lifecycle import NodePhase, RolloutPhase
from rollout.domain.node import LABEL_MODE, DatapathMode, Taint
from rollout.domain.plan import ADOPT, decode_plan
from rollout.domain.policy import MethodChoice, Policy
from rollout.domain.step import StepKind
from rollout.planning.coverage import Coverage, Standing
from rollout.planning.lint import lint
from tests.app.test_crash import live_through
from tests.builders import node, pod
from tests.support.world import Model, quick

JOINING = Taint("example.com/joining", "", "NoSchedule")
"""A start-up taint, as pools put it on new nodes: it keeps everything away but the agent."""


def join(model: Model, name: str, *, bare: bool = True) -> None:
    """A machine joins the cluster."""
    model.cluster.add_node(
        node(name, uid=f"{name}-{len(model.cluster.nodes)}", internal_ip=f"10.0.0.{name[1:]}", taints=(JOINING,) * bare)
    )
    model.settle()


def grown() -> Model:
    """Two nodes with pods, and a third that has just joined."""
    model = Model()
    join(model, "n3")
    return model


def adopted(model: Model, policy: Policy | None = None) -> PlanResult:
    made = plan_adoption(model.world(), policy or quick())
    approve(model.world(), made.record.id, by="bob", ticket="T-1", valid=timedelta(days=1))
    return made


def ours_left(model: Model) -> list[str]:
    return [line for line in model.leftovers() if JOINING.key not in line]


def standings(found: Coverage) -> dict[str, Standing]:
    return {each.node: each.standing for each in found.nodes}


@pytest.mark.parametrize("method", [MethodChoice.RESTART, MethodChoice.REBOOT])
def test_a_new_node_is_adopted_and_the_others_are_left_alone(method: MethodChoice) -> None:
    model = grown()
    before = {name: dict(each.labels) for name, each in model.cluster.nodes.items() if name != "n3"}
    made = adopted(model, quick(method=method))
    assert (made.plan.purpose, made.plan.adopts) == (ADOPT, True)
    assert [n.name for n in made.plan.nodes] == ["n3"]
    kinds = [step.kind for step in made.plan.node("n3").steps]
    assert StepKind.BASELINE not in kinds
    assert StepKind.SOAK not in kinds
    assert kinds[0] is StepKind.RECHECK
    assert kinds.index(StepKind.EVACUATE) < kinds.index(StepKind.ASSIGN_MODE) < kinds.index(StepKind.CONFIRM_MODE)
    assert lint(made.plan) == ()
    assert Application(model.world(), made.record.id).start().phase is RolloutPhase.COMPLETED
    assert model.cluster.modes["n3"] == "netkit"
    assert model.cluster.nodes["n3"].labels[LABEL_MODE] == "netkit"
    assert JOINING in model.cluster.nodes["n3"].taints
    assert ours_left(model) == []
    assert {name: dict(model.cluster.nodes[name].labels) for name in before} == before
    model.cluster.change_node("n3", taints=())
    assert model.kinds()["n3"] == {"netkit"}
    assert model.kinds()["n1"] == {"veth"}


def test_nodes_with_old_endpoints_are_to_be_planned_instead() -> None:
    model = grown()
    left_out = {each.node: each.reasons[0] for each in adopted(model).plan.excluded}
    assert "endpoint link(s) of another kind than netkit" in left_out["n1"]
    assert left_out["n1"].endswith("rollout plan --node n1")
    with pytest.raises(Refused, match="cannot adopt: no node may move") as refused:
        plan_adoption(model.world(), quick(nodes=("n1",)))
    assert "rollout plan --node n1" in refused.value.hint


def test_nodes_already_right_are_told_so() -> None:
    model = grown()
    Application(model.world(), adopted(model).record.id).start()
    with pytest.raises(Refused) as refused:
        plan_adoption(model.world(), quick(nodes=("n3",)))
    assert refused.value.hint == "n3: already on netkit"


def test_a_node_nobody_knows_or_can_look_at() -> None:
    model = grown()
    with pytest.raises(UsageError, match="no such node"):
        plan_adoption(model.world(), quick(nodes=("n4",)))
    model.blind.add("n3")
    with pytest.raises(Refused, match="cannot adopt"):
        plan_adoption(model.world(), quick(nodes=("n3",)))


def test_a_pod_that_is_still_being_started_makes_a_node_no_candidate() -> None:
    model = grown()
    model.cluster.add_pod(pod("late", "n3", phase="Pending", ready=False))
    model.cluster.links.pop("uid-late", None)
    with pytest.raises(Refused) as refused:
        plan_adoption(model.world(), quick(nodes=("n3",)))
    assert "default/late" in refused.value.hint


def test_pods_that_came_since_the_plan_stop_it_before_anything_is_touched() -> None:
    model = grown()
    made = adopted(model)
    model.cluster.add_pod(pod("late", "n3"))
    state = Application(model.world(), made.record.id).start()
    assert state.node("n3").phase is NodePhase.SKIPPED
    assert "pods have come onto it" in state.node("n3").reason
    assert LABEL_MODE not in model.cluster.nodes["n3"].labels
    assert ("default", "late") in model.cluster.pods
    assert ours_left(model) == []


def test_a_pod_that_comes_in_the_moment_before_the_cordon_is_evicted_as_any_other() -> None:
    model = grown()
    made = adopted(model)

    def hook(when: str, method: str, args: tuple[object, ...]) -> None:
        if (when, method) == ("before", "cordon") and ("default", "late") not in model.cluster.pods:
            model.cluster.add_pod(pod("late", "n3"))

    model.cluster.hook = hook
    state = Application(model.world(), made.record.id).start()
    assert state.node("n3").phase is NodePhase.DONE
    assert model.cluster.modes["n3"] == "netkit"
    assert model.cluster.request_counts()["evict"] == 1
    model.settle()
    assert ("default", "late") not in model.cluster.pods


def test_what_was_adopted_can_be_taken_back() -> None:
    model = grown()
    made = adopted(model)
    Application(model.world(), made.record.id).start()
    back = plan_rollback(model.world(), made.record.id)
    assert back.plan.takes_back
    assert not back.plan.adopts
    approve(model.world(), back.record.id, by="bob", ticket="T-2", valid=timedelta(hours=1))
    assert Application(model.world(), back.record.id).start().phase is RolloutPhase.COMPLETED
    assert model.cluster.modes["n3"] == "veth"
    assert LABEL_MODE not in model.cluster.nodes["n3"].labels


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("seed", range(6))
def test_any_deaths_end_in_the_same_state(seed: int) -> None:
    chance = random.Random(seed)
    model = grown()
    made = adopted(model)
    live_through(model, made.record.id, [chance.randint(1, 45) for _ in range(chance.randint(1, 5))])
    assert model.cluster.modes["n3"] == "netkit"
    assert ours_left(model) == []
    assert load(model.world().store, made.record.id)[1].phase is RolloutPhase.COMPLETED
    assert model.world().store.verify_chain() == ()


def test_the_document_is_read_back_as_it_was() -> None:
    made = adopted(grown())
    assert decode_plan(made.document) == made.plan


# --- coverage --------------------------------------------------------------------------------------------------------


def test_coverage_of_a_fleet_on_its_way() -> None:
    model = Model(("n1", "n2", "n3"))
    first = model.planned(quick(nodes=("n1",)))
    Application(model.world(), first.record.id).start()
    join(model, "n4")
    model.blind.add("n3")
    found = fleet_coverage(model.world(), quick())
    assert standings(found) == {
        "n1": Standing.ON_TARGET,
        "n2": Standing.TO_DO,
        "n3": Standing.UNKNOWN,
        "n4": Standing.TO_ADOPT,
    }
    assert found.permille == 250
    assert sum(found.counts.values()) == 4
    assert next(n.why for n in found.nodes if n.node == "n3") == "connection refused; is sshd running?"


def test_nodes_out_of_the_policys_reach_are_exempt_with_the_reason() -> None:
    model = Model()
    found = fleet_coverage(model.world(), quick(selector={"kubernetes.io/hostname": "n1"}))
    assert standings(found) == {"n1": Standing.TO_DO, "n2": Standing.EXEMPT}
    assert found.nodes[1].why == "the policy does not speak of it"
    with pytest.raises(UsageError):
        fleet_coverage(model.world(), quick(nodes=("n9",)))


def test_a_rule_that_blocks_a_node_exempts_it_with_its_words() -> None:
    model = Model()
    old = replace(model.cluster.nodes["n1"], kernel="5.15.0-generic")
    model.cluster.change_node("n1", kernel=old.kernel)
    found = fleet_coverage(model.world(), quick())
    assert found.nodes[0].standing is Standing.EXEMPT
    assert "5.15" in found.nodes[0].why


def test_what_joined_and_what_vanished_since_a_plan() -> None:
    model = Model(("n1", "n2", "n3"))
    made = model.planned(quick())
    model.cluster.remove_node("n2")
    model.cluster.remove_node("n3")
    join(model, "n3")
    join(model, "n4")
    found = fleet_coverage(model.world(), quick(), since=made.record.id)
    assert found.vanished == ("n2", "n3")
    assert {each.node for each in found.nodes if each.joined} == {"n3", "n4"}
    assert found.since == made.plan.digest
    with pytest.raises(NotFound):
        fleet_coverage(model.world(), quick(), since="ffffffffffff")


def test_all_of_the_fleet_is_a_thousand_permille_and_nothing_less_is() -> None:
    model = Model()
    model.apply()
    whole = fleet_coverage(model.world(), quick())
    assert whole.permille == 1000
    assert fleet_coverage(model.world(), quick(DatapathMode.VETH)).permille == 0
    most = Coverage(DatapathMode.NETKIT, whole.nodes * 999 + (replace(whole.nodes[0], standing=Standing.TO_DO),))
    assert most.permille == 999
