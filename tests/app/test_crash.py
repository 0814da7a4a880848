"""The process dies before or after any effect or journal write, again and again: the same end, nothing left behind."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest

from rollout.app.apply import Application
from rollout.app.journal import load
from rollout.app.world import Who
from rollout.checks.catalog import CHECKS
from rollout.domain.errors import Refused
from rollout.domain.journal import Body, Entry, WaveTakenBack
from rollout.domain.lifecycle import NodePhase, RolloutPhase
from rollout.domain.policy import CheckLevel, MethodChoice, OnFailure
from rollout.engine.rules import comes_to_rest
from tests.fakes.store import MemoryJournalStore, MemoryState
from tests.support.faults import Stray
from tests.support.world import Model, quick

EFFECTS = frozenset({
    "cordon", "uncordon", "add_taint", "remove_taint", "assign_mode", "ensure_node_config", "evict", "delete_pod",
    "add_waiting", "remove_waiting", "take_lease", "act", "append", "ensure_probes", "remove_probes", "clear_node",
    "sweep",
})  # fmt: skip


# The thread that keeps the lease dies with its process, as it should; that is no fault to report.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


class Death(BaseException):
    """kill -9: nothing in the program may catch it."""


class Fate:
    """Counts effects and journal writes of a process, and ends it at a chosen one; the dead do nothing more."""

    def __init__(self) -> None:
        self.at = -1
        self.count = 0
        self.dead = False
        self.done: Counter[str] = Counter()

    def __call__(self, when: str, method: str, _args: tuple[Any, ...] = ()) -> None:
        if self.dead:
            raise Death
        if method not in EFFECTS:
            return
        if when == "after":
            self.done[method] += 1
        self.count += 1
        if self.count == self.at:
            self.dead = True
            raise Death(f"{when} {method}")


class MortalStore(MemoryJournalStore):
    """A store whose process may die around an append."""

    def __init__(self, state: MemoryState, fate: Fate) -> None:
        super().__init__(state)
        self._fate = fate

    def append(
        self, rollout: str, bodies: Sequence[Body], *, now: datetime, expect_seq: int | None = None
    ) -> tuple[Entry, ...]:
        self._fate("before", "append")
        entries = super().append(rollout, bodies, now=now, expect_seq=expect_seq)
        self._fate("after", "append")
        return entries


def run(model: Model, rollout: str, fate: Fate, pid: int) -> RolloutPhase:
    """One process: apply or resume, to its end or its death."""

    def act(*args: Any, **more: Any) -> Any:
        fate("before", "act")
        result = type(model.hosts).act(model.hosts, *args, **more)
        fate("after", "act")
        return result

    model.cluster.hook = fate
    world = model.world(store=MortalStore(model.state, fate), who=Who("ann", "bastion", pid))
    model.hosts.act = act  # type: ignore[method-assign]
    application = Application(world, rollout)
    started = application.state.used
    return (application.resume() if started else application.start()).phase


def live_through(model: Model, rollout: str, deaths: list[int]) -> int:
    """Processes one after the other, each dying at its number of effects; how many there were."""
    for pid in range(1, 60):
        fate = Fate()
        fate.at = deaths.pop(0) if deaths else -1
        try:
            phase = run(model, rollout, fate, pid)
        except (Death, Refused):  # the dead process's lease thread may be the first to notice that it is dead
            assert fate.dead
            if load(model.world().store, rollout)[1].phase is RolloutPhase.COMPLETED:
                return pid  # it died of its very last words: there is nothing to resume
            continue
        finally:
            fate.dead = True  # what its threads still try, they no longer can
            model.cluster.hook = lambda *_: None
        assert phase is RolloutPhase.COMPLETED, load(model.world().store, rollout)[1].reason
        return pid
    raise AssertionError("it never came to its end")


@pytest.mark.parametrize("method", [MethodChoice.RESTART, MethodChoice.REBOOT])
@pytest.mark.parametrize("seed", range(12))
def test_any_deaths_end_in_the_same_state(seed: int, method: MethodChoice) -> None:
    chance = random.Random(seed)
    model = Model()
    made = model.planned(quick(method=method))
    deaths = [chance.randint(1, 90) for _ in range(chance.randint(1, 6))]
    live_through(model, made.record.id, deaths)
    assert model.kinds() == {"n1": {"netkit"}, "n2": {"netkit"}}
    assert model.leftovers() == []
    assert len(model.reboots) == (2 if method is MethodChoice.REBOOT else 0)
    assert model.world().store.verify_chain() == ()


@pytest.mark.parametrize("number", range(1, 70, 2))
def test_a_death_at_each_of_the_first_effects(number: int) -> None:
    model = Model()
    made = model.planned(quick(nodes=("n1",), soak_fenced_s=0, soak_loaded_s=0))
    assert live_through(model, made.record.id, [number]) == 2
    assert model.kinds()["n1"] == {"netkit"}
    assert model.leftovers() == []


WATCHED = ("links", "agent-mode", "agent-health")


def a_wave_to_take_back() -> tuple[Model, str]:
    """Three nodes in one wave; the last one fails, and the policy takes them all back."""
    model = Model(("n1", "n2", "n3"))
    made = model.planned(
        quick(
            canary=3,
            soak_fenced_s=0,
            soak_loaded_s=0,
            on_failure=OnFailure.ROLL_BACK_WAVE,
            checks={name: CheckLevel.OFF for name in CHECKS if name not in WATCHED},
        )
    )
    Stray(model, made.plan.waves[0].nodes[-1])
    return model, made.record.id


def live_to_hold(model: Model, rollout: str, deaths: list[int]) -> int:
    """As `live_through`, up to the moment when the rollout is held and at rest: what follows is a person's word."""
    for pid in range(1, 60):
        fate = Fate()
        fate.at = deaths.pop(0) if deaths else -1
        try:
            run(model, rollout, fate, pid)
        except (Death, Refused):
            assert fate.dead
        finally:
            fate.dead = True
            model.cluster.hook = lambda *_: None
        _, state = load(model.world().store, rollout)
        if state.phase is RolloutPhase.HELD and not comes_to_rest(state):
            return pid
    raise AssertionError("it never came to rest")


def require_all_taken_back(model: Model, rollout: str) -> None:
    _, state = load(model.world().store, rollout)
    assert {n: s.phase for n, s in state.nodes.items()} == dict.fromkeys(("n1", "n2", "n3"), NodePhase.ROLLED_BACK)
    assert "is taken back" in state.reason
    assert model.kinds() == {"n1": {"veth"}, "n2": {"veth"}, "n3": {"veth"}}
    assert model.leftovers() == []
    taken = [e.body for e in model.world().store.read(rollout) if isinstance(e.body, WaveTakenBack)]
    assert len(taken) == 1
    assert model.world().store.verify_chain() == ()


@pytest.mark.parametrize("seed", range(6))
def test_any_deaths_while_a_wave_goes_back_end_in_the_same_state(seed: int) -> None:
    chance = random.Random(seed)
    model, rollout = a_wave_to_take_back()
    live_to_hold(model, rollout, [chance.randint(1, 120) for _ in range(chance.randint(2, 6))])
    require_all_taken_back(model, rollout)


@pytest.mark.parametrize("number", range(1, 380, 12))
def test_a_death_at_any_effect_of_a_wave_that_goes_back(number: int) -> None:
    model, rollout = a_wave_to_take_back()
    assert live_to_hold(model, rollout, [number]) <= 2
    require_all_taken_back(model, rollout)
