"""Faults that the plan's document shows by itself."""

from __future__ import annotations

from collections import Counter

from rollout.domain.node import NODE_CONFIG_NAME, is_object_name
from rollout.domain.plan import Finding, Going, NodePlan, Plan
from rollout.domain.policy import Waiver
from rollout.domain.step import StepKind, ways


def document_faults(plan: Plan) -> list[str]:
    """Faults of the document alone."""
    faults = [*_membership(plan), *_waves(plan), *_node_configs(plan), *_findings(plan), *_pods(plan)]
    for node in plan.nodes:
        faults += _node(node, plan.adopts)
    return faults


def _membership(plan: Plan) -> list[str]:
    in_waves = Counter(name for wave in plan.waves for name in wave.nodes)
    names = Counter(node.name for node in plan.nodes)
    faults = [f"node {n} is in {c} places of the waves" for n, c in in_waves.items() if c > 1]
    faults += [f"node {n} is planned {c} times" for n, c in names.items() if c > 1]
    faults += [f"node {n} is in a wave but has no plan" for n in in_waves if n not in names]
    faults += [f"node {n} has a plan but is in no wave" for n in names if n not in in_waves]
    left_out = {e.node for e in plan.excluded}
    faults += [f"node {n} is both planned and left out" for n in names if n in left_out]
    return faults


def _waves(plan: Plan) -> list[str]:
    faults, size = [], _first_size(plan)
    for index, wave in enumerate(plan.waves):
        if wave.number != index:
            faults.append(f"wave {wave.number} stands at place {index}")
        if not wave.nodes:
            faults.append(f"wave {index} is empty")
        if len(wave.nodes) > size:
            faults.append(f"wave {index} has {len(wave.nodes)} nodes, the policy allows {size}")
        size = max(1, plan.policy.growth) * len(wave.nodes)
    return faults + _cohorts(plan)


def _first_size(plan: Plan) -> int:
    cohorts = {node.cohort for node in plan.nodes} if plan.policy.canary_per_cohort else set()
    return max(1, plan.policy.canary, len(cohorts))


def _cohorts(plan: Plan) -> list[str]:
    """Each cohort is spoken for by a node of the first wave."""
    if not plan.policy.canary_per_cohort or not plan.waves:
        return []
    first = set(plan.waves[0].nodes)
    spoken_for = {node.cohort for node in plan.nodes if node.name in first}
    silent = sorted({node.cohort for node in plan.nodes} - spoken_for)
    return [f"cohort {cohort or '(all alike)'} has no node in the first wave" for cohort in silent]


def _node_configs(plan: Plan) -> list[str]:
    faults = []
    offered = {c.label_value for c in plan.node_configs}
    for config in plan.node_configs:
        if not config.label_value:
            faults.append(f"CiliumNodeConfig {config.name} would select nodes without our label")
        if not config.name.startswith(NODE_CONFIG_NAME):
            faults.append(f"CiliumNodeConfig {config.name} is not named as ours")
        if dict(config.defaults) != {"datapath-mode": config.label_value}:
            faults.append(f"CiliumNodeConfig {config.name} sets more than the mode it selects on")
    for node in plan.nodes:
        if node.assign and node.assign not in offered:
            faults.append(f"node {node.name} gets label {node.assign}, which no CiliumNodeConfig selects")
    return faults


def _findings(plan: Plan) -> list[str]:
    planned = {node.name for node in plan.nodes}
    faults = [
        f"{f.node or 'the cluster'} is planned although {f.rule} says {f.status}"
        for f in plan.findings
        if f.status in ("block", "unknown") and (not f.node or f.node in planned)
    ]
    for found in plan.findings:
        if found.status == "waived" and not any(_waives(waiver, found) for waiver in plan.policy.waivers):
            faults.append(f"{found.rule} counts as waived on {found.node or 'the cluster'}, and nobody waived it")
    return faults


def _waives(waiver: Waiver, found: Finding) -> bool:
    speaks_of = not waiver.nodes or found.node in waiver.nodes
    return waiver.rule == found.rule and speaks_of and bool(waiver.by.strip()) and bool(waiver.reason.strip())


def _pods(plan: Plan) -> list[str]:
    """Nobody is evicted who never goes, and nobody twice."""
    faults = [
        f"node {node.name} is planned although pod {pod.ref} never goes: {pod.why}"
        for node in plan.nodes
        for pod in node.evictions
        if pod.going is Going.NEVER
    ]
    moved = Counter(pod.ref for node in plan.nodes for pod in (*node.evictions, *node.daemon_pods, *node.stragglers))
    again = sorted(ref for ref, count in moved.items() if count > 1)
    return faults + [f"pod {ref} moves {moved[ref]} times" for ref in again]


def _node(node: NodePlan, adopts: bool) -> list[str]:
    faults = []
    if not is_object_name(node.name):
        faults.append(f"{node.name!r} is not a node name")
    allowed = ways(node.method, adopts=adopts)
    wanted = {"steps": allowed.forward, "returning": allowed.returning, "backing": allowed.backing}
    for name, kinds in wanted.items():
        if tuple(step.kind for step in getattr(node, name)) != kinds:
            faults.append(f"node {node.name}: its {name} are not those of method {node.method.value}")
    if any(step.deadline_s <= 0 for step in (*node.steps, *node.returning, *node.backing)):
        faults.append(f"node {node.name}: a step has no deadline")
    if node.steps and node.steps[0].kind is not StepKind.RECHECK:
        faults.append(f"node {node.name}: it is not rechecked first")
    return faults
