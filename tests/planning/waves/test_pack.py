"""Packing from literal inventories: who goes first, how waves grow, what bounds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.domain.errors import Refused, UsageError
from rollout.domain.fleet import OtherObject
from rollout.domain.inventory import Inventory, Observation
from rollout.domain.node import DatapathMode, Node, Pod
from rollout.domain.plan import Limit
from rollout.domain.policy import Freeze, KeepRule, Policy, SpreadRule, Window
from rollout.domain.scheduling import LabelSelector
from rollout.planning.cohorts import cohort_of
from rollout.planning.drain import evictable
from rollout.planning.waves import Candidate, Packing, pack
from tests.builders import NOW, agent_install, budget, daemon_pod, inventory, node, pod

POLICY = Policy(target=DatapathMode.NETKIT, soak_fenced_s=0, soak_loaded_s=0)
GIB = 1 << 30


def roomy(name: str, zone: str = "", **more: Any) -> Node:
    labels = {"kubernetes.io/hostname": name} | ({"topology.kubernetes.io/zone": zone} if zone else {})
    values: dict[str, Any] = {"cpu_millis": 8000, "memory_bytes": 32 * GIB, "pod_slots": 110, "zone": zone}
    return node(name, **(values | {"labels": labels | more.pop("labels", {})} | more))


def candidates(found: Inventory, policy: Policy, names: Sequence[str] = ()) -> list[Candidate]:
    nodes = [n for n in found.cluster.nodes if not names or n.name in names]
    pods = {n.name: evictable(found.pods_on(n.name), policy.drain) for n in nodes}
    return [Candidate(n, cohort_of(found, policy, n), len(pods[n.name])) for n in nodes]


def packed(
    nodes: Sequence[Node], pods: Sequence[Pod] = (), policy: Policy = POLICY, names: Sequence[str] = (), **more: Any
) -> Packing:
    found = inventory(tuple(nodes), tuple(pods), observations={}, **more)
    return pack(found, policy, candidates(found, policy, names))


def sizes(packing: Packing) -> list[int]:
    return [len(wave.nodes) for wave in packing.waves]


def limit(packing: Packing, name: str) -> Limit:
    return next(found for found in packing.limits if found.name == name)


def names(count: int) -> list[str]:
    return [f"n{number:02}" for number in range(count)]


# --- waves -------------------------------------------------------------------------------------------------------


def test_waves_grow_by_the_factor_and_say_why() -> None:
    made = packed([node(n) for n in names(12)])
    assert sizes(made) == [1, 2, 4, 5]
    assert [wave.name for wave in made.waves] == ["canary", "wave 1", "wave 2", "wave 3"]
    assert [wave.why for wave in made.waves] == [
        "one node of each cohort: 1", "at most 2 times the 1 node(s) before", "at most 2 times the 2 node(s) before",
        "all that are left",
    ]  # fmt: skip
    assert made.limits == ()


def test_emptier_nodes_go_first_and_names_break_ties() -> None:
    pods = [pod(f"p{i}", on) for i, on in enumerate(["n00", "n00", "n02"])]
    made = packed([node(n) for n in names(4)], pods)
    assert [n for wave in made.waves for n in wave.nodes] == ["n01", "n03", "n02", "n00"]


def test_a_canary_for_each_cohort() -> None:
    nodes = [roomy(f"{zone}{i}", zone) for zone in "abc" for i in range(3)]
    made = packed(nodes)
    assert made.waves[0].nodes == ("a0", "b0", "c0")
    assert made.waves[0].why == "one node of each cohort: 3"
    plain = packed(nodes, policy=replace(POLICY, canary_per_cohort=False))
    assert plain.waves[0].nodes == ("a0",)
    more = packed(nodes, policy=replace(POLICY, canary=5))
    assert more.waves[0].nodes == ("a0", "a1", "a2", "b0", "c0")


def test_the_canary_is_no_node_that_is_the_last_of_a_set() -> None:
    vault = {"app.kubernetes.io/name": "vault", "component": "server"}
    pods = [pod("vault-0", "n00", labels=vault), *(pod(f"p{i}", "n01") for i in range(5))]
    made = packed([node("n00"), node("n01")], pods)
    assert made.waves[0].nodes == ("n01",), "although n00 is emptier"
    with pytest.raises(Refused, match=r"cohort zone a .*no node fit to be its canary") as error:
        packed([roomy("n00", "a"), roomy("n01", "b")], pods, replace(POLICY, cohorts=("zone",)))
    assert "--no-canary-per-cohort" in error.value.hint


def test_cohort_keys() -> None:
    nodes = [roomy("n00", "a", labels={"pool": "gpu"}), roomy("n01", "a", labels={"pool": "cpu"})]
    made = packed(nodes, policy=replace(POLICY, cohorts=("pool", "zone", "arch", "agent")))
    assert made.waves[0].nodes == ("n00", "n01")
    with pytest.raises(UsageError, match="cohorts: no node has a label pol") as error:
        packed(nodes, policy=replace(POLICY, cohorts=("pol",)))
    assert error.value.hint == "did you mean pool?"


def test_routing_of_ones_own_is_a_cohort() -> None:
    def host(*rules: dict[str, int]) -> dict[str, Observation]:
        return {"host": Observation("x", "host", NOW, {"schema": 1, "rules": list(rules)})}

    usual = {"priority": 32766, "table": 254}
    nodes = (node("n00"), node("n01"), node("n02"))
    found = inventory(nodes, observations={"n00": host(usual), "n01": host(usual, {"priority": 99, "table": 1000})})
    kubevip = [cohort_of(found, replace(POLICY, cohorts=("routing",)), n) for n in nodes]
    assert kubevip == ["", "extra ip rules", ""]
    assert pack(found, POLICY, candidates(found, POLICY)).waves[0].nodes == ("n00", "n01")


# --- growth by capacity ------------------------------------------------------------------------------------------


def loaded(count: int, share: int, pods_each: int = 10) -> tuple[list[Node], list[Pod]]:
    """Nodes whose CPU is requested to `share` percent."""
    cpu = 8000 * share // 100 // pods_each
    pods = [pod(f"{n}-{i}", n, cpu_millis=cpu) for n in names(count) for i in range(pods_each)]
    return [roomy(n) for n in names(count)], pods


@pytest.mark.parametrize(
    ("share", "expected"),
    [(50, [1, 2, 4, 8, 15]), (80, [1, 1, 1, 1, 2, 2, 3, 3, 4, 5, 6, 1])],
)
def test_waves_grow_no_faster_than_finished_nodes_take_their_pods(share: int, expected: list[int]) -> None:
    made = packed(*loaded(30, share))
    assert sizes(made) == expected
    if share == 80:
        assert any("CPU" in wave.why for wave in made.waves)
    free = packed(*loaded(30, share), policy=replace(POLICY, capacity_growth=False))
    assert sizes(free) == [1, 2, 4, 8, 15]


def test_headroom_bounds_how_many_are_out() -> None:
    made = packed(*loaded(10, 70))
    found = limit(made, "capacity")
    assert (found.most_out, len(found.nodes)) == (2, 10)
    assert "70 % of CPU" in found.why
    with pytest.raises(Refused, match=r"headroom_percent 10 and taking out any node .*max_unavailable 1") as error:
        packed(*loaded(10, 85))
    assert error.value.hint == "lower headroom_percent to 5, or add a node"
    with pytest.raises(Refused) as error:
        packed(*loaded(10, 95))
    assert "even without headroom" in error.value.hint


def test_nodes_out_of_service_offer_nothing() -> None:
    nodes, pods = loaded(10, 70)
    broken = [replace(n, ready=False) if n.name in ("n08", "n09") else n for n in nodes]
    made = packed(broken, pods, names=names(8))
    assert limit(made, "capacity").nodes == tuple(names(8))
    assert limit(made, "capacity").most_out == 1


# --- spread ------------------------------------------------------------------------------------------------------


def test_one_zone_at_a_time() -> None:
    nodes = [roomy(f"{zone}{i}", zone) for zone in "ab" for i in range(4)]
    rule = SpreadRule("topology.kubernetes.io/zone", per_value="50%", values_at_once=1)
    made = packed(nodes, policy=replace(POLICY, spread=(rule,)))
    assert [(found.name, found.most_out, found.groups_at_once) for found in made.limits] == [
        ("zone a", 2, 1), ("zone b", 2, 1),
    ]  # fmt: skip
    assert made.limits[0].why == (
        "policy.spread topology.kubernetes.io/zone: at most 50% of its 4 nodes out at once, "
        "nodes of 1 zone(s) at a time"
    )
    with pytest.raises(UsageError, match="spread: no node has a label zone") as error:
        packed(nodes, policy=replace(POLICY, spread=(SpreadRule("zone"),)))
    assert error.value.hint == "did you mean topology.kubernetes.io/zone?"


def test_nodes_without_the_label_are_in_one_place_of_their_own() -> None:
    made = packed([roomy("n00", "a"), roomy("n01", "a"), node("n02"), node("n03")],
                  policy=replace(POLICY, spread=(SpreadRule("topology.kubernetes.io/zone", "1"),)))  # fmt: skip
    assert limit(made, "zone (none)").nodes == ("n02", "n03")


# --- sets to keep ------------------------------------------------------------------------------------------------

ETCD = {"component": "etcd", "tier": "control-plane"}


def etcd(count: int) -> list[Pod]:
    return [
        pod(f"etcd-{n}", n, namespace="kube-system", labels=ETCD, mirror=True, host_network=True) for n in names(count)
    ]


def test_a_quorum_is_recognised() -> None:
    made = packed([node(n) for n in names(6)], etcd(5))
    assert limit(made, "etcd kube-system").most_out == 2
    assert limit(made, "etcd kube-system").nodes == tuple(names(5))
    assert "3 of 5 pods stay" in limit(made, "etcd kube-system").why
    assert packed([node(n) for n in names(6)], etcd(5), replace(POLICY, known_sets=False)).limits == ()


@pytest.mark.parametrize(
    ("labels", "hosts", "name", "most"),
    [
        ({"app": "rook-ceph-mon", "rook_cluster": "rook"}, "012", "Ceph mon default/rook", 1),
        ({"app": "rook-ceph-osd", "rook_cluster": "rook"}, "0001112", "Ceph OSD default/rook", 1),
        ({"strimzi.io/kind": "Kafka", "strimzi.io/name": "log-kafka"}, "0123", "Kafka default/log-kafka", 1),
        ({"app": "cassandra"}, "012", "Cassandra default", 1),
        ({"cnpg.io/cluster": "pg"}, "012", "Postgres default/pg", 1),
        ({"application": "spilo", "cluster-name": "acid"}, "01", "Postgres default/acid", 1),
        ({"app.kubernetes.io/name": "ingress-nginx", "app.kubernetes.io/component": "controller"}, "01234",
         "ingress-nginx default", 2),
        ({"istio": "ingressgateway"}, "0123", "Istio gateway default", 2),
        ({"longhorn.io/component": "instance-manager"}, "012", "Longhorn default", 1),
        ({"app": "consul", "component": "server"}, "01234", "Consul default", 2),
    ],
)  # fmt: skip
def test_recognised_sets(labels: dict[str, str], hosts: str, name: str, most: int) -> None:
    pods = [pod(f"p{i}", f"n0{on}", labels=labels) for i, on in enumerate(hosts)]
    made = packed([node(n) for n in names(6)], pods)
    assert limit(made, name).most_out == most
    assert limit(made, name).nodes == tuple(sorted({f"n0{on}" for on in hosts}))


def test_sets_of_one_kind_are_told_apart() -> None:
    pods = [
        pod(f"{c}-{i}", f"n0{i}", labels={"cnpg.io/cluster": c}, namespace=space)
        for c, space in (("a", "x"), ("b", "x"), ("a", "y"))
        for i in range(2)
    ]
    made = packed([node(n) for n in names(3)], pods)
    assert [found.name for found in made.limits] == ["Postgres x/a", "Postgres x/b", "Postgres y/a"]


def test_roles_that_cilium_gives_to_nodes() -> None:
    nodes = [node(n, labels={"egress": "yes"} if n < "n03" else {"lb": "yes"}) for n in names(7)]
    policy = OtherObject("CiliumEgressGatewayPolicy", "", "out", selector=LabelSelector((("egress", "yes"),)),
                         selects="nodes")  # fmt: skip
    agent = agent_install(config={"gateway-api-hostnetwork-nodelabelselector": "lb=yes"})
    made = packed(nodes, other=(policy,), agent=agent)
    assert (limit(made, "egress gateway out").most_out, limit(made, "egress gateway out").nodes) == (
        2, ("n00", "n01", "n02"),
    )  # fmt: skip
    assert limit(made, "Cilium gateway nodes").most_out == 2


def test_a_rule_of_the_policy() -> None:
    pods = [pod(f"db-{i}", f"n0{i % 3}", labels={"app": "db"}, namespace="prod") for i in range(6)]
    rule = KeepRule("db", "60%", "prod", pods={"app": "db"})
    made = packed([node(n) for n in names(4)], pods, replace(POLICY, keep=(rule,)))
    assert (limit(made, "keep db").most_out, limit(made, "keep db").why) == (1, "keep rule db: 4 of 6 pods stay")
    edge = KeepRule("edge", "2", nodes={"edge": "1"})
    nodes = [node(n, labels={"edge": "1"} if n != "n03" else {}) for n in names(4)]
    assert limit(packed(nodes, policy=replace(POLICY, keep=(edge,))), "keep edge").most_out == 1


def test_rules_that_can_never_be_met_name_both_limits() -> None:
    pods = etcd(3)
    rule = KeepRule("etcd", "3", pods=ETCD)
    policy = replace(POLICY, keep=(rule,))
    with pytest.raises(Refused, match="keep rule etcd: 3 of 3 pods stay, and moving node n00 takes it out") as error:
        packed([node(n) for n in names(4)], pods, policy)
    assert "leave out n00, n01, n02" in error.value.hint
    assert packed([node(n) for n in names(4)], pods, policy, names=["n03"]).waves[0].nodes == ("n03",)
    with pytest.raises(UsageError, match="wants 4 pods to stay, there are 3"):
        packed([node(n) for n in names(4)], pods, replace(POLICY, keep=(replace(rule, keep="4"),)))
    with pytest.raises(UsageError, match="no pod has the labels app=nothing in namespace x"):
        packed([node("n00")], policy=replace(POLICY, keep=(KeepRule("x", "1", "x", {"app": "nothing"}),)))


# --- budgets -----------------------------------------------------------------------------------------------------


def test_a_budget_limits_the_nodes_of_its_pods() -> None:
    pods = [pod(f"web-{i}", f"n0{i % 4}") for i in range(8)]
    many = replace(POLICY, max_unavailable="5")
    healthy = budget("web", 4, expected_pods=8, desired_healthy=4)
    made = packed([node(n) for n in names(6)], pods, many, budgets=(healthy,))
    found = limit(made, "budget default/web")
    assert (found.nodes, found.most_out) == (("n00", "n01", "n02", "n03"), 2)
    assert "evictions would only wait" in found.why
    alone = packed([node(n) for n in names(6)], pods, budgets=(healthy,))
    assert alone.limits == (), "max_unavailable 1 binds first"
    busy = budget("web", 0, expected_pods=8, desired_healthy=7)
    assert limit(packed([node(n) for n in names(6)], pods, many, budgets=(busy,)), "budget default/web").most_out == 1
    other = replace(healthy, name="other", match_labels={}, selects_all=True)
    both = packed([node(n) for n in names(6)], pods, many, budgets=(healthy, other))
    assert [x.name for x in both.limits] == ["budget default/other and 1 more"]
    elsewhere = replace(healthy, namespace="x")
    assert packed([node(n) for n in names(6)], pods, many, budgets=(elsewhere,)).limits == ()


def test_daemon_pods_need_no_budget() -> None:
    pods = [daemon_pod(f"d{n}", n, labels={"app": "web"}) for n in names(4)]
    made = packed([node(n) for n in names(6)], pods, replace(POLICY, max_unavailable="5"), budgets=(budget("web"),))
    assert made.limits == ()


# --- windows -----------------------------------------------------------------------------------------------------


def test_windows_that_hold_no_node() -> None:
    short = replace(POLICY, soak_fenced_s=5400, windows=(Window((), "01:00", "02:00"),))
    with pytest.raises(UsageError, match="leave open is 1 h; one node takes 1 h 30 min 8 s at least"):
        packed([node("n00")], policy=short)
    frozen = replace(POLICY, freezes=(Freeze("for ever", "2026-01-01T00:00:00+00:00", "2030-01-01T00:00:00+00:00"),))
    with pytest.raises(UsageError, match="leave no moment open in the 400 days from 2026-11-23 on"):
        packed([node("n00")], policy=frozen)
    assert sizes(packed([node("n00")], policy=replace(short, soak_fenced_s=60))) == [1]


# --- all together ------------------------------------------------------------------------------------------------

ROWS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 6), st.sampled_from(["k1", "k2"])), min_size=1, max_size=14
)


@settings(max_examples=150, deadline=None)
@given(ROWS, st.integers(1, 4), st.integers(1, 3), st.booleans(), st.booleans(), st.randoms(use_true_random=False))
def test_any_fleet_is_packed_whole_once_and_the_same_twice(
    rows: list[tuple[str, int, str]], canary: int, growth: int, per_cohort: bool, by_capacity: bool, chance: Any
) -> None:
    nodes = [roomy(f"n{i:02}", zone, kernel=kernel) for i, (zone, _, kernel) in enumerate(rows)]
    pods = [pod(f"p{i}-{j}", f"n{i:02}", cpu_millis=200) for i, (_, count, _) in enumerate(rows) for j in range(count)]
    rule = SpreadRule("topology.kubernetes.io/zone", "50%", 2)
    policy = replace(POLICY, canary=canary, growth=growth, canary_per_cohort=per_cohort, capacity_growth=by_capacity,
                     headroom_percent=0, spread=(rule,), known_sets=False)  # fmt: skip
    try:
        made = packed(nodes, pods, policy)
    except Refused:
        assert len(nodes) == 1  # its pods fit nowhere else
        return
    flat = [name for wave in made.waves for name in wave.nodes]
    assert sorted(flat) == sorted(n.name for n in nodes)
    assert [wave.number for wave in made.waves] == list(range(len(made.waves)))
    for before, after in zip(made.waves, made.waves[1:], strict=False):
        assert 1 <= len(after.nodes) <= growth * len(before.nodes)
    for found in made.limits:
        assert found.most_out >= 1
        assert found.nodes == tuple(sorted(found.nodes))
        assert found.why
    shuffled, other = list(nodes), list(pods)
    chance.shuffle(shuffled)
    chance.shuffle(other)
    assert packed(shuffled, other, policy) == made
