"""Whether a node in service may be taken out of it now: limits, foreign outages, windows and freezes.

Limits bind whoever is taken out, be it to go forward or back; windows bind only those that begin: a way back that
waited for Monday's window would leave harm where it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from rollout.domain.journal import RolloutState
from rollout.domain.lifecycle import FENCED_PHASES, NodePhase
from rollout.domain.limits import FLEET_LIMIT, Tally
from rollout.domain.plan import Plan
from rollout.domain.windows import least_node_s, next_open, opening
from rollout.engine.rules import is_out

_LOOK_AGAIN = timedelta(seconds=5)
_BLIND = "no node is taken out of service while the cluster cannot be seen: other nodes may be out already"
_RETRY = "rollout resume --retry NODE tries a quarantined one again, rollout rollback leads it back"
_NEW_PLAN = "only another plan helps: rollout plan"
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Wait:
    """Why a node may not go now."""

    why: str
    wake_at: datetime | None = None
    """When to ask again though nothing of ours happened; None: no need to."""
    for_person: bool = False
    """Nothing that goes on by itself ends it: it waits for quarantined nodes."""


class Slots:
    """Answers for one moment. `foreign_out`: nodes out of service, whoever did it; None: the cluster cannot be seen."""

    def __init__(self, plan: Plan, state: RolloutState, foreign_out: frozenset[str] | None, now: datetime) -> None:
        self._plan = plan
        self._now = now
        self._blind = foreign_out is None
        nodes = state.nodes.values()
        self._fenced = frozenset(n.name for n in nodes if n.phase is NodePhase.QUARANTINED)
        self._ours = {n.name for n in nodes if is_out(n)}
        self._foreign = (foreign_out or frozenset()) - {n.name for n in nodes if n.phase in FENCED_PHASES}
        self._tally: Tally | None = None
        self._waits: dict[str, Wait] = {}

    @cached_property
    def closed(self) -> Wait | None:
        """Why no node begins at this time; None when windows and freezes let it."""
        return begins(self._plan, self._now)

    def take(self, name: str) -> None:
        """The node was let go: it counts from now on."""
        self._ours.add(name)
        self._foreign -= {name}
        self._waits.clear()
        if self._tally is not None:
            self._tally.take(name)

    def refuses(self, name: str) -> Wait | None:
        """Why a node may not be taken out of service now; None when it may."""
        if self._blind:
            return Wait(_BLIND, self._now + _LOOK_AGAIN)
        if self._tally is None:
            self._tally = self._plan.limit_index.tally(self._ours | self._foreign, self._fenced)
        binding = self._tally.blocks(name)
        if binding is None:
            return None
        if binding not in self._waits:
            self._waits[binding] = self._wait(binding)
        shared = self._waits[binding]
        return Wait(f"node {name} waits: {shared.why}", shared.wake_at, shared.for_person)

    def _wait(self, limit: str) -> Wait:
        """What uses a limit up. Only what is not ours to end by itself has to be looked at again."""
        index = self._plan.limit_index
        foreign = index.holders(limit, self._foreign)
        ours = index.holders(limit, self._ours)
        fenced = index.holders(limit, self._fenced) if limit != FLEET_LIMIT else ()
        told = [f"{_listed(foreign)} out of service"] if foreign else []
        told += [f"{_listed(fenced)} quarantined"] if fenced else []
        told += [f"{_listed(ours)} in progress"] if ours else []
        if not told:
            return Wait(f"{limit} lets it never go; {_NEW_PLAN}", for_person=True)
        why = f"node(s) {'; '.join(told)}, which uses up {limit}"
        if foreign or ours:
            return Wait(why, self._now + _LOOK_AGAIN if foreign else None)
        return Wait(f"{why}; {_RETRY}", for_person=True)


def begins(plan: Plan, now: datetime) -> Wait | None:
    """Why no node may begin at this time; None when windows and freezes let it."""
    found, least = opening(plan.policy, now), least_node_s(plan.policy)
    if not found.open:
        return Wait(f"no node begins: {found.because}; {_next(found.until)}", found.until)
    if found.until is not None and (found.until - now).total_seconds() < least:
        again = next_open(plan.policy, found.until)
        ends = f"open time ends at {_shown(found.until)}, one node takes {least} s at least"
        return Wait(f"no node begins: {ends}; {_next(again)}", again)
    return None


def has_closed(plan: Plan, now: datetime) -> bool:
    """Whether a window has ended or a freeze begun, so that no node might be begun."""
    return not opening(plan.policy, now).open


def _next(at: datetime | None) -> str:
    return f"next at {_shown(at)}" if at else "no moment is open in sight: change windows in a new plan"


def _shown(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _listed(names: Iterable[str]) -> str:
    every = sorted(names)
    return ", ".join(every[:_SHOWN]) + (f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else "")
