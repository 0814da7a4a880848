"""Step times from the rollouts of this state that ran last on a cluster."""

from __future__ import annotations

from rollout.app.journal import load_plan
from rollout.domain.errors import RolloutError
from rollout.domain.times import StepTime
from rollout.planning.history import step_times
from rollout.ports.store import JournalStore

LAST = 5
"""Rollouts that are read, newest first: older ones speak of older agents and other loads."""


def history(store: JournalStore, cluster: str) -> tuple[StepTime, ...]:
    """Median and p90 per cohort and step. A rollout whose plan this program cannot read any more is left out."""
    started = [r for r in store.rollouts() if r.cluster == cluster and r.started is not None]
    newest = sorted(started, key=lambda r: (r.started or r.created, r.id), reverse=True)[:LAST]
    journals = []
    for record in newest:
        try:
            plan = load_plan(store, record.id)
        except RolloutError:
            continue
        journals.append(({node.name: node.cohort for node in plan.nodes}, store.read(record.id)))
    return step_times(journals)
