"""Failure domains as limits: nodes out at once by the value of a node label, such as the zone."""

from __future__ import annotations

from rollout.domain.inventory import Inventory
from rollout.domain.limits import count_of
from rollout.domain.node import Node
from rollout.domain.plan import Limit
from rollout.domain.policy import Policy, SpreadRule
from rollout.planning.cohorts import require_label_key

UNTOLD = "(none)"
"""Value of nodes without the label: they are taken to be in one place that nobody named."""


def spread_limits(inventory: Inventory, policy: Policy) -> tuple[Limit, ...]:
    """Limits by label value. Raises `UsageError` with a near miss for a key that no node has."""
    found: list[Limit] = []
    for rule in policy.spread:
        require_label_key(inventory, rule.key, "spread")
        found += _of_rule(rule, inventory.cluster.nodes)
    return tuple(found)


def _of_rule(rule: SpreadRule, nodes: tuple[Node, ...]) -> list[Limit]:
    values: dict[str, list[str]] = {}
    for node in nodes:
        values.setdefault(node.labels.get(rule.key, UNTOLD), []).append(node.name)
    short = rule.key.rsplit("/", 1)[-1]
    group = rule.key if rule.values_at_once and rule.values_at_once < len(values) else ""
    limits = []
    for value, names in sorted(values.items()):
        most = count_of(rule.per_value, len(names)) if rule.per_value else len(names)
        if group or most < len(names):
            limits.append(
                Limit(
                    f"{short} {value}",
                    tuple(sorted(names)),
                    min(most, len(names)),
                    _why(rule, short, len(names)),
                    group,
                    rule.values_at_once if group else 0,
                )
            )
    return limits


def _why(rule: SpreadRule, short: str, count: int) -> str:
    told = [f"at most {rule.per_value} of its {count} nodes out at once"] if rule.per_value else []
    if rule.values_at_once:
        told.append(f"nodes of {rule.values_at_once} {short}(s) at a time")
    return f"policy.spread {rule.key}: {', '.join(told)}"
