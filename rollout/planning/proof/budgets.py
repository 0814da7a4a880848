"""What a disruption budget allows, as the eviction API and the disruption controller count it.

Upstream: pkg/registry/core/pod/storage/eviction.go, pkg/controller/disruption/disruption.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rollout.domain.fleet import Workload
from rollout.domain.node import Pod, PodDisruptionBudget

_SCALED = ("ReplicaSet", "Deployment", "StatefulSet", "ReplicationController")
"""Controllers whose scale the disruption controller surely finds; of others it depends on their definition."""
_NEVER_SCALED = ("DaemonSet", "Job", "Node")


@dataclass(frozen=True, slots=True)
class Count:
    """What a budget expects and wants. `trouble`: why the controller cannot tell; it then allows nothing."""

    expected: int
    desired: int
    trouble: str = ""


def share_of(text: str, total: int) -> int:
    """A count, or a percentage of `total`, rounded up: the controller rounds both of its fields up."""
    if text.endswith("%"):
        return -(-int(text[:-1]) * total // 100)
    return int(text)


def count(budget: PodDisruptionBudget, pods: Iterable[Pod], workloads: Mapping[str, Workload]) -> Count:
    """Count for a budget whose status is not to be had. `pods` are those it selects, `workloads` by UID."""
    chosen = list(pods)
    if not budget.max_unavailable and not budget.min_available.endswith("%"):
        return Count(len(chosen), int(budget.min_available or 1))
    scales: dict[tuple[str, str], int] = {}
    for pod in chosen:
        if not pod.owner_uid:
            continue
        if pod.owner_kind in _NEVER_SCALED:
            return Count(0, 0, f"{pod.owner_kind}s have no scale, which {_form(budget)} needs")
        found = workloads.get(pod.owner_uid)
        of_deployment = found is not None and found.owner_kind == "Deployment"
        key = ("Deployment", found.owner_name) if found and of_deployment else ("", pod.owner_uid)
        alike = sum(1 for other in chosen if other.owner_uid == pod.owner_uid) if found is None else found.replicas
        scales[key] = max(scales.get(key, 0), alike)
    expected = sum(scales.values())
    if budget.max_unavailable:
        return Count(expected, max(expected - share_of(budget.max_unavailable, expected), 0))
    return Count(expected, share_of(budget.min_available, expected))


def _form(budget: PodDisruptionBudget) -> str:
    return "maxUnavailable" if budget.max_unavailable else "minAvailable as a percentage"


class Allowance:
    """A budget while nodes are emptied. `slack`: healthy pods beyond those it wants; below 0 it is not met.

    `counted` False: the disruption controller has yet to look at it, so the API refuses whatever the numbers say.
    """

    __slots__ = ("budget", "counted", "desired", "expected", "last", "missing", "name", "slack", "trouble")

    def __init__(self, budget: PodDisruptionBudget, status: Count | None = None, healthy: int = 0) -> None:
        self.budget = budget
        self.name = f"{budget.namespace}/{budget.name}"
        self.counted = budget.observed
        self.trouble = status.trouble if status else ""
        self.missing = 0
        """Replacements that will count as healthy once they have a place."""
        self.last: Pod | None = None
        """The pod that used it last."""
        if status is None:
            self.expected, self.desired = budget.expected_pods, budget.desired_healthy
            self.slack = _slack(budget)
        else:
            self.expected, self.desired = status.expected, status.desired
            self.slack = min(healthy - status.desired, 0) if status.expected <= 0 else healthy - status.desired

    def admits(self, *, ready: bool) -> bool:
        """Whether the API would let one of its pods go now. Ready pods count; others may pass by (see `spends`)."""
        if not ready and (self.budget.evicts_unready or (self.slack >= 0 and self.desired > 0)):
            return True
        return self.counted and not self.trouble and self.slack > 0

    def spends(self, *, ready: bool) -> bool:
        """Whether an admitted eviction lowers what is left."""
        return ready or not (self.budget.evicts_unready or (self.slack >= 0 and self.desired > 0))

    def hopeless(self, *, ready: bool) -> bool:
        """Whether no waiting lets the pod go: nothing that is under way adds to what is left."""
        if not ready and self.budget.evicts_unready:
            return False
        if self.trouble:
            return True
        return self.slack + self.missing <= 0


def _slack(budget: PodDisruptionBudget) -> int:
    """From the status. When it allows less than its own numbers give, the API obeys what it allows."""
    if budget.disruptions_allowed > 0:
        return budget.disruptions_allowed
    return min(budget.current_healthy - budget.desired_healthy, 0)


def never_allows(budget: PodDisruptionBudget) -> bool:
    """Whether a budget, all its pods healthy, still lets no Ready pod go."""
    if not budget.observed or budget.disruptions_allowed > 0:
        return False
    return budget.expected_pods <= 0 or budget.desired_healthy >= max(budget.expected_pods, budget.current_healthy)
