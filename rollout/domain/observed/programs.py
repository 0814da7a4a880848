"""Which eBPF programs are attached to which links."""

from __future__ import annotations

from dataclasses import dataclass

from rollout.domain.inventory import Observation
from rollout.domain.node import LinkKind
from rollout.domain.observed.links import link_kind
from rollout.domain.observed.loose import Row, count, document, rows, text


@dataclass(frozen=True, slots=True)
class Attached:
    """One program and its place: netkit-primary, netkit-peer, tcx-, tc-ingress or -egress, xdp."""

    at: str
    program: str
    id: int = 0
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Device:
    """A link whose programs were asked for. `role`: endpoint, health, host (cilium_host, cilium_net) or device."""

    name: str
    kind: LinkKind
    role: str
    attached: tuple[Attached, ...]

    @property
    def places(self) -> frozenset[str]:
        """Where anything is attached."""
        return frozenset(each.at for each in self.attached)


@dataclass(frozen=True, slots=True)
class Programs:
    """Programs of a node by link. `unread`: links whose programs could not be asked for, with the reason."""

    devices: tuple[Device, ...]
    unread: tuple[tuple[str, str], ...] = ()


def parse_programs(observation: Observation | None) -> Programs | None:
    """The attached programs, None when there is no readable document."""
    found = document(observation)
    if found is None or "devices" not in found:
        return None
    unread = tuple((text(each.get("name")), text(each.get("why"))) for each in rows(found.get("unread")))
    return Programs(tuple(_device(each) for each in rows(found["devices"])), unread)


def _device(each: Row) -> Device:
    attached = tuple(
        Attached(text(one.get("at")), text(one.get("program")), count(one.get("id")), text(one.get("tag")))
        for one in rows(each.get("attached"))
    )
    return Device(text(each.get("name")), link_kind(each.get("kind")), text(each.get("role")), attached)
