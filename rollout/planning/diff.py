"""What changed between two plans, and why: whom it touches first, bookkeeping last.

Nothing is left out: plans whose bytes differ have a change here. Nodes that change alike are one change, so that a
fleet's new kernel is one line and not 5,000.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from rollout.domain.plan import Excluded, NodePlan, Plan
from rollout.planning.compare import Difference, compare, words
from rollout.planning.diff_pods import Change, pod_changes

_POD_FIELDS = ("evictions", "daemon_pods", "stragglers")


@dataclass(frozen=True, slots=True)
class Section:
    """Changes of one kind; sections come in the order of their weight."""

    name: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class PlanDiff:
    """Two plans held against each other. No section: they are the same."""

    before: str
    """Digest."""
    after: str
    sections: tuple[Section, ...]

    @property
    def counts(self) -> Mapping[str, int]:
        """Changes by section."""
        return {section.name: len(section.changes) for section in self.sections}


def diff_plans(before: Plan, after: Plan) -> PlanDiff:
    """Every difference. Costs grow with nodes and pods, not with their squares."""
    facts, rest = _node_fields(before, after)
    sections = (
        ("Nodes", [*_nodes(before, after), *rest]),
        ("Waivers", [*_fields("", before.policy.waivers, after.policy.waivers)]),
        ("Pods", [*pod_changes(before, after)]),
        ("Limits", [*_fields("", before.limits, after.limits)]),
        ("Policy", [*_policy(before, after)]),
        ("Preflight", [*_fields("", before.findings, after.findings)]),
        ("Time", [*_fields("estimate", before.estimate, after.estimate)]),
        ("What else it touches", [*_fields("", before.blast, after.blast)]),
        ("Objects and playbooks", [*_plan_fields(before, after, _OBJECTS)]),
        ("Facts", [*_fields("", before.cluster, after.cluster), *facts]),
        ("The plan itself", [*_plan_fields(before, after, _REST)]),
    )
    told = tuple(Section(name, tuple(changes)) for name, changes in sections if changes)
    return PlanDiff(before.digest, after.digest, told)


_TOLD = ("nodes", "waves", "excluded", "policy", "limits", "findings", "estimate", "blast", "cluster")
_OBJECTS = ("node_configs", "hooks", "playbooks", "pools")
_REST = tuple(field.name for field in fields(Plan) if field.name not in (*_TOLD, *_OBJECTS))
"""Fields of a plan that no section of their own tells of; new ones are here until they have one."""


def _change(found: Difference) -> Change:
    kind = "added" if found.before is None else "removed" if found.after is None else "changed"
    return Change(kind, found.path, found.before or "", found.after or "", found.why)


def _fields(path: str, before: Any, after: Any) -> Iterator[Change]:
    return (_change(found) for found in compare(path, before, after))


def _plan_fields(before: Plan, after: Plan, names: tuple[str, ...]) -> Iterator[Change]:
    for name in names:
        yield from _fields(name, getattr(before, name), getattr(after, name))


def _policy(before: Plan, after: Plan) -> Iterator[Change]:
    for field in fields(before.policy):
        if field.name != "waivers":
            yield from _fields(field.name, getattr(before.policy, field.name), getattr(after.policy, field.name))


# --- nodes ----------------------------------------------------------------------------------------------------------


def _nodes(before: Plan, after: Plan) -> Iterator[Change]:
    old, new = _by_name(before), _by_name(after)
    left_before, left_after = _left_out(before), _left_out(after)
    yield from _come(new.keys() - old.keys(), left_before)
    yield from _gone(old.keys() - new.keys(), left_after)
    yield from _left(old, new, left_before, left_after)
    yield from _waves(before, after, old.keys() & new.keys())


def _by_name(plan: Plan) -> dict[str, NodePlan]:
    return {node.name: node for node in plan.nodes}


def _left_out(plan: Plan) -> dict[str, Excluded]:
    return {each.node: each for each in plan.excluded}


def _come(names: set[str], left_before: Mapping[str, Excluded]) -> Iterator[Change]:
    """Nodes that move now and did not, those with equal reasons together."""
    groups: dict[str, list[str]] = {}
    for name in sorted(names):
        was = left_before.get(name)
        why = f"was left out: {'; '.join(was.reasons)}" if was else "the plan before did not speak of it"
        groups.setdefault(why, []).append(name)
    for why, found in groups.items():
        yield Change("added", "moves", "", "yes", why, tuple(found))


def _gone(names: set[str], left_after: Mapping[str, Excluded]) -> Iterator[Change]:
    groups: dict[str, list[str]] = {}
    for name in sorted(names):
        now = left_after.get(name)
        why = f"left out: {'; '.join(now.reasons)}" if now else "the plan no longer speaks of it"
        groups.setdefault(why, []).append(name)
    for why, found in groups.items():
        yield Change("removed", "moves", "yes", "", why, tuple(found))


def _left(
    old: Mapping[str, NodePlan],
    new: Mapping[str, NodePlan],
    left_before: Mapping[str, Excluded],
    left_after: Mapping[str, Excluded],
) -> Iterator[Change]:
    """Nodes that move in neither plan, or were and are left out, for other reasons."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name in sorted(left_before.keys() | left_after.keys()):
        was, now = left_before.get(name), left_after.get(name)
        alone = name in old or name in new
        if was != now and not (alone and (was is None or now is None)):
            groups.setdefault((_reasons(was), _reasons(now)), []).append(name)
    for (was_words, now_words), found in groups.items():
        yield Change("changed", "left out because", was_words, now_words, "", tuple(found))


def _reasons(each: Excluded | None) -> str:
    if each is None:
        return ""
    return "; ".join(each.reasons) + (f" (zone {each.zone})" if each.zone else "")


def _waves(before: Plan, after: Plan, both: set[str]) -> Iterator[Change]:
    why = {wave.number: wave.why for wave in after.waves}
    names = {(plan, wave.number): wave.name for plan in (0, 1) for wave in (before, after)[plan].waves}
    moved: dict[tuple[int, int], list[str]] = {}
    for name in sorted(both):
        pair = before.wave_of(name).number, after.wave_of(name).number
        if pair[0] != pair[1]:
            moved.setdefault(pair, []).append(name)
    for (was, now), found in sorted(moved.items()):
        old, new = (f"wave {n} ({names[plan, n]})" for plan, n in ((0, was), (1, now)))
        yield Change("changed", "wave", old, new, why.get(now, ""), tuple(found))
    for wave in after.waves:
        was_wave = next((w for w in before.waves[wave.number : wave.number + 1] if w.number == wave.number), None)
        if was_wave and was_wave.nodes != wave.nodes and Counter(was_wave.nodes) == Counter(wave.nodes):
            yield Change("changed", f"order in wave {wave.number}", words(was_wave.nodes), words(wave.nodes), wave.why)
    about = [{w.number: (w.name, w.why, str(len(w.nodes))) for w in plan.waves} for plan in (before, after)]
    for number in sorted(about[0].keys() | about[1].keys()):
        for place, what in enumerate(("name", "why so many nodes", "nodes")):
            was_text, now_text = (each[number][place] if number in each else None for each in about)
            if was_text != now_text:
                yield _change(Difference(f"wave {number}: {what}", was_text, now_text, why.get(number, "")))
    if [n.name for n in before.nodes] != [n.name for n in after.nodes] and len(before.nodes) == len(both) == len(
        after.nodes
    ):
        yield Change("changed", "order of the nodes in the document", "", "")


def _node_fields(before: Plan, after: Plan) -> tuple[list[Change], list[Change]]:
    """Changes of facts, and of all else, in nodes of both plans; nodes that change alike together."""
    old, new = _by_name(before), _by_name(after)
    facts: dict[Difference, list[str]] = {}
    rest: dict[Difference, list[str]] = {}
    for name in sorted(old.keys() & new.keys()):
        for field in fields(NodePlan):
            was, now = getattr(old[name], field.name), getattr(new[name], field.name)
            if field.name in _POD_FIELDS or was == now:
                continue
            into = facts if field.name == "facts" else rest
            for found in compare("" if field.name == "facts" else field.name, was, now):
                into.setdefault(found, []).append(name)
    return _grouped(facts), _grouped(rest)


def _grouped(found: Mapping[Difference, list[str]]) -> list[Change]:
    rows = []
    for each, names in found.items():
        change = _change(each)
        rows.append(Change(change.kind, change.what, change.before, change.after, change.why, tuple(names)))
    return sorted(rows, key=lambda row: (-len(row.nodes), row.what, row.nodes))
