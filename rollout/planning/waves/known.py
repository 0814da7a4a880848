"""Sets of pods that are recognised by their labels, and what of each stays in service.

Decision: a table, and labels only. Each row says where its labels come from, so that a wrong one is one line to mend;
instead of asking every operator's own objects, which only says more where that operator is installed and well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

QUORUM = "quorum"
ALL_BUT_ONE_NODE = "all-but-one-node"
"""One node with members is out at a time, however many members it hosts."""
HALF = "50%"
ONE = "1"


@dataclass(frozen=True, slots=True)
class KnownSet:
    """Pods with the label `key` (any value when `value` is empty) and all of `also` form sets, split by `split`."""

    name: str
    key: str
    value: str
    keep: str
    source: str
    also: Mapping[str, str] = field(default_factory=dict)
    split: tuple[str, ...] = ()
    """Labels that tell one set of this kind from another, beside the namespace."""


_NAME, _PART, _INSTANCE = "app.kubernetes.io/name", "app.kubernetes.io/component", "app.kubernetes.io/instance"
_HELM = "Kubernetes' recommended labels, as the project's Helm chart sets them"

KNOWN_SETS: tuple[KnownSet, ...] = (
    KnownSet("etcd", "component", "etcd", QUORUM, "kubeadm static pods"),
    KnownSet("etcd", "app", "etcd", QUORUM, "etcd-operator and plain manifests", split=("etcd_cluster",)),
    KnownSet("etcd", _NAME, "etcd", QUORUM, _HELM, split=(_INSTANCE,)),
    KnownSet("Ceph mon", "app", "rook-ceph-mon", QUORUM, "Rook", split=("rook_cluster",)),
    KnownSet("Ceph OSD", "app", "rook-ceph-osd", ALL_BUT_ONE_NODE, "Rook; rook 14730", split=("rook_cluster",)),
    KnownSet("Ceph MDS", "app", "rook-ceph-mds", ONE, "Rook", split=("rook_file_system",)),
    KnownSet("Longhorn", "longhorn.io/component", "instance-manager", ALL_BUT_ONE_NODE, "Longhorn"),
    KnownSet("Kafka", "strimzi.io/kind", "Kafka", ALL_BUT_ONE_NODE, "Strimzi", split=("strimzi.io/name",)),
    KnownSet("Kafka", "app", "kafka", ALL_BUT_ONE_NODE, "plain manifests", split=("release",)),
    KnownSet("Kafka", _NAME, "kafka", ALL_BUT_ONE_NODE, _HELM, split=(_INSTANCE,)),
    KnownSet("ZooKeeper", "app", "zookeeper", QUORUM, "plain manifests", split=("release",)),
    KnownSet("ZooKeeper", _NAME, "zookeeper", QUORUM, _HELM, split=(_INSTANCE,)),
    KnownSet(
        "Cassandra", "cassandra.datastax.com/cluster", "", ALL_BUT_ONE_NODE, "K8ssandra's cass-operator",
        split=("cassandra.datastax.com/cluster", "cassandra.datastax.com/datacenter"),
    ),
    KnownSet("Cassandra", "app", "cassandra", ALL_BUT_ONE_NODE, "the Kubernetes tutorial's manifests"),
    KnownSet("Cassandra", _NAME, "cassandra", ALL_BUT_ONE_NODE, _HELM, split=(_INSTANCE,)),
    KnownSet("Scylla", "scylla/cluster", "", ALL_BUT_ONE_NODE, "Scylla Operator", split=("scylla/cluster",)),
    KnownSet("Postgres", "cnpg.io/cluster", "", ALL_BUT_ONE_NODE, "CloudNativePG", split=("cnpg.io/cluster",)),
    KnownSet("Postgres", "application", "spilo", ALL_BUT_ONE_NODE, "Zalando's operator", split=("cluster-name",)),
    KnownSet(
        "Postgres", "postgres-operator.crunchydata.com/cluster", "", ALL_BUT_ONE_NODE, "Crunchy's operator",
        also={"postgres-operator.crunchydata.com/instance": ""}, split=("postgres-operator.crunchydata.com/cluster",),
    ),
    KnownSet("Postgres", "component", "stolon-keeper", ALL_BUT_ONE_NODE, "Stolon", split=("stolon-cluster",)),
    KnownSet(
        "Elasticsearch", "elasticsearch.k8s.elastic.co/cluster-name", "", ALL_BUT_ONE_NODE, "Elastic's operator",
        split=("elasticsearch.k8s.elastic.co/cluster-name",),
    ),
    KnownSet("Elasticsearch", "app", "elasticsearch-master", QUORUM, "Elastic's Helm chart", split=("release",)),
    KnownSet(
        "OpenSearch", "opster.io/opensearch-cluster", "", ALL_BUT_ONE_NODE, "OpenSearch's operator",
        split=("opster.io/opensearch-cluster",),
    ),
    KnownSet("OpenSearch", _NAME, "opensearch", ALL_BUT_ONE_NODE, _HELM, split=(_INSTANCE,)),
    KnownSet("MongoDB", _NAME, "percona-server-mongodb", QUORUM, "Percona's operator", {_PART: "mongod"},
             (_INSTANCE, "app.kubernetes.io/replset")),
    KnownSet("MongoDB", _NAME, "mongodb", QUORUM, _HELM, split=(_INSTANCE,)),
    KnownSet("CockroachDB", _NAME, "cockroachdb", QUORUM, _HELM, split=(_INSTANCE,)),
    KnownSet("Consul", "app", "consul", QUORUM, "HashiCorp's Helm chart", {"component": "server"}, ("release",)),
    KnownSet("Vault", _NAME, "vault", QUORUM, "HashiCorp's Helm chart", {"component": "server"}, (_INSTANCE,)),
    KnownSet("RabbitMQ", _PART, "rabbitmq", QUORUM, "RabbitMQ's cluster operator", split=(_NAME,)),
    KnownSet("RabbitMQ", _NAME, "rabbitmq", QUORUM, _HELM, split=(_INSTANCE,)),
    KnownSet("NATS", _NAME, "nats", QUORUM, _HELM, {_PART: "nats"}, (_INSTANCE,)),
    KnownSet("ingress-nginx", _NAME, "ingress-nginx", HALF, _HELM, {_PART: "controller"}, (_INSTANCE,)),
    KnownSet("Traefik", _NAME, "traefik", HALF, _HELM, split=(_INSTANCE,)),
    KnownSet("HAProxy ingress", _NAME, "kubernetes-ingress", HALF, "HAProxy's Helm chart", split=(_INSTANCE,)),
    KnownSet("HAProxy ingress", _NAME, "haproxy-ingress", HALF, _HELM, split=(_INSTANCE,)),
    KnownSet("Contour's Envoy", _NAME, "contour", HALF, _HELM, {_PART: "envoy"}, (_INSTANCE,)),
    KnownSet(
        "Envoy gateway", "gateway.envoyproxy.io/owning-gateway-name", "", HALF, "Envoy Gateway",
        split=("gateway.envoyproxy.io/owning-gateway-namespace", "gateway.envoyproxy.io/owning-gateway-name"),
    ),
    KnownSet("Istio gateway", "istio", "ingressgateway", HALF, "Istio's Helm chart"),
    KnownSet("Istio gateway", "istio", "egressgateway", HALF, "Istio's Helm chart"),
    KnownSet(
        "gateway", "gateway.networking.k8s.io/gateway-name", "", HALF, "Gateway API's label for deployed gateways",
        split=("gateway.networking.k8s.io/gateway-name",),
    ),
    KnownSet("MetalLB speaker", _NAME, "metallb", ONE, _HELM, {_PART: "speaker"}, (_INSTANCE,)),
    KnownSet("MetalLB speaker", "app", "metallb", ONE, "MetalLB's manifests", {"component": "speaker"}),
)  # fmt: skip
"""Rows of one name share their sets: a pod is counted once, by the first row that knows it."""

_BY_KEY: Mapping[str, tuple[int, ...]] = {
    key: tuple(number for number, row in enumerate(KNOWN_SETS) if row.key == key)
    for key in sorted({row.key for row in KNOWN_SETS})
}

KNOWN_NODE_OBJECTS: Mapping[str, tuple[str, str]] = {
    "CiliumEgressGatewayPolicy": ("egress gateway", ONE),
    "CiliumL2AnnouncementPolicy": ("L2 announcer", ONE),
    "CiliumBGPClusterConfig": ("BGP speaker", HALF),
    "CiliumBGPPeeringPolicy": ("BGP speaker", HALF),
}
"""Objects that select nodes for a role, with the role's name and what of it stays."""

KNOWN_NODE_SETTINGS: Mapping[str, str] = {
    "ingress-hostnetwork-nodelabelselector": "Cilium ingress",
    "gateway-api-hostnetwork-nodelabelselector": "Cilium gateway",
}
"""Settings of the agent's ConfigMap that select the nodes of a role by labels; half of these stay."""


def set_of(labels: Mapping[str, str]) -> KnownSet | None:
    """The first row of the table that a pod with these labels belongs to; None when no row knows it."""
    numbers = [number for key in labels if key in _BY_KEY for number in _BY_KEY[key]]
    for number in sorted(numbers):
        if _fits(KNOWN_SETS[number], labels):
            return KNOWN_SETS[number]
    return None


def _fits(row: KnownSet, labels: Mapping[str, str]) -> bool:
    if row.value and labels[row.key] != row.value:
        return False
    return all(key in labels and (not value or labels[key] == value) for key, value in row.also.items())


def set_name(row: KnownSet, namespace: str, labels: Mapping[str, str]) -> str:
    """Names the set among those of its row: by namespace and by the labels that split it."""
    parts = (labels.get(key, "") for key in row.split)
    return " ".join([row.name, "/".join([namespace, *(part for part in parts if part)])])
