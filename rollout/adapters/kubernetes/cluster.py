"""The Cluster port on the Kubernetes API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from threading import Lock
from typing import Any
from uuid import uuid4

from rollout.adapters.kubernetes import agent, nodes, pods
from rollout.adapters.kubernetes import documents as docs
from rollout.adapters.kubernetes.cache import Cache
from rollout.adapters.kubernetes.collect import collect_snapshot, list_budgets, read_identity
from rollout.adapters.kubernetes.connection import ClusterSettings, Connection
from rollout.adapters.kubernetes.decode import node_value, pod_value
from rollout.adapters.kubernetes.lease import LeaseStore
from rollout.adapters.kubernetes.probes import KubernetesProbes
from rollout.adapters.kubernetes.request import Request
from rollout.adapters.kubernetes.toolbox import KubernetesToolbox
from rollout.adapters.kubernetes.watch import Feed, Source, WatchTimes
from rollout.domain.errors import RolloutError
from rollout.domain.inventory import AgentInstall, ClusterIdentity, ClusterSnapshot, NodeConfig
from rollout.domain.node import Node, OwnerMark, Pod, PodDisruptionBudget, PodRef
from rollout.domain.plan import PlannedNodeConfig
from rollout.ports.cluster import Eviction, LeaseHeld, NodeView

_LONGEST_EVENT = 1000


def _utc_now() -> datetime:
    return datetime.now(UTC)


class KubernetesCluster:
    """A cluster behind a Kubernetes API. See `rollout.ports.cluster.Cluster` for the contract."""

    def __init__(
        self,
        connection: Connection,
        settings: ClusterSettings,
        *,
        now: Callable[[], datetime] = _utc_now,
        times: WatchTimes | None = None,
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._now = now
        self._times = times or WatchTimes()
        self._cache = Cache()
        self._lock = Lock()
        self._node_feed: Feed[docs.NodeDoc, Node] | None = None
        self._pod_feed: Feed[docs.PodDoc, Pod] | None = None
        self._install: AgentInstall | None = None

    @classmethod
    def connect(
        cls, settings: ClusterSettings, *, now: Callable[[], datetime] = _utc_now, times: WatchTimes | None = None
    ) -> KubernetesCluster:
        """Find the cluster and the credentials. Sends nothing yet. Raises `UsageError`."""
        return cls(Connection(settings), settings, now=now, times=times)

    def probes(self) -> KubernetesProbes:
        """The probe pods' port on the same connection: one throttle, one count, closed together."""
        return KubernetesProbes(self._connection, self._now)

    def toolbox(self, namespace: str) -> KubernetesToolbox:
        """Toolbox pods in `namespace`, on the same connection."""
        return KubernetesToolbox(self._connection, namespace, times=self._times)

    # -- what there is -----------------------------------------------------------------------------------------------

    def identity(self) -> ClusterIdentity:
        """Which cluster this is."""
        return read_identity(self._connection)

    def collect(self) -> ClusterSnapshot:
        """Everything planning needs."""
        snapshot = collect_snapshot(self._connection, self._settings.agent_namespace, self._now())
        self._install = snapshot.agent
        return snapshot

    def agent_install(self) -> AgentInstall:
        """The agent's DaemonSet and ConfigMap, read now."""
        self._install = agent.read_install(self._connection, self._settings.agent_namespace)
        return self._install

    def node_configs(self) -> tuple[NodeConfig, ...]:
        """All CiliumNodeConfigs in the agent's namespace."""
        version = agent.served_version(self._connection)
        return agent.list_node_configs(self._connection, version, self._known_install().namespace) if version else ()

    def budgets(self) -> tuple[PodDisruptionBudget, ...]:
        """All PodDisruptionBudgets."""
        return list_budgets(self._connection)

    def _known_install(self) -> AgentInstall:
        """The install as last read: its place and selector do not change under a rollout, a new UID is a stale plan."""
        return self._install or self.agent_install()

    # -- the watch cache ---------------------------------------------------------------------------------------------

    def view(self, node: str) -> NodeView:
        """Node and its pods."""
        self._require_feeds()
        return self._cache.view(node)

    def wait_change(self, node: str, version: int, timeout_s: float) -> NodeView:
        """Wait for a newer view."""
        self._require_feeds()
        seen = self._cache.wait(node, version, timeout_s)
        self._require_feeds()
        return seen

    def out_of_service(self) -> frozenset[str]:
        """Nodes that are unschedulable or not Ready."""
        self._nodes_feed().require_current(self._settings.request_timeout_s)
        return self._cache.out_of_service()

    def in_service(self) -> tuple[Node, ...]:
        """Nodes that are Ready and schedulable."""
        self._nodes_feed().require_current(self._settings.request_timeout_s)
        return self._cache.in_service()

    def _require_feeds(self) -> None:
        nodes_feed, pods_feed = self._nodes_feed(), self._pods_feed()
        nodes_feed.require_current(self._settings.request_timeout_s)
        pods_feed.require_current(self._settings.request_timeout_s)

    def _nodes_feed(self) -> Feed[docs.NodeDoc, Node]:
        with self._lock:
            if self._node_feed is None:
                source = Source(
                    resource="nodes",
                    kind=docs.NodeDoc,
                    convert=node_value,
                    order=_no_order,
                    replace=self._cache.replace_nodes,
                    put=self._cache.put_node,
                    drop=self._cache.drop_node,
                    query={},
                )
                self._node_feed = Feed(self._connection, source, self._times)
            return self._node_feed

    def _pods_feed(self) -> Feed[docs.PodDoc, Pod]:
        with self._lock:
            if self._pod_feed is None:
                source = Source(
                    resource="pods",
                    kind=docs.PodDoc,
                    convert=pod_value,
                    order=_creation,
                    replace=self._cache.replace_pods,
                    put=self._cache.put_pod,
                    drop=self._cache.drop_pod,
                    query={"fieldSelector": "spec.nodeName!="},
                )
                self._pod_feed = Feed(self._connection, source, self._times)
            return self._pod_feed

    # -- nodes -------------------------------------------------------------------------------------------------------

    def read_node(self, name: str) -> Node:
        """A fresh read."""
        return nodes.read_node(self._connection, name)

    def cordon(self, node: str, mark: OwnerMark) -> Node:
        """Unschedulable and our annotations."""
        return nodes.cordon(self._connection, node, mark)

    def uncordon(self, node: str, mark: OwnerMark) -> Node:
        """Our cordon and annotations away."""
        return nodes.uncordon(self._connection, node, mark)

    def add_taint(self, node: str, mark: OwnerMark) -> Node:
        """Our NoExecute taint."""
        return nodes.add_taint(self._connection, node, mark)

    def remove_taint(self, node: str, mark: OwnerMark) -> Node:
        """Our taint away."""
        return nodes.remove_taint(self._connection, node, mark)

    def waiting(self) -> Mapping[str, str]:
        """Nodes that carry our PreferNoSchedule taint, each with the rollout it names."""
        self._nodes_feed().require_current(self._settings.request_timeout_s)
        return self._cache.waiting()

    def add_waiting(self, node: str, mark: OwnerMark) -> Node:
        """Our PreferNoSchedule taint."""
        return nodes.add_waiting(self._connection, node, mark, self._cache.node(node))

    def remove_waiting(self, node: str, mark: OwnerMark) -> Node:
        """That taint away."""
        return nodes.remove_waiting(self._connection, node, mark, self._cache.node(node))

    def assign_mode(self, node: str, value: str) -> Node:
        """Our label."""
        return nodes.assign_mode(self._connection, node, value)

    # -- CiliumNodeConfigs -------------------------------------------------------------------------------------------

    def ensure_node_config(self, wanted: PlannedNodeConfig) -> None:
        """Ours exists."""
        agent.ensure_node_config(self._connection, wanted)

    def delete_node_config(self, wanted: PlannedNodeConfig) -> None:
        """Ours is gone."""
        agent.delete_node_config(self._connection, wanted)

    # -- pods --------------------------------------------------------------------------------------------------------

    def evict(self, pod: PodRef, grace_s: int | None = None) -> Eviction:
        """Ask the eviction API."""
        return pods.evict(self._connection, pod, grace_s)

    def delete_pod(self, pod: PodRef, grace_s: int | None = None) -> bool:
        """Delete this incarnation."""
        return pods.delete_pod(self._connection, pod, grace_s)

    def agent_pod(self, node: str) -> Pod | None:
        """The newest agent pod on a node."""
        return pods.agent_pod(self._connection, self._known_install(), node)

    def pod_log(self, pod: PodRef, container: str, *, previous: bool, tail_lines: int = 200) -> str:
        """A container's log."""
        return pods.pod_log(self._connection, pod, container, previous=previous, tail_lines=tail_lines)

    # -- the lease ---------------------------------------------------------------------------------------------------

    def take_lease(self, holder: str, duration_s: int, takeover: Callable[[str], bool]) -> LeaseHeld:
        """Take the cluster's lease."""
        return self._lease().take(holder, duration_s, takeover)

    def renew_lease(self, holder: str, fencing: int) -> LeaseHeld:
        """Renew it."""
        return self._lease().renew(holder, fencing)

    def release_lease(self, holder: str, fencing: int) -> None:
        """Give it up."""
        self._lease().release(holder, fencing)

    def _lease(self) -> LeaseStore:
        namespace = self._settings.lease_namespace or self._known_install().namespace
        return LeaseStore(self._connection, namespace, self._settings.lease_name, self._now)

    # -- the rest ----------------------------------------------------------------------------------------------------

    def record_event(self, node: str, reason: str, message: str) -> None:
        """A Node event for people."""
        # An event never decides anything; a full disk of events must not stop a rollout either.
        with suppress(RolloutError):
            self._connection.call(
                Request("create", "events", namespace="default"), body=_event(node, reason, message, self._now())
            )

    def request_counts(self) -> Mapping[str, int]:
        """Requests sent so far."""
        return self._connection.counts()

    def close(self) -> None:
        """Stop watches, close connections."""
        with self._lock:
            feeds = [feed for feed in (self._node_feed, self._pod_feed) if feed is not None]
        self._connection.stop.set()
        for feed in feeds:
            feed.close()
        self._cache.close()
        self._connection.close()


def _no_order(_doc: docs.NodeDoc) -> str:
    return ""


def _creation(doc: docs.PodDoc) -> str:
    return (doc.metadata or docs.NO_POD_META).creationTimestamp or ""


def _event(node: str, reason: str, message: str, now: datetime) -> dict[str, Any]:
    seconds = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{node[:200]}.{uuid4().hex[:16]}", "namespace": "default"},
        # Like the kubelet's: `kubectl describe node` looks for the name in place of the uid.
        "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": node, "uid": node},
        "reason": reason,
        "message": message[:_LONGEST_EVENT],
        "type": "Normal",
        "count": 1,
        "firstTimestamp": seconds,
        "lastTimestamp": seconds,
        "source": {"component": "netkit-rollout"},
    }
