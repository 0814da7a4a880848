"""Everything planning needs, read once in paged lists.

Decision: lists run side by side, a few at a time, since most of a list is waiting for the server. Each passes the
throttle as it would alone, and has one request in flight. Nodes, pods, DaemonSets and budgets must be read; any other
kind that cannot be is named in the snapshot, and rules that need it say that they cannot tell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from threading import Lock
from typing import TypeVar

from rollout.adapters.kubernetes import agent
from rollout.adapters.kubernetes import documents as docs
from rollout.adapters.kubernetes.connection import Connection
from rollout.adapters.kubernetes.decode import (
    budget_value,
    claim_value,
    daemonset_value,
    decode,
    node_value,
    place_of,
    pod_value,
    workload_value,
)
from rollout.adapters.kubernetes.kinds import OTHER_KINDS, other_value
from rollout.adapters.kubernetes.lists import gc_paused, list_all
from rollout.adapters.kubernetes.request import APPS, BATCH, CILIUM, CORE, POLICY, Request
from rollout.adapters.kubernetes.served import Served, read_served
from rollout.domain.errors import NotFound, RolloutError
from rollout.domain.fleet import OtherObject, VolumeClaim, Workload
from rollout.domain.inventory import AgentInstall, ClusterIdentity, ClusterSnapshot
from rollout.domain.node import PodDisruptionBudget

SIDE_BY_SIDE = 4
"""Lists in flight at most."""

WORKLOADS = (
    ("Deployment", APPS, "deployments"),
    ("ReplicaSet", APPS, "replicasets"),
    ("StatefulSet", APPS, "statefulsets"),
    ("ReplicationController", CORE, "replicationcontrollers"),
    ("Job", BATCH, "jobs"),
)
"""Who replaces pods, beside DaemonSets."""

_OPERATOR = "cilium-operator"
"""Name of the operator's Deployment in every way of installing Cilium that we know."""

D = TypeVar("D")
V = TypeVar("V")


def read_identity(connection: Connection) -> ClusterIdentity:
    """Which cluster this is. Raises `Unavailable` or `NotPermitted` when it cannot be told."""
    body = connection.call(Request("get", "namespaces", name="kube-system"))
    meta = decode(body, docs.MetaOnlyDoc, "namespace kube-system").metadata or docs.NO_META
    version = decode(connection.call(Request("get", "/version")), docs.VersionDoc, "/version")
    target = connection.target
    return ClusterIdentity(meta.uid or "", target.context, target.server, version.gitVersion or "")


def list_budgets(connection: Connection) -> tuple[PodDisruptionBudget, ...]:
    """All PodDisruptionBudgets."""
    request = Request("list", "poddisruptionbudgets", POLICY)
    return tuple(list_all(connection, request, docs.BudgetDoc, budget_value).items)


def collect_snapshot(connection: Connection, agent_namespace: str | None, taken_at: datetime) -> ClusterSnapshot:
    """The snapshot. `agent_namespace` None: wherever the agent is found."""
    before = connection.counts()
    identity = read_identity(connection)
    install = _install(connection, agent_namespace)
    version = agent.served_version(connection)
    configs = agent.list_node_configs(connection, version, install.namespace) if install else ()
    with gc_paused(), _side_by_side() as pool:
        lists = _Lists(connection, pool)
        # The longest first.
        pods = lists.needed(Request("list", "pods"), docs.PodDoc, pod_value)
        nodes = lists.needed(Request("list", "nodes"), docs.NodeDoc, node_value)
        daemonsets = lists.needed(Request("list", "daemonsets", APPS), docs.DaemonSetDoc, daemonset_value)
        budgets = lists.needed(Request("list", "poddisruptionbudgets", POLICY), docs.BudgetDoc, budget_value)
        workloads = [
            lists.wanted(kind, Request("list", plural, group), docs.WorkloadDoc, partial(workload_value, kind))
            for kind, group, plural in WORKLOADS
        ]
        claims = _claims(lists)
        namespaces = lists.wanted("Namespace", Request("list", "namespaces"), docs.MetaOnlyDoc, _name_and_labels)
        endpoints = lists.wanted(
            "CiliumEndpoint", Request("list", "ciliumendpoints", f"{CILIUM}/v2"), docs.EndpointDoc, _endpoint_node
        )
        served = read_served(connection, OTHER_KINDS, pool)
        others = _begin_others(lists, served)
        replacing = tuple(workload for found in workloads for workload in found.result())
        return ClusterSnapshot(
            identity=identity,
            taken_at=taken_at,
            nodes=tuple(nodes.result()),
            pods=tuple(pods.result()),
            daemonsets=tuple(daemonsets.result()),
            budgets=tuple(budgets.result()),
            agent=replace(install, operator_ready=_operator_ready(install, replacing)) if install else None,
            node_configs=configs,
            node_config_version=version,
            endpoint_owners=dict(sorted(Counter(node for node in endpoints.result() if node).items())),
            workloads=replacing,
            claims=claims(),
            namespaces=dict(sorted(namespaces.result())),
            other=tuple(one for found in others for one in found.result() if one is not None),
            api_groups=served.groups,
            unreadable=dict(sorted({**served.unknown, **lists.unreadable}.items())),
            requests=_since(before, connection.counts()),
        )


@contextmanager
def _side_by_side() -> Iterator[ThreadPoolExecutor]:
    """Threads for lists. After an error, what has not begun never does, and nobody waits for what has.

    A list under way ends at its next page once the connection is closed.
    """
    pool = ThreadPoolExecutor(SIDE_BY_SIDE, "collect")
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def _install(connection: Connection, namespace: str | None) -> AgentInstall | None:
    try:
        return agent.read_install(connection, namespace)
    except NotFound as error:
        if error.code != "no-agent":
            raise
        return None


class _Lists:
    """Lists that run side by side."""

    def __init__(self, connection: Connection, pool: ThreadPoolExecutor) -> None:
        self._connection = connection
        self._pool = pool
        self._lock = Lock()
        self.unreadable: dict[str, str] = {}
        """Complete when every list has its result."""

    def needed(self, request: Request, doc: type[D], convert: Callable[[D], V]) -> Future[list[V]]:
        """A list without which there is no snapshot."""
        return self._pool.submit(self._read, request, doc, convert)

    def wanted(self, kind: str, request: Request, doc: type[D], convert: Callable[[D], V]) -> Future[list[V]]:
        """A list that may fail: it is empty then, and `unreadable` says why. Not served is merely empty."""

        def read() -> list[V]:
            try:
                return self._read(request, doc, convert)
            except NotFound:
                return []
            except RolloutError as error:
                with self._lock:
                    self.unreadable[kind] = error.message
                return []

        return self._pool.submit(read)

    def _read(self, request: Request, doc: type[D], convert: Callable[[D], V]) -> list[V]:
        return list_all(self._connection, request, doc, convert).items


def _claims(lists: _Lists) -> Callable[[], tuple[VolumeClaim, ...]]:
    """Begin the lists of claims and volumes; the claims, each with the place of its volume, when they are there."""
    claims = lists.wanted("PersistentVolumeClaim", Request("list", "persistentvolumeclaims"), docs.ClaimDoc, _as_it_is)
    volumes = lists.wanted("PersistentVolume", Request("list", "persistentvolumes"), docs.PersistentVolumeDoc, place_of)

    def join() -> tuple[VolumeClaim, ...]:
        places = dict(volumes.result())
        return tuple(claim_value(doc, places) for doc in claims.result())

    return join


def _as_it_is(doc: docs.ClaimDoc) -> docs.ClaimDoc:
    return doc


def _begin_others(lists: _Lists, served: Served) -> list[Future[list[OtherObject | None]]]:
    return [
        lists.wanted(
            kind.name, Request("list", kind.plural, served.paths[kind.name]), docs.OtherDoc, partial(other_value, kind)
        )
        for kind in OTHER_KINDS
        if kind.name in served.paths
    ]


def _operator_ready(install: AgentInstall, workloads: Sequence[Workload]) -> int | None:
    for one in workloads:
        if (one.kind, one.namespace, one.name) == ("Deployment", install.namespace, _OPERATOR):
            return one.ready
    return None


def _name_and_labels(doc: docs.MetaOnlyDoc) -> tuple[str, Mapping[str, str]]:
    meta = doc.metadata or docs.NO_META
    return meta.name or "", meta.labels or {}


def _endpoint_node(doc: docs.EndpointDoc) -> str:
    networking = doc.status.networking if doc.status else None
    return (networking.node if networking else None) or ""


def _since(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, int]:
    return {what: count - before.get(what, 0) for what, count in sorted(now.items()) if count > before.get(what, 0)}
