"""What every `Cluster` has to do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import pytest

from rollout.domain.errors import Conflict, Foreign, Invalid, NotFound, Refused
from rollout.domain.node import (
    ANNOTATION_PLAN,
    ANNOTATION_PRIOR,
    ANNOTATION_ROLLOUT,
    LABEL_MODE,
    TAINT_EVACUATE,
    TAINT_WAITING,
    OwnerMark,
    PodRef,
    Taint,
)
from rollout.domain.plan import PlannedNodeConfig
from rollout.domain.scheduling import (
    ANYWHERE,
    LabelRequirement,
    LabelSelector,
    NodeTerm,
    PodTerm,
    Scheduling,
    SpreadTerm,
)
from rollout.ports.cluster import Cluster, EvictionResult, NodeView

MARK = OwnerMark("rollout-1", "0123456789ab")
OTHER = OwnerMark("rollout-2", "ba9876543210")
ROLLBACK = OwnerMark("rollout-3", "cccccccccccc", supersedes="rollout-1")
FOREIGN_TAINT = Taint("example.com/dedicated", "db", "NoSchedule")
PERSONS_PREFERENCE = Taint("example.com/old-rack", "r1", "PreferNoSchedule")
VALUE = "netkit-contract"
ZONE = "topology.kubernetes.io/zone"


class World(Protocol):
    """A cluster, and what other people and controllers do in it. Objects of the world go with it."""

    namespace: str

    @property
    def cluster(self) -> Cluster:
        """What is tested."""
        ...

    def add_node(self, *, unschedulable: bool = False) -> str:
        """A node of the world's own; its name."""
        ...

    def remove_node(self, name: str) -> None:
        """A machine is taken away."""
        ...

    def set_unschedulable(self, name: str, value: bool) -> None:
        """A person cordons or uncordons."""
        ...

    def add_taint(self, name: str, taint: Taint) -> None:
        """A person taints."""
        ...

    def annotate(self, name: str, key: str, value: str) -> None:
        """A person annotates."""
        ...

    def add_pod(
        self,
        node: str,
        *,
        labels: Mapping[str, str] | None = None,
        rules: Scheduling = ANYWHERE,
        claims: tuple[str, ...] = (),
    ) -> PodRef:
        """A Ready pod bound to `node`, in the world's namespace. Of `rules`, affinity, spread and selectors count."""
        ...

    def add_claim(self, name: str, zone: str) -> None:
        """A claim in the world's namespace, bound to a volume that only nodes of `zone` reach."""
        ...

    def forbid(self, kind: str, plural: str) -> None:
        """From now on the caller may not list a kind. Skips the test where that cannot be arranged."""
        ...

    def remove_pod(self, pod: PodRef) -> None:
        """The pod ends, as when its kubelet is done with it."""
        ...

    def add_budget(self, name: str, labels: Mapping[str, str], min_available: int) -> None:
        """A disruption budget, seen by its controller."""
        ...

    def add_node_config(self, name: str, match_labels: Mapping[str, str], defaults: Mapping[str, str]) -> None:
        """A person creates a CiliumNodeConfig."""
        ...

    def install_agent(self) -> None:
        """A DaemonSet and ConfigMap of the agent's shape, in the world's namespace."""
        ...

    def add_agent_pod(self, node: str) -> PodRef:
        """An agent pod on `node`."""
        ...

    def wait_until_lease_expires(self, seconds: float) -> None:
        """Let time pass."""
        ...


def eventually(look: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
    """Wait for a watch to bring what was written."""
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, f"never saw: {what}"
        time.sleep(0.02)


def own(world: World, view: NodeView) -> list[PodRef]:
    """The world's own pods of a view, in its order: a cluster's DaemonSets put theirs on every node."""
    return [p.ref for p in view.pods if p.ref.namespace == world.namespace]


def view_when(world: World, node: str, wanted: Callable[[NodeView], bool], what: str) -> NodeView:
    """The first view that is as wanted, by waiting for changes only."""
    view = world.cluster.view(node)
    for _ in range(50):
        if wanted(view):
            return view
        view = world.cluster.wait_change(node, view.version, 5.0)
    raise AssertionError(f"never saw: {what}")


class ClusterContract:
    """Subclasses give the fixture `world`."""

    # -- identity and reading ----------------------------------------------------------------------------------------

    def test_identity_is_stable(self, world: World) -> None:
        first = world.cluster.identity()
        assert first.uid
        assert first.version
        assert world.cluster.identity() == first

    def test_a_node_that_does_not_exist_is_not_found(self, world: World) -> None:
        with pytest.raises(NotFound):
            world.cluster.read_node("netkit-rollout-contract-nowhere")

    @pytest.mark.parametrize("name", ["", "..", "n1/status", "n1?x=y", "N1", "a b", "%2e%2e", "n" * 254])
    def test_a_name_that_is_none_addresses_nothing(self, world: World, name: str) -> None:
        with pytest.raises((Invalid, NotFound)):
            world.cluster.read_node(name)
        with pytest.raises((Invalid, NotFound)):
            world.cluster.cordon(name, MARK)

    def test_a_snapshot_holds_what_planning_needs(self, world: World) -> None:
        world.install_agent()
        node = world.add_node()
        pod = world.add_pod(node, labels={"app": "web"})
        world.add_budget("web", {"app": "web"}, 1)
        world.add_node_config("theirs", {"a": "b"}, {"debug": "true"})
        snapshot = world.cluster.collect()
        assert node in [n.name for n in snapshot.nodes]
        (found,) = [p for p in snapshot.pods if p.ref == pod]
        assert (found.node, found.labels["app"], found.terminating) == (node, "web", False)
        assert ("web", world.namespace) in [(b.name, b.namespace) for b in snapshot.budgets]
        assert snapshot.agent is not None
        assert snapshot.agent.namespace == world.namespace
        assert [c.name for c in snapshot.node_configs] == ["theirs"]
        assert snapshot.node_config_version in ("v2", "v2alpha1")
        assert snapshot.identity == world.cluster.identity()

    def test_a_pods_hard_rules_and_requests_are_read_back(self, world: World) -> None:
        node = world.add_node()
        selector = LabelSelector((("app", "web"),), (LabelRequirement("tier", "In", ("a", "b")),))
        rules = Scheduling(
            node_selector=(("disk", "ssd"),),
            node_terms=(NodeTerm((LabelRequirement(ZONE, "In", ("a",)),)),),
            anti_affinity=(PodTerm("kubernetes.io/hostname", selector),),
            spread=(SpreadTerm(2, ZONE, selector, honor_taints=True),),
        )
        pod = world.add_pod(node, labels={"app": "web"}, rules=rules, claims=("data",))
        (found,) = [p for p in world.cluster.collect().pods if p.ref == pod]
        assert found.scheduling == rules
        assert found.claims == ("data",)
        assert found.grace_s == 30
        assert found.containers == ("main",)

    def test_a_claim_has_the_place_of_its_volume(self, world: World) -> None:
        world.add_claim("data", "zone-a")
        (found,) = [c for c in world.cluster.collect().claims if c.namespace == world.namespace]
        assert (found.name, found.access_modes, found.local) == ("data", ("ReadWriteOnce",), False)
        assert found.volume
        assert [term.matches("n", {ZONE: "zone-a"}) for term in found.node_terms] == [True]
        assert not found.node_terms[0].matches("n", {ZONE: "zone-b"})

    def test_a_kind_that_is_not_served_is_merely_absent(self, world: World) -> None:
        snapshot = world.cluster.collect()
        if "ceph.rook.io" in snapshot.api_groups:
            pytest.skip("this cluster has Rook")
        assert snapshot.of_kind("CephCluster") == ()
        assert "CephCluster" not in snapshot.unreadable

    def test_a_kind_that_may_not_be_listed_is_named_with_the_reason(self, world: World) -> None:
        world.add_claim("data", "zone-a")
        world.forbid("PersistentVolumeClaim", "persistentvolumeclaims")
        snapshot = world.cluster.collect()
        assert snapshot.claims == ()
        assert "persistentvolumeclaims" in snapshot.unreadable["PersistentVolumeClaim"]

    def test_a_snapshot_says_what_it_cost(self, world: World) -> None:
        assert world.cluster.collect().requests["list pods"] >= 1

    def test_requests_are_counted(self, world: World) -> None:
        node = world.add_node()
        before = sum(world.cluster.request_counts().values())
        world.cluster.read_node(node)
        assert sum(world.cluster.request_counts().values()) == before + 1

    # -- the agent ---------------------------------------------------------------------------------------------------

    def test_the_agents_install(self, world: World) -> None:
        world.install_agent()
        install = world.cluster.agent_install()
        assert install.namespace == world.namespace
        assert install.config["datapath-mode"] == "veth"
        assert install.merges_node_configs
        assert install.daemonset_uid

    def test_the_agents_pod(self, world: World) -> None:
        world.install_agent()
        node = world.add_node()
        assert world.cluster.agent_pod(node) is None
        ref = world.add_agent_pod(node)
        found = world.cluster.agent_pod(node)
        assert found is not None
        assert found.ref == ref

    def test_a_log_that_is_not_there_is_empty(self, world: World) -> None:
        gone = PodRef(world.namespace, "no-such-pod", "00000000-0000-0000-0000-000000000000")
        assert world.cluster.pod_log(gone, "cilium-agent", previous=True) == ""

    # -- cordon ------------------------------------------------------------------------------------------------------

    def test_cordon_and_back(self, world: World) -> None:
        node = world.add_node()
        cordoned = world.cluster.cordon(node, MARK)
        assert cordoned.unschedulable
        assert cordoned.annotations[ANNOTATION_ROLLOUT] == MARK.rollout
        assert cordoned.annotations[ANNOTATION_PLAN] == MARK.plan
        assert world.cluster.read_node(node).unschedulable
        after = world.cluster.uncordon(node, MARK)
        assert not after.unschedulable
        assert not {ANNOTATION_ROLLOUT, ANNOTATION_PLAN, ANNOTATION_PRIOR} & after.annotations.keys()
        assert not world.cluster.read_node(node).unschedulable

    def test_cordon_twice_changes_nothing(self, world: World) -> None:
        node = world.add_node()
        first = world.cluster.cordon(node, MARK)
        assert world.cluster.cordon(node, MARK).annotations == first.annotations

    def test_a_node_that_was_cordoned_before_stays_cordoned(self, world: World) -> None:
        node = world.add_node(unschedulable=True)
        world.cluster.cordon(node, OwnerMark("rollout-1", "x", prior_unschedulable=True))
        after = world.cluster.uncordon(node, OwnerMark("rollout-1", "x", prior_unschedulable=True))
        assert after.unschedulable
        assert ANNOTATION_ROLLOUT not in after.annotations

    def test_the_prior_state_recorded_first_wins(self, world: World) -> None:
        node = world.add_node()
        world.cluster.cordon(node, MARK)
        # After a lost state file, the cordon itself may look like the prior state.
        again = OwnerMark(MARK.rollout, MARK.plan, prior_unschedulable=True)
        world.cluster.cordon(node, again)
        assert not world.cluster.uncordon(node, again).unschedulable

    def test_another_rollouts_node_is_left_alone(self, world: World) -> None:
        node = world.add_node()
        world.cluster.cordon(node, MARK)
        for act in (world.cluster.cordon, world.cluster.uncordon):
            with pytest.raises(Refused) as caught:
                act(node, OTHER)
            assert caught.value.code == "not-ours"
        assert world.cluster.read_node(node).unschedulable

    def test_a_rollback_takes_over_from_the_rollout_it_rolls_back(self, world: World) -> None:
        node = world.add_node()
        world.cluster.cordon(node, MARK)
        taken = world.cluster.cordon(node, ROLLBACK)
        assert taken.annotations[ANNOTATION_ROLLOUT] == ROLLBACK.rollout
        world.cluster.add_taint(node, MARK)
        world.cluster.add_taint(node, ROLLBACK)
        tainted = world.cluster.read_node(node)
        assert [t.value for t in tainted.taints if t.key == TAINT_EVACUATE] == [ROLLBACK.rollout]
        world.cluster.remove_taint(node, ROLLBACK)
        assert not world.cluster.uncordon(node, ROLLBACK).unschedulable

    def test_a_persons_cordon_is_not_taken_off(self, world: World) -> None:
        node = world.add_node(unschedulable=True)
        with pytest.raises(Refused) as caught:
            world.cluster.uncordon(node, MARK)
        assert caught.value.code == "not-ours"
        assert world.cluster.read_node(node).unschedulable

    def test_a_persons_uncordon_is_respected(self, world: World) -> None:
        node = world.add_node()
        world.cluster.cordon(node, MARK)
        world.set_unschedulable(node, False)
        # Seen by the engine as a reason to hold: cordoning again must not paper over it.
        assert not world.cluster.cordon(node, MARK).unschedulable
        after = world.cluster.uncordon(node, MARK)
        assert not after.unschedulable
        assert ANNOTATION_ROLLOUT not in after.annotations

    def test_other_annotations_survive(self, world: World) -> None:
        node = world.add_node()
        world.annotate(node, "example.com/rack", "r1")
        world.cluster.cordon(node, MARK)
        assert world.cluster.uncordon(node, MARK).annotations["example.com/rack"] == "r1"

    def test_a_persons_writes_between_ours_are_not_lost(self, world: World) -> None:
        node = world.add_node()
        stop = threading.Event()

        def write() -> None:
            number = 0
            while not stop.wait(0.002) and number < 200:
                number += 1
                world.annotate(node, "example.com/number", str(number))

        person = threading.Thread(target=write)
        person.start()
        try:
            for _ in range(3):
                try:
                    world.cluster.cordon(node, MARK)
                    world.cluster.add_taint(node, MARK)
                    world.cluster.remove_taint(node, MARK)
                    world.cluster.uncordon(node, MARK)
                except Conflict:
                    pass
        finally:
            stop.set()
            person.join()
        world.annotate(node, "example.com/number", "last")
        assert world.cluster.read_node(node).annotations["example.com/number"] == "last"

    # -- taint and label ---------------------------------------------------------------------------------------------

    def test_our_taint_comes_and_goes_beside_others(self, world: World) -> None:
        node = world.add_node()
        world.add_taint(node, FOREIGN_TAINT)
        for _ in range(2):
            tainted = world.cluster.add_taint(node, MARK)
            assert tainted.taints.count(Taint(TAINT_EVACUATE, MARK.rollout, "NoExecute")) == 1
            assert FOREIGN_TAINT in tainted.taints
        for _ in range(2):
            clean = world.cluster.remove_taint(node, MARK)
            assert FOREIGN_TAINT in clean.taints
            assert not [t for t in clean.taints if t.key == TAINT_EVACUATE]

    def test_another_rollouts_taint_is_left_alone(self, world: World) -> None:
        node = world.add_node()
        world.cluster.add_taint(node, MARK)
        for act in (world.cluster.add_taint, world.cluster.remove_taint):
            with pytest.raises(Refused) as caught:
                act(node, OTHER)
            assert caught.value.code == "not-ours"
        assert [t.value for t in world.cluster.read_node(node).taints if t.key == TAINT_EVACUATE] == [MARK.rollout]

    # -- the taint on nodes still to do ------------------------------------------------------------------------------

    def test_the_waiting_taint_comes_and_goes_beside_others(self, world: World) -> None:
        node = world.add_node()
        world.add_taint(node, FOREIGN_TAINT)
        world.add_taint(node, PERSONS_PREFERENCE)
        eventually(lambda: world.cluster.view(node).node is not None, "the node")
        was_out = node in world.cluster.out_of_service()
        for _ in range(2):
            marked = world.cluster.add_waiting(node, MARK)
            assert marked.taints.count(Taint(TAINT_WAITING, MARK.rollout, "PreferNoSchedule")) == 1
            assert {FOREIGN_TAINT, PERSONS_PREFERENCE} < set(marked.taints)
            assert not marked.unschedulable
        eventually(lambda: world.cluster.waiting().get(node) == MARK.rollout, "the waiting taint")
        assert (node in world.cluster.out_of_service()) == was_out
        for _ in range(2):
            clean = world.cluster.remove_waiting(node, MARK)
            assert {FOREIGN_TAINT, PERSONS_PREFERENCE} <= set(clean.taints)
            assert not [t for t in clean.taints if t.key == TAINT_WAITING]
        eventually(lambda: node not in world.cluster.waiting(), "the waiting taint gone")

    def test_a_cordon_takes_the_waiting_taint_off(self, world: World) -> None:
        node = world.add_node()
        world.add_taint(node, PERSONS_PREFERENCE)
        world.cluster.add_waiting(node, MARK)
        cordoned = world.cluster.cordon(node, MARK)
        assert not [t for t in cordoned.taints if t.key == TAINT_WAITING]
        assert PERSONS_PREFERENCE in cordoned.taints

    def test_another_rollouts_waiting_taint_is_left_alone(self, world: World) -> None:
        node = world.add_node()
        world.cluster.add_waiting(node, MARK)
        for act in (world.cluster.add_waiting, world.cluster.remove_waiting):
            with pytest.raises(Refused) as caught:
                act(node, OTHER)
            assert caught.value.code == "not-ours"
        taints = world.cluster.cordon(node, OTHER).taints
        assert [t.value for t in taints if t.key == TAINT_WAITING] == [MARK.rollout]

    def test_a_rollback_takes_the_waiting_taint_over(self, world: World) -> None:
        node = world.add_node()
        world.cluster.add_waiting(node, MARK)
        marked = world.cluster.add_waiting(node, ROLLBACK)
        assert [t.value for t in marked.taints if t.key == TAINT_WAITING] == [ROLLBACK.rollout]
        assert not [t for t in world.cluster.remove_waiting(node, ROLLBACK).taints if t.key == TAINT_WAITING]

    def test_what_the_watch_has_not_seen_yet_is_not_lost(self, world: World) -> None:
        node = world.add_node()
        eventually(lambda: world.cluster.view(node).node is not None, "the node")
        world.add_taint(node, FOREIGN_TAINT)
        assert FOREIGN_TAINT in world.cluster.add_waiting(node, MARK).taints
        world.add_taint(node, PERSONS_PREFERENCE)
        assert {FOREIGN_TAINT, PERSONS_PREFERENCE} <= set(world.cluster.remove_waiting(node, MARK).taints)

    def test_the_mode_label(self, world: World) -> None:
        node = world.add_node()
        for _ in range(2):
            assert world.cluster.assign_mode(node, VALUE).labels[LABEL_MODE] == VALUE
        for _ in range(2):
            assert LABEL_MODE not in world.cluster.assign_mode(node, "").labels
        with pytest.raises(Invalid):
            world.cluster.assign_mode(node, "not a label value!")

    # -- the watch ---------------------------------------------------------------------------------------------------

    def test_a_view_shows_the_node_and_its_pods(self, world: World) -> None:
        node, other = world.add_node(), world.add_node()
        pod = world.add_pod(node)
        world.add_pod(other)
        view = view_when(world, node, lambda v: v.node is not None and bool(own(world, v)), "node and pod")
        assert own(world, view) == [pod]

    def test_pods_come_in_the_order_in_which_they_were_created(self, world: World) -> None:
        node = world.add_node()
        world.cluster.view(node)
        made = []
        for number in range(3):
            made.append(world.add_pod(node))
            view_when(world, node, lambda v, n=number: len(own(world, v)) == n + 1, f"pod {number}")  # type: ignore[misc]
        world.remove_pod(made[0])
        made = [*made[1:], world.add_pod(node)]
        view = view_when(world, node, lambda v: set(own(world, v)) == set(made), "the four pods' rest")
        assert own(world, view) == made

    def test_waiting_ends_with_the_change(self, world: World) -> None:
        node = world.add_node()
        view = view_when(world, node, lambda v: v.node is not None, "the node")
        world.cluster.assign_mode(node, VALUE)
        newer = view_when(world, node, lambda v: v.node is not None and LABEL_MODE in v.node.labels, "the label")
        assert newer.version > view.version
        pod = world.add_pod(node)
        view_when(world, node, lambda v: pod in own(world, v), "the pod")
        world.remove_pod(pod)
        view_when(world, node, lambda v: pod not in own(world, v), "the pod's end")

    def test_waiting_ends_with_the_time(self, world: World) -> None:
        node = world.add_node()
        view = view_when(world, node, lambda v: v.node is not None, "the node")
        # Another node's changes do not wake us.
        world.add_node()
        assert world.cluster.wait_change(node, view.version, 0.2) == view

    def test_a_node_that_left_is_none(self, world: World) -> None:
        node = world.add_node()
        view_when(world, node, lambda v: v.node is not None, "the node")
        world.remove_node(node)
        assert view_when(world, node, lambda v: v.node is None, "the node's end").version

    def test_what_is_out_of_service(self, world: World) -> None:
        node = world.add_node()
        eventually(lambda: world.cluster.view(node).node is not None, "the node")
        world.cluster.cordon(node, MARK)
        eventually(lambda: node in world.cluster.out_of_service(), "the cordoned node")

    # -- CiliumNodeConfigs -------------------------------------------------------------------------------------------

    def _planned(self, world: World, **more: str) -> PlannedNodeConfig:
        defaults = {"datapath-mode": more.get("mode", "netkit")}
        version = more.get("version", "v2")
        return PlannedNodeConfig("zz-contract", world.namespace, version, more.get("value", VALUE), defaults)

    def test_our_node_config_comes_and_goes(self, world: World) -> None:
        world.install_agent()
        wanted = self._planned(world)
        for _ in range(2):
            world.cluster.ensure_node_config(wanted)
            (found,) = world.cluster.node_configs()
            assert (found.name, found.has_selector) == ("zz-contract", True)
            assert found.match_labels == {LABEL_MODE: VALUE}
            assert found.defaults == {"datapath-mode": "netkit"}
        for _ in range(2):
            world.cluster.delete_node_config(wanted)
            assert world.cluster.node_configs() == ()

    def test_a_node_config_that_says_something_else_is_a_conflict(self, world: World) -> None:
        world.install_agent()
        world.cluster.ensure_node_config(self._planned(world))
        for other in (self._planned(world, mode="veth"), self._planned(world, value="other")):
            with pytest.raises(Conflict):
                world.cluster.ensure_node_config(other)
        (found,) = world.cluster.node_configs()
        assert found.defaults == {"datapath-mode": "netkit"}

    def test_a_node_config_of_a_person_is_not_deleted(self, world: World) -> None:
        world.install_agent()
        world.add_node_config("zz-contract", {LABEL_MODE: VALUE}, {"datapath-mode": "netkit"})
        world.cluster.ensure_node_config(self._planned(world))
        with pytest.raises(Refused) as caught:
            world.cluster.delete_node_config(self._planned(world))
        assert caught.value.code == "not-ours"

    def test_a_node_config_in_use_is_not_deleted(self, world: World) -> None:
        world.install_agent()
        node = world.add_node()
        world.cluster.ensure_node_config(self._planned(world))
        world.cluster.assign_mode(node, VALUE)
        with pytest.raises(Refused) as caught:
            world.cluster.delete_node_config(self._planned(world))
        assert caught.value.code == "node-config-in-use"
        assert node in caught.value.message

    def test_a_node_config_for_every_node_is_never_created(self, world: World) -> None:
        world.install_agent()
        with pytest.raises(Invalid):
            world.cluster.ensure_node_config(self._planned(world, value=""))
        assert world.cluster.node_configs() == ()

    # -- pods --------------------------------------------------------------------------------------------------------

    def test_an_eviction_without_a_budget(self, world: World) -> None:
        pod = world.add_pod(world.add_node())
        assert world.cluster.evict(pod).result is EvictionResult.ACCEPTED
        # It takes its time to end, and may be asked for again.
        assert world.cluster.evict(pod).result in (EvictionResult.ACCEPTED, EvictionResult.GONE)
        world.remove_pod(pod)
        assert world.cluster.evict(pod).result is EvictionResult.GONE

    def test_another_incarnation_is_not_evicted(self, world: World) -> None:
        pod = world.add_pod(world.add_node())
        stale = PodRef(pod.namespace, pod.name, "00000000-0000-0000-0000-000000000000")
        assert world.cluster.evict(stale).result is EvictionResult.GONE
        assert not world.cluster.delete_pod(stale)
        (found,) = [p for p in world.cluster.collect().pods if p.ref == pod]
        assert not found.terminating

    def test_a_budget_refuses(self, world: World) -> None:
        pod = world.add_pod(world.add_node(), labels={"app": "web"})
        world.add_budget("web", {"app": "web"}, 1)
        answer = world.cluster.evict(pod)
        assert answer.result is EvictionResult.REFUSED
        assert "web" in answer.message
        (budget,) = [b for b in world.cluster.budgets() if b.namespace == world.namespace]
        assert budget.disruptions_allowed == 0

    def test_two_budgets_make_it_impossible(self, world: World) -> None:
        pod = world.add_pod(world.add_node(), labels={"app": "web", "tier": "front"})
        world.add_budget("web", {"app": "web"}, 0)
        world.add_budget("front", {"tier": "front"}, 0)
        assert world.cluster.evict(pod).result is EvictionResult.IMPOSSIBLE

    def test_a_deletion(self, world: World) -> None:
        pod = world.add_pod(world.add_node())
        assert world.cluster.delete_pod(pod)
        world.remove_pod(pod)
        assert not world.cluster.delete_pod(pod)

    # -- the lease ---------------------------------------------------------------------------------------------------

    def test_a_lease_is_taken_renewed_and_given_up(self, world: World) -> None:
        world.install_agent()
        held = world.cluster.take_lease("a/1", 60, _never)
        assert (held.holder, held.duration_s) == ("a/1", 60)
        assert held.fencing >= 1
        renewed = world.cluster.renew_lease("a/1", held.fencing)
        assert renewed.fencing == held.fencing
        assert renewed.renewed >= held.renewed
        for _ in range(2):
            world.cluster.release_lease("a/1", held.fencing)
        assert world.cluster.take_lease("b/1", 60, _never).fencing > held.fencing

    def test_a_held_lease_is_refused(self, world: World) -> None:
        world.install_agent()
        world.cluster.take_lease("a/1", 60, _never)
        with pytest.raises(Refused) as caught:
            world.cluster.take_lease("b/1", 60, _never)
        assert caught.value.code == "lease-held"
        assert "a/1" in caught.value.message

    def test_an_expired_lease_is_taken(self, world: World) -> None:
        world.install_agent()
        first = world.cluster.take_lease("a/1", 1, _never)
        world.wait_until_lease_expires(1.2)
        second = world.cluster.take_lease("b/1", 60, _never)
        assert second.fencing > first.fencing
        with pytest.raises(Refused) as caught:
            world.cluster.renew_lease("a/1", first.fencing)
        assert caught.value.code == "lease-lost"
        # What is not ours any more is not given up.
        world.cluster.release_lease("a/1", first.fencing)
        assert world.cluster.renew_lease("b/1", second.fencing).holder == "b/1"

    def test_a_dead_holder_of_ours_is_taken_over(self, world: World) -> None:
        world.install_agent()
        first = world.cluster.take_lease("a/1", 60, _never)
        second = world.cluster.take_lease("a/2", 60, lambda holder: holder.startswith("a/"))
        assert second.fencing > first.fencing

    def test_of_two_only_one_gets_the_lease(self, world: World) -> None:
        world.install_agent()
        taken, refused = [], []

        def take(holder: str) -> None:
            try:
                taken.append(world.cluster.take_lease(holder, 60, _never))
            except (Refused, Conflict) as error:
                refused.append(error)

        racers = [threading.Thread(target=take, args=(f"{letter}/1",)) for letter in "abcd"]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join()
        assert (len(taken), len(refused)) == (1, 3)

    # -- the rest ----------------------------------------------------------------------------------------------------

    def test_an_event_never_fails(self, world: World) -> None:
        world.cluster.record_event(world.add_node(), "NetkitRollout", "waiting for a person")
        world.cluster.record_event("not a name", "NetkitRollout", "x" * 5000)

    def test_closing_twice_is_fine(self, world: World) -> None:
        world.cluster.view(world.add_node())
        world.cluster.close()
        world.cluster.close()

    def test_errors_are_ours(self, world: World) -> None:
        nowhere = "netkit-rollout-contract-nowhere"
        cluster = world.cluster
        waits = (cluster.add_waiting, cluster.remove_waiting)
        for act in (cluster.cordon, cluster.uncordon, cluster.add_taint, cluster.remove_taint, *waits):
            with pytest.raises(Foreign) as caught:
                act(nowhere, MARK)
            assert caught.value.message.startswith("cannot ")
            assert nowhere in caught.value.message


def _never(_holder: str) -> bool:
    return False
