"""Plans from literal inventories: who may move, in what order, with what said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.domain.errors import Refused, UsageError
from rollout.domain.inventory import effective_config
from rollout.domain.node import (
    ANNOTATION_PRIOR,
    ANNOTATION_ROLLOUT,
    LABEL_MODE,
    NODE_CONFIG_NAME,
    DatapathMode,
    Method,
    Toleration,
)
from rollout.domain.plan import Plan
from rollout.domain.policy import DrainRules, MethodChoice, Policy, Waiver
from rollout.domain.step import StepKind
from rollout.planning.drift import node_drift, words_of
from rollout.planning.facts import node_facts
from rollout.planning.lint import lint
from rollout.planning.planner import PlanRequest, TakesBack, make_plan
from tests.builders import (
    agent_install,
    agent_pod,
    budget,
    daemon_pod,
    inventory,
    node,
    node_config,
    plan_of,
    pod,
    seen,
)

NETKIT = Policy(target=DatapathMode.NETKIT)
REQUEST = PlanRequest(serial=1, program="test")


def plan(policy: Policy = NETKIT, request: PlanRequest = REQUEST, **more: Any) -> Plan:
    nodes = more.pop("nodes", (node("n1"), node("n2")))
    return make_plan(inventory(nodes, **more), policy, request)


def reasons(made: Plan, name: str) -> str:
    return "; ".join(next(e.reasons for e in made.excluded if e.node == name))


def test_two_sound_nodes() -> None:
    made = plan(pods=(agent_pod("n1"), pod("web-1", "n1"), daemon_pod("logd-1", "n1")), budgets=(budget("web"),))
    first = made.node("n1")
    assert [w.nodes for w in made.waves] == [("n2",), ("n1",)]
    assert first.method is Method.RESTART
    assert (first.source, first.target, first.assign, first.assign_back) == (
        DatapathMode.VETH,
        DatapathMode.NETKIT,
        "netkit",
        "",
    )
    assert [str(p.ref) for p in first.evictions] == ["default/web-1"]
    assert first.evictions[0].budgets == ("default/web",)
    assert [str(p.ref) for p in first.daemon_pods] == ["default/logd-1"]
    assert first.config_change == {"datapath-mode": ("veth", "netkit")}
    assert first.steps[0].kind is StepKind.RECHECK
    assert [c.name for c in made.node_configs] == [NODE_CONFIG_NAME]
    assert lint(made) == ()


def test_back_to_the_clusters_own_mode_needs_no_label() -> None:
    labels = {LABEL_MODE: "netkit"}
    ours = node_config(NODE_CONFIG_NAME, {"datapath-mode": "netkit"}, match_labels=labels)
    made = make_plan(
        inventory((node("n1", labels=labels),), observations={"n1": seen("n1", "netkit")}, node_configs=(ours,)),
        Policy(target=DatapathMode.VETH),
        REQUEST,
    )
    only = made.node("n1")
    assert (only.assign, only.assign_back, only.source) == ("", "netkit", DatapathMode.NETKIT)
    assert [c.label_value for c in made.node_configs] == ["netkit"]


def test_netkit_l2_gets_an_object_of_its_own_that_sorts_after() -> None:
    made = plan(Policy(target=DatapathMode.NETKIT_L2))
    assert [c.name for c in made.node_configs] == [f"{NODE_CONFIG_NAME}-netkit-l2"]
    assert made.node("n1").assign == "netkit-l2"


def test_a_node_already_there_is_left_out() -> None:
    labels = {LABEL_MODE: "netkit"}
    ours = node_config(NODE_CONFIG_NAME, {"datapath-mode": "netkit"}, match_labels=labels)
    made = make_plan(
        inventory(
            (node("n1", labels=labels), node("n2")),
            node_configs=(ours,),
            observations={"n1": seen("n1", "netkit"), "n2": seen("n2")},
        ),
        NETKIT,
        REQUEST,
    )
    assert reasons(made, "n1") == "already on netkit"


def test_unknown_node_names_the_near_one() -> None:
    with pytest.raises(UsageError, match="no such node") as error:
        plan(replace(NETKIT, nodes=("n11",)))
    assert error.value.hint.startswith("did you mean n1")


def test_no_agent() -> None:
    with pytest.raises(Refused, match="no Cilium DaemonSet"):
        plan(agent=None)


@pytest.mark.parametrize(
    ("more", "rule"),
    [
        ({"agent": agent_install(ready=1)}, "agents-ready"),
        ({"agent": agent_install(image="quay.io/cilium/cilium:v1.15.9")}, "version-netkit"),
        ({"agent": agent_install(image="localhost/node:rig")}, "version-netkit"),
        ({"agent": agent_install(merges_node_configs=False)}, "node-config-merged"),
        ({"agent": agent_install(deny_keys=("datapath-mode",))}, "key-overridable"),
        ({"agent": agent_install(allow_keys=("debug",))}, "key-overridable"),
        ({"agent": agent_install(config_args=("--datapath-mode=veth",))}, "no-direct-option"),
        ({"node_config_version": ""}, "node-config-served"),
        ({"node_configs": (node_config("zzz", {"datapath-mode": "veth"}),)}, "node-config-order"),
        ({"nodes": (node("n1", ready=False),)}, "node-ready"),
        ({"nodes": (node("n1", ready=None),)}, "node-ready"),
        ({"nodes": (node("n1", kernel="7.2.0"),)}, "kernel-good"),
        ({"nodes": (node("n1", annotations={"config.cilium.io/datapath-mode": "veth"}),)}, "no-node-override"),
    ],
)
def test_cluster_and_node_objects_that_block(more: dict[str, Any], rule: str) -> None:
    with pytest.raises(Refused) as refused:
        plan(**({"nodes": (node("n1"),)} | more))
    assert rule in refused.value.hint


def agent_with(**values: Any) -> dict[str, Any]:
    observations = seen("n1")
    document = dict(observations["agent"].document)
    document |= {k.replace("_", "-"): v for k, v in values.items() if k != "settings"}
    document["settings"] = dict(document["settings"]) | values.get("settings", {})
    return {"n1": observations | {"agent": replace(observations["agent"], document=document)}}


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"settings": {"EnableBPFTProxy": True}}, "tproxy-off"),
        ({"intra_host_routing_mode": "Legacy"}, "host-routing-bpf"),
        ({"kube_proxy_replacement_mode": "False"}, "kube-proxy-replaced"),
        ({"masquerading_mode": "iptables"}, "masquerade-bpf"),
        ({"encryption_mode": "IPsec"}, "no-ipsec"),
        ({"cni_chaining_mode": "aws-cni"}, "no-chaining"),
        ({"agent": "slow", "reason": "no answer in 30 s"}, "agent-answers"),
        ({"datapath_mode": "netkit"}, "node-not-mixed"),
    ],
)
def test_observed_facts_that_block(values: dict[str, Any], rule: str) -> None:
    with pytest.raises(Refused) as refused:
        make_plan(inventory((node("n1"),), observations=agent_with(**values)), NETKIT, REQUEST)
    assert rule in refused.value.hint


def without(probe: str) -> dict[str, Any]:
    observations = seen("n1")
    return {"n1": observations | {probe: replace(observations[probe], document={}, error="ssh: connection refused")}}


@pytest.mark.parametrize("probe", ["links", "agent", "capability"])
def test_what_could_not_be_seen_blocks(probe: str) -> None:
    with pytest.raises(Refused) as refused:
        make_plan(inventory((node("n1"),), observations=without(probe)), NETKIT, REQUEST)
    assert "connection refused" in refused.value.hint


def test_a_kernel_without_netkit_blocks_but_not_the_way_to_veth() -> None:
    observations = seen("n1")
    poor = {"modes": [], "scrub": False, "error": "Operation not supported"}
    told = {"n1": observations | {"capability": replace(observations["capability"], document=poor)}}
    with pytest.raises(Refused) as refused:
        make_plan(inventory((node("n1"),), observations=told), NETKIT, REQUEST)
    assert "kernel-netkit" in refused.value.hint


def test_scrub_matters_only_with_endpoint_routes() -> None:
    told = agent_with(settings={"EnableEndpointRoutes": True})
    poor = {"modes": ["netkit"], "scrub": False}
    told["n1"]["capability"] = replace(told["n1"]["capability"], document=poor)
    with pytest.raises(Refused) as refused:
        make_plan(inventory((node("n1"),), observations=told), NETKIT, REQUEST)
    assert "scrub" in refused.value.hint


def test_a_waiver_lifts_one_rule_and_stays_visible() -> None:
    waiver = Waiver("tproxy-off", "ann", "tested on staging")
    made = make_plan(
        inventory((node("n1"),), observations=agent_with(settings={"EnableBPFTProxy": True})),
        replace(NETKIT, waivers=(waiver,)),
        REQUEST,
    )
    found = next(f for f in made.findings if f.rule == "tproxy-off")
    assert found.status == "waived"
    assert "ann: tested on staging" in found.message


@pytest.mark.parametrize(
    ("image", "method"),
    [("cilium:v1.19.0", Method.RESTART), ("cilium:v1.18.4", Method.REBOOT), ("cilium:v1.21.0-dev", Method.RESTART)],
)
def test_auto_restarts_only_where_the_guard_is_sure(image: str, method: Method) -> None:
    made = plan(agent=agent_install(image=image))
    assert made.node("n1").method is method
    wanted = StepKind.RESTART_AGENT if method is Method.RESTART else StepKind.REBOOT
    assert wanted in [s.kind for s in made.node("n1").steps]


@pytest.mark.parametrize(
    ("stray", "words"),
    [
        (pod("bare", "n1", owner_kind="", owner_name="", owner_uid=""), "drain.evict_unowned"),
        (pod("static", "n1", mirror=True, owner_kind="Node", owner_name="n1"), "use method reboot"),
    ],
)
def test_pods_that_keep_a_node_from_emptying(stray: Any, words: str) -> None:
    made = plan(replace(NETKIT, method=MethodChoice.RESTART), pods=(stray,))
    assert words in reasons(made, "n1")


def test_two_budgets_on_one_pod_never_evict() -> None:
    made = plan(pods=(pod("web-1", "n1"),), budgets=(budget("a"), budget("b")))
    assert "never evicted" in reasons(made, "n1")


def test_empty_dir_rule() -> None:
    made = plan(replace(NETKIT, drain=DrainRules(delete_empty_dir=False)), pods=(pod("w", "n1", empty_dir=True),))
    assert "drain.delete_empty_dir" in reasons(made, "n1")


def test_stragglers_are_named() -> None:
    tolerant = daemon_pod("watch-1", "n1", tolerations=(Toleration("", "Exists"),))
    made = plan(pods=(tolerant,))
    assert [str(p.ref) for p in made.node("n1").stragglers] == ["default/watch-1"]
    assert any("default/watch-1" in risk for risk in made.node("n1").risks)


def test_a_node_with_another_rollouts_mark_is_left_out_but_a_rollback_takes_it_over() -> None:
    marked = node(
        "n1",
        unschedulable=True,
        labels={LABEL_MODE: "netkit"},
        annotations={ANNOTATION_ROLLOUT: "r1", ANNOTATION_PRIOR: '{"unschedulable": false}'},
    )
    ours = node_config(NODE_CONFIG_NAME, {"datapath-mode": "netkit"}, match_labels={LABEL_MODE: "netkit"})
    world = inventory((marked, node("n2")), node_configs=(ours,))
    made = make_plan(world, Policy(target=DatapathMode.NETKIT_L2), REQUEST)
    assert "rollout r1 has its mark" in reasons(made, "n1")
    back = make_plan(
        world,
        Policy(target=DatapathMode.VETH, nodes=("n1",)),
        PlanRequest(2, "test", takes_back=TakesBack("r1", DatapathMode.NETKIT)),
    )
    assert back.node("n1").facts.unschedulable is False
    assert back.supersedes == "r1"


def test_a_rollback_may_touch_a_broken_node() -> None:
    labels = {LABEL_MODE: "netkit"}
    ours = node_config(NODE_CONFIG_NAME, {"datapath-mode": "netkit"}, match_labels=labels)
    broken = {"n1": agent_with(agent="down", reason="no socket", datapath_mode="")["n1"]}
    made = make_plan(
        inventory((node("n1", ready=False, labels=labels),), observations=broken, node_configs=(ours,)),
        Policy(target=DatapathMode.VETH),
        PlanRequest(2, "test", takes_back=TakesBack("r1", DatapathMode.NETKIT)),
    )
    assert made.node("n1").source is DatapathMode.NETKIT
    assert {f.rule for f in made.findings if f.status == "warn"} >= {"node-ready", "agent-answers"}


def test_per_node_settings_merge_in_name_order_and_the_last_wins() -> None:
    configs = (
        node_config("b", {"datapath-mode": "netkit", "debug": "b"}),
        node_config("a", {"debug": "a", "x": "1"}),
        node_config("other", {"debug": "no"}, match_labels={"pool": "gpu"}),
        node_config("nil", {"debug": "nil"}, has_selector=False),
    )
    merged = effective_config(agent_install(deny_keys=("x",)), configs, {})
    assert (merged["datapath-mode"], merged["debug"], "x" in merged) == ("netkit", "b", False)


def test_drift_is_told_in_words() -> None:
    before = node_facts(node("n1"), agent_install(), ())
    after = node_facts(
        node("n1", boot_id="boot-2", kernel="6.13"), agent_install(config={"datapath-mode": "netkit"}), ()
    )
    text = "; ".join(words_of(node_drift(before, after)))
    assert "it was rebooted" in text
    assert "its kernel changed" in text
    assert "effective agent settings" in text
    assert node_drift(before, before) == ()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(1, 4), st.integers(1, 4))
def test_waves_hold_every_node_once_and_grow_no_faster_than_allowed(
    counts: list[int], canary: int, growth: int
) -> None:
    names = tuple(f"n{i:02}" for i in range(len(counts)))
    pods = tuple(pod(f"p{i}-{j}", names[i]) for i, count in enumerate(counts) for j in range(count))
    policy = Policy(target=DatapathMode.NETKIT, canary=canary, growth=growth)
    made = make_plan(inventory(tuple(node(n) for n in names), pods), policy, REQUEST)
    assert lint(made) == ()
    order = [name for wave in made.waves for name in wave.nodes]
    assert sorted(order) == sorted(names)
    loads = [len(made.node(name).evictions) for name in order]
    assert loads == sorted(loads)


def test_the_linter_needs_no_trust_in_the_planner() -> None:
    sound = plan_of(("n1", "n2"), NETKIT)
    wave = sound.waves[0]
    bad = replace(sound, waves=(replace(wave, nodes=("n1", "n1", "ghost")),))
    faults = "; ".join(lint(bad))
    for words in ("n1 is in 2 places", "ghost is in a wave", "n2 has a plan but is in no wave", "the policy allows 1"):
        assert words in faults
    wide = replace(sound, node_configs=(replace(sound.node_configs[0], label_value=""),))
    assert "would select nodes without our label" in "; ".join(lint(wide))
