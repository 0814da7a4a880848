"""Requests that the whole rollout will make, by purpose, from the plan's own numbers.

Counts are of this program's adapter, act by act; what is answered by the watches' cache is no request. Refused
evictions and conflicts come on top: they are not known beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence

from rollout.domain.inventory import Inventory
from rollout.domain.node import Method
from rollout.domain.plan import NodePlan
from rollout.domain.policy import CheckLevel, Policy
from rollout.domain.step import StepKind

_PAGE = 500
"""Objects in one page of a list."""
_WRITE = 2
"""A guarded write: a read, and a patch whose answer is the read-back."""
_NODE_WRITES = (StepKind.CORDON, StepKind.EVACUATE, StepKind.ASSIGN_MODE, StepKind.RELEASE, StepKind.UNCORDON)
_RECHECK = 4
"""Node, agent's DaemonSet and ConfigMap, CiliumNodeConfigs; budgets are counted by pages."""
_EVENTS = 2
"""A node's start and its end, as Node events."""
_LOOKS = (StepKind.BASELINE, StepKind.CONFIRM_MODE)
"""Steps that raise the rig; verify and soak use the one that confirm-mode left."""
_RENEWALS_PER_HOUR = 360
"""A lease of 30 s is renewed every 10 s."""
_WATCH_PER_HOUR = 26
"""Two watches, each begun again every 290 s."""


def api_requests(inventory: Inventory, policy: Policy, nodes: Sequence[NodePlan]) -> dict[str, int]:
    """Purpose to number of requests over all nodes; what only time decides is told per hour."""
    cluster = inventory.cluster
    budget_pages = _pages(len(cluster.budgets))
    steps = [step.kind for node in nodes for step in node.steps]
    counted = {
        "reading the cluster for the plan": sum(cluster.requests.values()),
        "first lists of the watches": _pages(len(cluster.nodes)) + _pages(len(cluster.pods)),
        "watches, per hour": _WATCH_PER_HOUR,
        "lease renewals, per hour": 2 * _RENEWALS_PER_HOUR,
        "rechecks of facts": (_RECHECK + budget_pages) * steps.count(StepKind.RECHECK),
        "node patches": _WRITE * sum(steps.count(kind) for kind in _NODE_WRITES),
        "waiting taints": len(nodes) if policy.soft_taint else 0,
        "evictions": sum(len(node.evictions) for node in nodes),
        "straggler deletions": sum(len(node.stragglers) for node in nodes if node.method is not Method.REPLACE),
        "agent restarts": steps.count(StepKind.RESTART_AGENT),
        "reads of rebooted nodes": 2 * steps.count(StepKind.REBOOT),
        "CiliumNodeConfigs": sum(1 for node in nodes if node.assign),
        "probe rigs": _rigs(policy, steps, len(nodes)),
        "events": _EVENTS * len(nodes),
    }
    return dict(sorted((name, number) for name, number in counted.items() if number))


def _rigs(policy: Policy, steps: Sequence[StepKind], nodes: int) -> int:
    """Each rig: its pods made, a list and a watch until they are Ready, two deletions; one more at a wave's gate."""
    if all(policy.checks.get(name) is CheckLevel.OFF for name in _WITH_RIG):
        return 0
    rules = policy.probes
    pods = 2 + rules.peers
    one = pods + 2 + 2 + 2 * rules.policies
    beside = (pods + 2) * rules.controls
    raised = sum(steps.count(kind) for kind in _LOOKS)
    return raised * (one + beside) + nodes * (pods + 4)


_WITH_RIG = ("reach", "dns", "loss", "latency", "policy-opened", "policy-closed")


def _pages(objects: int) -> int:
    return max(1, -(-objects // _PAGE))
