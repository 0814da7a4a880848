"""The resolver driven by hand: a journal kept in a list, and workers whose results the test chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rollout.domain.journal import (
    Body,
    Entry,
    GateDecided,
    Intent,
    Outcome,
    PlanSaved,
    Result,
    RolloutDecided,
    RolloutState,
    fold,
)
from rollout.domain.lifecycle import NodePhase, RolloutEvent
from rollout.domain.node import DatapathMode
from rollout.domain.plan import Plan
from rollout.domain.policy import Policy
from rollout.engine.resolver import Action, Begin, Decision, Gate, Settle, Surroundings, decide
from rollout.engine.waiting import MarkWaiting
from tests.builders import at

NAMES = ("n1", "n2", "n3", "n4", "n5")


def small_policy(**more: object) -> Policy:
    return Policy(target=DatapathMode.NETKIT, soak_fenced_s=0, soak_loaded_s=0, **more)  # type: ignore[arg-type]


OUT = (NodePhase.RUNNING, NodePhase.HELD, NodePhase.RETURNING, NodePhase.ROLLING_BACK)
"""Phases that take a slot."""

World = Callable[[Begin | Settle], tuple[Result, str]]
"""How a step ends, and with which code."""


class Drive:
    """A rollout in progress. `foreign`: nodes that others took out of service; None: nobody can tell."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.entries: list[Entry] = []
        self.commits: list[int] = []
        """Lengths of the journal after each write: what is written at once is there as a whole or not at all."""
        self.state = RolloutState()
        self.busy: dict[str, Begin | Settle] = {}
        self.gating: Gate | None = None
        self.seconds = 0
        self.foreign: frozenset[str] | None = frozenset()
        self.record(PlanSaved(plan.digest, plan.cluster.uid), RolloutDecided(RolloutEvent.APPROVE))
        self.record(RolloutDecided(RolloutEvent.START))

    def record(self, *bodies: Body) -> None:
        fresh = [Entry(len(self.entries) + n, at(self.seconds), body) for n, body in enumerate(bodies, 1)]
        self.entries += fresh
        self.commits.append(len(self.entries))
        self.state = fold(fresh, self.state)

    def ask(self) -> Decision:
        """What the resolver says now; nothing is recorded."""
        around = Surroundings(at(self.seconds), frozenset(self.busy), self.gating is not None, self.foreign)
        return decide(self.plan, self.state, around)

    def step(self) -> bool:
        """One decision round; True when something is going on after it."""
        self.seconds += 1
        before = self.out()
        decision = self.ask()
        self.record(*decision.bodies)
        self._check_slots(before)
        self._take_up(decision.actions)
        return not decision.finished

    def out(self) -> set[str]:
        """Nodes that take a slot."""
        return {node.name for node in self.state.nodes.values() if node.phase in OUT}

    def _check_slots(self, before: set[str]) -> None:
        limit = self.plan.policy.most_unavailable(self.plan.cluster.fleet)
        assert len(self.out()) <= limit
        fresh = self.out() - before
        if fresh:
            assert self.foreign is not None
            ours = {n.name for n in self.state.nodes.values() if n.phase in (*OUT, NodePhase.QUARANTINED)}
            assert len(self.out() | (self.foreign - ours)) <= limit

    def _take_up(self, actions: Iterable[Action]) -> None:
        for action in actions:
            if isinstance(action, Gate):
                self.gating = action
            elif not isinstance(action, MarkWaiting):
                assert action.node not in self.busy
                self.busy[action.node] = action
                self.record(Intent(action.node, action.track, action.step, action.attempt, {}, at(10**6), 1))

    def end(self, name: str, result: Result = Result.DONE, code: str = "code") -> None:
        action = self.busy.pop(name)
        self.record(Outcome(name, action.track, action.step, action.attempt, result, code, "reason"))

    def gate(self, decision: str = "proceed", nodes: tuple[str, ...] = ()) -> None:
        assert self.gating is not None
        self.record(GateDecided(self.gating.wave, decision, "said so", nodes))
        self.gating = None

    def crash(self) -> None:
        """The process dies: nothing but the journal is left."""
        self.busy, self.gating = {}, None

    def run(self, result: Result = Result.DONE) -> None:
        """To its rest, every step ending the same way."""
        self.run_in(lambda _action: (result, "code"))

    def run_in(self, world: World) -> None:
        """To its rest, with `world` saying how steps end."""
        for _ in range(2000):
            if not self.step():
                return
            for name in list(self.busy):
                self.end(name, *world(self.busy[name]))
            if self.gating:
                self.gate()
        raise AssertionError("the rollout never came to rest")
