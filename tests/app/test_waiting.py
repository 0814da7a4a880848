"""Our taint on nodes still to do: when it comes, when it goes, and that nothing depends on it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from rollout.app.apply import Application
from rollout.app.approve import approve
from rollout.app.control import abort
from rollout.app.journal import load
from rollout.app.rollback import plan_rollback
from rollout.domain.errors import Unavailable
from rollout.domain.journal import WaitingIntent, WaitingOutcome
from rollout.domain.lifecycle import NodePhase, RolloutPhase
from rollout.domain.node import TAINT_WAITING, OwnerMark, Taint
from tests.support.world import Model, QuietReporter, quick

NAMES = ("n1", "n2", "n3")
PERSONS = Taint("example.com/old-rack", "r1", "PreferNoSchedule")


_DAY = timedelta(days=1)


def _mark(rollout: str) -> OwnerMark:
    return OwnerMark(rollout, rollout)


def carriers(model: Model) -> dict[str, str]:
    return {n.name: t.value for n in model.cluster.nodes.values() for t in n.taints if t.key == TAINT_WAITING}


class Calls:
    """What was called on the cluster, with who carried the taint then."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.seen: list[tuple[str, str, frozenset[str]]] = []
        model.cluster.hook = self

    def __call__(self, when: str, method: str, args: tuple[Any, ...]) -> None:
        if when == "before" and method in ("cordon", "evict", "add_waiting", "remove_waiting"):
            self.seen.append((method, str(args[0]), frozenset(carriers(self.model))))


def test_it_is_on_all_nodes_still_to_do_before_a_pod_is_evicted_and_goes_with_the_cordon() -> None:
    model = Model(NAMES)
    made = model.planned(quick())
    calls = Calls(model)
    end = Application(model.world(), made.record.id).start()
    assert end.phase is RolloutPhase.COMPLETED
    order = [name for wave in made.plan.waves for name in wave.nodes]
    assert {(m, n) for m, n, _ in calls.seen[:3]} == {("add_waiting", name) for name in NAMES}
    cordons = [(name, had) for method, name, had in calls.seen if method == "cordon"]
    assert cordons == [(name, frozenset(order[i:])) for i, name in enumerate(order)]
    assert not [m for m, _, _ in calls.seen if m == "remove_waiting"]
    assert model.leftovers() == []
    bodies = [e.body for e in model.world().store.read(made.record.id)]
    assert WaitingIntent(NAMES, (), (), 1) in bodies
    assert WaitingOutcome() in bodies


def test_a_persons_preference_stays() -> None:
    model = Model(NAMES)
    for name in NAMES:
        model.cluster.change_node(name, taints=(PERSONS,))
    assert model.apply().phase is RolloutPhase.COMPLETED
    assert all(node.taints == (PERSONS,) for node in model.cluster.nodes.values())


def test_without_it_nothing_is_tainted() -> None:
    model = Model(NAMES)
    made = model.planned(quick(soft_taint=False))
    calls = Calls(model)
    assert Application(model.world(), made.record.id).start().phase is RolloutPhase.COMPLETED
    assert not [m for m, _, _ in calls.seen if m.endswith("_waiting")]


def test_a_held_rollout_keeps_it_and_an_aborted_one_does_not() -> None:
    model = Model(NAMES)
    made = model.planned(quick())
    first = made.plan.waves[0].nodes[0]
    model.cluster.change_node(first, kernel="6.13.0")
    held = Application(model.world(), made.record.id).start()
    assert held.phase is RolloutPhase.HELD
    rest = set(NAMES) - {first}
    assert carriers(model) == dict.fromkeys(rest, made.record.id)
    assert held.waiting.nodes == rest
    abort(model.world(), made.record.id)
    assert Application(model.world(), made.record.id).resume().phase is RolloutPhase.ABORTED
    assert carriers(model) == {}


def test_a_node_where_it_fails_is_led_over_all_the_same_and_the_failure_is_told() -> None:
    model = Model(NAMES)
    made = model.planned(quick())

    def broken(when: str, method: str, args: tuple[Any, ...]) -> None:
        if method == "add_waiting" and args[0] == "n2" and when == "before":
            raise Unavailable("unavailable", "cannot patch nodes n2: the API does not answer")

    model.cluster.hook = broken
    reporter = QuietReporter()
    end = Application(model.world(reporter=reporter), made.record.id).start()
    assert end.phase is RolloutPhase.COMPLETED
    assert all(n.phase is NodePhase.DONE for n in end.nodes.values())
    assert [note for note in reporter.notes if "could not be changed on 1 node(s)" in note and "n2" in note]
    assert model.leftovers() == []


def test_one_that_cannot_be_taken_off_ends_the_rollout_nevertheless_and_is_told() -> None:
    model = Model(NAMES)
    made = model.planned(quick())
    first = made.plan.waves[0].nodes[0]
    model.cluster.change_node(first, kernel="6.13.0")

    def broken(when: str, method: str, _args: tuple[Any, ...]) -> None:
        if method == "remove_waiting" and when == "before":
            raise Unavailable("unavailable", "cannot patch nodes: the API does not answer")

    model.cluster.hook = broken
    reporter = QuietReporter()
    held = Application(model.world(reporter=reporter), made.record.id).start()
    assert held.phase is RolloutPhase.HELD
    assert first in held.waiting.failed
    model.cluster.hook = lambda *_: None
    assert Application(model.world(), made.record.id).resume().phase is RolloutPhase.COMPLETED
    assert carriers(model) == {}


def test_a_rollback_takes_over_what_the_rollout_left() -> None:
    model = Model(NAMES)
    made = model.planned(quick())
    last = made.plan.waves[-1].nodes[-1]
    model.cluster.change_node(last, kernel="6.13.0")
    held = Application(model.world(), made.record.id).start()
    assert held.phase is RolloutPhase.HELD
    assert held.node(last).phase is NodePhase.SKIPPED
    model.cluster.add_waiting(last, _mark(made.record.id))  # as a process leaves it that dies before it takes it off
    back = plan_rollback(model.world(), made.record.id)
    approve(model.world(), back.record.id, by="bob", ticket="T-2", valid=_DAY)
    calls = Calls(model)
    assert Application(model.world(), back.record.id).start().phase is RolloutPhase.COMPLETED
    marked = {name for method, name, _ in calls.seen if method == "add_waiting"}
    assert marked == set(NAMES) - {last}
    assert carriers(model) == {}
    assert load(model.world().store, back.record.id)[1].waiting.nodes == frozenset()
