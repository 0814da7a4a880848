"""What the engine costs beside its effects, and how concurrent nodes share commits. Effects are simulated."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from benchmarks.report import report
from rollout.adapters.store import create_or_upgrade, open_store
from rollout.app.apply import Application
from rollout.domain.journal import Outcome, RolloutDecided
from rollout.domain.lifecycle import RolloutEvent, RolloutPhase
from tests.builders import NOW, plan_of
from tests.engine.drive import Drive, small_policy
from tests.support.world import Model, quick

NO_REQUEST = ("view", "wait_change", "out_of_service", "in_service", "renew_lease")
"""Answered from the watch's cache; and renewals, which go by time."""


@pytest.mark.parametrize("nodes", [50, 500])
def test_decisions_per_transition(nodes: int) -> None:
    """CPU of deciding and folding, per finished step, with 5 % of the nodes in flight."""
    names = tuple(f"n{i:04}" for i in range(nodes))
    drive = Drive(plan_of(names, small_policy(max_unavailable="5%", canary=nodes)))
    before = time.process_time()
    drive.run()
    spent = time.process_time() - before
    steps = sum(isinstance(e.body, Outcome) for e in drive.entries)
    assert drive.entries[-1].body == RolloutDecided(RolloutEvent.COMPLETE)
    report(f"engine: CPU per finished step, {nodes} nodes", 1000 * spent / steps, 5.0, "ms")


@pytest.mark.parametrize("together", [1, 4])
def test_commits_per_node(together: int, tmp_path: Path) -> None:
    """Write transactions per node on a real SQLite file."""
    names = tuple(f"n{i}" for i in range(1, 9))
    model = Model(names, replicas=8)
    place = str(tmp_path / "state.db")
    create_or_upgrade(place, NOW)
    store = open_store(place, model.clock.now)
    model.world = lambda **more: Model.world(model, **{"store": store, **more})  # type: ignore[method-assign]
    made = model.planned(quick(canary=8, max_unavailable=str(together)))
    before = store.commits()
    assert Application(model.world(), made.record.id).start().phase is RolloutPhase.COMPLETED
    report(f"store: commits per node, {together} at once", (store.commits() - before) / len(names), 60, "commits")
    counts = model.cluster.request_counts()
    asked = sum(n for what, n in counts.items() if what not in NO_REQUEST)
    evicted = counts["evict"] / len(names)
    report(f"cluster: requests per node, {together} at once", asked / len(names), 20 + evicted, "requests")
    store.close()
