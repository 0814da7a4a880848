"""What was tried on the wire: the matrix of requests, the bursts, and the pairs under NetworkPolicies."""

from __future__ import annotations

from dataclasses import dataclass

from rollout.domain.inventory import Observation
from rollout.domain.observed.loose import Row, count, counts, document, rows, text


@dataclass(frozen=True, slots=True)
class Cell:
    """One request, tried a few times. `rtt_us`: of each answer. `error`: of the last try without one."""

    id: str
    path: str
    protocol: str
    family: int
    size: int
    peer: str
    peer_kind: str
    target: str
    tries: int
    ok: int
    error: str
    rtt_us: tuple[int, ...] = ()
    mtu: int = 0
    """Bytes that the route allowed in one packet; 0: not told."""

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the same request at another time."""
        return (self.id, self.peer)


@dataclass(frozen=True, slots=True)
class Burst:
    """Many packets on one path, by which loss and latency are judged. `rtt_us`: one per answer, in order."""

    id: str
    path: str
    protocol: str
    family: int
    size: int
    peer: str
    peer_kind: str
    sent: int
    received: int
    reordered: int
    rtt_us: tuple[int, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the same burst at another time."""
        return (self.id, self.peer)

    @property
    def lost(self) -> int:
        """Packets without an answer; an answer that came twice is no loss."""
        return max(0, self.sent - self.received)


@dataclass(frozen=True, slots=True)
class Skipped:
    """What was not tried, and why."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Reach:
    """The matrix of one look."""

    cells: tuple[Cell, ...]
    bursts: tuple[Burst, ...]
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True, slots=True)
class Pair:
    """One pair tried under a NetworkPolicy. `result`: open, closed or unknown."""

    id: str
    policy: str
    source: str
    to: str
    protocol: str
    port: int
    result: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Pairs:
    """The pairs of one look."""

    pairs: tuple[Pair, ...]
    skipped: tuple[Skipped, ...] = ()


def parse_reach(observation: Observation | None) -> Reach | None:
    """The matrix, None when there is no readable document."""
    found = document(observation)
    if found is None or "cells" not in found:
        return None
    return Reach(
        cells=tuple(_cell(each) for each in rows(found["cells"])),
        bursts=tuple(_burst(each) for each in rows(found.get("bursts"))),
        skipped=_skipped(found),
    )


def _cell(each: Row) -> Cell:
    tries = count(each.get("tries"))
    return Cell(
        id=text(each.get("id")),
        path=text(each.get("path")),
        protocol=text(each.get("protocol")),
        family=count(each.get("family")),
        size=count(each.get("size")),
        peer=text(each.get("peer")),
        peer_kind=text(each.get("peer_kind")),
        target=text(each.get("target")),
        tries=tries,
        ok=min(tries, count(each.get("ok"))),
        error=text(each.get("error")),
        rtt_us=counts(each.get("rtt_us")),
        mtu=count(each.get("mtu")),
    )


def _burst(each: Row) -> Burst:
    sent = count(each.get("sent"))
    return Burst(
        id=text(each.get("id")),
        path=text(each.get("path")),
        protocol=text(each.get("protocol")),
        family=count(each.get("family")),
        size=count(each.get("size")),
        peer=text(each.get("peer")),
        peer_kind=text(each.get("peer_kind")),
        sent=sent,
        received=min(sent, count(each.get("received"))),
        reordered=count(each.get("reordered")),
        rtt_us=counts(each.get("rtt_us")),
    )


def parse_pairs(observation: Observation | None) -> Pairs | None:
    """The pairs under NetworkPolicies, None when there is no readable document."""
    found = document(observation)
    if found is None or "pairs" not in found:
        return None
    return Pairs(tuple(_pair(each) for each in rows(found["pairs"])), _skipped(found))


def _pair(each: Row) -> Pair:
    return Pair(
        id=text(each.get("id")),
        policy=text(each.get("policy")),
        source=text(each.get("from")),
        to=text(each.get("to")),
        protocol=text(each.get("protocol")),
        port=count(each.get("port")),
        result=text(each.get("result")) or "unknown",
        detail=text(each.get("detail")),
    )


def _skipped(found: Row) -> tuple[Skipped, ...]:
    return tuple(
        Skipped(text(each.get("path")) or text(each.get("id")) or text(each.get("policy")), text(each.get("why")))
        for each in rows(found.get("skipped"))
    )
