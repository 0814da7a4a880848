"""The Kubernetes API, by intent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol

from rollout.domain.inventory import AgentInstall, ClusterIdentity, ClusterSnapshot, NodeConfig
from rollout.domain.node import Node, OwnerMark, Pod, PodDisruptionBudget, PodRef
from rollout.domain.plan import PlannedNodeConfig


class EvictionResult(Enum):
    """What the API answered to an eviction."""

    ACCEPTED = "accepted"
    GONE = "gone"
    """The pod, by UID, was not there any more."""
    REFUSED = "refused"
    """429: a disruption budget, or the server asks to slow down."""
    IMPOSSIBLE = "impossible"
    """500: two budgets match the pod; it will never be evicted."""


@dataclass(frozen=True, slots=True)
class Eviction:
    """An answer to one eviction; `retry_after` in seconds when the server gave one."""

    result: EvictionResult
    message: str = ""
    retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node and the pods bound to it, as of `version` of the watch cache. `node` None: it does not exist."""

    version: int
    node: Node | None
    pods: tuple[Pod, ...]


@dataclass(frozen=True, slots=True)
class LeaseHeld:
    """The cluster's lease, as read back after taking or renewing it. `fencing` is its leaseTransitions."""

    holder: str
    fencing: int
    renewed: datetime
    duration_s: int


class Cluster(Protocol):
    """Reads and writes of Kubernetes objects.

    Duties: every write is repeat-safe and read back before returning; patches only, never read-modify-replace; a write
    that follows a read carries the resourceVersion or UID it rests on. Raises only `rollout.domain.errors`:
    `NotPermitted` (verb and resource named), `NotFound`, `Conflict`, `Invalid`, `TooManyRequests`, `Unavailable`;
    `Refused` with code `not-ours` instead of undoing somebody else's change. Usable from several threads.
    """

    def identity(self) -> ClusterIdentity:
        """Which cluster this is. Raises `Unavailable` or `NotPermitted` when it cannot be told."""
        ...

    def collect(self) -> ClusterSnapshot:
        """Everything planning needs, in paged lists, raw-decoded. Lists once; does not use the watch cache.

        Nodes, pods, DaemonSets and disruption budgets must be readable, else the error is raised. Any other kind that
        may not or cannot be listed is named in `unreadable` with the reason, and what depends on it cannot be told:
        without `PersistentVolume`, say, a claim's place. A kind that the API does not serve is absent and not named.
        """
        ...

    def agent_install(self) -> AgentInstall:
        """The agent's DaemonSet and ConfigMap. Raises `NotFound` when Cilium is not installed."""
        ...

    def node_configs(self) -> tuple[NodeConfig, ...]:
        """All CiliumNodeConfigs in the agent's namespace, ours included."""
        ...

    def budgets(self) -> tuple[PodDisruptionBudget, ...]:
        """All PodDisruptionBudgets, a fresh read."""
        ...

    def read_node(self, name: str) -> Node:
        """A fresh read, not the cache. Raises `NotFound`."""
        ...

    def view(self, node: str) -> NodeView:
        """Node and its pods from the watch cache (one watch per kind; started at the first call)."""
        ...

    def wait_change(self, node: str, version: int, timeout_s: float) -> NodeView:
        """Block until the view of `node` is newer than `version`, or `timeout_s` passed; the newest view either way."""
        ...

    def out_of_service(self) -> frozenset[str]:
        """Names of nodes that are unschedulable or not Ready, from the watch cache, whoever's doing it is."""
        ...

    def in_service(self) -> tuple[Node, ...]:
        """Nodes that are Ready and schedulable, in name order, from the watch cache."""
        ...

    def cordon(self, node: str, mark: OwnerMark) -> Node:
        """Set unschedulable and our annotations, and take our PreferNoSchedule taint off, in one guarded patch.

        When the node carries another rollout's mark: `Refused`. When it already carries `mark`'s rollout: no change.
        """
        ...

    def uncordon(self, node: str, mark: OwnerMark) -> Node:
        """Take our cordon back and remove our annotations. Leaves the node cordoned when `mark.prior_unschedulable`.

        A node without our mark is left as it is and raises `Refused` (`not-ours`). When the node has our mark but was
        uncordoned by a person meanwhile, only the annotations are removed.
        """
        ...

    def add_taint(self, node: str, mark: OwnerMark) -> Node:
        """Add our NoExecute taint (value: the rollout's id), keeping all others. Repeat-safe."""
        ...

    def remove_taint(self, node: str, mark: OwnerMark) -> Node:
        """Remove our taint. Repeat-safe. `Refused` when its value names another rollout."""
        ...

    def waiting(self) -> Mapping[str, str]:
        """Nodes that carry our PreferNoSchedule taint, each with the rollout it names, from the watch cache."""
        ...

    def add_waiting(self, node: str, mark: OwnerMark) -> Node:
        """Put our PreferNoSchedule taint (value: the rollout's id) beside all others. Repeat-safe.

        `Refused` when another rollout's is there that `mark` does not supersede. Costs one PATCH as a rule: what it
        rests on is the watch cache's node, guarded by its resourceVersion. `cordon` takes the taint off in its patch.
        """
        ...

    def remove_waiting(self, node: str, mark: OwnerMark) -> Node:
        """Take that taint off. Repeat-safe. `Refused` when its value names another rollout."""
        ...

    def assign_mode(self, node: str, value: str) -> Node:
        """Set our label to `value`; the empty string removes it."""
        ...

    def ensure_node_config(self, wanted: PlannedNodeConfig) -> None:
        """Create our CiliumNodeConfig, or accept an equal one. `Conflict` when one of that name says something else."""
        ...

    def delete_node_config(self, wanted: PlannedNodeConfig) -> None:
        """Delete our CiliumNodeConfig if no node carries the label value it selects. Repeat-safe."""
        ...

    def evict(self, pod: PodRef, grace_s: int | None = None) -> Eviction:
        """Ask the eviction API, with the UID as precondition. Refusals are values, not errors."""
        ...

    def delete_pod(self, pod: PodRef, grace_s: int | None = None) -> bool:
        """Delete with the UID as precondition. False when that pod, by UID, is not there any more."""
        ...

    def agent_pod(self, node: str) -> Pod | None:
        """The newest agent pod bound to `node`, a fresh read. None when there is none."""
        ...

    def pod_log(self, pod: PodRef, container: str, *, previous: bool, tail_lines: int = 200) -> str:
        """Text of a container's log; empty when there is none (yet)."""
        ...

    def take_lease(self, holder: str, duration_s: int, takeover: Callable[[str], bool]) -> LeaseHeld:
        """Take the cluster's lease when it is free or expired, or when `takeover(holder)` says its holder is dead.

        Every change of holder raises the fencing number. Raises `Refused` (`lease-held`) naming holder and age.
        """
        ...

    def renew_lease(self, holder: str, fencing: int) -> LeaseHeld:
        """Renew. Raises `Refused` (`lease-lost`) when another holder or fencing number is found."""
        ...

    def release_lease(self, holder: str, fencing: int) -> None:
        """Give the lease up if it is still ours. Repeat-safe."""
        ...

    def record_event(self, node: str, reason: str, message: str) -> None:
        """A Node event for people; failures are swallowed, since an event never decides anything."""
        ...

    def request_counts(self) -> Mapping[str, int]:
        """Requests sent so far by `VERB resource`, for the API budget."""
        ...

    def close(self) -> None:
        """Stop watches and close connections. Repeat-safe."""
        ...
