"""Everything planning needs, read once in paged lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime

from rollout.adapters.kubernetes import agent
from rollout.adapters.kubernetes import documents as docs
from rollout.adapters.kubernetes.connection import Connection
from rollout.adapters.kubernetes.decode import budget_value, daemonset_value, decode, node_value, pod_value
from rollout.adapters.kubernetes.lists import list_all
from rollout.adapters.kubernetes.request import APPS, CILIUM, POLICY, Request
from rollout.domain.errors import NotFound
from rollout.domain.inventory import AgentInstall, ClusterIdentity, ClusterSnapshot
from rollout.domain.node import DaemonSet, PodDisruptionBudget


def read_identity(connection: Connection) -> ClusterIdentity:
    """Which cluster this is. Raises `Unavailable` or `NotPermitted` when it cannot be told."""
    body = connection.call(Request("get", "namespaces", name="kube-system"))
    meta = decode(body, docs.MetaOnlyDoc, "namespace kube-system").metadata or docs.NO_META
    version = decode(connection.call(Request("get", "/version")), docs.VersionDoc, "/version")
    target = connection.target
    return ClusterIdentity(meta.uid or "", target.context, target.server, version.gitVersion or "")


def collect_snapshot(connection: Connection, agent_namespace: str | None, taken_at: datetime) -> ClusterSnapshot:
    """The snapshot. `agent_namespace` None: wherever the agent is found."""
    identity = read_identity(connection)
    try:
        install: AgentInstall | None = agent.read_install(connection, agent_namespace)
    except NotFound as error:
        if error.code != "no-agent":
            raise
        install = None
    version = agent.served_version(connection)
    namespace = install.namespace if install else ""
    return ClusterSnapshot(
        identity=identity,
        taken_at=taken_at,
        nodes=tuple(list_all(connection, Request("list", "nodes"), docs.NodeDoc, node_value).items),
        pods=tuple(list_all(connection, Request("list", "pods"), docs.PodDoc, pod_value).items),
        daemonsets=_daemonsets(connection),
        budgets=list_budgets(connection),
        agent=install,
        node_configs=agent.list_node_configs(connection, version, namespace) if install else (),
        node_config_version=version,
        endpoint_owners=_endpoint_owners(connection),
    )


def _daemonsets(connection: Connection) -> tuple[DaemonSet, ...]:
    request = Request("list", "daemonsets", APPS)
    return tuple(list_all(connection, request, docs.DaemonSetDoc, daemonset_value).items)


def list_budgets(connection: Connection) -> tuple[PodDisruptionBudget, ...]:
    """All PodDisruptionBudgets."""
    request = Request("list", "poddisruptionbudgets", POLICY)
    return tuple(list_all(connection, request, docs.BudgetDoc, budget_value).items)


def _endpoint_owners(connection: Connection) -> Mapping[str, int]:
    request = Request("list", "ciliumendpoints", f"{CILIUM}/v2")
    try:
        found = list_all(connection, request, docs.EndpointDoc, _endpoint_node).items
    except NotFound:
        return {}
    return dict(sorted(Counter(node for node in found if node).items()))


def _endpoint_node(doc: docs.EndpointDoc) -> str:
    networking = doc.status.networking if doc.status else None
    return (networking.node if networking else None) or ""
