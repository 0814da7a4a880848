"""What moved since a plan was made: what was planned, what is now, what to do about it.

Two kinds. What the plan was proven with has changed: the node is left alone, and planned anew. Something is in the way
that a person can put right, after which the same plan fits again: the node is held.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rollout.domain.budgets import BudgetIndex
from rollout.domain.inventory import NodeConfig
from rollout.domain.node import LABEL_MODE, Method, Pod
from rollout.domain.plan import ClusterFacts, NodeFacts, NodePlan, Plan, PlannedNodeConfig
from rollout.planning.drain import Fate, PodFate, decide_fate, fates

_AGAIN = "plan it anew: rollout plan"
_LONGEST = 120


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing that moved. `holds`: the plan fits again once it is put right."""

    what: str
    planned: str
    now: str
    remedy: str = _AGAIN
    holds: bool = False

    def words(self) -> str:
        """One clause."""
        return f"{self.what} (planned {self.planned}, now {self.now})"


@dataclass(frozen=True, slots=True)
class NodeNow:
    """What is read of a node just before acting. `pods`: bound to it."""

    facts: NodeFacts
    pods: tuple[Pod, ...]


@dataclass(frozen=True, slots=True)
class ClusterNow:
    """What is read of the cluster just before acting."""

    facts: ClusterFacts
    node_configs: tuple[NodeConfig, ...]
    budgets: BudgetIndex


def drifts(plan: Plan, node: NodePlan, cluster: ClusterNow, now: NodeNow) -> tuple[Drift, ...]:
    """Everything that moved for one node of the plan, what is the cluster's first; empty when nothing that matters."""
    return (
        *cluster_drift(plan.cluster, cluster.facts),
        *config_drift(plan.node_configs, cluster.node_configs),
        *node_drift(node.facts, now.facts),
        *budget_drift(plan, node, cluster, now.pods),
        *pod_drift(plan, node, cluster.budgets, now.pods),
    )


def words_of(found: Sequence[Drift]) -> list[str]:
    """Each as one clause."""
    return [one.words() for one in found]


# --- the cluster -------------------------------------------------------------------------------------------------

_CLUSTER_WORDS = {
    "uid": "this is another cluster",
    "agent_daemonset_uid": "the agent's DaemonSet was replaced",
    "agent_image": "the agent's image changed",
}


def cluster_drift(planned: ClusterFacts, now: ClusterFacts) -> tuple[Drift, ...]:
    """What moved in the cluster, its budgets left out: they are a matter of each node."""
    found = [
        Drift(text, str(getattr(planned, name)), str(getattr(now, name)))
        for name, text in _CLUSTER_WORDS.items()
        if getattr(planned, name) != getattr(now, name)
    ]
    same_daemonset = planned.agent_daemonset_uid == now.agent_daemonset_uid
    if same_daemonset and planned.agent_image == now.agent_image and planned.agent_generation != now.agent_generation:
        what = "the agent's DaemonSet changed"
        found.append(Drift(what, f"generation {planned.agent_generation}", f"generation {now.agent_generation}"))
    if planned.config_digest != now.config_digest:
        keys = _differing(planned.config, now.config)
        found.append(
            Drift(f"the agent's ConfigMap changed: {_few(keys)}", planned.config_digest[:12], now.config_digest[:12])
        )
    for name in _differing(planned.node_configs, now.node_configs):
        found.append(
            Drift(
                f"CiliumNodeConfig {name} {_verb(name, planned.node_configs, now.node_configs)}",
                planned.node_configs.get(name, "not there"),
                now.node_configs.get(name, "not there"),
            )
        )
    return tuple(found)


def config_drift(planned: Sequence[PlannedNodeConfig], now: Sequence[NodeConfig]) -> tuple[Drift, ...]:
    """Our own CiliumNodeConfigs that say something else than planned. One that is not there yet is made by apply."""
    there = {(c.namespace, c.name): c for c in now}
    found = []
    for wanted in planned:
        config = there.get((wanted.namespace, wanted.name))
        if config is None or _as_planned(config, wanted):
            continue
        found.append(
            Drift(
                f"our CiliumNodeConfig {wanted.namespace}/{wanted.name} was changed",
                f"{LABEL_MODE}={wanted.label_value}: {_show(wanted.defaults)}",
                f"{_show(config.match_labels)}: {_show(config.defaults)}",
                f"kubectl -n {wanted.namespace} delete ciliumnodeconfig {wanted.name} (apply makes it again)",
                holds=True,
            )
        )
    return tuple(found)


def _as_planned(config: NodeConfig, wanted: PlannedNodeConfig) -> bool:
    selects = config.has_selector and not config.match_expressions
    return (
        selects
        and dict(config.match_labels) == {LABEL_MODE: wanted.label_value}
        and dict(config.defaults) == dict(wanted.defaults)
    )


# --- the node ----------------------------------------------------------------------------------------------------

_NODE_WORDS = {
    "uid": "another machine bears this name",
    "boot_id": "it was rebooted",
    "kernel": "its kernel changed",
    "internal_ip": "its address changed",
    "unschedulable": "somebody cordoned or uncordoned it",
    "label": "our label changed",
    "effective": "its effective agent settings changed",
    "labels": "labels that the limits rest on changed",
}


def node_drift(planned: NodeFacts, now: NodeFacts) -> tuple[Drift, ...]:
    """What moved on the node itself."""
    found = [
        _facts_drift(text, getattr(planned, name), getattr(now, name))
        for name, text in _NODE_WORDS.items()
        if getattr(planned, name) != getattr(now, name)
    ]
    if planned.ready and not now.ready:
        found.append(Drift("it is not Ready", "Ready", "not Ready", "kubectl describe node", holds=True))
    for taint in sorted(set(now.taints) - set(planned.taints)):
        found.append(
            Drift(
                f"somebody put the taint {taint} on it",
                "not there",
                "there",
                "take it off, or plan it anew",
                holds=True,
            )
        )
    return tuple(found)


def _facts_drift(text: str, planned: object, now: object) -> Drift:
    """Of a mapping only what differs is shown."""
    if isinstance(planned, Mapping) and isinstance(now, Mapping):
        keys = _differing(planned, now)
        before, after = ({k: side.get(k, "-") for k in keys} for side in (planned, now))
        return Drift(text, _show(before), _show(after))
    return Drift(text, _show(planned), _show(now))


# --- its pods and their budgets ----------------------------------------------------------------------------------


def budget_drift(plan: Plan, node: NodePlan, cluster: ClusterNow, pods: Sequence[Pod]) -> tuple[Drift, ...]:
    """Budgets of the node's pods that appeared, changed or went. Those of namespaces that were not planned are new."""
    names = {name for pod in node.evictions for name in pod.budgets}
    for pod in pods:
        names |= {f"{b.namespace}/{b.name}" for b in cluster.budgets.of(pod)} if _evicted(plan, pod) else set()
    planned, now = plan.cluster.budgets, cluster.facts.budgets
    return tuple(
        Drift(
            f"PodDisruptionBudget {name} {_verb(name, planned, now)}",
            planned.get(name, "not there"),
            now.get(name, "not there"),
        )
        for name in sorted(names)
        if planned.get(name) != now.get(name)
    )


def _evicted(plan: Plan, pod: Pod) -> bool:
    return decide_fate(pod, plan.policy.drain).fate is Fate.EVICT


def pod_drift(plan: Plan, node: NodePlan, budgets: BudgetIndex, pods: Sequence[Pod]) -> tuple[Drift, ...]:
    """Pods that can never leave now. Others come and go: the drain takes whom it finds."""
    known = {pod.ref for pod in (*node.evictions, *node.daemon_pods, *node.stragglers)}
    stragglers = {(pod.ref.namespace, pod.owner) for pod in node.stragglers}
    found = []
    for row in fates(tuple(sorted(pods, key=lambda p: p.ref)), plan.policy.drain):
        why, remedy = _stays(row, node.method, budgets, stragglers)
        if why:
            planned = "it leaves" if row.pod.ref in known else "not there"
            remedy = f"{remedy}, or plan it anew"
            found.append(Drift(f"pod {row.pod.ref} may never leave", planned, why, remedy, holds=True))
    return tuple(found)


def _stays(row: PodFate, method: Method, budgets: BudgetIndex, stragglers: set[tuple[str, str]]) -> tuple[str, str]:
    """Why a pod never leaves, and what frees it; both empty for one that does."""
    pod = row.pod
    if row.fate is Fate.BLOCKED and not (pod.mirror and method is Method.REBOOT):
        return row.reason, "delete or move it"
    matching = budgets.of(pod) if row.fate is Fate.EVICT else ()
    if len(matching) > 1:
        names = " and ".join(b.name for b in matching)
        return f"PodDisruptionBudgets {names} both match it, so it is never evicted", "narrow one of them"
    if row.fate is Fate.STRAGGLER and (pod.ref.namespace, _owner(pod)) not in stragglers:
        why = "on the pod network, tolerates every taint, and nobody approved to delete it"
        return why, f"remove {_owner(pod)} or its toleration"
    return "", ""


def _owner(pod: Pod) -> str:
    return f"{pod.owner_kind}/{pod.owner_name}"


# --- words -------------------------------------------------------------------------------------------------------


def _differing(one: Mapping[str, object], other: Mapping[str, object]) -> list[str]:
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))


def _verb(name: str, planned: Mapping[str, str], now: Mapping[str, str]) -> str:
    if name not in planned:
        return "appeared"
    return "changed" if name in now else "is gone"


def _few(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _show(value: object) -> str:
    text = ", ".join(f"{k}={v}" for k, v in sorted(value.items())) if isinstance(value, Mapping) else str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
