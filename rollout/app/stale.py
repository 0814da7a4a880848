"""What moved since a plan was made: one node's just before it is acted upon, or all at once for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from rollout.app.journal import load, load_plan
from rollout.app.world import World
from rollout.domain.budgets import BudgetIndex
from rollout.domain.inventory import AgentInstall, NodeConfig
from rollout.domain.lifecycle import NodePhase
from rollout.domain.node import Node, Pod, PodDisruptionBudget
from rollout.domain.plan import NodePlan, Plan
from rollout.planning.arrivals import arrivals
from rollout.planning.drift import ClusterNow, Drift, NodeNow, drifts
from rollout.planning.facts import cluster_facts, label_keys, node_facts


@dataclass(frozen=True, slots=True)
class NodeStaleness:
    """What moved for one node; empty when the plan still fits it."""

    node: str
    drifts: tuple[Drift, ...]


@dataclass(frozen=True, slots=True)
class Staleness:
    """A plan held against the cluster at the moment `at`. Nodes that are under way or ended are not looked at."""

    plan: Plan
    at: datetime
    nodes: tuple[NodeStaleness, ...]
    begun: int

    @property
    def moved(self) -> tuple[NodeStaleness, ...]:
        """The nodes that the plan does not fit any more."""
        return tuple(node for node in self.nodes if node.drifts)


def staleness(world: World, reference: str) -> Staleness:
    """Read the cluster now and compare it with a plan. Changes nothing. Raises `NotFound`, `Unavailable`."""
    record, state = load(world.store, reference)
    plan = load_plan(world.store, record.id)
    snapshot = world.cluster.collect()
    agent = snapshot.agent or world.cluster.agent_install()
    cluster = cluster_now(plan, agent, snapshot.node_configs, snapshot.budgets, uid=snapshot.identity.uid)
    left = [n for n in plan.nodes if state.node(n.name).phase is NodePhase.PENDING]
    found = (
        NodeStaleness(
            node.name,
            _of_node(plan, node, agent, cluster, snapshot.nodes_by_name, snapshot.pods_by_node.get(node.name, ())),
        )
        for node in left
    )
    return Staleness(plan, world.clock.now(), tuple(found), len(plan.nodes) - len(left))


def _of_node(
    plan: Plan,
    node: NodePlan,
    agent: AgentInstall,
    cluster: ClusterNow,
    nodes: Mapping[str, Node],
    pods: tuple[Pod, ...],
) -> tuple[Drift, ...]:
    there = nodes.get(node.name)
    if there is None:
        return (Drift("it does not exist any more", node.facts.uid, "gone"),)
    return drifts_of(plan, node, there, pods, agent, cluster)


def cluster_now(
    plan: Plan,
    agent: AgentInstall,
    configs: tuple[NodeConfig, ...],
    budgets: Iterable[PodDisruptionBudget],
    *,
    uid: str,
) -> ClusterNow:
    """Cluster-wide facts as read now, of the kinds that the plan has."""
    known = tuple(budgets)
    facts = cluster_facts(uid, agent, configs, known, plan.eviction_namespaces, plan.cluster.fleet)
    return ClusterNow(facts, configs, BudgetIndex(known))


def drifts_of(
    plan: Plan, planned: NodePlan, node: Node, pods: tuple[Pod, ...], agent: AgentInstall, cluster: ClusterNow
) -> tuple[Drift, ...]:
    """What moved for one node that is there."""
    facts = node_facts(node, agent, cluster.node_configs, keys=label_keys(plan.policy))
    return (*drifts(plan, planned, cluster, NodeNow(facts, pods)), *arrivals(plan, planned, pods))
