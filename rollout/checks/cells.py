"""Which requests of the matrix count as broken, and which cannot be held against the node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rollout.domain.observed import Cell, Reach

DNS_PATH = "dns"

OWN_ECHO = frozenset({"same-node", "cross-node", "inbound", "node-to-pod"})
"""Paths that end at our own probe pods: they work in any sound cluster, with a baseline or without."""


@dataclass(frozen=True, slots=True)
class Sorted:
    """The cells of one look. `partial`: answered by less than half of the tries."""

    works: tuple[Cell, ...] = ()
    broken: tuple[Cell, ...] = ()
    partial: tuple[Cell, ...] = ()
    starting: tuple[Cell, ...] = ()
    """Refused by our own echo server: the pod is there, its program is not yet."""
    excluded: tuple[str, ...] = ()
    """Did not work at the baseline either; by name."""
    unknown: tuple[Cell, ...] = ()
    """Broken, and there is no baseline that says whether it ever worked."""
    missing: tuple[str, ...] = ()
    """Worked at the baseline and was not tried now."""
    narrowed: tuple[str, ...] = ()
    """Ways whose route allows smaller packets than at the baseline, with both sizes."""

    def evidence(self) -> dict[str, object]:
        """Numbers, and the names of what does not work."""
        return {
            "works": len(self.works),
            "broken": names(self.broken),
            "partial": {cell.id: f"{cell.ok} of {cell.tries}" for cell in self.partial},
            "starting": names(self.starting),
            "excluded": list(self.excluded),
            "unknown": names(self.unknown),
            "missing": list(self.missing),
            "narrowed": list(self.narrowed),
        }


@dataclass(slots=True)
class _Heaps:
    heaps: dict[str, list[Cell]] = field(default_factory=dict)

    def put(self, heap: str, cell: Cell) -> None:
        self.heaps.setdefault(heap, []).append(cell)

    def get(self, heap: str) -> tuple[Cell, ...]:
        return tuple(self.heaps.get(heap, ()))


def sort_cells(
    now: Iterable[Cell], before: Sequence[Cell] | None, partial_before: frozenset[tuple[str, str]] = frozenset()
) -> Sorted:
    """Sort cells by how they may be held against the node.

    `before`: the baseline's cells; None when there never was a baseline: then our own echo paths must work. Only the
    same request to the same peer is compared: a peer that was not asked then may be ill itself. A cell in
    `partial_before` was answered by less than half in the window before too, and counts as broken. A cell without any
    try was not tried.
    """
    known: Mapping[tuple[str, str], Cell] = {cell.key: cell for cell in before or ()}
    heaps, excluded = _Heaps(), []
    tried = tuple(cell for cell in now if cell.tries)
    for cell in tried:
        then = known.get(cell.key)
        if then is not None and not _works(then):
            excluded.append(cell.id)
        elif _works(cell):
            heaps.put("works", cell)
        elif _starting(cell):
            heaps.put("starting", cell)
        elif cell.ok and cell.key not in partial_before:
            heaps.put("partial", cell)
        elif then is None and (before is not None or cell.path not in OWN_ECHO):
            heaps.put("unknown", cell)
        else:
            heaps.put("broken", cell)
    return Sorted(
        heaps.get("works"),
        heaps.get("broken"),
        heaps.get("partial"),
        heaps.get("starting"),
        tuple(excluded),
        heaps.get("unknown"),
        _missing(before or (), tried),
        _narrowed(before or (), tried),
    )


def _missing(before: Iterable[Cell], tried: Iterable[Cell]) -> tuple[str, ...]:
    """Whichever peer was asked: it may be another one since."""
    seen = {_question(cell) for cell in tried}
    return tuple(sorted({cell.id for cell in before if _works(cell) and _question(cell) not in seen}))


def _question(cell: Cell) -> tuple[object, ...]:
    return (cell.path, cell.protocol, cell.family, cell.size) if cell.peer else (cell.id,)


def _narrowed(before: Iterable[Cell], tried: Iterable[Cell]) -> tuple[str, ...]:
    """Larger packets are then not even tried: their requests are missing instead of broken."""
    then, now = _mtus(before), _mtus(tried)
    return tuple(
        f"{path}{f' ({peer})' if peer else ''}: {now[path, family, peer]} bytes, {mtu} at the baseline"
        for (path, family, peer), mtu in sorted(then.items())
        if now.get((path, family, peer), mtu) < mtu
    )


def _mtus(cells: Iterable[Cell]) -> dict[tuple[str, int, str], int]:
    found: dict[tuple[str, int, str], int] = {}
    for cell in cells:
        if cell.mtu:
            way = (cell.path, cell.family, cell.peer)
            found[way] = min(cell.mtu, found.get(way, cell.mtu))
    return found


def _works(cell: Cell) -> bool:
    return 0 < cell.tries <= 2 * cell.ok


def _starting(cell: Cell) -> bool:
    return not cell.ok and cell.path in OWN_ECHO and "refused" in cell.error.lower()


def partials(reach: Reach | None) -> frozenset[tuple[str, str]]:
    """Cells that were answered by less than half of their tries."""
    return frozenset(cell.key for cell in reach.cells if not _works(cell)) if reach else frozenset()


def names(cells: Iterable[Cell]) -> list[str]:
    """Names of cells, with the peer where there is one."""
    return [f"{cell.id} ({cell.peer})" if cell.peer else cell.id for cell in cells]
