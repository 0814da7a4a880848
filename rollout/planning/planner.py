"""Inventory plus policy to a plan and a report of what was left out and why."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rollout.domain.codec import canonical, sha256
from rollout.domain.errors import Refused, UsageError
from rollout.domain.inventory import AgentInstall, Inventory, effective_config
from rollout.domain.node import (
    ANNOTATION_ROLLOUT,
    LABEL_MODE,
    NODE_CONFIG_NAME,
    DatapathMode,
    Method,
    Node,
    Pod,
)
from rollout.domain.observed import PROBE_AGENT, PROBE_LINKS, parse_agent, parse_links
from rollout.domain.plan import (
    SCHEMA,
    Excluded,
    Finding,
    Hook,
    NodePlan,
    Plan,
    PlannedNodeConfig,
    PlannedPod,
    PlannedStep,
    eviction_namespaces,
)
from rollout.domain.policy import MethodChoice, Policy
from rollout.domain.scheduling import selector_matches
from rollout.domain.step import StepKind, ways
from rollout.domain.times import StepTime
from rollout.planning.adopt import not_adoptable
from rollout.planning.blast import blast_radius, require_watchable
from rollout.planning.cohorts import cohort_of
from rollout.planning.drain import Fate, PodFate, evictable, fates
from rollout.planning.effective import EffectiveConfigs
from rollout.planning.estimate import estimate
from rollout.planning.facts import cluster_facts, is_ours, label_keys, node_facts, prior_unschedulable
from rollout.planning.preflight import judge_preflight, stopping
from rollout.planning.proof import DrainProof, PodProof, freeing_change, never_empties, prove
from rollout.planning.replace import Pools, pool_limits
from rollout.planning.sources import replicas_of, sources
from rollout.planning.versions import GUARD_SINCE, parse_image_version
from rollout.planning.waves import Candidate, Packing, pack


@dataclass(frozen=True, slots=True)
class TakesBack:
    """A plan that takes back another rollout: which, and the mode its nodes were led to.

    A broken node is what a rollback is for, so rows about its present health only warn, and an agent that cannot tell
    its mode is taken to be in the one it was led to.
    """

    rollout: str
    mode: DatapathMode


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What a plan is made from beside inventory and policy."""

    serial: int
    program: str
    purpose: str = "rollout"
    takes_back: TakesBack | None = None
    hooks: tuple[Hook, ...] = ()
    playbooks: Mapping[str, str] | None = None
    adopts: bool = False
    """Only newly joined nodes that have no endpoint of the old kind: no baseline, no soak. Purpose `ADOPT`."""
    history: tuple[StepTime, ...] = ()
    """How long steps took before; with other times the estimate is another, hence the plan's bytes."""


def make_plan(inventory: Inventory, policy: Policy, request: PlanRequest) -> Plan:
    """The plan. Raises `UsageError` for a node nobody knows, `Refused` when no node may move."""
    require_watchable(inventory.cluster, policy)
    agent = inventory.cluster.agent
    wanted = select_nodes(inventory, policy)
    findings = judge_preflight(inventory, policy, wanted, mending=request.takes_back is not None)
    if agent is None:
        raise Refused(
            "no-agent",
            "cannot plan: no Cilium DaemonSet was found in this cluster",
            hint="name its namespace: agent_namespace in the configuration",
        )
    excluded: list[Excluded] = []
    able: list[Node] = []
    pools = Pools(inventory, policy) if policy.method is MethodChoice.REPLACE else None
    if pools is not None:  # rows about a node ask whether it can be moved itself, which nobody wants of it
        findings = tuple(finding for finding in findings if not finding.node)
    stops = stopping(findings)
    for node in wanted:
        own = (*stops.get("", ()), *stops.get(node.name, ()))
        reasons = _reasons(inventory, policy, node, request, own, pools)
        if reasons:
            excluded.append(Excluded(node.name, reasons))
        else:
            able.append(node)
    packing, proof = _pack_and_prove(inventory, policy, able, excluded)
    configs = EffectiveConfigs(agent, inventory.cluster.node_configs)
    planned = tuple(
        _plan_node(inventory, policy, node, request, proof, configs) for node in able if node.name in proof.nodes
    )
    if pools is not None:
        planned = tuple(pools.replacing(node) for node in planned)
        packing = replace(packing, limits=(*packing.limits, *pool_limits(planned)))
    if not planned:
        verb = "adopt" if request.adopts else "plan"
        hint = _why_nothing(inventory, policy, excluded)
        raise Refused("nothing-to-do", f"cannot {verb}: no node may move", hint=hint)
    zones = inventory.cluster.nodes_by_name
    left_out = tuple(replace(e, zone=zones[e.node].zone) for e in sorted(excluded, key=lambda e: e.node))
    plan = _assemble(inventory, policy, request, agent, packing, planned, left_out, findings)
    return replace(plan, pools=pools.planned(planned)) if pools is not None else plan


def _pack_and_prove(
    inventory: Inventory, policy: Policy, able: Sequence[Node], excluded: list[Excluded]
) -> tuple[Packing, DrainProof]:
    """Waves whose every pod goes. A node with a pod that never goes is left out, which may free others: again, then."""
    left = list(able)
    while True:
        packing = pack(inventory, policy, [_candidate(inventory, policy, node) for node in left])
        proof = prove(inventory, policy, packing.waves, packing.limits)
        stuck = {node.name: proof.never(node.name) for node in left if proof.never(node.name)}
        if not stuck:
            return packing, proof
        excluded += [Excluded(name, tuple(_never(p) for p in pods)) for name, pods in sorted(stuck.items())]
        left = [node for node in left if node.name not in stuck]


def _never(proof: PodProof) -> str:
    return f"pod {proof.pod.ref}: {proof.why}" + (f"; {proof.remedy}" if proof.remedy else "")


def _candidate(inventory: Inventory, policy: Policy, node: Node) -> Candidate:
    pods = evictable(inventory.pods_on(node.name), policy.drain)
    return Candidate(
        node=node,
        cohort=cohort_of(inventory, policy, node),
        evictions=len(pods),
        cpu_millis=sum(pod.cpu_millis for pod in pods),
        memory_bytes=sum(pod.memory_bytes for pod in pods),
    )


def select_nodes(inventory: Inventory, policy: Policy) -> tuple[Node, ...]:
    """Nodes the policy speaks of, in name order. Raises `UsageError` naming the near miss."""
    known = {node.name: node for node in inventory.cluster.nodes}
    for name in policy.nodes:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise UsageError(
                "unknown-node",
                f"cannot plan node {name}: the cluster has no such node",
                hint=f"did you mean {near[0]}?" if near else f"it has: {', '.join(sorted(known)[:10])}",
            )
    chosen = (known[n] for n in policy.nodes) if policy.nodes else known.values()
    return tuple(sorted((n for n in chosen if selector_matches(policy.selector, (), n.labels)), key=lambda n: n.name))


def _why_nothing(inventory: Inventory, policy: Policy, excluded: Sequence[Excluded]) -> str:
    rows = [f"{e.node}: {e.reasons[0]}" for e in excluded]
    freed = freeing_change(inventory, policy, {e.node: len(e.reasons) for e in excluded})
    return "; ".join([*([freed] if freed else []), *rows[:5]]) or "the policy's selector matches no node"


def _reasons(
    inventory: Inventory,
    policy: Policy,
    node: Node,
    request: PlanRequest,
    findings: tuple[Finding, ...],
    pools: Pools | None,
) -> tuple[str, ...]:
    """Why a node may not be planned now; empty when it may."""
    source = _source(inventory, node, request)
    marked = ANNOTATION_ROLLOUT in node.annotations
    there = source_mode(inventory, node) is policy.target
    if there and not marked and _intended_label(inventory, policy, node) == _label(node):
        return (f"already on {policy.target.value}",)
    blocking = [f for f in findings if f.node in ("", node.name) and f.status in ("block", "unknown")]
    reasons = [f"{f.rule}: {f.message}" for f in blocking]
    foreign = node.annotations.get(ANNOTATION_ROLLOUT, "")
    if foreign and (request.takes_back is None or request.takes_back.rollout != foreign):
        reasons.append(f"rollout {foreign} has its mark on it: finish or roll back that one first")
    if pools is not None:
        reasons += pools.not_replaceable(node, all(h.empty for h in request.hooks if h.name == "after-node"))
    elif source is None and not blocking:
        reasons.append("the mode its agent runs in could not be told")
    if request.adopts:
        reasons += not_adoptable(inventory, policy, node)
    method = choose_method(inventory, policy, node)
    # A machine that goes takes its static pods with it, as a reboot renews them.
    reasons += never_empties(inventory, policy, node, Method.REBOOT if method is Method.REPLACE else method)
    return tuple(reasons)


def source_mode(inventory: Inventory, node: Node) -> DatapathMode | None:
    """The mode the node's agent runs in, None when it could not be told."""
    agent = parse_agent(inventory.observation(node.name, PROBE_AGENT))
    try:
        return DatapathMode(agent.mode) if agent else None
    except ValueError:
        return None


def _source(inventory: Inventory, node: Node, request: PlanRequest) -> DatapathMode | None:
    told = source_mode(inventory, node)
    return told or (request.takes_back.mode if request.takes_back else None)


def _source_or_default(inventory: Inventory, policy: Policy, node: Node, request: PlanRequest) -> DatapathMode:
    """Of a node that is planned: one that is replaced may be too broken to tell, and nothing rests on it then."""
    source = _source(inventory, node, request)
    assert source is not None or policy.method is MethodChoice.REPLACE
    return source or DatapathMode.VETH


def choose_method(inventory: Inventory, policy: Policy, node: Node) -> Method:
    """auto: restart when the agent surely has the start-up guard and no static pod needs a new sandbox, else reboot."""
    if policy.method is not MethodChoice.AUTO:
        return Method(policy.method.value)
    agent = inventory.cluster.agent
    version = parse_image_version(agent.image) if agent else None
    static = any(p.mirror and p.on_pod_network for p in inventory.pods_on(node.name))
    return Method.RESTART if version is not None and version >= GUARD_SINCE and not static else Method.REBOOT


def _label(node: Node) -> str:
    return node.labels.get(LABEL_MODE, "")


def _intended_label(inventory: Inventory, policy: Policy, node: Node) -> str:
    """The label value that gives the target: none when the cluster's own settings already do."""
    agent = inventory.cluster.agent
    assert agent is not None
    foreign = tuple(c for c in inventory.cluster.node_configs if not is_ours(c))
    unlabelled = {key: value for key, value in node.labels.items() if key != LABEL_MODE}
    own = effective_config(agent, foreign, unlabelled).get("datapath-mode", DatapathMode.VETH.value)
    return "" if own == policy.target.value else policy.target.value


def node_config_name(mode: str) -> str:
    """Name of our CiliumNodeConfig for a mode. Netkit's is the plain name; the others' sort after it."""
    return NODE_CONFIG_NAME if mode == DatapathMode.NETKIT.value else f"{NODE_CONFIG_NAME}-{mode}"


def _plan_node(
    inventory: Inventory,
    policy: Policy,
    node: Node,
    request: PlanRequest,
    proof: DrainProof,
    configs: EffectiveConfigs,
) -> NodePlan:
    agent = inventory.cluster.agent
    assert agent is not None
    method = choose_method(inventory, policy, node)
    links = parse_links(inventory.observation(node.name, PROBE_LINKS))
    counts = links.counts() if links else None
    facts = node_facts(node, agent, inventory.cluster.node_configs, counts, label_keys(policy))
    source = _source_or_default(inventory, policy, node, request)
    sorted_fates = fates(inventory.pods_on(node.name), policy.drain)
    way = ways(method, adopts=request.adopts)
    assign = _intended_label(inventory, policy, node)
    version = inventory.cluster.node_config_version
    change = configs.change(node.labels, _node_config(agent, version, assign) if assign else None)
    return NodePlan(
        name=node.name,
        method=method,
        source=source,
        target=policy.target,
        assign=assign,
        assign_back=_label(node),
        facts=facts,
        steps=_steps(policy, way.forward),
        returning=_steps(policy, way.returning),
        backing=_steps(policy, way.backing),
        evictions=tuple(_evicted(inventory, one) for one in proof.nodes[node.name]),
        daemon_pods=_pods(sorted_fates, Fate.LEAVES_BY_TAINT),
        stragglers=_pods(sorted_fates, Fate.STRAGGLER),
        config_change=change.values,
        config_sources=change.sources,
        risks=_risks(node, sorted_fates),
        cohort=cohort_of(inventory, policy, node),
        zone=node.zone,
    )


def _steps(policy: Policy, kinds: tuple[StepKind, ...]) -> tuple[PlannedStep, ...]:
    return tuple(PlannedStep(kind, policy.deadline_s(kind)) for kind in kinds)


def _pods(rows: tuple[PodFate, ...], fate: Fate) -> tuple[PlannedPod, ...]:
    return tuple(_planned_pod(row.pod) for row in rows if row.fate is fate)


def _planned_pod(pod: Pod) -> PlannedPod:
    note = "emptyDir data ends with the pod" if pod.empty_dir else ""
    return PlannedPod(pod.ref, f"{pod.owner_kind}/{pod.owner_name}" if pod.owner_kind else "", (), note)


def _evicted(inventory: Inventory, proof: PodProof) -> PlannedPod:
    planned = _planned_pod(proof.pod)
    return replace(
        planned,
        note="; ".join(note for note in (planned.note, proof.note) if note),
        replicas=replicas_of(inventory, proof.pod),
        budgets=proof.budgets,
        going=proof.going,
        why=proof.why,
        remedy=proof.remedy,
        lands_on=proof.lands_on,
    )


def _risks(node: Node, rows: tuple[PodFate, ...]) -> tuple[str, ...]:
    risks = []
    if prior_unschedulable(node):
        risks.append("it is cordoned already and will stay so")
    stragglers = [str(r.pod.ref) for r in rows if r.fate is Fate.STRAGGLER]
    if stragglers:
        risks.append(f"deleted while the agent is down, since they tolerate every taint: {', '.join(stragglers)}")
    owners: dict[str, int] = {}
    for row in rows:
        if row.fate is Fate.EVICT and row.pod.owner_uid:
            owners[f"{row.pod.owner_kind}/{row.pod.owner_name}"] = (
                owners.get(f"{row.pod.owner_kind}/{row.pod.owner_name}", 0) + 1
            )
    risks += [f"{count} pods of {owner} are on this node" for owner, count in sorted(owners.items()) if count > 1]
    return tuple(risks)


def _assemble(
    inventory: Inventory,
    policy: Policy,
    request: PlanRequest,
    agent: AgentInstall,
    packing: Packing,
    planned: tuple[NodePlan, ...],
    excluded: tuple[Excluded, ...],
    findings: tuple[Finding, ...],
) -> Plan:
    cluster = inventory.cluster
    namespaces = eviction_namespaces(planned)
    modes = sorted({m for node in planned for m in (node.assign, node.assign_back) if m})
    plan = Plan(
        schema=SCHEMA,
        serial=request.serial,
        program=request.program,
        purpose=request.purpose,
        supersedes=request.takes_back.rollout if request.takes_back else "",
        policy=policy,
        cluster=cluster_facts(
            cluster.identity.uid, agent, cluster.node_configs, cluster.budgets, namespaces, len(cluster.nodes)
        ),
        inventory_digest="",
        node_configs=tuple(_node_config(agent, cluster.node_config_version, mode) for mode in modes),
        hooks=request.hooks,
        playbooks=dict(request.playbooks or {}),
        waves=packing.waves,
        nodes=planned,
        excluded=excluded,
        findings=findings,
        rollback="",
        limits=packing.limits,
        blast=blast_radius(inventory, policy, planned),
        estimate=estimate(inventory, policy, planned, packing, request.history),
        sources=sources(inventory, policy, request.history, bool(request.takes_back)),
    )
    return replace(
        plan,
        inventory_digest=sha256(canonical([n.facts for n in planned] + [plan.cluster])),
        rollback=f"to take it back: rollout rollback (this plan's id), which makes a plan of mode {_sources(planned)}",
    )


def _sources(planned: tuple[NodePlan, ...]) -> str:
    return ", ".join(sorted({node.source.value for node in planned}))


def _node_config(agent: AgentInstall, version: str, mode: str) -> PlannedNodeConfig:
    return PlannedNodeConfig(node_config_name(mode), agent.namespace, version, mode, {"datapath-mode": mode})
