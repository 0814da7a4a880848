"""Our taint on nodes still to do: read who carries it, put it on, take it off; never in the way of a rollout."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rollout.app.world import World
from rollout.domain.errors import NotFound, RolloutError
from rollout.domain.journal import WaitingIntent, WaitingOutcome
from rollout.domain.node import TAINT_WAITING, Node, OwnerMark
from rollout.domain.plan import Plan

AT_ONCE = 8
"""Patches in flight together; the connection's own limit of requests per second bounds them anyway."""
_NAMED = 5

Change = Callable[[str, OwnerMark], Node]


@dataclass(frozen=True, slots=True)
class MarksRead:
    """Who carries the taint, each with the rollout it names. None: the cluster could not be seen."""

    carriers: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class MarksSet:
    """An intent was carried out, as far as it went."""

    body: WaitingOutcome


def read_marks(world: World) -> MarksRead:
    """Who carries the taint now."""
    try:
        return MarksRead(world.cluster.waiting())
    except RolloutError as error:
        world.reporter.note(f"nodes still to do are not marked: {error.message}")
        return MarksRead(None)


def set_marks(
    world: World, plan: Plan, rollout: str, intent: WaitingIntent, stopped: Callable[[], bool]
) -> WaitingOutcome:
    """Put the taint on and take it off. A node that is gone has lost it; any other failure is reported, and kept."""
    mark = OwnerMark(rollout, plan.digest[:12], supersedes=plan.supersedes)
    cluster = world.cluster
    failed = _change_all(cluster.remove_waiting, intent.free, mark, stopped)
    failed |= _change_all(cluster.add_waiting, intent.put, mark, stopped)
    if failed:
        world.reporter.note(_words(failed))
    return WaitingOutcome(dict(sorted(failed.items())))


def _change_all(change: Change, names: Iterable[str], mark: OwnerMark, stopped: Callable[[], bool]) -> dict[str, str]:
    def one(name: str) -> str:
        if stopped():
            return "stopped before its turn"
        try:
            change(name, mark)
        except NotFound:
            return ""
        except RolloutError as error:
            return error.message
        return ""

    wanted = tuple(names)
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="waiting") as workers:
        return {name: reason for name, reason in zip(wanted, workers.map(one, wanted), strict=True) if reason}


def _words(failed: Mapping[str, str]) -> str:
    shown = "; ".join(f"{name}: {failed[name]}" for name in sorted(failed)[:_NAMED])
    more = f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
    return (
        f"the taint {TAINT_WAITING} could not be changed on {len(failed)} node(s), which stops nothing: {shown}{more}"
    )
