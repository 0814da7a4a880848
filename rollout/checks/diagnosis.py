"""What a set of broken requests has in common that the working ones have not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rollout.domain.observed import Cell

_ONE_WAY = "one-way: nothing comes in from other nodes, while the way out works"

_PATHS = {
    "same-node": "pods of the same node do not reach each other",
    "cross-node": "pods of other nodes are not reached",
    "inbound": _ONE_WAY,
    "service": "no service address is reached",
    "node-to-pod": "the node does not reach its pods",
    "pod-to-api": "pods do not reach the Kubernetes API",
    "dns": "DNS is dead",
}


def diagnose(broken: Sequence[Cell], works: Sequence[Cell]) -> str:
    """The narrowest common trait in words; empty when the broken ones have nothing in common.

    Asked in this order: everything, one direction, one protocol, one address family, only large ones, one path.
    """
    if not broken:
        return ""
    if not works:
        return "nothing passes"
    for trait in (_one_way, _one_protocol, _one_family, _large, _path):
        words = trait(broken, works)
        if words:
            return words
    return ""


def _only(value: Callable[[Cell], object], broken: Sequence[Cell], works: Sequence[Cell]) -> object:
    """The value that all broken cells share and no working one has; None when there is none."""
    found = {value(cell) for cell in broken}
    return found.pop() if len(found) == 1 and not found & {value(cell) for cell in works} else None


def _one_way(broken: Sequence[Cell], works: Sequence[Cell]) -> str:
    """Nothing comes in, everything gets out; pods of this node may miss each other as well."""
    broken_paths, working = {cell.path for cell in broken}, {cell.path for cell in works}
    in_only = "inbound" in broken_paths - working and "cross-node" in working - broken_paths
    return _ONE_WAY if in_only else ""


def _one_protocol(broken: Sequence[Cell], works: Sequence[Cell]) -> str:
    """Only when more than one path is hit, or the same path works with another protocol."""
    protocol = _only(lambda cell: cell.protocol, broken, works)
    paths = {cell.path for cell in broken}
    beside = paths & {cell.path for cell in works}
    return f"{protocol} dropped" if protocol and beside else ""


def _one_family(broken: Sequence[Cell], works: Sequence[Cell]) -> str:
    family = _only(lambda cell: cell.family, broken, works)
    return f"IPv{family} does not pass" if family else ""


def _large(broken: Sequence[Cell], works: Sequence[Cell]) -> str:
    """Every broken cell is larger than a working one of the same way, and no larger one works there."""

    def way(cell: Cell) -> tuple[str, str, int, str, str]:
        return (cell.path, cell.protocol, cell.family, cell.peer, cell.id.removesuffix(f"/{cell.size}"))

    for cell in broken:
        sizes = [other.size for other in works if way(other) == way(cell)]
        if not sizes or max(sizes) >= cell.size:
            return ""
    smallest, passes = min(cell.size for cell in broken), max(cell.size for cell in works if cell.size)
    return f"MTU: packets with {smallest} bytes and more do not pass, {min(passes, smallest - 1)} do"


def _path(broken: Sequence[Cell], works: Sequence[Cell]) -> str:
    path = _only(lambda cell: cell.path, broken, works)
    return _PATHS.get(str(path), "") if path else ""
