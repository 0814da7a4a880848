"""A plan held against the cluster: all at once for people, and each node just before it is touched."""

from __future__ import annotations

from collections import Counter

import pytest

from rollout.app.apply import Application
from rollout.app.stale import staleness
from rollout.domain.lifecycle import NodePhase, RolloutPhase
from rollout.domain.node import DaemonSet, Taint, Toleration
from tests.builders import agent_install, budget, pod
from tests.support.world import Model


def words(model: Model, rollout: str) -> dict[str, list[str]]:
    return {n.node: [d.what for d in n.drifts] for n in staleness(model.world(), rollout).moved}


def test_nothing_moved_and_then_one_node_did() -> None:
    model = Model()
    rollout = model.planned().record.id
    found = staleness(model.world(), rollout)
    assert (found.moved, len(found.nodes), found.begun) == ((), 2, 0)
    model.cluster.change_node("n2", kernel="6.13.0")
    assert words(model, rollout) == {"n2": ["its kernel changed"]}
    model.cluster.remove_node("n1")
    assert words(model, rollout)["n1"] == ["it does not exist any more"]


def test_what_is_the_same_for_all_is_found_on_all() -> None:
    model = Model()
    rollout = model.planned().record.id
    model.cluster.agent = agent_install(image="quay.io/cilium/cilium:v1.22.0", generation=2)
    assert words(model, rollout) == {name: ["the agent's image changed"] for name in ("n1", "n2")}


def test_nodes_under_way_or_ended_are_not_compared_with_what_they_were() -> None:
    model = Model()
    rollout = model.planned().record.id
    Application(model.world(), rollout).start()
    found = staleness(model.world(), rollout)
    assert (found.nodes, found.begun) == ((), 2)


def test_it_only_reads() -> None:
    model = Model()
    rollout = model.planned().record.id
    before = (dict(model.cluster.nodes), dict(model.cluster.pods), len(model.state.journals[rollout]))
    staleness(model.world(), rollout)
    assert (dict(model.cluster.nodes), dict(model.cluster.pods), len(model.state.journals[rollout])) == before


def first_of(model: Model) -> tuple[str, str]:
    made = model.planned()
    return made.record.id, made.plan.waves[0].nodes[0]


def test_a_bare_pod_that_came_holds_its_node_untouched_and_resume_goes_on_without_it() -> None:
    model = Model()
    rollout, first = first_of(model)
    model.cluster.add_pod(pod("bare", first, owner_kind="", owner_name="", owner_uid=""))
    end = Application(model.world(), rollout).start()
    assert (end.phase, end.node(first).phase) == (RolloutPhase.HELD, NodePhase.HELD)
    last = end.node(first).last
    assert last is not None
    assert last.code == "in-the-way"
    assert last.reason.startswith(
        f"node {first} cannot begin: pod default/bare may never leave (planned not there, now"
    )
    assert last.hint == "delete or move it, or plan it anew; then: rollout resume"
    assert "cordon" not in {k for _, k in ((t.value, s.value) for t, s in end.node(first).befores)}
    still = Application(model.world(), rollout).resume()
    assert still.node(first).phase is NodePhase.HELD
    del model.cluster.pods["default", "bare"]
    assert Application(model.world(), rollout).resume().phase is RolloutPhase.COMPLETED
    assert model.leftovers() == []


@pytest.mark.parametrize("what", ["taint", "clinger"])
def test_other_things_in_the_way_hold_too(what: str) -> None:
    model = Model()
    rollout, first = first_of(model)
    if what == "taint":
        model.cluster.change_node(first, taints=(Taint("maintenance", "", "NoSchedule"),))
    else:
        everything = (Toleration("", "Exists"),)
        model.cluster.add_daemonset(DaemonSet("default", "clinger", "ds-clinger", True, 2, 2, everything))
        model.settle()
    end = Application(model.world(), rollout).start()
    assert end.node(first).phase is NodePhase.HELD


def test_a_budget_that_appeared_for_the_nodes_pods_leaves_the_node_alone() -> None:
    model = Model()
    rollout, first = first_of(model)
    model.cluster.add_budget(budget("strict", max_unavailable="0", match_labels={"tier": "none"}))
    model.cluster.add_budget(budget("web", min_available="100%", max_unavailable="", expected_pods=4))
    end = Application(model.world(), rollout).start()
    last = end.node(first).last
    assert last is not None
    assert (end.node(first).phase, last.code) == (NodePhase.SKIPPED, "stale-facts")
    assert "PodDisruptionBudget default/web changed" in last.reason
    assert "strict" not in last.reason


def test_a_recheck_asks_the_api_no_more_than_four_times() -> None:
    """Node, agent (its DaemonSet and ConfigMap), node configs, budgets; pods come from the watch."""
    model = Model()
    asked: Counter[str] = Counter()

    class Counting:
        def __getattr__(self, name: str) -> object:
            asked[name] += 1
            return getattr(model.cluster, name)

    from threading import Event

    from rollout.app.steps.context import StepContext
    from rollout.app.steps.fence import look_recheck
    from rollout.domain.step import StepKind, Track
    from tests.builders import at

    made = model.planned()
    ctx = StepContext(
        world=model.world(cluster=Counting()),
        plan=made.plan,
        node=made.plan.nodes[0],
        rollout=made.record.id,
        track=Track.FORWARD,
        step=StepKind.RECHECK,
        attempt=1,
        fencing=1,
        before={},
        deadline=at(3600),
        cancel=Event(),
        say=lambda reason, hint: None,
    )
    assert look_recheck(ctx)["drift"] == []
    assert asked == {"read_node": 1, "agent_install": 1, "node_configs": 1, "budgets": 1, "view": 1}
