"""Where the numbers of a plan come from, in a sentence each.

Numbers that carry their own reason (limits, waves, the estimate's basis, findings) are not told again here. Nothing
that differs between two readings of the same cluster stands here, since the sentences are part of the plan's bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from rollout.domain.inventory import Inventory
from rollout.domain.node import Pod
from rollout.domain.policy import MethodChoice, Policy
from rollout.domain.times import StepTime

REPLACED = ("ReplicaSet", "StatefulSet", "ReplicationController")
"""Owners whose wanted number of pods says how many are left when one goes."""

_READ = "listed from the Kubernetes API when the plan was made"


def replicas_of(inventory: Inventory, pod: Pod) -> int:
    """Pods that the pod's owner is to have; 0: not told, or an owner whose number says nothing about outages."""
    if pod.owner_kind not in REPLACED:
        return 0
    owner = inventory.cluster.workloads_by_uid.get(pod.owner_uid)
    return owner.replicas if owner else 0


def sources(
    inventory: Inventory, policy: Policy, history: Sequence[StepTime], takes_back: bool = False
) -> dict[str, str]:
    """Name of a number, as shown to reviewers, to the sentence that says where it came from."""
    cluster = inventory.cluster
    found = {
        "fleet": f"Node objects, {_READ}",
        "nodes": _selection(policy),
        "excluded": "nodes that a preflight rule or the drain proof keeps out; each row names it",
        "reboots": _method(policy),
        "evictions": f"Pod objects, {_READ}, sorted by the drain rules of the policy (what kubectl drain would evict)",
        "waits": "the drain proof: every eviction in the plan's order, in thought, against budgets and room to land",
        "budgets": f"PodDisruptionBudgets with the status their controller gave them, {_READ}",
        "single": "replicas of each pod's ReplicaSet, StatefulSet or ReplicationController",
        "daemon_pods": "DaemonSet pods on the pod network that do not tolerate our NoExecute taint",
        "stragglers": "pods on the pod network that tolerate our NoExecute taint",
        "links": "links of pod endpoints, read from each node's kernel",
        "modes": _modes(takes_back),
        "settings": "the agent's ConfigMap with every CiliumNodeConfig that selects the node merged in name order",
        "findings": "the preflight catalogue; each row names its own source",
        "max_unavailable": f"max_unavailable of the policy: {policy.max_unavailable}, of {len(cluster.nodes)} nodes",
        "failure_budget": f"failure_budget of the policy: {policy.failure_budget}",
        "soak": "soak_fenced_s and soak_loaded_s of the policy",
        "waves": "canary, growth and cohorts of the policy; each wave says what bounded it",
        "deadlines": _deadlines(policy),
        "estimate": _estimate(history),
        "blast": f"selectors of the kinds of object that are looked at, before and after our changes; {_READ}",
        "api_requests": "counted from the plan: what each step asks, times nodes and pods",
        "approvals": "approval rules of the policy",
    }
    if cluster.unreadable:
        kinds = ", ".join(sorted(cluster.unreadable))
        found["unread"] = f"could not be listed, so that numbers about them are missing: {kinds}"
    if policy.freezes:
        found["freezes"] = f"events of the calendar files {', '.join(policy.calendars) or 'named in the policy'}"
    return found


def _selection(policy: Policy) -> str:
    if policy.nodes:
        return f"named in the policy: {len(policy.nodes)}; those left out are told apart"
    if policy.selector:
        labels = ", ".join(f"{key}={value}" for key, value in sorted(policy.selector.items()))
        return f"nodes with the policy's labels {labels}, but for those left out"
    return "every node of the cluster, but for those left out"


def _method(policy: Policy) -> str:
    if policy.method is not MethodChoice.AUTO:
        return f"method of the policy: {policy.method.value}"
    return "method auto: a reboot where the agent's version has no start-up guard or a static pod needs a new sandbox"


def _modes(takes_back: bool) -> str:
    told = "the mode each node's agent says it runs in"
    return f"{told}, else the one it was led to by the rollout taken back" if takes_back else told


def _deadlines(policy: Policy) -> str:
    own = ", ".join(f"{step} {seconds} s" for step, seconds in sorted(policy.deadlines_s.items()))
    return f"the program's own, and of the policy: {own}" if own else "the program's own"


def _estimate(history: Sequence[StepTime]) -> str:
    if not history:
        return "simulated with stated default times: this state has no finished steps to learn from"
    runs = sum(row.nodes for row in history if not row.cohort)
    return f"simulated with the times of {runs} finished steps in this state's journals"
