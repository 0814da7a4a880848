"""All limits of a plan, and whether they can be met at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rollout.domain.errors import Refused
from rollout.domain.inventory import Inventory
from rollout.domain.plan import Limit
from rollout.domain.policy import Policy
from rollout.planning.waves.budgets import budget_limits
from rollout.planning.waves.capacity import capacity_limit
from rollout.planning.waves.keeps import Kept, keep_limits
from rollout.planning.waves.spread import spread_limits


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits that name planned nodes, and nodes that are the last of a set to keep, with that set's name."""

    limits: tuple[Limit, ...]
    last_of: Mapping[str, str]


def bounds(inventory: Inventory, policy: Policy, planned: frozenset[str]) -> Bounds:
    """Everything that limits how many of which nodes are out at once.

    Raises `UsageError` for a rule that names nothing, `Refused` when two rules can never both be met.
    """
    keeps = keep_limits(inventory, policy)
    _require_possible(keeps, planned)
    spread = spread_limits(inventory, policy)
    capacity = capacity_limit(inventory, policy, planned)
    most = policy.most_unavailable(len(inventory.cluster.nodes))
    limits = [*spread, *_binding(keeps), *([capacity] if capacity else [])]
    limits += budget_limits(inventory, policy, planned, most)
    last_of: dict[str, str] = {}
    for kept in keeps:
        for name in kept.immovable:
            last_of.setdefault(name, kept.limit.name)
    return Bounds(_named_once([limit for limit in limits if planned & set(limit.nodes)]), last_of)


def _binding(keeps: Sequence[Kept]) -> list[Limit]:
    """Limits that do not let all of their nodes go at once."""
    return [kept.limit for kept in keeps if kept.limit.most_out < len(kept.limit.nodes)]


def _require_possible(keeps: Sequence[Kept], planned: frozenset[str]) -> None:
    for kept in keeps:
        stuck = sorted(planned.intersection(kept.immovable))
        if kept.demanded and stuck:
            raise Refused(
                "never-met",
                f"cannot plan: {kept.limit.why}, and moving node {stuck[0]} takes it out: both cannot be met",
                hint=f"keep one less in policy.keep, give the set one member more, or leave out {', '.join(stuck[:5])}",
            )


def _named_once(limits: Sequence[Limit]) -> tuple[Limit, ...]:
    """Limits with names of their own: what is refused or waited for must be told apart."""
    seen: dict[str, int] = {}
    named = []
    for limit in limits:
        seen[limit.name] = seen.get(limit.name, 0) + 1
        number = seen[limit.name]
        name = limit.name if number == 1 else f"{limit.name} ({number})"
        named.append(Limit(name, limit.nodes, limit.most_out, limit.why, limit.group, limit.groups_at_once))
    return tuple(named)
