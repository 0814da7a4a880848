"""Facts a plan rests on, taken from a snapshot; taken again and compared just before acting."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from rollout.domain.codec import canonical, sha256
from rollout.domain.inventory import AgentInstall, NodeConfig, effective_config
from rollout.domain.node import (
    ANNOTATION_PRIOR,
    ANNOTATION_ROLLOUT,
    LABEL_MODE,
    NODE_CONFIG_NAME,
    Node,
    PodDisruptionBudget,
)
from rollout.domain.plan import ClusterFacts, NodeFacts

SWITCH_KEYS = (
    "datapath-mode",
    "enable-bpf-masquerade",
    "enable-bpf-tproxy",
    "enable-endpoint-routes",
    "enable-host-firewall",
    "enable-host-legacy-routing",
    "enable-ipsec",
    "kube-proxy-replacement",
    "routing-mode",
)
"""Agent settings that matter to the switch."""


def is_ours(config: NodeConfig) -> bool:
    """Whether a CiliumNodeConfig is one of ours, by name."""
    return config.name == NODE_CONFIG_NAME or config.name.startswith(NODE_CONFIG_NAME + "-")


def prior_unschedulable(node: Node) -> bool:
    """Whether the node was cordoned by others: what our own mark remembers, else what the node says now."""
    if ANNOTATION_ROLLOUT not in node.annotations:
        return node.unschedulable
    try:
        return bool(json.loads(node.annotations.get(ANNOTATION_PRIOR, "{}")).get("unschedulable", False))
    except (json.JSONDecodeError, AttributeError):
        return node.unschedulable


def cluster_facts(
    uid: str,
    agent: AgentInstall,
    configs: tuple[NodeConfig, ...],
    budgets: Iterable[PodDisruptionBudget],
    namespaces: frozenset[str],
    fleet: int,
) -> ClusterFacts:
    """Cluster-wide facts; `namespaces` are those of the pods that will be evicted."""
    foreign = sorted((c for c in configs if not is_ours(c)), key=lambda c: c.name)
    return ClusterFacts(
        uid=uid,
        agent_daemonset=f"{agent.namespace}/{agent.daemonset}",
        agent_daemonset_uid=agent.daemonset_uid,
        agent_image=agent.image,
        config_digest=sha256(canonical(agent.config)),
        node_config_digest=sha256(
            canonical([[c.name, c.has_selector, c.match_labels, c.match_expressions, c.defaults] for c in foreign])
        ),
        budgets={
            f"{b.namespace}/{b.name}": f"{b.uid} min={b.min_available or '-'} max={b.max_unavailable or '-'}"
            for b in sorted(budgets, key=lambda b: (b.namespace, b.name))
            if b.namespace in namespaces
        },
        fleet=fleet,
    )


def node_facts(
    node: Node, agent: AgentInstall, configs: tuple[NodeConfig, ...], links: Mapping[str, int] | None = None
) -> NodeFacts:
    """Facts of one node."""
    effective = effective_config(agent, configs, node.labels)
    return NodeFacts(
        uid=node.uid,
        boot_id=node.boot_id,
        kernel=node.kernel,
        internal_ip=node.internal_ip,
        unschedulable=prior_unschedulable(node),
        label=node.labels.get(LABEL_MODE, ""),
        effective={k: effective[k] for k in SWITCH_KEYS if k in effective},
        links=dict(links or {}),
    )


_NODE_WORDS = {
    "uid": "another machine bears this name",
    "boot_id": "it was rebooted",
    "kernel": "its kernel changed",
    "internal_ip": "its address changed",
    "unschedulable": "somebody cordoned or uncordoned it",
    "label": "our label changed",
    "effective": "its effective agent settings changed",
}
_CLUSTER_WORDS = {
    "uid": "this is another cluster",
    "agent_daemonset_uid": "the agent's DaemonSet was replaced",
    "agent_image": "the agent's image changed",
    "config_digest": "the agent's ConfigMap changed",
    "node_config_digest": "another CiliumNodeConfig appeared, changed or went",
    "budgets": "PodDisruptionBudgets changed",
}


def node_drift(planned: NodeFacts, now: NodeFacts) -> tuple[str, ...]:
    """What moved on a node since the plan, in words; empty when nothing that matters did."""
    return _drift(_NODE_WORDS, planned, now)


def cluster_drift(planned: ClusterFacts, now: ClusterFacts) -> tuple[str, ...]:
    """What moved in the cluster since the plan, in words."""
    return _drift(_CLUSTER_WORDS, planned, now)


def _drift(words: Mapping[str, str], planned: object, now: object) -> tuple[str, ...]:
    return tuple(
        f"{text} (planned {_show(getattr(planned, name))}, now {_show(getattr(now, name))})"
        for name, text in words.items()
        if getattr(planned, name) != getattr(now, name)
    )


def _show(value: object) -> str:
    text = ", ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, Mapping) else str(value)
    return text if len(text) <= 120 else text[:117] + "..."
