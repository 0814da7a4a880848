"""Which disruption budgets bound the eviction of a pod."""

from __future__ import annotations

from collections.abc import Iterable

from rollout.domain.node import Pod, PodDisruptionBudget

Pair = tuple[str, str]


class _Namespace:
    """Budgets of one namespace: by one label pair that a pod must have, and those that have none."""

    __slots__ = ("by_pair", "others")

    def __init__(self) -> None:
        self.by_pair: dict[Pair, list[PodDisruptionBudget]] = {}
        self.others: list[PodDisruptionBudget] = []


class BudgetIndex:
    """Answers which budgets a pod is under; the costs grow with the pod's labels, not with the budgets."""

    def __init__(self, budgets: Iterable[PodDisruptionBudget]) -> None:
        self._namespaces: dict[str, _Namespace] = {}
        for budget in sorted(budgets, key=lambda b: (b.namespace, b.name)):
            place = self._namespaces.setdefault(budget.namespace, _Namespace())
            pairs = _needed_pairs(budget)
            if not pairs:
                place.others.append(budget)
            for pair in pairs:
                place.by_pair.setdefault(pair, []).append(budget)

    def of(self, pod: Pod) -> tuple[PodDisruptionBudget, ...]:
        """Budgets that bound evictions of the pod, in name order. The API covers no pod that has no labels."""
        place = self._namespaces.get(pod.ref.namespace)
        if place is None or not pod.labels:
            return ()
        found = [b for pair in pod.labels.items() for b in place.by_pair.get(pair, ()) if b.matches(pod)]
        found += [b for b in place.others if b.matches(pod)]
        return tuple(sorted(found, key=lambda b: b.name)) if len(found) > 1 else tuple(found)


def _needed_pairs(budget: PodDisruptionBudget) -> tuple[Pair, ...]:
    """Label pairs of which a pod under the budget has exactly one; none when its selector names no value."""
    for key in sorted(budget.match_labels):
        return ((key, budget.match_labels[key]),)
    for row in budget.match_expressions:
        if row.operator == "In":
            return tuple((row.key, value) for value in sorted(set(row.values)))
    return ()
