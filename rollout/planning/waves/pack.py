"""Pack eligible nodes into a canary and growing waves, under limits that hold throughout. Same input, same order."""

from __future__ import annotations

from collections.abc import Sequence

from rollout.domain.inventory import Inventory
from rollout.domain.plan import Wave
from rollout.domain.policy import Policy
from rollout.planning.cohorts import require_cohort_keys
from rollout.planning.waves.bounds import bounds
from rollout.planning.waves.canary import choose_canary
from rollout.planning.waves.candidate import Candidate, Packing
from rollout.planning.waves.capacity import load_of
from rollout.planning.waves.fit import require_room
from rollout.planning.waves.grow import FinishedRoom, next_size


def pack(inventory: Inventory, policy: Policy, candidates: Sequence[Candidate]) -> Packing:
    """Canary first, then growing waves, emptiest nodes first, names breaking ties.

    Emptier nodes first and slow growth keep moves low: what evicted pods can land on are nodes already done
    (figures from a real scheduler: real-cluster.md). Raises `UsageError` for rules that name nothing or a window that
    no node fits into, `Refused` when the limits let no order exist.
    """
    require_cohort_keys(inventory, policy)
    require_room(policy, inventory.cluster.taken_at)
    if not candidates:
        return Packing(())
    found = bounds(inventory, policy, frozenset(one.node.name for one in candidates))
    order = sorted(candidates, key=lambda one: (one.evictions, one.node.name))
    canary = choose_canary(order, policy, found.last_of)
    first = {one.node.name for one in canary}
    rest = [one for one in order if one.node.name not in first]
    title = "canary" if rest else "wave 0"
    waves = [Wave(0, title, _names(canary), _why_canary(canary, policy))]
    return Packing((*waves, *_grown(inventory, policy, canary, rest)), found.limits)


def _grown(
    inventory: Inventory, policy: Policy, canary: Sequence[Candidate], rest: Sequence[Candidate]
) -> Sequence[Wave]:
    """The waves behind the canary."""
    room = _room(inventory, policy, [*canary, *rest])
    if room is not None:
        room.finish(canary, canary=True)
    waves: list[Wave] = []
    start, before = 0, len(canary)
    while start < len(rest):
        left = rest[start : start + before * max(1, policy.growth) + 1]
        size, why = next_size(left, policy.growth, before, room)
        taken = rest[start : start + size]
        number = len(waves) + 1
        waves.append(Wave(number, f"wave {number}", _names(taken), why))
        if room is not None:
            room.finish(taken, canary=False)
        start, before = start + size, size
    return waves


def _room(inventory: Inventory, policy: Policy, everyone: Sequence[Candidate]) -> FinishedRoom | None:
    """None when growth is not bound by capacity, or a node does not tell what it offers."""
    told = all(one.node.pod_slots or one.node.cpu_millis for one in everyone)
    if not policy.capacity_growth or not told:
        return None
    return FinishedRoom({one.node.name: load_of(one.node, inventory.pods_on(one.node.name)) for one in everyone})


def _names(wave: Sequence[Candidate]) -> tuple[str, ...]:
    return tuple(one.node.name for one in wave)


def _why_canary(canary: Sequence[Candidate], policy: Policy) -> str:
    cohorts = len({one.cohort for one in canary})
    if policy.canary_per_cohort and cohorts >= policy.canary:
        return f"one node of each cohort: {cohorts}"
    return f"policy.canary: {policy.canary}"
