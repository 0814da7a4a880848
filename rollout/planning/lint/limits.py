"""Whether limits make sense, and what they guarantee together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from rollout.domain.plan import Limit, Plan


def limit_faults(plan: Plan) -> list[str]:
    """Limits that say nothing, or that keep a planned node in service for ever."""
    names = Counter(limit.name for limit in plan.limits)
    faults = [f"{count} limits are called {name}" for name, count in names.items() if count > 1]
    for limit in plan.limits:
        faults += _of_limit(limit)
    planned = {node.name for node in plan.nodes}
    for limit in plan.limits:
        stuck = sorted(planned.intersection(limit.nodes)) if limit.most_out < 1 else []
        faults += [f"node {name} can never be taken out: {limit.name} lets no node go" for name in stuck]
    return faults + _two_places(plan, planned)


def _of_limit(limit: Limit) -> list[str]:
    faults = []
    if not limit.nodes:
        faults.append(f"limit {limit.name} names no node")
    if len(set(limit.nodes)) < len(limit.nodes):
        faults.append(f"limit {limit.name} names a node twice")
    if not limit.why:
        faults.append(f"limit {limit.name} does not say where its number comes from")
    if bool(limit.group) is not (limit.groups_at_once > 0):
        faults.append(f"limit {limit.name} has a group without a number at once, or the other way round")
    return faults


def _two_places(plan: Plan, planned: set[str]) -> list[str]:
    """A node in more limits of a group than may have nodes out at once could never go."""
    places: dict[tuple[str, str], int] = {}
    most: dict[str, int] = {}
    for limit in plan.limits:
        if limit.group:
            most[limit.group] = min(limit.groups_at_once, most.get(limit.group, limit.groups_at_once))
            for name in planned.intersection(limit.nodes):
                places[limit.group, name] = places.get((limit.group, name), 0) + 1
    return [
        f"node {name} can never be taken out: it stands in {count} limits of {group}, {most[group]} at once"
        for (group, name), count in sorted(places.items())
        if count > most[group]
    ]


def fleet_most(plan: Plan) -> int:
    """Most nodes out at once by `max_unavailable`, worked out from the policy's text."""
    text, fleet = plan.policy.max_unavailable, plan.cluster.fleet
    return max(1, fleet * int(text.rstrip("%")) // 100) if text.endswith("%") else int(text)


def limits_by_node(plan: Plan) -> Mapping[str, tuple[Limit, ...]]:
    """The limits that name each node."""
    found: dict[str, list[Limit]] = {}
    for limit in plan.limits:
        for name in limit.nodes:
            found.setdefault(name, []).append(limit)
    return {name: tuple(limits) for name, limits in found.items()}


def worst_missing(members: Mapping[str, int], most: int, limits: Iterable[Limit]) -> int:
    """The most members that can be out together, by the one limit that bounds them best.

    `members` are those of each planned node; `most` is the fleet's limit.
    """
    heaviest = sorted(members.values(), reverse=True)
    best = sum(heaviest[:most])
    for limit in limits:
        inside = [members[name] for name in limit.nodes if name in members]
        bound = sum(sorted(inside, reverse=True)[: limit.most_out]) + sum(heaviest) - sum(inside)
        best = min(best, bound)
    return best


def around(members: Iterable[str], by_node: Mapping[str, tuple[Limit, ...]]) -> tuple[Limit, ...]:
    """Every limit that names one of the nodes, each once."""
    found = {limit.name: limit for name in members for limit in by_node.get(name, ())}
    return tuple(found.values())
