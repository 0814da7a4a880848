"""Every node of a plan, with every pod: for who knows the cluster."""

from __future__ import annotations

from collections.abc import Iterator

from rollout.cli.render.blocks import Block, Bullets, Heading, Pairs, Para, Table, Tone
from rollout.cli.render.plan_blast import config_rows
from rollout.cli.render.plan_view import PlanView, settings
from rollout.cli.render.words import count, span
from rollout.domain.plan import Going, NodePlan, PlannedPod, PlannedStep
from rollout.domain.step import STEPS

FATES = (("evicted", "evictions"), ("DaemonSet", "daemon_pods"), ("straggler", "stragglers"))
"""What happens to pods, and the field of a node's plan that names them."""


def ways(view: PlanView) -> Iterator[Block]:
    """Nodes of one method go one way, so each way is shown once."""
    found: dict[tuple[PlannedStep, ...], list[NodePlan]] = {}
    for node in view.plan.nodes:
        found.setdefault(node.steps, []).append(node)
    for steps, alike in found.items():
        first = alike[0]
        yield Heading(f"The way of a node by {first.method.value}: {count(len(alike), 'node')}, {_deadlines(steps)}")
        yield Table(("#", "step", "what it does", "deadline"), tuple(_step(n, s) for n, s in enumerate(steps, 1)))
        yield Para(f"if it fails before its mode was assigned: {_way(first.returning)}")
        if first.backing:
            yield Para(f"back from its new mode: {_way(first.backing)}")


def nodes(view: PlanView) -> Iterator[Block]:
    """Each node in the order of the waves, as many as are shown."""
    plan = view.plan
    ordered = [plan.node(name) for wave in plan.waves for name in wave.nodes]
    for node in ordered if view.most is None else ordered[: view.most]:
        yield from node_page(view, node)
    yield from view.left(ordered, "nodes")


def node_page(view: PlanView, node: NodePlan) -> Iterator[Block]:
    """One node: its facts, its risks, its pods."""
    yield Heading(f"Node {node.name}: {node.source.value} to {node.target.value} by {node.method.value}")
    yield Pairs(facts(view, node))
    if node.risks:
        yield Bullets(tuple(f"risk: {risk}" for risk in node.risks), Tone.CARE)
    rows = [(fate, pod) for fate, field in FATES for pod in getattr(node, field)]
    if rows:
        headers = ("pod", "what", "going", "owner", "budgets", "lands on", "note")
        yield Table(headers, tuple(_pod(*row) for row in rows), tuple(_tone(pod) for _, pod in rows))


def facts(view: PlanView, node: NodePlan) -> tuple[tuple[str, str], ...]:
    """What the plan knows of a node."""
    known, wave = node.facts, view.plan.wave_of(node.name)
    optional = (("pool that replaces it", node.pool), ("zone", node.zone), ("cohort", node.cohort))
    return (
        ("way", f"wave {wave.number} ({wave.name}), by {node.method.value}, {_deadlines(node.steps)}"),
        *((name, text) for name, text in optional if text),
        ("kernel", known.kernel),
        ("address", known.internal_ip),
        ("mode label", f"set to {node.assign}" if node.assign else "removed: the cluster's own setting gives the mode"),
        ("endpoint links now", settings((k, str(v)) for k, v in known.links.items()) or "none seen"),
        *((f"setting {key}", _change(row)) for key, *row in config_rows(node)),
    )


def _change(row: list[str]) -> str:
    before, was, after, becomes = row
    where = f" (from {was} to {becomes})" if (was, becomes) != ("-", "-") else ""
    return f"{before} -> {after}{where}"


def _deadlines(steps: tuple[PlannedStep, ...]) -> str:
    return f"{len(steps)} steps with deadlines of {span(sum(s.deadline_s for s in steps))} in all"


def _step(number: int, step: PlannedStep) -> tuple[str, ...]:
    return str(number), step.kind.value, STEPS[step.kind].does, span(step.deadline_s)


def _way(steps: tuple[PlannedStep, ...]) -> str:
    return ", ".join(step.kind.value for step in steps)


def going_of(fate: str, pod: PlannedPod) -> str:
    """What the drain proof says of an evicted pod; nothing is proven of others."""
    return pod.going.value if fate == "evicted" else "-"


def _pod(fate: str, pod: PlannedPod) -> tuple[str, ...]:
    lands = pod.lands_on or "-"
    budgets = ", ".join(pod.budgets) or "-"
    return str(pod.ref), fate, going_of(fate, pod), pod.owner or "nobody", budgets, lands, notes(pod)


def notes(pod: PlannedPod) -> str:
    """All that is said of a pod in words."""
    alone = "the only one of its workload" if pod.replicas == 1 else ""
    return "; ".join(text for text in (pod.why, pod.remedy, alone, pod.note) if text)


def _tone(pod: PlannedPod) -> Tone:
    return {Going.NOW: Tone.PLAIN, Going.WAITS: Tone.CARE, Going.NEVER: Tone.BAD}[pod.going]
