"""Nodes alike, compared before and after together.

A plan says of a node its kernel, its method and the modes it moves between: nodes equal in these are a cohort. The
agent's version is one for the whole cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rollout.app.evidence import Evidence, Histogram, added
from rollout.app.intervals import Interval, Share, across, share
from rollout.domain.plan import NodePlan

QUANTILES = ("p50", "p90", "p99")


@dataclass(frozen=True, slots=True)
class Sides:
    """One node's evidence before and after its way forward; None where it was not observed.

    `stands`: it is in the new mode now, so that its evidence after tells of what is.
    """

    before: Evidence | None
    after: Evidence | None
    stands: bool


@dataclass(frozen=True, slots=True)
class LatencyChange:
    """Round trips of one path in microseconds: the median over nodes of each node's own quantile.

    `change` is the median over nodes of each node's own difference, so that nodes are compared with themselves.
    """

    key: str
    quantile: str
    nodes: int
    before: Interval
    after: Interval
    change: Interval


@dataclass(frozen=True, slots=True)
class LossChange:
    """Lost packets of one path, all nodes pooled."""

    key: str
    before: Share
    after: Share


@dataclass(frozen=True, slots=True)
class TcpTotals:
    """Connections of all nodes pooled. `rate_milli`: connections per second and node, in thousandths."""

    nodes: int
    connects: int
    failures: int
    rate_milli: Interval | None
    connect_us: Histogram
    srtt_us: Histogram
    retransmits: Share | None
    """Of all segments; None when no node counts segments."""


@dataclass(frozen=True, slots=True)
class Cohort:
    """Nodes alike. `measured`: how many are compared; `apart`: which are not, being in another mode now."""

    kernel: str
    method: str
    source: str
    target: str
    nodes: tuple[str, ...]
    measured: int
    apart: tuple[str, ...]
    links: tuple[Mapping[str, int], Mapping[str, int]]
    """Endpoint links by kind over all observed nodes, before and after."""
    latency: tuple[LatencyChange, ...]
    loss: tuple[LossChange, ...]
    hops: tuple[tuple[Histogram, ...], tuple[Histogram, ...]]
    tcp: tuple[TcpTotals | None, TcpTotals | None]

    @property
    def title(self) -> str:
        """What its nodes share."""
        return f"{self.source} to {self.target} by {self.method}, kernel {self.kernel or 'not known'}"


def cohort_of(node: NodePlan) -> tuple[str, str, str, str]:
    """What makes nodes alike: kernel release, method, source and target."""
    return node.facts.kernel, node.method.value, node.source.value, node.target.value


def cohort(key: tuple[str, str, str, str], nodes: Mapping[str, Sides]) -> Cohort:
    """One cohort's comparison, over the nodes that stand in the new mode and have evidence of both sides."""
    pairs = [(s.before, s.after) for s in nodes.values() if s.before is not None and s.after is not None and s.stands]
    before, after = [b for b, _ in pairs], [a for _, a in pairs]
    return Cohort(
        *key,
        nodes=tuple(nodes),
        measured=len(pairs),
        apart=tuple(name for name, s in nodes.items() if s.after is not None and not s.stands),
        links=(_links(before), _links(after)),
        latency=tuple(_latency(pairs)),
        loss=tuple(_loss(pairs)),
        hops=(_hops(before), _hops(after)),
        tcp=(_tcp(before), _tcp(after)),
    )


def _links(evidence: Iterable[Evidence]) -> Mapping[str, int]:
    totals: dict[str, int] = {}
    for each in evidence:
        for kind, number in (each.links or {}).items():
            totals[kind] = totals.get(kind, 0) + number
    return dict(sorted(totals.items()))


def _latency(pairs: Sequence[tuple[Evidence, Evidence]]) -> Iterable[LatencyChange]:
    found: dict[tuple[str, str], list[tuple[Interval, Interval]]] = {}
    for before, after in pairs:
        old = {flow.key: flow.rtt_us for flow in before.flows}
        for flow in after.flows:
            was = old.get(flow.key)
            if was is None or flow.rtt_us is None:
                continue
            for (name, one), (_, two) in zip(was.items(), flow.rtt_us.items(), strict=True):
                found.setdefault((flow.key, name), []).append((one, two))
    for (key, name), both in sorted(found.items()):
        sides = across([b for b, _ in both]), across([a for _, a in both])
        change = _change(both)
        assert sides[0] is not None and sides[1] is not None
        yield LatencyChange(key, name, len(both), sides[0], sides[1], change)


def _change(both: Sequence[tuple[Interval, Interval]]) -> Interval:
    """One node alone: only the difference; its interval is the checks' business, which resample."""
    found = across([Interval(after.value - before.value) for before, after in both])
    assert found is not None
    return found


def _loss(pairs: Sequence[tuple[Evidence, Evidence]]) -> Iterable[LossChange]:
    totals: dict[str, list[int]] = {}
    for before, after in pairs:
        old = {flow.key: flow.loss for flow in before.flows}
        for flow in after.flows:
            was = old.get(flow.key)
            if was is not None:
                sums = totals.setdefault(flow.key, [0, 0, 0, 0])
                for index, number in enumerate((was.count, was.of, flow.loss.count, flow.loss.of)):
                    sums[index] += number
    for key, (lost, sent, lost_after, sent_after) in sorted(totals.items()):
        yield LossChange(key, share(lost, sent), share(lost_after, sent_after))


def _hops(evidence: Iterable[Evidence]) -> tuple[Histogram, ...]:
    return _pooled([hop for each in evidence for hop in each.hops])


def _pooled(histograms: Sequence[Histogram]) -> tuple[Histogram, ...]:
    units = {h.key: h.unit for h in histograms}
    return tuple(
        Histogram(key, unit, added([h.counts for h in histograms if h.key == key]))
        for key, unit in sorted(units.items())
    )


def _tcp(evidence: Sequence[Evidence]) -> TcpTotals | None:
    found = [each.tcp for each in evidence if each.tcp is not None]
    if not found:
        return None
    counting = [tcp for tcp in found if tcp.segments is not None]
    rates = [tcp.rate_milli for tcp in found if tcp.rate_milli is not None]
    return TcpTotals(
        nodes=len(found),
        connects=sum(tcp.connects for tcp in found),
        failures=sum(tcp.failures for tcp in found),
        rate_milli=across(rates),
        connect_us=Histogram("connect", "us", added([tcp.connect_us.counts for tcp in found])),
        srtt_us=Histogram("srtt", "us", added([tcp.srtt_us.counts for tcp in found])),
        retransmits=share(sum(t.retransmits for t in counting), sum(t.segments or 0 for t in counting))
        if counting
        else None,
    )
