"""What moved since a plan, in words, and whether it can be put right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from rollout.app.stale import cluster_now, drifts_of
from rollout.domain.inventory import AgentInstall, NodeConfig
from rollout.domain.node import LABEL_MODE, TAINT_EVACUATE, TAINT_WAITING, DatapathMode, Node, Pod, Taint, Toleration
from rollout.domain.node import PodDisruptionBudget as Budget
from rollout.domain.plan import Plan
from rollout.domain.policy import DrainRules, KeepRule, MethodChoice, Policy, SpreadRule
from rollout.domain.scheduling import LabelRequirement
from rollout.planning.drift import Drift
from rollout.planning.planner import PlanRequest, make_plan
from tests.builders import agent_install, agent_pod, budget, daemon_pod, inventory, node, node_config, pod

ZONE = "topology.kubernetes.io/zone"
LABELS = {"kubernetes.io/hostname": "n1", ZONE: "a", "pool": "web", "kernel-tuning": "on"}
AGENT = agent_install(desired=2, ready=2)
NODE = node("n1", labels=LABELS)
OTHER = node("n2", labels={**LABELS, "kubernetes.io/hostname": "n2"})
PODS = (agent_pod("n1"), pod("web-0", "n1"), daemon_pod("logd-n1", "n1"))
BUDGETS = (budget("web"), budget("other", namespace="elsewhere"))


def plan(**more: Any) -> Plan:
    return plan_from(Policy(target=DatapathMode.NETKIT, **more))


def plan_from(
    policy: Policy, there: Node = NODE, pods: tuple[Pod, ...] = PODS, budgets: tuple[Budget, ...] = BUDGETS, **more: Any
) -> Plan:
    made = inventory((there, OTHER), (*pods, agent_pod("n2")), budgets=budgets, agent=AGENT, **more)
    return make_plan(made, policy, PlanRequest(serial=1, program="test"))


PLAN = plan()


def now(
    planned: Plan = PLAN,
    *,
    there: Node = NODE,
    pods: Sequence[Pod] = PODS,
    agent: AgentInstall = AGENT,
    configs: tuple[NodeConfig, ...] = (),
    budgets: Sequence[Budget] = BUDGETS,
    uid: str = "cluster-1",
) -> tuple[Drift, ...]:
    cluster = cluster_now(planned, agent, configs, budgets, uid=uid)
    return drifts_of(planned, planned.node("n1"), there, tuple(pods), agent, cluster)


def one(found: tuple[Drift, ...]) -> Drift:
    assert len(found) == 1, [d.words() for d in found]
    return found[0]


def test_nothing_moved() -> None:
    assert now() == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"uid": "uid-2"}, "another machine bears this name (planned uid-n1, now uid-2)"),
        ({"boot_id": "boot-2"}, "it was rebooted (planned boot-n1-1, now boot-2)"),
        ({"kernel": "6.13.0"}, "its kernel changed (planned 6.12.107-cloud-amd64, now 6.13.0)"),
        ({"internal_ip": "10.9.9.9"}, "its address changed (planned 192.168.77.11, now 10.9.9.9)"),
        ({"unschedulable": True}, "somebody cordoned or uncordoned it (planned False, now True)"),
    ],
)
def test_a_fact_of_the_node_needs_a_new_plan(change: dict[str, Any], words: str) -> None:
    found = one(now(there=replace(NODE, **change)))
    assert (found.words(), found.holds, found.remedy) == (words, False, "plan it anew: rollout plan")


def test_of_labels_only_those_matter_that_limits_rest_on() -> None:
    moved = one(now(there=replace(NODE, labels={**LABELS, ZONE: "b", "pool": "db", "kernel-tuning": "off"})))
    assert moved.words() == f"labels that the limits rest on changed (planned {ZONE}=a, now {ZONE}=b)"
    rules = plan(spread=(SpreadRule("pool"),), keep=(KeepRule("tuned", "1", nodes={"kernel-tuning": "on"}),))
    moved = one(now(rules, there=replace(NODE, labels={**LABELS, "pool": "db", "kernel-tuning": "off"})))
    assert "kernel-tuning=on, pool=web" in moved.planned
    role = {"node-role.kubernetes.io/ingress": ""}
    assert "node-role.kubernetes.io/ingress" in one(now(there=replace(NODE, labels={**LABELS, **role}))).now


def test_a_foreign_taint_holds_but_ours_and_passing_conditions_do_not() -> None:
    ours = (Taint(TAINT_WAITING, "r", "PreferNoSchedule"), Taint(TAINT_EVACUATE, "r", "NoExecute"))
    passing = (Taint("node.kubernetes.io/memory-pressure", "", "NoSchedule"), Taint("soft", "", "PreferNoSchedule"))
    assert now(there=replace(NODE, taints=(*ours, *passing))) == ()
    found = one(now(there=replace(NODE, taints=(Taint("ToBeDeletedByClusterAutoscaler", "17", "NoSchedule"),))))
    assert found.holds
    assert "ToBeDeletedByClusterAutoscaler=17:NoSchedule" in found.what
    tainted = replace(NODE, taints=(Taint("dedicated", "web", "NoSchedule"),))
    known = plan_from(PLAN.policy, tainted, budgets=())
    assert now(known, there=tainted, budgets=()) == ()
    assert now(known, there=NODE, budgets=()) == (), "one that went lets more pods in, which the drain takes"


def test_a_node_that_is_not_ready_holds() -> None:
    for ready in (False, None):
        found = one(now(there=replace(NODE, ready=ready)))
        assert (found.what, found.holds) == ("it is not Ready", True)


def test_the_agents_image_template_and_daemonset() -> None:
    assert "the agent's image changed" in one(now(agent=replace(AGENT, image="x:2", generation=2))).what
    moved = one(now(agent=replace(AGENT, generation=7)))
    assert moved.words() == "the agent's DaemonSet changed (planned generation 1, now generation 7)"
    assert "was replaced" in one(now(agent=replace(AGENT, daemonset_uid="ds-2", generation=9))).what


def test_a_changed_configmap_names_its_keys() -> None:
    config = {**AGENT.config, "debug": "true", "kube-proxy-replacement": "false"}
    found = now(agent=replace(AGENT, config=config))
    assert found[0].what == "the agent's ConfigMap changed: debug, kube-proxy-replacement"
    assert found[1].words() == (
        "its effective agent settings changed (planned kube-proxy-replacement=true, now kube-proxy-replacement=false)"
    )


def test_foreign_node_configs_are_named() -> None:
    found = one(now(configs=(node_config("tuning", {"debug": "true"}),)))
    assert found.what == "CiliumNodeConfig tuning appeared"
    known = plan_from(PLAN.policy, node_configs=(node_config("tuning", {"debug": "true"}),))
    changed = node_config("tuning", {"debug": "false"})
    assert one(now(known, configs=(changed,))).what == "CiliumNodeConfig tuning changed"
    assert one(now(known)).what == "CiliumNodeConfig tuning is gone"


def test_our_own_node_config_that_somebody_changed_holds() -> None:
    wanted = PLAN.node_configs[0]
    ours = node_config(wanted.name, dict(wanted.defaults), match_labels={LABEL_MODE: wanted.label_value})
    assert now(configs=(ours,)) == ()
    for changed in (
        replace(ours, defaults={**ours.defaults, "debug": "true"}),
        replace(ours, match_labels={}),
        replace(ours, has_selector=False),
    ):
        found = next(d for d in now(configs=(changed,)) if "our CiliumNodeConfig" in d.what)
        assert found.holds
        assert "delete ciliumnodeconfig zz-netkit-rollout" in found.remedy


def test_budgets_are_compared_for_the_pods_of_this_node_only() -> None:
    changed = replace(BUDGETS[0], max_unavailable="", min_available="100%")
    found = one(now(budgets=(changed, BUDGETS[1])))
    assert found.what == "PodDisruptionBudget default/web changed"
    assert ("max=1" in found.planned, "min=100%" in found.now, found.holds) == (True, True, False)
    assert one(now(budgets=BUDGETS[1:])).what == "PodDisruptionBudget default/web is gone"
    unrelated = budget("batch", match_labels={"job": "batch"})
    assert now(budgets=(*BUDGETS, unrelated, budget("third", namespace="elsewhere"))) == ()
    narrowed = replace(BUDGETS[0], match_labels={"app": "web", "tier": "front"})
    assert one(now(budgets=(narrowed,))).now == "pdb-web min=- max=1 on app=web, tier=front"
    expressed = replace(BUDGETS[0], match_expressions=(LabelRequirement("tier", "In", ("a", "b")),))
    assert one(now(budgets=(expressed,))).now.endswith("on app=web, tier In (a, b)")


def test_a_new_budget_over_the_nodes_pods_is_found() -> None:
    found = now(budgets=(*BUDGETS, budget("also-web")))
    assert found[0].what == "PodDisruptionBudget default/also-web appeared"
    assert found[1].words().endswith("PodDisruptionBudgets also-web and web both match it, so it is never evicted)")


def test_pods_come_and_go() -> None:
    assert now(pods=(PODS[0], pod("web-7", "n1"), daemon_pod("logd-n1-b", "n1"), pod("db", "n1", namespace="db"))) == ()


@pytest.mark.parametrize(
    ("fresh", "words"),
    [
        (pod("bare", "n1", owner_kind="", owner_name=""), "no controller will replace it"),
        (pod("static", "n1", mirror=True, owner_kind="Node", owner_name="n1"), "only a reboot renews its link"),
    ],
)
def test_a_new_pod_that_can_never_leave_holds_the_node(fresh: Pod, words: str) -> None:
    found = one(now(pods=(*PODS, fresh)))
    assert found.holds
    assert found.what == f"pod default/{fresh.ref.name} may never leave"
    assert (found.planned, words in found.now) == ("not there", True)
    reboot = plan(method=MethodChoice.REBOOT)
    assert bool(now(reboot, pods=(*PODS, fresh))) is not fresh.mirror


def test_local_data_that_the_policy_spares_holds_the_node() -> None:
    spared = plan(drain=DrainRules(delete_empty_dir=False))
    found = one(now(spared, pods=(*PODS, pod("scratch", "n1", empty_dir=True))))
    assert "has emptyDir data" in found.now
    assert now(pods=(*PODS, pod("scratch", "n1", empty_dir=True))) == ()


def test_a_daemonset_nobody_approved_to_delete_holds_the_node() -> None:
    clinging = daemon_pod("cling-n1", "n1", owner_name="cling", tolerations=(Toleration("", "Exists"),))
    found = one(now(pods=(*PODS, clinging)))
    assert (found.holds, found.remedy) == (True, "remove DaemonSet/cling or its toleration, or plan it anew")
    known = plan_from(PLAN.policy, pods=(*PODS, clinging))
    again = replace(clinging, ref=replace(clinging.ref, name="cling-b", uid="uid-b"))
    assert now(known, pods=(*PODS, again)) == ()


def test_another_cluster() -> None:
    assert one(now(uid="cluster-2")).what == "this is another cluster"
