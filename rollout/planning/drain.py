"""What a drain does with each pod of a node: pure rules, shared by the plan and by the step that drains.

The rules are kubectl's (pkg/drain/filters.go), each refusal naming the one option that lifts it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rollout.domain.node import TAINT_EVACUATE, Pod, PodDisruptionBudget, Taint
from rollout.domain.policy import DrainRules


class Fate(Enum):
    """What happens to a pod when its node is emptied."""

    EVICT = "evict"
    LEAVES_BY_TAINT = "leaves-by-taint"
    """A DaemonSet pod: our NoExecute taint sends it away and keeps it away. One on the host network has no endpoint,
    so nobody waits for it to leave, but it has to be back before the node takes pods again."""
    STRAGGLER = "straggler"
    """On the pod network and tolerates our taint: deleted in the gap when the agent names it."""
    STAYS = "stays"
    """Host network or finished: it has no endpoint."""
    OURS = "ours"
    """One of our probe pods: removed by us, never evicted as somebody's workload."""
    BLOCKED = "blocked"
    """Neither may be evicted nor will leave; the reason says what would lift that."""


@dataclass(frozen=True, slots=True)
class PodFate:
    """A pod's fate and why."""

    pod: Pod
    fate: Fate
    reason: str = ""


def evacuation_taint(rollout: str) -> Taint:
    """Our NoExecute taint for a rollout."""
    return Taint(TAINT_EVACUATE, rollout, "NoExecute")


_PROBE_TAINT = evacuation_taint("any")


def decide_fate(pod: Pod, rules: DrainRules) -> PodFate:
    """What happens to one pod when its node is emptied."""
    if pod.finished:
        return PodFate(pod, Fate.STAYS, "finished")
    if pod.is_probe:
        return PodFate(pod, Fate.OURS, "a probe pod of ours, removed before the node is emptied")
    if pod.owner_kind == "DaemonSet":
        return _daemon_fate(pod)
    if pod.mirror:
        if pod.host_network:
            return PodFate(pod, Fate.STAYS, "static pod on the host network")
        return PodFate(
            pod, Fate.BLOCKED, "static pod on the pod network: only a reboot renews its link; use method reboot"
        )
    if pod.host_network and pod.tolerates(_PROBE_TAINT) and not pod.owner_kind:
        return PodFate(pod, Fate.STAYS, "host network")
    if not pod.owner_kind and not rules.evict_unowned:
        return PodFate(pod, Fate.BLOCKED, "no controller will replace it; drain.evict_unowned lifts this")
    if pod.empty_dir and not rules.delete_empty_dir:
        return PodFate(pod, Fate.BLOCKED, "has emptyDir data; drain.delete_empty_dir lifts this")
    return PodFate(pod, Fate.EVICT)


def _daemon_fate(pod: Pod) -> PodFate:
    tolerates = pod.tolerates(_PROBE_TAINT)
    if not pod.on_pod_network:
        stays = PodFate(pod, Fate.STAYS, "DaemonSet pod on the host network")
        return stays if tolerates else PodFate(pod, Fate.LEAVES_BY_TAINT, "on the host network, without a toleration")
    if tolerates:
        return PodFate(pod, Fate.STRAGGLER, "tolerates every taint")
    return PodFate(pod, Fate.LEAVES_BY_TAINT)


def fates(pods: tuple[Pod, ...], rules: DrainRules) -> tuple[PodFate, ...]:
    """The fate of each pod of a node."""
    return tuple(decide_fate(pod, rules) for pod in pods)


def evictable(pods: tuple[Pod, ...], rules: DrainRules) -> tuple[Pod, ...]:
    """Pods a drain still has to see gone, terminating ones included."""
    return tuple(f.pod for f in fates(pods, rules) if f.fate is Fate.EVICT)


def ours(pods: tuple[Pod, ...]) -> tuple[Pod, ...]:
    """Our own probe pods that still have an endpoint."""
    return tuple(pod for pod in pods if pod.is_probe and pod.on_pod_network)


def blocked(pods: tuple[Pod, ...], rules: DrainRules) -> tuple[PodFate, ...]:
    """Pods that keep the node from becoming empty, with the reason."""
    return tuple(f for f in fates(pods, rules) if f.fate is Fate.BLOCKED)


def to_leave(pods: tuple[Pod, ...], rules: DrainRules, method_reboot: bool) -> tuple[Pod, ...]:
    """Pods on the pod network that evacuation still has to see gone. A reboot renews static pods by itself."""
    wanted = (Fate.EVICT, Fate.LEAVES_BY_TAINT) if method_reboot else (Fate.EVICT, Fate.LEAVES_BY_TAINT, Fate.BLOCKED)
    return tuple(f.pod for f in fates(pods, rules) if f.fate in wanted and f.pod.on_pod_network)


def budgets_of(pod: Pod, budgets: tuple[PodDisruptionBudget, ...]) -> tuple[PodDisruptionBudget, ...]:
    """The disruption budgets that bound evictions of a pod. With two it is never evicted (the API answers 500)."""
    return tuple(b for b in budgets if b.matches(pod))
