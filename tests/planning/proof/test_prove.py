"""What the proof says of each kind of pod, from literal clusters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rollout.domain.codec import canonical
from rollout.domain.errors import Refused
from rollout.domain.fleet import VolumeClaim, Workload
from rollout.domain.node import TAINT_EVACUATE, DatapathMode, Method, Node, Pod, Taint, Toleration
from rollout.domain.plan import Going, Limit, Wave
from rollout.domain.policy import DrainRules, Policy
from rollout.domain.scheduling import (
    HostPort,
    LabelRequirement,
    LabelSelector,
    NodeTerm,
    PodTerm,
    Scheduling,
    SpreadTerm,
)
from rollout.planning.planner import PlanRequest, make_plan
from rollout.planning.proof import DrainProof, PodProof, never_empties, prove
from tests.builders import budget, inventory, node, pod

NETKIT = Policy(target=DatapathMode.NETKIT, drain=DrainRules(evict_unowned=True))
HOST, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
ALONE = Scheduling(anti_affinity=(PodTerm(HOST, LabelSelector((("app", "web"),))),))


def machine(name: str, zone: str = "a", **more: Any) -> Node:
    """A node that tells its room: 4 cores, 8 GiB, 20 pods."""
    values: dict[str, Any] = {"cpu_millis": 4000, "memory_bytes": 8 << 30, "pod_slots": 20}
    return node(name, labels={HOST: name, ZONE: zone} | more.pop("labels", {}), **(values | more))


def on_node(name: str) -> tuple[NodeTerm, ...]:
    return (NodeTerm((LabelRequirement(HOST, "In", (name,)),)),)


def proven(
    nodes: tuple[Node, ...],
    pods: tuple[Pod, ...],
    *waves: tuple[str, ...],
    policy: Policy = NETKIT,
    limits: tuple[Limit, ...] = (),
    **more: Any,
) -> DrainProof:
    """The proof with these waves; all nodes in one, when none are named."""
    named = waves or (tuple(n.name for n in nodes),)
    made = tuple(Wave(number, f"wave {number}", names) for number, names in enumerate(named))
    return prove(inventory(nodes, pods, **more), policy, made, limits)


def one(proof: DrainProof, name: str) -> PodProof:
    found: PodProof = next(p for proofs in proof.nodes.values() for p in proofs if p.pod.ref.name == name)
    return found


TWO = (machine("n1"), machine("n2"))


def test_a_pod_without_budget_goes_now_to_the_other_node() -> None:
    found = one(proven(TWO, (pod("web-1", "n1"),), ("n1",)), "web-1")
    assert (found.going, found.lands_on, found.why, found.budgets) == (Going.NOW, "n2", "", ())


def test_the_second_pod_of_a_budget_waits_for_the_first() -> None:
    proof = proven(TWO, (pod("web-1", "n1"), pod("web-2", "n1")), ("n1",), budgets=(budget("web"),))
    assert one(proof, "web-1").going is Going.NOW
    second = one(proof, "web-2")
    assert (second.going, second.budgets, second.lands_on) == (Going.WAITS, ("default/web",), "n2")
    assert second.why == (
        "PodDisruptionBudget default/web has nothing left until the replacement of default/web-1 is Ready"
    )
    assert "maxUnavailable" in second.remedy


def test_nodes_in_flight_together_share_a_budget() -> None:
    nodes = (*TWO, machine("n3"))
    pods = (pod("web-1", "n1"), pod("web-2", "n2"))
    alone = proven(nodes, pods, ("n1", "n2"), budgets=(budget("web"),))
    both = proven(nodes, pods, ("n1", "n2"), policy=replace(NETKIT, max_unavailable="2"), budgets=(budget("web"),))
    assert one(alone, "web-2").going is Going.NOW
    assert one(both, "web-2").going is Going.WAITS


def test_limits_keep_nodes_from_flying_together() -> None:
    nodes, pods = (*TWO, machine("n3")), (pod("web-1", "n1"), pod("web-2", "n2"))
    policy = replace(NETKIT, max_unavailable="2")
    apart = (Limit("zone a", ("n1", "n2"), 1, "test"),)
    proof = proven(nodes, pods, ("n1", "n2"), policy=policy, limits=apart, budgets=(budget("web"),))
    assert one(proof, "web-2").going is Going.NOW


@pytest.mark.parametrize(
    ("more", "why", "remedy"),
    [
        (
            {"max_unavailable": "0", "desired_healthy": 4},
            "wants 4 of 4 pods at all times",
            "set maxUnavailable of PodDisruptionBudget default/web to 1",
        ),
        (
            {"max_unavailable": "", "min_available": "4", "desired_healthy": 4},
            "never lets one go",
            "scale ReplicaSet default/web-1 to 5 replicas",
        ),
        (
            {"max_unavailable": "", "min_available": "80%", "desired_healthy": 4},
            "never lets one go",
            "scale ReplicaSet default/web-1 to 5 replicas",
        ),
        (
            {"max_unavailable": "", "min_available": "100%", "desired_healthy": 4},
            "never lets one go",
            "maxUnavailable 1 instead of minAvailable 100%",
        ),
        ({"expected_pods": 0, "desired_healthy": 0}, "counts no pods", "minAvailable as a number"),
    ],
)
def test_budgets_that_allow_nothing_name_the_one_change(more: dict[str, Any], why: str, remedy: str) -> None:
    given: dict[str, Any] = {"pods": (pod("web-1", "n1"),), "budgets": (budget("web", allowed=0, **more),)}
    found = one(proven(TWO, given["pods"], ("n1",), budgets=given["budgets"]), "web-1")
    assert found.going is Going.NEVER
    assert why in found.why
    assert remedy in found.remedy
    reasons = never_empties(inventory(TWO, **given), NETKIT, TWO[0], Method.RESTART)
    assert [r for r in reasons if why in r and remedy in r] == list(reasons) != []


def test_a_budget_that_is_not_met_names_who_is_not_ready() -> None:
    pods = (pod("web-1", "n1"), pod("web-2", "n2", ready=False))
    unmet = budget("web", allowed=0, current_healthy=3, desired_healthy=3)
    found = one(proven(TWO, pods, ("n1",), budgets=(unmet,)), "web-1")
    assert found.going is Going.NEVER
    assert found.why == "PodDisruptionBudget default/web needs 3 healthy pods and has 3"
    assert found.remedy == "make 1 of its pods Ready that are not (default/web-2), then plan again"


def test_pods_that_are_not_ready_go_while_the_budget_is_met() -> None:
    sick = (pod("web-1", "n1", ready=False), pod("web-2", "n1", ready=False))
    met = budget("web", allowed=0, current_healthy=3, desired_healthy=3)
    assert one(proven(TWO, sick, ("n1",), budgets=(met,)), "web-2").going is Going.NOW
    unmet = replace(met, current_healthy=2)
    assert one(proven(TWO, sick, ("n1",), budgets=(unmet,)), "web-1").going is Going.NEVER
    lenient = replace(unmet, evicts_unready=True)
    assert one(proven(TWO, sick, ("n1",), budgets=(lenient,)), "web-1").going is Going.NOW


def test_pods_that_have_not_started_ignore_their_budget() -> None:
    starting = pod("web-1", "n1", phase="Pending", ready=False)
    unmet = budget("web", allowed=0, current_healthy=0, desired_healthy=3)
    assert one(proven(TWO, (starting,), ("n1",), budgets=(unmet,)), "web-1").going is Going.NOW


def test_two_budgets_on_one_pod() -> None:
    found = one(proven(TWO, (pod("web-1", "n1"),), ("n1",), budgets=(budget("a"), budget("b"))), "web-1")
    assert found.going is Going.NEVER
    assert "the API answers 500" in found.why
    assert found.remedy.startswith("narrow the selector of PodDisruptionBudget default/b")


def test_a_budget_that_nobody_has_counted_yet() -> None:
    fresh = budget("web", allowed=0, observed=False, current_healthy=0, desired_healthy=0, expected_pods=0)
    works = (Workload("ReplicaSet", "default", "web-1", "rs-web-1", 2, 2),)
    pods = (pod("web-1", "n1"), pod("web-2", "n2"))
    found = one(proven(TWO, pods, ("n1",), budgets=(fresh,), workloads=works), "web-1")
    assert (found.going, found.why) == (
        Going.WAITS,
        "the disruption controller has yet to count PodDisruptionBudget default/web",
    )
    jobs = (pod("web-1", "n1", owner_kind="Job", owner_uid="job"),)
    stuck = one(proven(TWO, jobs, ("n1",), budgets=(fresh,)), "web-1")
    assert stuck.going is Going.NEVER
    assert "Jobs have no scale" in stuck.why
    assert stuck.remedy == "give PodDisruptionBudget default/web minAvailable as a number"


def test_a_pod_without_controller_goes_and_is_not_replaced() -> None:
    bare = pod("bare", "n1", owner_kind="", owner_name="", owner_uid="")
    found = one(proven(TWO, (bare,), ("n1",)), "bare")
    assert (found.going, found.lands_on, found.note) == (Going.NOW, "", "no controller replaces it")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"owner_kind": "Job"}, "starts this pod's work again"),
        ({"grace_s": 3600}, "may take 3600 s to stop"),
        ({"terminating": True, "finalizers": ("example.com/hold",)}, "finalizer example.com/hold"),
        ({"scheduling": Scheduling(scheduler="volcano")}, "scheduler volcano places it"),
    ],
)
def test_what_is_worth_knowing_of_a_pod_that_goes(more: dict[str, Any], words: str) -> None:
    found = one(proven(TWO, (pod("web-1", "n1", **more),), ("n1",)), "web-1")
    assert found.going is Going.NOW
    assert words in found.note


def test_no_room_elsewhere_waits_for_the_own_node() -> None:
    big = pod("web-1", "n1", cpu_millis=3000)
    full = pod("api-1", "n2", cpu_millis=2000, labels={"app": "api"}, owner_uid="rs-api")
    found = one(proven(TWO, (big, full), ("n1",)), "web-1")
    assert (found.going, found.lands_on) == (Going.WAITS, "n1")
    assert found.why == "its replacement has no place until node n1 is back in service"
    assert found.remedy == "room for 3000m CPU on another node shortens this"


def test_a_node_that_is_done_gives_its_place() -> None:
    nodes = (machine("n1", cpu_millis=2000), machine("n2"), machine("n3", cpu_millis=1000))
    big = pod("web-1", "n2", cpu_millis=1500)
    small = pod("api-1", "n1", cpu_millis=1000, labels={"app": "api"}, owner_uid="rs-api")
    found = one(proven(nodes, (big, small), ("n1",), ("n2",)), "web-1")
    assert (found.going, found.lands_on) == (Going.NOW, "n1")


def test_no_node_ever_fits() -> None:
    nodes = (machine("n1", labels={"disk": "none"}), machine("n2"))
    picky = pod("web-1", "n1", scheduling=Scheduling(node_selector=(("disk", "ssd"),)))
    found = one(proven(nodes, (picky,), ("n1",)), "web-1")
    assert found.going is Going.NEVER
    assert found.why == "its replacement fits on no node (2 against its node selector, node affinity or volume)"
    assert found.remedy == "add or relabel a node that it may use"


def test_a_node_cordoned_by_somebody_stays_so_and_gives_no_place() -> None:
    nodes = (machine("n1", unschedulable=True), machine("n2", unschedulable=True))
    found = one(proven(nodes, (pod("web-1", "n1"),), ("n1",)), "web-1")
    assert (found.going, found.remedy) == (Going.NEVER, "uncordon a node that it may use")


@pytest.mark.parametrize(
    ("taint", "tolerates", "lands"),
    [
        (Taint("gpu", "", "NoSchedule"), (), "n1"),
        (Taint("gpu", "", "NoSchedule"), (Toleration("gpu", "Exists"),), "n2"),
        (Taint("gpu", "", "NoExecute"), (), "n1"),
        (Taint("gpu", "", "PreferNoSchedule"), (), "n2"),
        (Taint(TAINT_EVACUATE, "old", "NoExecute"), (), "n2"),
    ],
)
def test_taints(taint: Taint, tolerates: tuple[Toleration, ...], lands: str) -> None:
    nodes = (machine("n1"), machine("n2", taints=(taint,)))
    assert one(proven(nodes, (pod("web-1", "n1", tolerations=tolerates),), ("n1",)), "web-1").lands_on == lands


def test_nodes_that_are_done_are_preferred_by_our_soft_taint() -> None:
    nodes = (machine("n1", cpu_millis=2000), machine("n2"), machine("n3"))
    pods = (pod("web-1", "n2", cpu_millis=500),)
    soft = proven(nodes, pods, ("n1",), ("n2",), ("n3",))
    assert one(soft, "web-1").lands_on == "n1"
    busy = pod("api-1", "n1", cpu_millis=1000, host_network=True, owner_kind="DaemonSet", owner_uid="ds")
    hard = proven(nodes, (*pods, busy), ("n1",), ("n2",), ("n3",), policy=replace(NETKIT, soft_taint=False))
    assert one(hard, "web-1").lands_on == "n3"


def test_one_per_host_waits_for_its_own_node() -> None:
    pods = tuple(pod(f"web-{n}", f"n{n}", scheduling=ALONE) for n in (1, 2))
    found = one(proven(TWO, pods, ("n1",), ("n2",)), "web-1")
    assert (found.going, found.lands_on) == (Going.WAITS, "n1")


def test_anti_affinity_of_those_that_are_there_counts_too() -> None:
    hermit = pod("db-0", "n2", labels={"app": "db"}, owner_uid="rs-db", scheduling=ALONE)
    found = one(proven(TWO, (pod("web-1", "n1"), hermit), ("n1",)), "web-1")
    assert (found.going, found.lands_on) == (Going.WAITS, "n1")


def test_affinity_needs_its_company() -> None:
    nodes = (machine("n1", "a"), machine("n2", "b"), machine("n3", "a"))
    near = Scheduling(affinity=(PodTerm(ZONE, LabelSelector((("app", "db"),))),))
    db = pod("db-0", "n3", labels={"app": "db"}, owner_uid="rs-db")
    assert one(proven(nodes, (pod("web-1", "n1", scheduling=near), db), ("n1",)), "web-1").lands_on == "n3"
    own = Scheduling(affinity=(PodTerm(ZONE, LabelSelector((("app", "web"),))),))
    assert one(proven(nodes, (pod("web-1", "n1", scheduling=own),), ("n1",)), "web-1").going is Going.NOW


def test_terms_of_other_namespaces() -> None:
    nodes = (machine("n1", "a"), machine("n2", "b"), machine("n3", "a"))
    wanted = LabelSelector((("team", "data"),))
    near = Scheduling(affinity=(PodTerm(ZONE, LabelSelector((("app", "db"),)), namespace_selector=wanted),))
    db = pod("db-0", "n3", namespace="store", labels={"app": "db"}, owner_uid="rs-db")
    web = pod("web-1", "n1", scheduling=near)
    labels = {"store": {"team": "data"}, "default": {}}
    assert one(proven(nodes, (web, db), ("n1",), namespaces=labels), "web-1").lands_on == "n3"
    assert one(proven(nodes, (web, db), ("n1",), namespaces={"store": {}}), "web-1").going is Going.NEVER


def spread(key: str, **more: Any) -> Scheduling:
    return Scheduling(spread=(SpreadTerm(1, key, LabelSelector((("app", "web"),)), **more),))


def test_a_hard_spread_over_hosts_counts_the_fenced_node() -> None:
    nodes = (*TWO, machine("n3"))
    pods = tuple(pod(f"web-{n}", f"n{n}", scheduling=spread(HOST)) for n in (1, 2, 3))
    found = one(proven(nodes, pods, ("n1",)), "web-1")
    assert (found.going, found.lands_on) == (Going.WAITS, "n1")
    honest = tuple(replace(p, scheduling=spread(HOST, honor_taints=True)) for p in pods)
    assert one(proven(nodes, honest, ("n1",)), "web-1").going is Going.NOW


def test_a_spread_that_needs_more_domains_than_there_are() -> None:
    nodes = (machine("n1", "a"), machine("n2", "a"))
    pods = (pod("web-1", "n1", scheduling=spread(ZONE, min_domains=2)), pod("web-2", "n2", scheduling=spread(ZONE)))
    assert one(proven(nodes, pods, ("n1",)), "web-1").going is Going.NEVER
    assert one(proven(nodes, pods, ("n2",)), "web-2").going is Going.NOW


def test_host_ports_clash_by_address() -> None:
    def port(address: str) -> Scheduling:
        return Scheduling(host_ports=(HostPort("TCP", 80, address),))

    taken = pod("api-1", "n2", labels={"app": "api"}, owner_uid="rs-api", scheduling=port("10.0.0.1"))
    everywhere = pod("web-1", "n1", scheduling=port("0.0.0.0"))
    assert one(proven(TWO, (everywhere, taken), ("n1",)), "web-1").going is Going.WAITS
    elsewhere = replace(everywhere, scheduling=port("10.0.0.2"))
    assert one(proven(TWO, (elsewhere, taken), ("n1",)), "web-1").going is Going.NOW


def claim(name: str, **more: Any) -> VolumeClaim:
    return VolumeClaim("default", name, more.pop("phase", "Bound"), f"pv-{name}", **more)


def test_local_data_goes_now_and_comes_back() -> None:
    claims = (claim("data", node_terms=on_node("n1"), local=True),)
    found = one(proven(TWO, (pod("web-1", "n1", claims=("data",)),), ("n1",), claims=claims), "web-1")
    assert (found.going, found.lands_on) == (Going.NOW, "n1")
    assert found.note == "down until node n1 is back: its data is on that node's disk"


def test_zonal_data_stays_in_its_zone() -> None:
    nodes = (machine("n1", "a"), machine("n2", "b"), machine("n3", "a"))
    zone = (NodeTerm((LabelRequirement(ZONE, "In", ("a",)),)),)
    claims = (claim("data", node_terms=zone),)
    proof = proven(nodes, (pod("web-1", "n1", claims=("data",)),), ("n1",), claims=claims)
    assert one(proof, "web-1").lands_on == "n3"
    # An ephemeral volume ends with its pod, wherever it was.
    scratch = (claim("web-1-scratch", node_terms=on_node("n1"), local=True),)
    proof = proven(TWO, (pod("web-1", "n1", claims=("web-1-scratch",)),), ("n1",), claims=scratch)
    assert one(proof, "web-1").lands_on == "n2"


def test_a_lost_volume() -> None:
    claims = (claim("data", phase="Lost", node_terms=on_node("gone")),)
    found = one(proven(TWO, (pod("web-1", "n1", claims=("data",)),), ("n1",), claims=claims), "web-1")
    assert (found.going, found.why) == (Going.NEVER, "the volume of its claim data is lost")


def member(number: int, on: str, **more: Any) -> Pod:
    values = {"owner_kind": "StatefulSet", "owner_name": "web", "owner_uid": "ss-web"}
    return pod(f"web-{number}", on, **(values | more))


def test_a_stateful_set_makes_no_pod_behind_one_that_is_not_ready() -> None:
    pods = (member(0, "n2", ready=False), member(1, "n1"))
    found = one(proven(TWO, pods, ("n1",)), "web-1")
    assert found.going is Going.NEVER
    assert found.why == "its StatefulSet makes it again only when default/web-0 is Ready"
    assert one(proven(TWO, (member(0, "n2"), member(1, "n1")), ("n1",)), "web-1").going is Going.NOW


def test_two_on_one_node_that_wait_for_each_other() -> None:
    claims = tuple(claim(f"data-{n}", node_terms=on_node("n1"), local=True) for n in (0, 1))
    pods = tuple(pod(f"db-{n}", "n1", claims=(f"data-{n}",)) for n in (0, 1))
    found = one(proven(TWO, pods, ("n1",), budgets=(budget("db"),), claims=claims), "db-1")
    assert found.going is Going.NEVER
    assert "has a place only on node n1, and that waits for this pod" in found.why


def test_nodes_that_share_two_budgets_go_one_after_the_other() -> None:
    def local(name: str, home: str, app: str) -> tuple[Pod, VolumeClaim]:
        made = pod(name, home, labels={"app": app}, owner_uid=f"rs-{app}", claims=(name,))
        return made, claim(name, node_terms=on_node(home), local=True)

    rows = [local("a-y", "n1", "y"), local("b-x", "n1", "x"), local("a-x", "n2", "x"), local("b-y", "n2", "y")]
    nodes, policy = (*TWO, machine("n3")), replace(NETKIT, max_unavailable="2")
    budgets = tuple(budget(app, match_labels={"app": app}) for app in ("x", "y"))
    pods, claims = tuple(p for p, _ in rows), tuple(c for _, c in rows)
    proof = proven(nodes, pods, ("n1", "n2"), policy=policy, budgets=budgets, claims=claims)
    assert [p.going for p in proof.nodes["n1"]] == [Going.NOW, Going.NOW]
    assert [p.going for p in proof.nodes["n2"]] == [Going.WAITS, Going.WAITS]


def test_a_pod_that_tolerates_cordons_may_come_straight_back() -> None:
    tolerant = pod("web-1", "n1", tolerations=(Toleration("", "Exists"),))
    crowd = tuple(pod(f"api-{n}", "n2", labels={"app": "api"}, owner_uid="rs-api", cpu_millis=500) for n in range(4))
    found = one(proven(TWO, (tolerant, *crowd), ("n1",)), "web-1")
    assert found.going is Going.NEVER
    assert "comes straight back on node n1" in found.why
    assert found.remedy == "take its toleration of node.kubernetes.io/unschedulable away"
    lucky = one(proven((machine("n1", cpu_millis=500), machine("n2")), (tolerant,), ("n1",)), "web-1")
    assert "tolerates cordons" in lucky.note


def test_what_a_bare_pod_takes_from_a_budget_never_comes_back() -> None:
    bare = pod("bare", "n1", owner_kind="", owner_name="", owner_uid="")
    spent = budget("web", allowed=1, max_unavailable="", min_available="2", current_healthy=3, desired_healthy=2)
    nodes, pods = (*TWO, machine("n3")), (bare, pod("web-1", "n2"))
    proof = proven(nodes, pods, ("n1",), ("n2",), budgets=(spent,))
    assert one(proof, "bare").going is Going.NOW
    found = one(proof, "web-1")
    assert (found.going, found.why) == (Going.NEVER, "PodDisruptionBudget default/web needs 2 healthy pods and has 2")


def test_a_guest_that_never_goes_again_is_told_of_the_node_it_is_on() -> None:
    nodes = (*TWO, machine("n3", taints=(Taint("gpu", "", "NoSchedule"),)))
    bare = pod("bare", "n2", owner_kind="", owner_name="", owner_uid="")
    spent = budget("web", allowed=1, max_unavailable="", min_available="2", current_healthy=3, desired_healthy=2)
    proof = proven(nodes, (pod("web-1", "n1"), bare), ("n1",), ("n2",), budgets=(spent,))
    moved = one(proof, "web-1")
    assert (moved.going, moved.lands_on) == (Going.NOW, "n2")
    assert proof.never("n1") == ()
    (guest,) = proof.never("n2")
    assert guest.pod == moved.pod
    assert guest.why == "moved here from its node, PodDisruptionBudget default/web needs 2 healthy pods and has 2"


def test_equal_inventories_give_equal_bytes_in_any_order() -> None:
    nodes = tuple(machine(f"n{n}", "ab"[n % 2]) for n in range(6))
    pods = tuple(pod(f"web-{n}", f"n{n % 6}", scheduling=spread(ZONE), cpu_millis=300) for n in range(24))
    waves = (("n0",), ("n1", "n2"), ("n3", "n4", "n5"))
    budgets = (budget("web", allowed=3, current_healthy=24, desired_healthy=21, expected_pods=24),)
    policy = replace(NETKIT, max_unavailable="2")
    there = proven(nodes, pods, *waves, policy=policy, budgets=budgets)
    back = proven(tuple(reversed(nodes)), tuple(reversed(pods)), *waves, policy=policy, budgets=budgets)
    assert canonical(there) == canonical(back)
    assert {p.going for proofs in there.nodes.values() for p in proofs} == {Going.NOW, Going.WAITS}


def test_when_budgets_let_nothing_move_the_refusal_names_the_change_that_frees_most() -> None:
    closed = budget("web", allowed=0, max_unavailable="0", desired_healthy=4)
    other = budget("db", allowed=0, max_unavailable="0", desired_healthy=4, match_labels={"app": "db"})
    nodes = (*TWO, machine("n3"))
    db = pod("db-0", "n3", labels={"app": "db"}, owner_uid="rs-db")
    world = inventory(nodes, (pod("web-1", "n1"), pod("web-2", "n2"), db), budgets=(closed, other))
    with pytest.raises(Refused, match="no node may move") as refused:
        make_plan(world, Policy(target=DatapathMode.NETKIT), PlanRequest(serial=1, program="test"))
    assert refused.value.hint.startswith(
        "this alone frees 2 of 3 node(s): set maxUnavailable of PodDisruptionBudget default/web to 1; n1: pod"
    )


def test_notes_of_the_proof_are_in_the_plan() -> None:
    claims = (claim("data", node_terms=on_node("n1"), local=True),)
    scratch = pod("web-1", "n1", claims=("data",), empty_dir=True)
    made = make_plan(
        inventory(TWO, (scratch,), claims=claims),
        Policy(target=DatapathMode.NETKIT),
        PlanRequest(serial=1, program="test"),
    )
    (planned,) = made.node("n1").evictions
    assert (planned.going, planned.lands_on) == (Going.NOW, "n1")
    assert planned.note.startswith("emptyDir data ends with the pod; down until node n1 is back")
