"""What a plan writes on nodes, and which nodes an object selects before and after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rollout.domain.inventory import Inventory
from rollout.domain.node import LABEL_MODE
from rollout.domain.plan import NodePlan, SelectionChange

MOST_NAMED = 50
"""Nodes named in one half of a change: a fleet of thousands would drown the document, and its size is told."""

Matches = Callable[[str, Mapping[str, str]], bool]
"""Whether an object selects the node of this name with these labels."""


@dataclass(frozen=True, slots=True)
class Relabelled:
    """One node whose labels our plan changes."""

    name: str
    before: Mapping[str, str]
    after: Mapping[str, str]


def relabelled(inventory: Inventory, nodes: Sequence[NodePlan]) -> tuple[Relabelled, ...]:
    """Nodes of the plan whose labels will differ, in name order."""
    found = []
    for plan in sorted(nodes, key=lambda n: n.name):
        before = inventory.cluster.nodes_by_name[plan.name].labels
        if before.get(LABEL_MODE, "") != plan.assign:
            found.append(Relabelled(plan.name, before, labels_after(before, plan.assign)))
    return tuple(found)


def labels_after(labels: Mapping[str, str], assign: str) -> dict[str, str]:
    """A node's labels once ours has the value `assign`; empty removes it."""
    rest = {key: value for key, value in labels.items() if key != LABEL_MODE}
    return rest | ({LABEL_MODE: assign} if assign else {})


def gains_and_loses(matches: Matches, written: Iterable[Relabelled]) -> tuple[list[str], list[str]]:
    """Nodes selected from then on, and nodes selected no more."""
    gains: list[str] = []
    loses: list[str] = []
    for node in written:
        was, will = matches(node.name, node.before), matches(node.name, node.after)
        if was != will:
            (gains if will else loses).append(node.name)
    return gains, loses


def change(
    kind: str,
    namespace: str,
    name: str,
    *,
    cause: str,
    consequence: str,
    gains: Sequence[str] = (),
    loses: Sequence[str] = (),
) -> SelectionChange:
    """A change that names a bounded number of nodes, and says how many it leaves unnamed."""
    cut = max(0, len(gains) - MOST_NAMED) + max(0, len(loses) - MOST_NAMED)
    named = tuple(sorted(gains)[:MOST_NAMED]), tuple(sorted(loses)[:MOST_NAMED])
    return SelectionChange(kind, namespace, name, cause, *named, consequence, cut)
