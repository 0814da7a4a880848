"""How many nodes may be out while the requests of all pods still fit on the rest, with headroom.

Sums over the whole fleet: necessary, not sufficient. Whether each pod finds a place is the drain proof's question.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rollout.domain.errors import Refused
from rollout.domain.inventory import Inventory
from rollout.domain.node import Node, Pod
from rollout.domain.plan import Limit
from rollout.domain.policy import Policy

NAME = "capacity"
_RESOURCES = ("CPU", "memory", "pod slots")


@dataclass(frozen=True, slots=True)
class Load:
    """What a node offers and what its pods ask for; CPU in thousandths of a core, memory in bytes, pods by number."""

    offers: tuple[int, int, int]
    stays: tuple[int, int, int]
    """Of pods that never leave the node: DaemonSets' and static ones."""
    moves: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Bound:
    """At most `most_out` of `nodes` out at once, by the resource that is short first."""

    nodes: tuple[str, ...]
    most_out: int
    resource: str
    asked: int
    """Sum of all requests."""
    offered: int
    """What all nodes in service offer."""


def is_in_service(node: Node) -> bool:
    """Ready and taking pods."""
    return node.ready is True and not node.unschedulable


def load_of(node: Node, pods: Iterable[Pod]) -> Load:
    """A node's offer and its pods' requests."""
    stays, moves = [0, 0, 0], [0, 0, 0]
    for pod in pods:
        if not pod.finished:
            into = stays if pod.mirror or pod.owner_kind == "DaemonSet" else moves
            into[0] += pod.cpu_millis
            into[1] += pod.memory_bytes
            into[2] += 1
    return Load(
        (node.cpu_millis, node.memory_bytes, node.pod_slots),
        (stays[0], stays[1], stays[2]),
        (moves[0], moves[1], moves[2]),
    )


def capacity_limit(inventory: Inventory, policy: Policy, planned: frozenset[str]) -> Limit | None:
    """The limit; None when a node does not tell what it offers, or nothing binds.

    Raises `Refused` when not one node may go out.
    """
    bound = capacity_bound(inventory, policy.headroom_percent, planned)
    if bound is None or bound.most_out >= len(bound.nodes):
        return None
    if bound.most_out < 1:
        raise _nothing_fits(inventory, policy, bound, planned)
    why = (
        f"requests for {_share(bound)} % of {bound.resource} in service: with more than {bound.most_out} nodes out the "
        f"rest would not fit with {policy.headroom_percent} % of CPU and memory left free"
    )
    return Limit(NAME, bound.nodes, bound.most_out, why)


def capacity_bound(inventory: Inventory, headroom: int, planned: frozenset[str]) -> Bound | None:
    """How many nodes may be out, by the scarcest resource; None when a node does not tell what it offers.

    Nodes out of service now offer nothing and their pods stay where they are, unless they are planned.
    """
    nodes = [n for n in inventory.cluster.nodes if is_in_service(n) or n.name in planned]
    if not nodes or any(n.pod_slots == 0 and n.cpu_millis == 0 for n in nodes):
        return None
    loads = [(node, load_of(node, inventory.pods_on(node.name))) for node in nodes]
    bounds = [_of_resource(loads, number, headroom) for number in range(len(_RESOURCES))]
    return min(bounds, key=lambda bound: bound.most_out)


def _of_resource(loads: list[tuple[Node, Load]], number: int, headroom: int) -> Bound:
    """Largest number of nodes, whichever they are, whose requests fit on the others."""
    free, weights, asked, offered = 0, [], 0, 0
    for node, load in loads:
        serving = is_in_service(node)
        whole = load.offers[number] if serving else 0
        usable = whole * (100 - headroom) // 100 if number < 2 else whole
        asks = load.stays[number] + load.moves[number]
        offered, asked = offered + whole, asked + (asks if serving else 0)
        free += usable - (asks if serving else 0)
        weights.append(usable - load.stays[number] if serving else load.moves[number])
    most = 0
    for weight in sorted(weights, reverse=True):
        free -= weight
        if free < 0:
            break
        most += 1
    names = tuple(sorted(node.name for node, _ in loads))
    return Bound(names, most, _RESOURCES[number], asked, offered)


def _share(bound: Bound) -> int:
    return -(-100 * bound.asked // bound.offered) if bound.offered else 100


def _nothing_fits(inventory: Inventory, policy: Policy, bound: Bound, planned: frozenset[str]) -> Refused:
    fits = [h for h in range(policy.headroom_percent) if _one_fits(inventory, h, planned)]
    hint = (
        f"lower headroom_percent to {max(fits)}, or add a node"
        if fits
        else "add a node, or lower requests: even without headroom the pods of one node fit nowhere else"
    )
    return Refused(
        "never-met",
        f"cannot plan: headroom_percent {policy.headroom_percent} and taking out any node at all (max_unavailable "
        f"{policy.max_unavailable}) cannot both be met: requests are {_share(bound)} % of the {bound.resource} that is "
        "in service",
        hint=hint,
    )


def _one_fits(inventory: Inventory, headroom: int, planned: frozenset[str]) -> bool:
    bound = capacity_bound(inventory, headroom, planned)
    return bound is not None and bound.most_out >= 1
