"""What every `ProbePods` has to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from threading import Event
from uuid import uuid4

import pytest

from rollout.domain.errors import Cancelled, NotFound, Unavailable
from rollout.domain.policy import ProbeRules
from rollout.ports.probes import ProbePods, Rig, WantedPod

PATIENT_S = 60.0


@dataclass
class Scene:
    """A `ProbePods`, a namespace that exists, two nodes whose kubelets run pods; `stuck`, when given, runs none."""

    probes: ProbePods
    rules: ProbeRules
    nodes: tuple[str, str]
    stuck: str = ""
    run: str = field(default_factory=lambda: f"c{uuid4().hex[:10]}")
    """Name of the run: the contract looks at its own pods only."""

    def rig(self, node: str = "", run: str = "", token: str = "t") -> Rig:
        """The rig of the first node."""
        return Rig(run or self.run, node or self.nodes[0], token)

    def own(self, run: str = "") -> list[str]:
        """Names of the run's pods that are not on their way out."""
        found = self.probes.leftovers(self.rules)
        return [p.ref.name for p in found if p.rollout == (run or self.run) and not p.terminating]


class ProbesContract:
    """Subclasses give the fixture `scene`."""

    @pytest.fixture(autouse=True)
    def _tidy(self, scene: Scene) -> Iterator[None]:
        yield
        for run in (scene.run, f"{scene.run}x"):
            scene.probes.remove(scene.rules, run, wait_s=PATIENT_S)

    def wanted(self, scene: Scene) -> tuple[WantedPod, ...]:
        first, second = scene.nodes
        return (WantedPod(first, "a"), WantedPod(first, "b"), WantedPod(second, "peer"))

    def test_pods_are_made_where_they_are_wanted_and_are_ready(self, scene: Scene) -> None:
        scene.probes.check(scene.rules)
        pods = scene.probes.ensure(scene.rig(), self.wanted(scene), scene.rules, timeout_s=PATIENT_S)
        assert [(p.node, p.role) for p in pods] == [(w.node, w.role) for w in self.wanted(scene)]
        assert all(p.ready and p.addresses and not p.finished and not p.terminating for p in pods)
        assert {(p.rollout, p.rig_node) for p in pods} == {(scene.run, scene.nodes[0])}
        assert len({p.addresses for p in pods}) == 3

    def test_a_rig_that_stands_is_taken_up_again(self, scene: Scene) -> None:
        first = scene.probes.ensure(scene.rig(), self.wanted(scene), scene.rules, timeout_s=PATIENT_S)
        assert scene.probes.ensure(scene.rig(), self.wanted(scene), scene.rules, timeout_s=PATIENT_S) == first

    def test_what_is_missing_is_made_beside_what_stands(self, scene: Scene) -> None:
        peer = scene.probes.ensure(scene.rig(), self.wanted(scene)[2:], scene.rules, timeout_s=PATIENT_S)
        pods = scene.probes.ensure(scene.rig(), self.wanted(scene), scene.rules, timeout_s=PATIENT_S)
        assert pods[2] == peer[0]
        assert len(scene.own()) == 3

    def test_pods_of_another_token_are_replaced(self, scene: Scene) -> None:
        wanted = self.wanted(scene)[:1]
        before = scene.probes.ensure(scene.rig(), wanted, scene.rules, timeout_s=PATIENT_S)
        after = scene.probes.ensure(scene.rig(token="u"), wanted, scene.rules, timeout_s=PATIENT_S)
        assert [p.ref.uid for p in before] != [p.ref.uid for p in after]
        assert len(scene.own()) == 1

    def test_without_a_timeout_nothing_is_waited_for(self, scene: Scene) -> None:
        pods = scene.probes.ensure(scene.rig(), self.wanted(scene), scene.rules, timeout_s=0)
        assert len(pods) == 3

    def test_a_rig_is_removed_and_another_stays(self, scene: Scene) -> None:
        other = f"{scene.run}x"
        scene.probes.ensure(scene.rig(), self.wanted(scene), scene.rules, timeout_s=PATIENT_S)
        scene.probes.ensure(scene.rig(scene.nodes[1]), self.wanted(scene)[:1], scene.rules, timeout_s=PATIENT_S)
        scene.probes.ensure(scene.rig(run=other), self.wanted(scene)[:1], scene.rules, timeout_s=PATIENT_S)
        scene.probes.remove(scene.rules, scene.run, scene.nodes[0], wait_s=PATIENT_S)
        assert len(scene.own()) == 1
        scene.probes.remove(scene.rules, scene.run, wait_s=PATIENT_S)
        assert scene.own() == []
        assert len(scene.own(other)) == 1
        scene.probes.remove(scene.rules, other, wait_s=PATIENT_S)
        scene.probes.remove(scene.rules, other)
        assert scene.own(other) == []

    def test_a_sweep_takes_what_dead_runs_of_the_same_rollout_left(self, scene: Scene) -> None:
        other = f"{scene.run}x"
        scene.probes.ensure(scene.rig(), self.wanted(scene)[:1], scene.rules, timeout_s=PATIENT_S)
        scene.probes.ensure(scene.rig(run=other), self.wanted(scene)[:1], scene.rules, timeout_s=PATIENT_S)
        scene.probes.sweep(scene.rules, scene.run)
        assert scene.own() == []
        assert len(scene.own(other)) == 1

    def test_a_node_is_cleared_of_every_rig(self, scene: Scene) -> None:
        first, second = scene.nodes
        scene.probes.ensure(scene.rig(first), self.wanted(scene), scene.rules, timeout_s=PATIENT_S)
        scene.probes.ensure(scene.rig(second), (WantedPod(first, "peer"),), scene.rules, timeout_s=PATIENT_S)
        scene.probes.clear_node(scene.rules, first)
        left = [p for p in scene.probes.leftovers(scene.rules) if p.rollout == scene.run and not p.terminating]
        assert [p.node for p in left] == [second]

    def test_names_of_any_length(self, scene: Scene) -> None:
        rig = scene.rig("n" * 200 + ".example")
        pods = scene.probes.ensure(rig, self.wanted(scene)[:1], scene.rules, timeout_s=PATIENT_S)
        assert pods[0].rig_node == rig.node
        scene.probes.remove(scene.rules, rig.rollout, rig.node, wait_s=PATIENT_S)
        assert scene.own() == []

    def test_a_namespace_that_is_not_there(self, scene: Scene) -> None:
        rules = replace(scene.rules, namespace="netkit-rollout-no-such")
        tries: tuple[Callable[[], object], ...] = (
            lambda: scene.probes.check(rules),
            lambda: scene.probes.ensure(scene.rig(), self.wanted(scene), rules, timeout_s=5),
        )
        for attempt in tries:
            with pytest.raises(NotFound) as refused:
                attempt()
            assert refused.value.code == "probe-namespace-missing"
            assert refused.value.hint == "kubectl create namespace netkit-rollout-no-such"
        scene.probes.sweep(rules, scene.run)
        assert scene.probes.leftovers(rules) == ()

    def test_a_pod_that_does_not_come_up_is_named(self, scene: Scene) -> None:
        if not scene.stuck:
            pytest.skip("every node here runs pods")
        with pytest.raises(Unavailable) as refused:
            scene.probes.ensure(scene.rig(), (WantedPod(scene.stuck, "a"),), scene.rules, timeout_s=1)
        assert refused.value.code == "probe-pod-not-ready"
        assert "nkr-" in refused.value.message

    def test_waiting_can_be_stopped(self, scene: Scene) -> None:
        cancel = Event()
        cancel.set()
        with pytest.raises(Cancelled):
            scene.probes.ensure(scene.rig(), self.wanted(scene), scene.rules, timeout_s=PATIENT_S, cancel=cancel)

    def test_targets_and_policies_can_be_read(self, scene: Scene) -> None:
        targets = scene.probes.targets()
        assert all(one.addresses and one.port for one in targets.services)
        assert len(scene.probes.sample_policies(1).copies) <= 1
