"""Which links of a node matter to its pods' traffic, and what each is for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from . import links, rtnetlink

ENDPOINT, HEALTH, HOST, DEVICE = "endpoint", "health", "host", "device"


class Device(NamedTuple):
    """A link and its role."""

    link: rtnetlink.Link
    role: str


def devices(
    kernel: rtnetlink.Netlink, named: Iterable[str], node_address: str, *, statistics: bool = False
) -> list[Device]:
    """By index: endpoint links (`links` decides), the agent's own pair, and the node's ways out.

    A way out has a default route or the node's own address, and is no endpoint link.
    """
    names = set(named)
    ways_out = kernel.default_devices() | (kernel.holders(node_address) if node_address else set())
    found = []
    for link in sorted(kernel.links(statistics=statistics), key=lambda one: one.ifindex):
        role = _role(link, names, ways_out)
        if role:
            found.append(Device(link, role))
    return found


def _role(link: rtnetlink.Link, named: Iterable[str], ways_out: set[int]) -> str:
    if link.name == links.HEALTH:
        return HEALTH
    if links.is_endpoint(link, named):
        return ENDPOINT
    if link.name in links.OWN_PAIR:
        return HOST
    return DEVICE if link.ifindex in ways_out else ""


def kind_of(link: rtnetlink.Link) -> str:
    """The kind as `links` says it; for another link the kernel's name, `device` for one without."""
    known = links.kind_of(link)
    return known if known != "other" else link.kind or "device"
