"""What the eBPF probes counted in their window: path, drops, tcp. Histograms: index i counts [2^i, 2^(i+1))."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rollout.domain.inventory import Observation
from rollout.domain.node import LinkKind
from rollout.domain.observed.links import link_kind
from rollout.domain.observed.loose import Row, count, counts, document, row, rows, text


@dataclass(frozen=True, slots=True)
class SelfTest:
    """The probe's count of a known number of events. A probe that miscounts proves nothing."""

    ok: bool
    sent: int = 0
    seen: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class Frame:
    """What every eBPF probe says of itself. `lost_events`: what did not fit its buffers."""

    window_ms: int
    selftest: SelfTest
    reader: str
    lost_events: int


@dataclass(frozen=True, slots=True)
class PathLink:
    """Packets that crossed one host link, by direction."""

    name: str
    kind: LinkKind
    to_pod: int
    from_pod: int


@dataclass(frozen=True, slots=True)
class Hops:
    """Times from one side's transmit to the other side's receive, in nanoseconds."""

    kind: str
    direction: str
    count: int
    log2_ns: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Path:
    """Packets per link and hop times."""

    frame: Frame
    links: tuple[PathLink, ...]
    hops: tuple[Hops, ...]


@dataclass(frozen=True, slots=True)
class KernelDrop:
    """Packets that the kernel dropped for one reason on one link; no link: outside of any."""

    reason: str
    link: str
    protocol: str
    packets: int


@dataclass(frozen=True, slots=True)
class Drops:
    """Kernel drops of one window. `reasons_from`: where the names were read."""

    frame: Frame
    drops: tuple[KernelDrop, ...]
    reasons_from: str = ""


@dataclass(frozen=True, slots=True)
class TcpEndpoint:
    """TCP of one address. `segments` None: the probe does not count them."""

    address: str
    connects: int
    connect_failures: int
    connect_log2_us: tuple[int, ...]
    srtt_log2_us: tuple[int, ...]
    segments: int | None
    retransmits: int
    resets_sent: int
    resets_received: int


@dataclass(frozen=True, slots=True)
class Tcp:
    """TCP by endpoint."""

    frame: Frame
    endpoints: tuple[TcpEndpoint, ...]


def parse_path(observation: Observation | None) -> Path | None:
    """Packets per link, None when there is no readable document."""
    found = document(observation)
    if found is None or "links" not in found or "selftest" not in found:
        return None
    links = tuple(
        PathLink(
            text(each.get("name")), link_kind(each.get("kind")), _packets(each, "to_pod"), _packets(each, "from_pod")
        )
        for each in rows(found["links"])
    )
    hops = tuple(
        Hops(text(each.get("kind")), text(each.get("direction")), count(each.get("count")), counts(each.get("log2_ns")))
        for each in rows(found.get("hops"))
    )
    return Path(_frame(found), links, hops)


def parse_drops(observation: Observation | None) -> Drops | None:
    """Kernel drops, None when there is no readable document."""
    found = document(observation)
    if found is None or "drops" not in found or "selftest" not in found:
        return None
    drops = tuple(
        KernelDrop(text(e.get("reason")), text(e.get("link")), text(e.get("protocol")), count(e.get("packets")))
        for e in rows(found["drops"])
    )
    return Drops(_frame(found), drops, text(found.get("reasons_from")))


def parse_tcp(observation: Observation | None) -> Tcp | None:
    """TCP by endpoint, None when there is no readable document."""
    found = document(observation)
    if found is None or "endpoints" not in found or "selftest" not in found:
        return None
    return Tcp(_frame(found), tuple(_endpoint(each) for each in rows(found["endpoints"])))


def _endpoint(each: Row) -> TcpEndpoint:
    return TcpEndpoint(
        address=text(each.get("address")),
        connects=count(each.get("connects")),
        connect_failures=count(each.get("connect_failures")),
        connect_log2_us=counts(each.get("connect_log2_us")),
        srtt_log2_us=counts(each.get("srtt_log2_us")),
        segments=count(each["segments"]) if each.get("segments") is not None else None,
        retransmits=count(each.get("retransmits")),
        resets_sent=count(each.get("resets_sent")),
        resets_received=count(each.get("resets_received")),
    )


def _packets(each: Mapping[str, object], direction: str) -> int:
    return count(row(each.get(direction)).get("packets"))


def _frame(found: Row) -> Frame:
    told = row(found.get("selftest"))
    test = SelfTest(told.get("ok") is True, count(told.get("sent")), count(told.get("seen")), text(told.get("message")))
    return Frame(count(found.get("window_ms")), test, text(found.get("reader")), count(found.get("lost_events")))
