"""Whose selection a plan changes, and what that means."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rollout.domain.fleet import OtherObject
from rollout.domain.node import LABEL_MODE, NODE_CONFIG_NAME, DaemonSet, DatapathMode, Node, Taint, Toleration
from rollout.domain.plan import Plan, PlannedNodeConfig, SelectionChange
from rollout.domain.policy import MethodChoice, Policy
from rollout.domain.scheduling import LabelRequirement, LabelSelector, NodeTerm, PodTerm, Scheduling, SpreadTerm
from rollout.planning.blast.radius import TEMPLATES
from rollout.planning.blast.writes import MOST_NAMED
from rollout.planning.effective import EffectiveConfigs
from rollout.planning.planner import PlanRequest, make_plan, node_config_name
from tests.builders import agent_install, budget, daemon_pod, inventory, node, node_config, pod

NETKIT = Policy(target=DatapathMode.NETKIT)
ABSENT = LabelRequirement(LABEL_MODE, "DoesNotExist")
NOT_NETKIT = LabelRequirement(LABEL_MODE, "NotIn", ("netkit",))
IS_NETKIT = LabelRequirement(LABEL_MODE, "In", ("netkit",))
TWO = (node("n1"), node("n2"))


def plan(policy: Policy = NETKIT, nodes: tuple[Node, ...] = TWO, **more: Any) -> Plan:
    return make_plan(inventory(nodes, **more), policy, PlanRequest(serial=1, program="test"))


def only(made: Plan, kind: str) -> SelectionChange:
    found = [one for one in made.blast.changes if one.kind == kind]
    assert len(found) == 1, found
    return found[0]


def selecting(kind: str, *rows: LabelRequirement, **more: Any) -> OtherObject:
    return OtherObject(kind, more.pop("namespace", ""), "x", selector=LabelSelector((), rows), selects="nodes", **more)


def test_nothing_speaks_of_our_label() -> None:
    web = pod("web-1", "n1", scheduling=Scheduling(node_selector=(("disk", "ssd"),)))
    made = plan(
        pods=(web,), budgets=(budget("web"),), other=(selecting("RuntimeClass", LabelRequirement("gpu", "Exists")),)
    )
    assert made.blast.changes == ()
    assert dict(made.blast.looked_at) == {
        "CiliumNodeConfig": 0,
        "DaemonSet": 0,
        "Pod": 1,
        "PodDisruptionBudget": 1,
        "RuntimeClass": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("row", "gains", "loses"),
    [(ABSENT, (), ("n1", "n2")), (NOT_NETKIT, (), ("n1", "n2")), (IS_NETKIT, ("n1", "n2"), ())],
)
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("CiliumClusterwideNetworkPolicy", "host firewall"),
        ("CiliumBGPClusterConfig", "peer"),
        ("CiliumEgressGatewayPolicy", "leaves the cluster by other nodes"),
        ("CiliumL2AnnouncementPolicy", "announced"),
        ("RuntimeClass", "class"),
        ("SomethingElse", "other nodes than before"),
    ],
)
def test_other_objects_that_select_on_our_label(
    kind: str, words: str, row: LabelRequirement, gains: tuple[str, ...], loses: tuple[str, ...]
) -> None:
    found = [one for one in plan(other=(selecting(kind, row),)).blast.changes if one.cause == f"label {LABEL_MODE}"]
    assert len(found) == 1
    assert (found[0].gains, found[0].loses) == (gains, loses)
    assert words in found[0].consequence


def test_a_node_that_keeps_its_label_changes_nothing() -> None:
    labels = {LABEL_MODE: "netkit"}
    halfway = node("n1", labels=labels, annotations={})
    ours = node_config(NODE_CONFIG_NAME, {"datapath-mode": "netkit"}, match_labels=labels)
    made = plan(nodes=(halfway, node("n2")), node_configs=(ours,), other=(selecting("RuntimeClass", ABSENT),))
    assert only(made, "RuntimeClass").loses == ("n2",)
    assert "n1" in [n.name for n in made.nodes]


def test_a_foreign_node_config_that_selects_on_our_label() -> None:
    old = node_config("old-nodes", {"enable-host-firewall": "true"}, match_expressions=(ABSENT,))
    made = plan(node_configs=(old,))
    found = only(made, "CiliumNodeConfig")
    assert found.loses == ("n1", "n2")
    assert "enable-host-firewall=true" in found.consequence
    change = made.node("n1").config_change
    assert change == {"datapath-mode": ("veth", "netkit"), "enable-host-firewall": ("true", "")}
    assert made.node("n1").config_sources == {
        "datapath-mode": ("ConfigMap cilium-config", f"CiliumNodeConfig {NODE_CONFIG_NAME}"),
        "enable-host-firewall": ("CiliumNodeConfig old-nodes", ""),
    }


def test_a_foreign_node_config_whose_mode_we_replace() -> None:
    pinned = node_config("pin", {"datapath-mode": "veth"}, match_labels={"kubernetes.io/hostname": "n1"})
    found = only(plan(node_configs=(pinned,)), "CiliumNodeConfig")
    assert (found.loses, found.cause) == (("n1",), "our CiliumNodeConfig, which is merged last")


def test_a_daemonset_whose_affinity_names_our_label() -> None:
    rules = Scheduling(node_terms=(NodeTerm((NOT_NETKIT,)),))
    found = only(plan(daemonsets=(DaemonSet("a", "old-tool", "u", True, 2, 2, scheduling=rules),)), "DaemonSet")
    assert (found.namespace, found.name, found.loses) == ("a", "old-tool", ("n1", "n2"))


def test_pods_are_told_by_owner_once() -> None:
    rules = Scheduling(node_selector=((LABEL_MODE, "veth"),))
    pods = [pod(f"web-{i}", "n1", scheduling=rules) for i in range(9)]
    pods += [pod("bare", "n2", owner_kind="", owner_name="", owner_uid="", host_network=True, scheduling=rules)]
    labelled = (node("n1", labels={LABEL_MODE: "veth"}), node("n2"))
    tolerant = replace(pods[-1], tolerations=(Toleration("", "Exists"),))
    made = plan(nodes=labelled, pods=(*pods[:-1], tolerant))
    assert [(c.kind, c.name, c.loses) for c in made.blast.changes] == [
        ("Pod", "bare", ("n1",)),
        ("ReplicaSet", "web-1", ("n1",)),
    ]


@pytest.mark.parametrize(
    "rules",
    [
        Scheduling(spread=(SpreadTerm(1, LABEL_MODE, LabelSelector()),)),
        Scheduling(anti_affinity=(PodTerm(LABEL_MODE, LabelSelector()),)),
        Scheduling(affinity=(PodTerm(LABEL_MODE, LabelSelector()),)),
    ],
)
def test_topology_keys_that_are_our_label(rules: Scheduling) -> None:
    labelled = tuple(node(name, labels={LABEL_MODE: "veth"}) for name in ("n1", "n2"))
    found = only(plan(nodes=labelled, pods=(pod("web-1", "n1", scheduling=rules),)), "ReplicaSet")
    assert found.gains == ("n1", "n2")
    assert "domain" in found.consequence


def test_host_network_daemonsets_leave_unless_they_tolerate_our_taint() -> None:
    def on(name: str, owner: str, *tolerations: Toleration, **more: Any) -> Any:
        values = {"owner_name": owner, "host_network": True, "tolerations": tolerations}
        return daemon_pod(f"{owner}-{name}", name, **(values | more))

    every = Toleration("", "Exists")
    pods = (
        on("n1", "node-exporter", Toleration("node.kubernetes.io/not-ready", "Exists", effect="NoExecute")),
        on("n2", "node-exporter", Toleration("", "Exists", effect="NoSchedule")),
        on("n1", "cilium-envoy", every),
        on("n1", "ebs-csi-node"),
        on("n1", "plain"),
        on("n1", "pod-network", host_network=False),
        on("n1", "gone", phase="Succeeded"),
    )
    made = plan(pods=pods, daemonsets=(DaemonSet("default", "plain", "u", False, 1, 1, images=("x/fluent-bit:3",)),))
    told = {c.name: (c.loses, c.consequence) for c in made.blast.changes}
    assert sorted(told) == ["ebs-csi-node", "node-exporter", "plain"]
    assert told["node-exporter"][0] == ("n1", "n2")
    assert "not monitored" in told["node-exporter"][1]
    assert "volumes cannot be mounted" in told["ebs-csi-node"][1]
    assert "logs" in told["plain"][1]
    assert all(c.cause == "taint netkit-rollout.io/evacuate:NoExecute" for c in made.blast.changes)


def test_an_agent_that_would_be_sent_away_is_named_as_such() -> None:
    agents = tuple(
        daemon_pod(f"cilium-{n}", n, namespace="kube-system", owner_name="cilium", host_network=True)
        for n in ("n1", "n2")
    )
    assert "the agent itself" in only(plan(pods=agents), "DaemonSet").consequence


def test_roles_that_move_while_the_agent_restarts() -> None:
    egress = OtherObject(
        "CiliumEgressGatewayPolicy", "", "out",
        selector=LabelSelector((("kubernetes.io/hostname", "n1"),)), selects="nodes",
    )  # fmt: skip
    bgp = OtherObject("CiliumBGPClusterConfig", "", "tor", selector=LabelSelector(), selects="nodes")
    made = plan(replace(NETKIT, method=MethodChoice.REBOOT), other=(egress, bgp))
    alone, both = only(made, "CiliumEgressGatewayPolicy"), only(made, "CiliumBGPClusterConfig")
    assert alone.loses == ("n1",)
    assert "no other node" in alone.consequence
    assert both.loses == ("n1", "n2")
    assert "no other node" not in both.consequence
    assert "a reboot stops forwarding" in both.consequence


def test_what_selects_our_probe_pods() -> None:
    everything = OtherObject("NetworkPolicy", "netkit-rollout", "deny", selector=LabelSelector(), selects="pods")
    elsewhere = OtherObject("NetworkPolicy", "shop", "deny", selector=LabelSelector(), selects="pods")
    cluster = OtherObject("CiliumClusterwideNetworkPolicy", "", "deny", selector=LabelSelector(), selects="pods")
    keeping = budget("all", namespace="netkit-rollout", match_labels={}, selects_all=True)
    found = plan(other=(everything, elsewhere, cluster), budgets=(keeping, budget("web"))).blast.changes
    assert [(c.kind, c.namespace, c.name) for c in found] == [
        ("CiliumClusterwideNetworkPolicy", "", "deny"),
        ("NetworkPolicy", "netkit-rollout", "deny"),
        ("PodDisruptionBudget", "netkit-rollout", "all"),
    ]


@pytest.mark.parametrize(
    ("labels", "annotations", "pool", "words"),
    [
        ({"karpenter.sh/nodepool": "big"}, {}, ("Karpenter", "big"), "do-not-disrupt"),
        ({"eks.amazonaws.com/nodegroup": "ng"}, {}, ("EKS node group", "ng"), "scale-down-disabled"),
        ({}, {"cluster.x-k8s.io/owner-name": "md-0-abc"}, ("Cluster API", "md-0-abc"), "unneeded"),
    ],
)
def test_pools_that_take_an_empty_node_for_unneeded(
    labels: dict[str, str], annotations: dict[str, str], pool: tuple[str, str], words: str
) -> None:
    made = plan(nodes=(node("n1", labels=labels, annotations=annotations), node("n2")))
    found = made.blast.changes[0]
    assert (found.kind, found.name, found.loses) == (*pool, ("n1",))
    assert words in found.consequence


def test_long_lists_are_cut_and_say_so() -> None:
    many = tuple(node(f"n{i:03}") for i in range(MOST_NAMED + 7))
    found = only(plan(nodes=many, other=(selecting("RuntimeClass", ABSENT),)), "RuntimeClass")
    assert len(found.loses) == MOST_NAMED
    assert found.cut == 7


def test_what_could_not_be_seen_is_said() -> None:
    made = plan(unreadable={"RuntimeClass": "forbidden"})
    assert made.blast.unseen["RuntimeClass"] == "forbidden"
    assert TEMPLATES in made.blast.unseen


def test_taints_of_others_are_no_business_of_ours() -> None:
    tainted = node("n1", taints=(Taint("dedicated", "db", "NoSchedule"),))
    assert plan(nodes=(tainted, node("n2"))).blast.changes == ()


def test_a_node_config_that_may_not_set_the_mode_is_told_as_it_is() -> None:
    """The ConfigMap's value stays when the agent does not let a CiliumNodeConfig replace it: no change is claimed."""
    ours = PlannedNodeConfig(node_config_name("netkit"), "kube-system", "v2", "netkit", {"datapath-mode": "netkit"})
    denied = EffectiveConfigs(agent_install(deny_keys=("datapath-mode",)), ())
    assert denied.change({}, ours).values == {}
    unmerged = EffectiveConfigs(agent_install(merges_node_configs=False), ())
    assert unmerged.change({}, ours).values == {}


def test_host_network_pods_that_leave_are_in_the_plan_and_waited_for_at_the_end() -> None:
    pods = (
        daemon_pod("csi-1", "n1", owner_name="csi-node", host_network=True),
        daemon_pod("every-1", "n1", owner_name="every", host_network=True, tolerations=(Toleration("", "Exists"),)),
    )
    made = plan(pods=pods)
    assert [str(p.ref) for p in made.node("n1").daemon_pods] == ["default/csi-1"]
