"""The made-up cluster keeps its own rules: what is wrong in it is meant to be."""

from __future__ import annotations

from collections import Counter
from functools import cache

from rollout.domain.codec import canonical
from rollout.domain.inventory import ClusterSnapshot, Inventory
from rollout.domain.node import Node, Pod
from tests.support.fleet import make_fleet, sixty_nodes

ZONE = "topology.kubernetes.io/zone"
HOST = "kubernetes.io/hostname"


@cache
def sixty() -> Inventory:
    return sixty_nodes().inventory()


def on_nodes(snapshot: ClusterSnapshot) -> list[tuple[Pod, Node]]:
    return [(pod, snapshot.nodes_by_name[pod.node]) for pod in snapshot.pods]


def test_counts_are_as_asked() -> None:
    snapshot = sixty().cluster
    assert (len(snapshot.nodes), len(snapshot.pods), len(snapshot.budgets)) == (60, 700, 40)
    assert Counter(node.zone for node in snapshot.nodes) == {f"eu-west-1{z}": 20 for z in "abc"}
    assert len({node.kernel for node in snapshot.nodes}) == 3
    assert (
        len({pod.ref.uid for pod in snapshot.pods})
        == len({(p.ref.namespace, p.ref.name) for p in snapshot.pods})
        == 700
    )
    assert snapshot.unreadable == {}
    assert snapshot.agent is not None
    assert snapshot.agent.merges_node_configs


def test_the_same_every_time() -> None:
    assert canonical(sixty_nodes().snapshot()) == canonical(sixty().cluster)


def test_every_pod_is_where_its_rules_let_it_be() -> None:
    snapshot = sixty().cluster
    claims = {(claim.namespace, claim.name): claim for claim in snapshot.claims}
    assert claims
    for pod, node in on_nodes(snapshot):
        assert pod.scheduling.admits(node.name, node.labels), pod.ref
        for name in pod.claims:
            terms = claims[pod.ref.namespace, name].node_terms
            assert terms
            assert all(term.matches(node.name, node.labels) for term in terms)


def test_anti_affinity_spread_and_ports_hold() -> None:
    snapshot = sixty().cluster
    alone = [(p, n) for p, n in on_nodes(snapshot) if p.scheduling.anti_affinity]
    assert max(Counter((p.owner_uid, n.name) for p, n in alone).values()) == 1
    assert max(Counter((n.name, port) for p, n in on_nodes(snapshot) for port in p.scheduling.host_ports).values()) == 1
    zones: dict[str, Counter[str]] = {}
    for pod, node in on_nodes(snapshot):
        if pod.scheduling.spread:
            zones.setdefault(pod.owner_uid, Counter())[node.zone] += 1
    assert zones
    for found in zones.values():
        counts = [found[f"eu-west-1{z}"] for z in "abc"]
        assert max(counts) - min(counts) <= 1


def test_nodes_are_not_overfull_and_some_are_nearly_empty() -> None:
    snapshot = sixty().cluster
    for node in snapshot.nodes:
        pods = snapshot.pods_by_node[node.name]
        assert len(pods) <= node.pod_slots == 110
        assert sum(p.cpu_millis for p in pods) <= node.cpu_millis
        assert sum(p.memory_bytes for p in pods) <= node.memory_bytes
    assert sum(all(p.owner_kind == "DaemonSet" for p in pods) for pods in snapshot.pods_by_node.values()) == 3


def test_budgets_say_what_their_controller_would() -> None:
    snapshot = sixty().cluster
    locked = []
    for budget in snapshot.budgets:
        matched = [pod for pod in snapshot.pods if budget.matches(pod)]
        assert len(matched) == budget.expected_pods == budget.current_healthy
        assert budget.disruptions_allowed == budget.current_healthy - budget.desired_healthy
        locked += [budget.name] if budget.disruptions_allowed == 0 else []
    assert locked == ["ledger-0"]
    two = [
        p.ref
        for p in snapshot.pods
        if sum(b.matches(p) for b in snapshot.budgets if b.namespace == p.ref.namespace) > 1
    ]
    assert two == []


def test_its_troubles_are_on_different_nodes() -> None:
    snapshot = sixty().cluster
    (bare,) = [pod for pod in snapshot.pods if not pod.owner_kind]
    (old,) = [node for node in snapshot.nodes if node.kernel.startswith("6.1.0")]
    (ledger,) = [pod for pod in snapshot.pods if pod.ref.name.startswith("ledger-0-")]
    assert len({bare.node, old.name, ledger.node}) == 3


def test_a_larger_one_has_everything_too() -> None:
    snapshot = make_fleet(1_000, 30_000, 400).snapshot()
    assert (len(snapshot.nodes), len(snapshot.pods), len(snapshot.budgets)) == (1_000, 30_000, 400)
    owners = {(w.kind, w.namespace, w.name) for w in snapshot.workloads}
    replaced = [p for p in snapshot.pods if p.owner_kind in ("ReplicaSet", "StatefulSet", "Job")]
    assert all((p.owner_kind, p.ref.namespace, p.owner_name) in owners for p in replaced)
    assert len({id(p.scheduling) for p in snapshot.pods}) == len({p.scheduling for p in snapshot.pods})
