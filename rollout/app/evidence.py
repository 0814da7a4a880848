"""What the stored observations of one node say, as numbers for the change record. Nothing is judged here.

Documents come from nodes: one that cannot be understood is named as missing, never taken for zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from rollout.app.intervals import Interval, Quantiles, Share, quantiles, rate_milli, share
from rollout.domain.inventory import Observation
from rollout.domain.observed import (
    PROBE_AGENT,
    PROBE_DROPS,
    PROBE_LINKS,
    PROBE_PATH,
    PROBE_POLICY,
    PROBE_REACH,
    PROBE_TCP,
    Burst,
    Cell,
    Frame,
    Path,
    loose,
    parse_agent,
    parse_drops,
    parse_links,
    parse_pairs,
    parse_path,
    parse_reach,
    parse_tcp,
)

B = TypeVar("B", Burst, Cell)

Stored = Sequence[tuple[str, Observation]]
"""Observations of one node with the attempt each belongs to, oldest first."""

REPORTED = (PROBE_LINKS, PROBE_AGENT, PROBE_REACH, PROBE_POLICY, PROBE_PATH, PROBE_DROPS, PROBE_TCP)
"""Probes whose documents the report shows; what others saw reaches it through their verdicts."""

_MAX_BUCKETS = 64


@dataclass(frozen=True, slots=True)
class Missing:
    """What was not measured, and why."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Flow:
    """Bursts of one path, protocol and family: loss and round trips in microseconds."""

    key: str
    peers: tuple[str, ...]
    loss: Share
    reordered: int
    rtt_us: Quantiles | None


@dataclass(frozen=True, slots=True)
class Cells:
    """Single requests of one path, protocol and family. `failures`: cells without any answer, with the error."""

    key: str
    tries: int
    ok: int
    failures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts by powers of two: index i holds [2^i, 2^(i+1)) of `unit`."""

    key: str
    unit: str
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Crossing:
    """Packets counted on the host links of one kind."""

    kind: str
    to_pod: int
    from_pod: int


@dataclass(frozen=True, slots=True)
class Tcp:
    """Connections of all endpoints in the probe's window. `segments` None: the probe does not count them."""

    window_ms: int
    connects: int
    failures: int
    rate_milli: Interval | None
    """Connections made per second, in thousandths."""
    connect_us: Histogram
    srtt_us: Histogram
    segments: int | None
    retransmits: int
    resets_sent: int
    resets_received: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """Packets dropped for one reason. `source`: kernel (in the probe's window) or agent (since it started)."""

    source: str
    reason: str
    packets: int


@dataclass(frozen=True, slots=True)
class Pair:
    """One pair tried under a NetworkPolicy."""

    id: str
    result: str
    detail: str


@dataclass(frozen=True, slots=True)
class ProgramCost:
    """What one of our own eBPF programs cost."""

    name: str
    runs: int
    run_ns: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """One look at one node. Empty parts are explained in `missing`."""

    attempt: str
    at: datetime
    links: Mapping[str, int] | None = None
    mode: str = ""
    flows: tuple[Flow, ...] = ()
    cells: tuple[Cells, ...] = ()
    crossings: tuple[Crossing, ...] = ()
    hops: tuple[Histogram, ...] = ()
    """In nanoseconds; the key is link kind and direction."""
    tcp: Tcp | None = None
    drops: tuple[Dropped, ...] = ()
    drops_window_ms: int | None = None
    """Window of the kernel's drops; None: they were not counted."""
    agent_counted: bool = False
    """Whether the agent told its drops."""
    pairs: tuple[Pair, ...] = ()
    costs: tuple[ProgramCost, ...] = ()
    missing: tuple[Missing, ...] = ()


@dataclass(frozen=True, slots=True)
class Traffic:
    """What our probes sent, and what was lost of it. Packets are those of bursts, requests those of single cells."""

    packets: int = 0
    packets_lost: int = 0
    requests: int = 0
    requests_failed: int = 0

    def plus(self, other: Traffic) -> Traffic:
        """Both together."""
        return Traffic(
            self.packets + other.packets,
            self.packets_lost + other.packets_lost,
            self.requests + other.requests,
            self.requests_failed + other.requests_failed,
        )


def look(stored: Stored, *prefixes: str, sure: bool = True) -> Evidence | None:
    """The newest evidence of the steps named, the earlier prefix winning probe by probe; None: they never observed.

    A prefix is `<track>/<step>/`. A readable observation wins over a newer one that could not be read. `sure`: with
    intervals of each node's round trips.
    """
    rows = {probe: found for probe in REPORTED if (found := _newest(stored, probe, prefixes)) is not None}
    if not rows:
        return None
    attempt, last = max(rows.values(), key=lambda row: row[1].at)
    parts: dict[str, Any] = {"missing": ()}
    for probe in REPORTED:
        found = rows.get(probe)
        parts = _merged(parts, _part(probe, found[1] if found else None, sure))
    return Evidence(attempt, last.at, **parts)


def traffic(stored: Stored, prefix: str) -> Traffic:
    """What the probes sent in all attempts whose name starts with `prefix`."""
    total = Traffic()
    for attempt, seen in stored:
        if attempt.startswith(prefix) and seen.probe == PROBE_REACH:
            total = total.plus(_sent(loose.row(loose.document(seen))))
    return total


def _newest(stored: Stored, probe: str, prefixes: Sequence[str]) -> tuple[str, Observation] | None:
    for prefix in prefixes:
        own = [row for row in stored if row[1].probe == probe and row[0].startswith(prefix)]
        readable = [row for row in own if row[1].readable]
        if own:
            return (readable or own)[-1]
    return None


def _merged(parts: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Drops come from two probes, and every probe may add what is missing."""
    joined = {key: parts.get(key, ()) + more[key] for key in ("missing", "drops") if key in more}
    return {**parts, **more, **joined}


def _part(probe: str, seen: Observation | None, sure: bool) -> dict[str, Any]:
    if seen is None:
        return _nothing(probe, "the probe was not run")
    if not seen.readable:
        return _nothing(probe, seen.error)
    return _READERS[probe](seen, sure) or _nothing(probe, "its document could not be understood")


def _nothing(probe: str, why: str) -> dict[str, Any]:
    return {"missing": (Missing(probe, why),)}


def _links(seen: Observation, _sure: bool) -> dict[str, Any]:
    table = parse_links(seen)
    return {"links": table.counts()} if table else {}


def _agent(seen: Observation, _sure: bool) -> dict[str, Any]:
    agent = parse_agent(seen)
    if agent is None:
        return {}
    found: dict[str, Any] = {"mode": agent.mode}
    if agent.drops is None:
        return found | _nothing("drops by the agent", "the agent served no metrics")
    counted = _summed((f"{drop.reason} ({drop.direction})", drop.packets) for drop in agent.drops)
    agents = tuple(Dropped("agent", reason, number) for reason, number in counted)
    return found | {"drops": agents, "agent_counted": True}


def _reach(seen: Observation, sure: bool) -> dict[str, Any]:
    reach = parse_reach(seen)
    if reach is None:
        return {}
    return {
        "flows": tuple(_flow(key, rows, sure) for key, rows in _grouped(reach.bursts)),
        "cells": tuple(_cells(key, rows) for key, rows in _grouped(reach.cells)),
        "missing": tuple(Missing(f"reach {skipped.what}", skipped.why) for skipped in reach.skipped),
    }


def _grouped(rows: Iterable[B]) -> list[tuple[str, list[B]]]:
    groups: dict[str, list[B]] = {}
    for each in rows:
        groups.setdefault(f"{each.path} {each.protocol} v{each.family}", []).append(each)
    return sorted(groups.items())


def _flow(key: str, rows: Sequence[Burst], sure: bool) -> Flow:
    peers = {f"{row.peer} ({row.peer_kind or 'kind not known'})" for row in rows if row.peer}
    return Flow(
        key,
        tuple(sorted(peers)),
        share(sum(row.lost for row in rows), sum(row.sent for row in rows)),
        sum(row.reordered for row in rows),
        quantiles([row.rtt_us for row in rows], sure=sure),
    )


def _cells(key: str, rows: Sequence[Cell]) -> Cells:
    broken = tuple(f"{row.id}: {row.error or 'no answer'}" for row in rows if not row.ok)
    return Cells(key, sum(row.tries for row in rows), sum(row.ok for row in rows), broken)


def _sent(document: Mapping[str, Any]) -> Traffic:
    """Counted without the thousands of round trips, since every attempt of every node is read for it."""
    packets = [_of(row, "sent", "received") for row in loose.rows(document.get("bursts"))]
    requests = [_of(row, "tries", "ok") for row in loose.rows(document.get("cells"))]
    return Traffic(
        sum(sent for sent, _ in packets),
        sum(lost for _, lost in packets),
        sum(tries for tries, _ in requests),
        sum(failed for _, failed in requests),
    )


def _of(row: Mapping[str, Any], whole: str, part: str) -> tuple[int, int]:
    number = loose.count(row.get(whole))
    return number, max(0, number - loose.count(row.get(part)))


def _policy(seen: Observation, _sure: bool) -> dict[str, Any]:
    found = parse_pairs(seen)
    if found is None:
        return {}
    pairs = (Pair(pair.id, pair.result, pair.detail) for pair in found.pairs)
    return {
        "pairs": tuple(sorted(pairs, key=lambda pair: pair.id)),
        "missing": tuple(Missing(f"policy pair {skipped.what}", skipped.why) for skipped in found.skipped),
    }


def _path(seen: Observation, _sure: bool) -> dict[str, Any]:
    path = parse_path(seen)
    if path is None:
        return {}
    hops = sorted(path.hops, key=lambda hop: (hop.kind, hop.direction))
    return {
        "hops": tuple(Histogram(f"{hop.kind} {hop.direction}", "ns", _counts(hop.log2_ns)) for hop in hops),
        "crossings": _crossings(path),
        "costs": path_costs(seen.document),
    } | _doubt(PROBE_PATH, path.frame)


def _crossings(path: Path) -> tuple[Crossing, ...]:
    kinds: dict[str, list[int]] = {}
    for link in path.links:
        both = kinds.setdefault(link.kind.value, [0, 0])
        both[0] += link.to_pod
        both[1] += link.from_pod
    return tuple(Crossing(kind, *both) for kind, both in sorted(kinds.items()))


def path_costs(document: Mapping[str, Any]) -> tuple[ProgramCost, ...]:
    """What our own eBPF programs cost, of which no check judges."""
    found = loose.rows(loose.row(document.get("cost")).get("programs"))
    return tuple(
        ProgramCost(loose.text(c.get("name")), loose.count(c.get("runs")), loose.count(c.get("run_ns"))) for c in found
    )


def _drops(seen: Observation, _sure: bool) -> dict[str, Any]:
    found = parse_drops(seen)
    if found is None:
        return {}
    counted = _summed((f"{drop.reason} ({drop.protocol})", drop.packets) for drop in found.drops)
    kernel = tuple(Dropped("kernel", reason, number) for reason, number in counted)
    return {"drops": kernel, "drops_window_ms": found.frame.window_ms} | _doubt(PROBE_DROPS, found.frame)


def _tcp(seen: Observation, _sure: bool) -> dict[str, Any]:
    found = parse_tcp(seen)
    if found is None:
        return {}
    rows, window = found.endpoints, found.frame.window_ms
    connects = sum(row.connects for row in rows)
    counted = [row.segments for row in rows if row.segments is not None]
    tcp = Tcp(
        window_ms=window,
        connects=connects,
        failures=sum(row.connect_failures for row in rows),
        rate_milli=rate_milli(connects, window),
        connect_us=Histogram("connect", "us", added([_counts(row.connect_log2_us) for row in rows])),
        srtt_us=Histogram("srtt", "us", added([_counts(row.srtt_log2_us) for row in rows])),
        segments=sum(counted) if counted else None,
        retransmits=sum(row.retransmits for row in rows),
        resets_sent=sum(row.resets_sent for row in rows),
        resets_received=sum(row.resets_received for row in rows),
    )
    return {"tcp": tcp} | _doubt(PROBE_TCP, found.frame)


def _doubt(probe: str, frame: Frame) -> dict[str, Any]:
    """A probe that miscounts says so; its numbers are shown with that beside them."""
    why = []
    if not frame.selftest.ok:
        test = frame.selftest
        why.append(f"its self-test sent {test.sent} and saw {test.seen}: {test.message or 'it miscounts'}")
    if frame.lost_events:
        why.append(f"{frame.lost_events} events did not fit its buffers")
    return {"missing": (Missing(f"{probe}, reliably", "; ".join(why)),)} if why else {}


def added(many: Iterable[Sequence[int]]) -> tuple[int, ...]:
    """Histograms of one kind, bucket by bucket."""
    total: list[int] = []
    for counts in many:
        total += [0] * (len(counts) - len(total))
        for index, number in enumerate(counts):
            total[index] += number
    return tuple(total)


def _counts(values: Sequence[int]) -> tuple[int, ...]:
    return tuple(values[:_MAX_BUCKETS])


def _summed(rows: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    totals: dict[str, int] = {}
    for key, number in rows:
        totals[key] = totals.get(key, 0) + number
    return sorted(totals.items(), key=lambda item: (-item[1], item[0]))


_READERS: Mapping[str, Callable[[Observation, bool], dict[str, Any]]] = {
    PROBE_LINKS: _links,
    PROBE_AGENT: _agent,
    PROBE_REACH: _reach,
    PROBE_POLICY: _policy,
    PROBE_PATH: _path,
    PROBE_DROPS: _drops,
    PROBE_TCP: _tcp,
}
