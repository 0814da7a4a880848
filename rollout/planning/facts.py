"""Facts a plan rests on, taken from a snapshot; taken again just before acting, and compared by `planning.drift`."""

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
    TAINT_EVACUATE,
    TAINT_WAITING,
    Node,
    PodDisruptionBudget,
    Taint,
)
from rollout.domain.plan import ClusterFacts, NodeFacts
from rollout.domain.policy import Policy

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

_ZONE = "topology.kubernetes.io/zone"
_ROLE = "node-role.kubernetes.io/"
_CONDITION = "node.kubernetes.io/"
"""Taints of the node controller: not-ready, unreachable, pressure, and unschedulable, which is the cordon itself."""


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
    content = {c.name: [c.name, c.has_selector, c.match_labels, c.match_expressions, c.defaults] for c in foreign}
    return ClusterFacts(
        uid=uid,
        agent_daemonset=f"{agent.namespace}/{agent.daemonset}",
        agent_daemonset_uid=agent.daemonset_uid,
        agent_image=agent.image,
        config_digest=sha256(canonical(agent.config)),
        node_config_digest=sha256(canonical(list(content.values()))),
        budgets={
            f"{b.namespace}/{b.name}": budget_text(b)
            for b in sorted(budgets, key=lambda b: (b.namespace, b.name))
            if b.namespace in namespaces
        },
        fleet=fleet,
        agent_generation=agent.generation,
        config={key: _short(value) for key, value in sorted(agent.config.items())},
        node_configs={name: _short(rows) for name, rows in content.items()},
    )


def _short(value: object) -> str:
    return sha256(canonical(value))[:12]


def budget_text(budget: PodDisruptionBudget) -> str:
    """What matters of a PodDisruptionBudget: which it is, its limits, what it selects."""
    rows = [f"{key}={value}" for key, value in sorted(budget.match_labels.items())]
    rows += [f"{row.key} {row.operator} ({', '.join(row.values)})" for row in budget.match_expressions]
    selects = ", ".join(rows) or ("every pod" if budget.selects_all else "no pod")
    return f"{budget.uid} min={budget.min_available or '-'} max={budget.max_unavailable or '-'} on {selects}"


def label_keys(policy: Policy) -> frozenset[str]:
    """Node labels by which a policy chooses, spreads or keeps nodes; roles come on top."""
    kept = (key for rule in policy.keep for key in rule.nodes)
    return frozenset((_ZONE, *policy.selector, *(rule.key for rule in policy.spread), *kept))


def node_facts(
    node: Node,
    agent: AgentInstall,
    configs: tuple[NodeConfig, ...],
    links: Mapping[str, int] | None = None,
    keys: frozenset[str] = frozenset(),
) -> NodeFacts:
    """Facts of one node; `keys`: the labels that its limits rest on."""
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
        ready=node.ready is True,
        taints=tuple(sorted(f"{t.key}={t.value}:{t.effect}" for t in node.taints if _is_foreign_fence(t))),
        labels={k: v for k, v in sorted(node.labels.items()) if k in keys or k.startswith(_ROLE)},
    )


def _is_foreign_fence(taint: Taint) -> bool:
    """Not ours, and neither a preference nor a condition that the cluster itself puts on and takes off."""
    ours = taint.key in (TAINT_EVACUATE, TAINT_WAITING)
    return taint.effect in ("NoSchedule", "NoExecute") and not ours and not taint.key.startswith(_CONDITION)
