"""What becomes of pods in one plan and in another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields

from rollout.domain.plan import NodePlan, Plan, PlannedPod
from rollout.planning.compare import words

_FATES = (("evicted", "evictions"), ("stopped with its node", "daemon_pods"), ("straggler", "stragglers"))


@dataclass(frozen=True, slots=True)
class Change:
    """Something that is otherwise. `kind`: added, removed or changed; `nodes`: those it is true of, none for all."""

    kind: str
    what: str
    before: str
    after: str
    why: str = ""
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Placed:
    node: str
    fate: str
    pod: PlannedPod


def pod_changes(before: Plan, after: Plan) -> Iterator[Change]:
    """Pods whose prospects changed one by one; pods that came, went or only land elsewhere as counts.

    A pod is known by namespace and name; one that was made anew under another name has gone, and another has come.
    """
    old, new = _pods(before), _pods(after)
    both = sorted(old.keys() & new.keys())
    yield from _prospects(old, new, both)
    yield from _counted("removed", [old[key] for key in sorted(old.keys() - new.keys())])
    yield from _counted("added", [new[key] for key in sorted(new.keys() - old.keys())])
    yield from _details(old, new, both)
    yield from _orders(before, after)


def _pods(plan: Plan) -> dict[tuple[str, str, int], _Placed]:
    """Pods by namespace and name; the number tells apart what should never be there twice."""
    found: dict[tuple[str, str, int], _Placed] = {}
    seen: Counter[tuple[str, str]] = Counter()
    for node in plan.nodes:
        for fate, field in _FATES:
            for pod in getattr(node, field):
                name = (pod.ref.namespace, pod.ref.name)
                found[*name, seen[name]] = _Placed(node.name, fate, pod)
                seen[name] += 1
    return found


def _prospects(
    old: dict[tuple[str, str, int], _Placed], new: dict[tuple[str, str, int], _Placed], both: list[tuple[str, str, int]]
) -> Iterator[Change]:
    for key in both:
        was, now = old[key], new[key]
        if (was.fate, was.pod.going) != (now.fate, now.pod.going):
            why = "; ".join(text for text in (now.pod.why, now.pod.remedy) if text)
            yield Change("changed", f"pod {now.pod.ref}", _going(was), _going(now), why, (now.node,))


def _going(each: _Placed) -> str:
    return f"{each.fate}, goes {each.pod.going.value}" if each.fate == "evicted" else each.fate


def _counted(kind: str, pods: list[_Placed]) -> Iterator[Change]:
    groups: dict[tuple[str, str, str], list[_Placed]] = {}
    for each in pods:
        groups.setdefault((each.pod.ref.namespace, each.pod.owner or "no owner", each.fate), []).append(each)
    for (namespace, owner, fate), found in sorted(groups.items(), key=lambda row: (-len(row[1]), row[0])):
        many = f"{len(found)} pods" if len(found) > 1 else str(found[0].pod.ref)
        before, after = (many, "") if kind == "removed" else ("", many)
        nodes = tuple(sorted({each.node for each in found}))
        yield Change(kind, f"pods of {namespace} {owner}, {fate}", before, after, "", nodes)


def _details(
    old: dict[tuple[str, str, int], _Placed], new: dict[tuple[str, str, int], _Placed], both: list[tuple[str, str, int]]
) -> Iterator[Change]:
    """What else differs in pods of both plans, counted by field; a single one with its values."""
    differing: dict[str, list[tuple[_Placed, _Placed]]] = {}
    for key in both:
        was, now = old[key], new[key]
        if was.node != now.node:
            differing.setdefault("node", []).append((was, now))
        if was.pod is not now.pod and was.pod != now.pod:
            for field in fields(PlannedPod):
                if field.name != "going" and getattr(was.pod, field.name) != getattr(now.pod, field.name):
                    differing.setdefault(field.name, []).append((was, now))
    for name, pairs in sorted(differing.items(), key=lambda row: (-len(row[1]), row[0])):
        nodes = tuple(sorted({now.node for _, now in pairs}))
        if len(pairs) == 1:
            was, now = pairs[0]
            yield Change("changed", f"pod {now.pod.ref}: {name}", _value(was, name), _value(now, name), "", nodes)
        else:
            example = pairs[0][1].pod.ref
            yield Change("changed", f"{name} of {len(pairs)} pods, e.g. {example}", "", "", "", nodes)


def _value(each: _Placed, name: str) -> str:
    return each.node if name == "node" else words(getattr(each.pod, name))


def _orders(before: Plan, after: Plan) -> Iterator[Change]:
    """Nodes with the same pods in another order."""
    old = {node.name: node for node in before.nodes}
    found = [node.name for node in after.nodes if node.name in old and _only_order(old[node.name], node)]
    if found:
        yield Change("changed", "order of pods", "", "", "", tuple(sorted(found)))


def _only_order(was: NodePlan, now: NodePlan) -> bool:
    pairs = [(getattr(was, field), getattr(now, field)) for _, field in _FATES]
    return all(Counter(a) == Counter(b) for a, b in pairs if a != b) and any(a != b for a, b in pairs)
