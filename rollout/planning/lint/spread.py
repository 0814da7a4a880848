"""Whether the plan's limits hold every spread rule."""

from __future__ import annotations

from collections.abc import Mapping

from rollout.domain.inventory import Inventory
from rollout.domain.plan import Limit, Plan
from rollout.domain.policy import SpreadRule
from rollout.planning.lint.limits import around, fleet_most, limits_by_node, worst_missing


def spread_faults(plan: Plan, inventory: Inventory) -> list[str]:
    """Label values of which more nodes, or more at once, can be out than the policy allows."""
    by_node = limits_by_node(plan)
    planned = {node.name for node in plan.nodes}
    faults = []
    for rule in plan.policy.spread:
        values: dict[str, list[str]] = {}
        for node in inventory.cluster.nodes:
            values.setdefault(node.labels.get(rule.key, ""), []).append(node.name)
        faults += _per_value(plan, rule, values, planned, by_node)
        faults += _at_once(plan, rule, values, planned, by_node)
    return faults


def _per_value(
    plan: Plan,
    rule: SpreadRule,
    values: Mapping[str, list[str]],
    planned: set[str],
    by_node: Mapping[str, tuple[Limit, ...]],
) -> list[str]:
    faults = []
    for value, names in sorted(values.items()) if rule.per_value else ():
        share = rule.per_value.endswith("%")
        allowed = max(1, len(names) * int(rule.per_value[:-1]) // 100) if share else int(rule.per_value)
        members = {name: 1 for name in names if name in planned}
        found = worst_missing(members, fleet_most(plan), around(members, by_node))
        if found > allowed:
            faults.append(f"{rule.key} {value or '(none)'}: {found} nodes can be out, policy.spread allows {allowed}")
    return faults


def _at_once(
    plan: Plan,
    rule: SpreadRule,
    values: Mapping[str, list[str]],
    planned: set[str],
    by_node: Mapping[str, tuple[Limit, ...]],
) -> list[str]:
    """A group of limits must hold the planned nodes, and tell values apart: one value in each limit."""
    touched = {value: planned.intersection(names) for value, names in values.items() if planned.intersection(names)}
    if not rule.values_at_once or min(len(touched), fleet_most(plan)) <= rule.values_at_once:
        return []
    value_of = {name: value for value, names in values.items() for name in names}
    limits = [limit for limit in plan.limits if 0 < limit.groups_at_once <= rule.values_at_once]
    groups = {
        group
        for group in {limit.group for limit in limits}
        if all(len({value_of.get(n) for n in limit.nodes}) == 1 for limit in limits if limit.group == group)
    }
    loose = sorted(
        name
        for names in touched.values()
        for name in names
        if not any(limit.group in groups and limit in limits for limit in by_node.get(name, ()))
    )
    return [
        f"{rule.key}: no limit keeps {rule.values_at_once} value(s) at once on node(s) {', '.join(loose[:5])}"
    ] * bool(loose)
