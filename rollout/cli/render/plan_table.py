"""Every node and pod of a plan as compact plain data, for the script of its HTML page.

Texts that occur often stand once in `strings`; what pods of one workload share is a class; a pod's name is its
owner's and its own ending. 150,000 pods take about as many times 20 characters.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from rollout.cli.render.html import shown
from rollout.cli.render.plan_nodes import FATES, facts
from rollout.cli.render.plan_view import PlanView
from rollout.domain.plan import Going, NodePlan, PlannedPod

GOING = (Going.NOW, Going.WAITS, Going.NEVER)


class _Interned:
    """Texts by number; the empty text is 0."""

    def __init__(self) -> None:
        self.texts: list[str] = [""]
        self._numbers: dict[str, int] = {"": 0}

    def number(self, text: str) -> int:
        """The number of a text."""
        found = self._numbers.get(text)
        if found is None:
            found = self._numbers[text] = len(self.texts)
            self.texts.append(shown(text))
        return found


class PlanTable:
    """Builds the data; `values()` gives it."""

    def __init__(self, view: PlanView) -> None:
        self._view = view
        self._texts = _Interned()
        self._nodes = [view.plan.node(name) for wave in view.plan.waves for name in wave.nodes]
        self._places = {node.name: number for number, node in enumerate(self._nodes)}
        self._elsewhere: list[str] = []
        self._classes: dict[tuple[Any, ...], int] = {}

    def values(self) -> dict[str, Any]:
        """Plain values. `pods`: per node class, ending, place it lands on (-1: none) and why, one after the other."""
        plan = self._view.plan
        facts_of = [self._facts(node) for node in self._nodes]
        risks = [[self._texts.number(risk) for risk in node.risks] for node in self._nodes]
        pods = [list(self._pods(node)) for node in self._nodes]
        return {
            "nodes": [shown(node.name) for node in self._nodes],
            "waves": [plan.wave_of(node.name).number for node in self._nodes],
            "elsewhere": self._elsewhere,
            "facts": facts_of,
            "risks": risks,
            "pods": pods,
            "classes": [list(row) for row in self._classes],
            "strings": self._texts.texts,
            "fates": [fate for fate, _ in FATES],
            "going": [each.value for each in GOING],
        }

    def _facts(self, node: NodePlan) -> list[int]:
        return [self._texts.number(text) for pair in facts(self._view, node) for text in pair]

    def _pods(self, node: NodePlan) -> Iterator[int | str]:
        for fate, (_, field) in enumerate(FATES):
            for pod in getattr(node, field):
                ending = _ending(pod)
                yield self._class(fate, pod, len(ending) < len(pod.ref.name))
                yield shown(ending)
                yield self._place(pod.lands_on)
                yield self._texts.number(pod.why)

    def _class(self, fate: int, pod: PlannedPod, prefixed: bool) -> int:
        """Fate, going, namespace, whether its name begins with its owner's, owner, budgets, note, alone, remedy."""
        text = self._texts.number
        key = (
            fate,
            GOING.index(pod.going) if fate == 0 else -1,
            text(pod.ref.namespace),
            int(prefixed),
            text(pod.owner or "nobody"),
            text(", ".join(pod.budgets)),
            text(pod.note),
            int(pod.replicas == 1),
            text(pod.remedy),
        )
        return self._classes.setdefault(key, len(self._classes))

    def _place(self, name: str) -> int:
        if not name:
            return -1
        if name not in self._places:
            self._places[name] = len(self._nodes) + len(self._elsewhere)
            self._elsewhere.append(shown(name))
        return self._places[name]


def _ending(pod: PlannedPod) -> str:
    """What tells a pod from its owner's others: controllers name them `<owner>-<ending>`; else its whole name."""
    owner = pod.owner.rpartition("/")[2]
    return pod.ref.name.removeprefix(f"{owner}-") if owner else pod.ref.name


_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def script_json(values: Any) -> Markup:
    """JSON that may stand in a script element: ASCII only, and nothing that could end the element."""
    text = json.dumps(values, ensure_ascii=True, allow_nan=False, separators=(",", ":"), sort_keys=True)
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return Markup(text)  # noqa: S704
