"""What nodes of the plan do for the cluster's network, and who would lose it while they are out of service.

None of these objects selects otherwise than before: the node stays a gateway, speaker or announcer. But its agent is
restarted, so what it answers for moves or stops meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rollout.domain.fleet import OtherObject
from rollout.domain.inventory import ClusterSnapshot
from rollout.domain.node import Method
from rollout.domain.plan import NodePlan, SelectionChange
from rollout.planning.blast.writes import change

_ROLES: Mapping[str, str] = {
    "CiliumBGPPeeringPolicy": "its BGP sessions end while the agent is down; routes go unless peers restart gracefully",
    "CiliumBGPClusterConfig": "its BGP sessions end while the agent is down; routes go unless peers restart gracefully",
    "CiliumEgressGatewayPolicy": "an egress gateway: it learns of no new pods while its agent is down",
    "CiliumL2AnnouncementPolicy": "addresses it announces move to another node when its agent's lease runs out",
}  # fmt: skip
_GONE = "its machine goes for good, and with it this role: the pool's new nodes must take it over by their labels"
_REBOOTS = "; a reboot stops forwarding altogether"
_ALONE = "; no node outside the plan and no other node of it could take over"


def role_changes(cluster: ClusterSnapshot, nodes: Sequence[NodePlan]) -> Iterator[SelectionChange]:
    """By object: nodes of the plan that it gives a role to, and which therefore leave it for a while."""
    methods = {node.name: node.method for node in nodes}
    for one in cluster.of_kind(*_ROLES):
        if one.selects != "nodes" or one.selector is None:
            continue
        selected = _selected(cluster, one)
        hit = [name for name in selected if name in methods]
        if not hit:
            continue
        gone = [name for name in hit if methods[name] is Method.REPLACE]
        told = _GONE if gone else _ROLES[one.kind]
        told += _REBOOTS if any(methods[name] is Method.REBOOT for name in hit) else ""
        told += _ALONE if len(selected) == 1 else ""
        yield change(
            one.kind,
            one.namespace,
            one.name,
            cause="the node's replacement" if gone else "the agent's restart",
            consequence=told,
            loses=hit,
        )


def _selected(cluster: ClusterSnapshot, one: OtherObject) -> list[str]:
    assert one.selector is not None
    return [node.name for node in cluster.nodes if one.selector.matches(node.labels)]
