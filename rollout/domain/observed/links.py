"""The kernel's link table, its counters, and what the kernel can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rollout.domain.inventory import Observation
from rollout.domain.node import DatapathMode, LinkKind
from rollout.domain.observed.loose import Row, count, document, row, rows, text, texts


@dataclass(frozen=True, slots=True)
class EndpointLink:
    """Host side of an endpoint's link pair."""

    name: str
    kind: LinkKind
    up: bool
    health: bool = False
    peer_policy: str = ""
    """What netkit does with the pod's packets while no program is attached: forward or blackhole; empty for veth."""


@dataclass(frozen=True, slots=True)
class LinkTable:
    """The node's endpoint host links as the kernel lists them."""

    links: tuple[EndpointLink, ...]
    boot_id: str
    kernel: str

    def counts(self, *, health: bool = True) -> dict[str, int]:
        """How many links of each kind, health endpoint included or not."""
        found: dict[str, int] = {}
        for link in self.links:
            if health or not link.health:
                found[link.kind.value] = found.get(link.kind.value, 0) + 1
        return dict(sorted(found.items()))

    def other_than(self, kind: LinkKind) -> tuple[EndpointLink, ...]:
        """Links of another kind, the health endpoint included."""
        return tuple(link for link in self.links if link.kind is not kind)


@dataclass(frozen=True, slots=True)
class Capability:
    """What the node's kernel can do, found by trying."""

    modes: tuple[DatapathMode, ...]
    scrub: bool
    error: str = ""
    mac: bool | None = None
    """An L2 pair keeps the hardware address it is given. None: not told, by an older program."""
    headroom: bool | None = None
    """The kernel reports netkit's buffer margins (6.18 and newer). None: not told."""


@dataclass(frozen=True, slots=True)
class LinkCounters:
    """A link's own counters since it was made."""

    name: str
    kind: str
    rx_packets: int
    tx_packets: int
    rx_bytes: int
    tx_bytes: int
    rx_dropped: int
    tx_dropped: int
    rx_errors: int
    tx_errors: int


@dataclass(frozen=True, slots=True)
class Counters:
    """What the kernel counts anyway. `snmp` by the names of /proc/net/snmp and netstat, e.g. `Tcp.RetransSegs`."""

    links: tuple[LinkCounters, ...]
    snmp: Mapping[str, int] = field(default_factory=dict)
    softnet_dropped: int = 0


def link_kind(value: object) -> LinkKind:
    """A link kind as a document spells it; OTHER for anything unknown."""
    try:
        return LinkKind(value)
    except ValueError:
        return LinkKind.OTHER


def parse_links(observation: Observation | None) -> LinkTable | None:
    """The link table, None when there is no readable document."""
    found = document(observation)
    if found is None or "links" not in found:
        return None
    return LinkTable(
        links=tuple(_link(each) for each in rows(found["links"])),
        boot_id=text(found.get("boot_id")),
        kernel=text(found.get("kernel")),
    )


def _link(each: Row) -> EndpointLink:
    return EndpointLink(
        name=text(each.get("name")),
        kind=link_kind(each.get("kind")),
        up=bool(each.get("up")),
        health=bool(each.get("health")),
        peer_policy=text(each.get("peer_policy")),
    )


def parse_capability(observation: Observation | None) -> Capability | None:
    """The kernel's capability, None when there is no readable document."""
    found = document(observation)
    if found is None:
        return None
    told = texts(found.get("modes"))
    modes = tuple(m for m in (DatapathMode.NETKIT, DatapathMode.NETKIT_L2) if m.value in told)
    return Capability(
        modes, bool(found.get("scrub")), text(found.get("error")), _flag(found, "mac"), _flag(found, "headroom")
    )


def _flag(found: Row, key: str) -> bool | None:
    value = found.get(key)
    return value if isinstance(value, bool) else None


_NUMBERS = ("rx_packets", "tx_packets", "rx_bytes", "tx_bytes", "rx_dropped", "tx_dropped", "rx_errors", "tx_errors")


def parse_counters(observation: Observation | None) -> Counters | None:
    """The kernel's counters, None when there is no readable document."""
    found = document(observation)
    if found is None or "links" not in found:
        return None
    links = tuple(
        LinkCounters(text(each.get("name")), text(each.get("kind")), **{key: count(each.get(key)) for key in _NUMBERS})
        for each in rows(found["links"])
    )
    snmp = {str(key): count(value) for key, value in row(found.get("snmp")).items()}
    return Counters(links, snmp, count(found.get("softnet_dropped")))
