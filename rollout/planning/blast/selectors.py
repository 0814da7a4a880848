"""Objects that select nodes by label: which of them see our label come, change or go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rollout.domain.fleet import OtherObject
from rollout.domain.inventory import ClusterSnapshot, NodeConfig
from rollout.domain.node import LABEL_MODE, DaemonSet, DatapathMode
from rollout.domain.plan import NodePlan, SelectionChange
from rollout.domain.policy import Policy
from rollout.domain.scheduling import LabelSelector, Scheduling
from rollout.planning.blast.writes import Matches, Relabelled, change, gains_and_loses
from rollout.planning.facts import is_ours

OUR_LABEL = f"label {LABEL_MODE}"

_CONSEQUENCES: Mapping[str, str] = {
    "CiliumClusterwideNetworkPolicy": "a policy for the node itself begins or ceases to apply there (host firewall)",
    "CiliumBGPPeeringPolicy": "the node begins or ceases to peer: routes to pods and Services change",
    "CiliumBGPClusterConfig": "the node begins or ceases to peer: routes to pods and Services change",
    "CiliumEgressGatewayPolicy": "traffic leaves the cluster by other nodes, hence from other addresses",
    "CiliumL2AnnouncementPolicy": "addresses of Services are announced from other nodes",
    "RuntimeClass": "pods of this class may be placed on other nodes",
}
_ANY = "it selects other nodes than before"


def other_changes(others: Sequence[OtherObject], written: Sequence[Relabelled]) -> Iterator[SelectionChange]:
    """Objects of any kind that the adapter reduced to a node selector."""
    for one in others:
        keys = one.selector.keys() if one.selector is not None and one.selects == "nodes" else frozenset[str]()
        if one.selector is None or LABEL_MODE not in keys:
            continue
        gains, loses = gains_and_loses(_by_labels(one.selector), written)
        if gains or loses:
            yield change(
                one.kind, one.namespace, one.name,
                cause=OUR_LABEL, consequence=_CONSEQUENCES.get(one.kind, _ANY), gains=gains, loses=loses,
            )  # fmt: skip


def config_changes(
    cluster: ClusterSnapshot, policy: Policy, nodes: Sequence[NodePlan], written: Sequence[Relabelled]
) -> Iterator[SelectionChange]:
    """Foreign CiliumNodeConfigs: those that select on our label, and those whose datapath mode ours replaces."""
    for config in cluster.node_configs:
        if is_ours(config):
            continue
        if LABEL_MODE in _keys(config):
            yield from _reselected(config, written)
        if "datapath-mode" in config.defaults:
            yield from _overridden(cluster, config, policy.target, nodes)


def _reselected(config: NodeConfig, written: Sequence[Relabelled]) -> Iterator[SelectionChange]:
    gains, loses = gains_and_loses(lambda _name, labels: config.selects(labels), written)
    if gains or loses:
        settings = ", ".join(f"{key}={value}" for key, value in sorted(config.defaults.items()))
        yield change(
            "CiliumNodeConfig", config.namespace, config.name,
            cause=OUR_LABEL,
            consequence=f"its settings begin or cease to apply when the agent is restarted: {settings or 'none'}",
            gains=gains, loses=loses,
        )  # fmt: skip


def _overridden(
    cluster: ClusterSnapshot, config: NodeConfig, target: DatapathMode, nodes: Sequence[NodePlan]
) -> Iterator[SelectionChange]:
    if config.defaults["datapath-mode"] == target.value:
        return
    by_name = cluster.nodes_by_name
    hit = [node.name for node in nodes if node.assign and config.selects(by_name[node.name].labels)]
    if hit:
        yield change(
            "CiliumNodeConfig", config.namespace, config.name,
            cause="our CiliumNodeConfig, which is merged last",
            consequence=f"its datapath-mode={config.defaults['datapath-mode']} has no effect there any more",
            loses=hit,
        )  # fmt: skip


def daemonset_changes(daemonsets: Sequence[DaemonSet], written: Sequence[Relabelled]) -> Iterator[SelectionChange]:
    """DaemonSets whose node selector or required affinity names our label: pods are made and deleted by that."""
    for one in daemonsets:
        if not names_our_label(one.scheduling):
            continue
        gains, loses = gains_and_loses(one.scheduling.admits, written)
        if gains or loses:
            yield change(
                "DaemonSet", one.namespace, one.name,
                cause=OUR_LABEL,
                consequence="its controller makes a pod where it gains a node, and deletes the pod where it loses one",
                gains=gains, loses=loses,
            )  # fmt: skip


def names_our_label(rules: Scheduling) -> bool:
    """Whether a node selector or a required node affinity looks at our label."""
    return any(key == LABEL_MODE for key, _ in rules.node_selector) or any(
        row.key == LABEL_MODE for term in rules.node_terms for row in term.expressions
    )


def _by_labels(selector: LabelSelector) -> Matches:
    return lambda _name, labels: selector.matches(labels)


def _keys(config: NodeConfig) -> frozenset[str]:
    return frozenset(config.match_labels) | frozenset(row.key for row in config.match_expressions)
