"""Which device, by namespace and index, is which end of which pod's link pair."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from . import links, netns, rtnetlink

Place = tuple[int, int]
"""A network device: inode number of its namespace, and its index there."""
HOST, POD = "host", "pod"
_IFLA_TARGET_NETNSID = 46


class HostLink(NamedTuple):
    """A pod's link pair, by its host side. `pod`: the other end, None when its namespace was not found."""

    name: str
    ifindex: int
    kind: str
    host: Place
    pod: Place | None
    peer_netnsid: int | None


class Received(NamedTuple):
    """What a pod's device has received in all, by the kernel's own counter."""

    packets: int
    bytes: int


class Table:
    """The node's link pairs, as they were at one or several readings: a pod that goes in between is still known."""

    def __init__(self, named: Iterable[str] = ()) -> None:
        self._named = tuple(named)
        self.own = netns.own_number()
        self.links: dict[int, HostLink] = {}
        self.names: dict[int, str] = {}

    def read(self) -> None:
        """Add what is there now."""
        with rtnetlink.Netlink() as kernel:
            found = kernel.links()
        self.names.update({link.ifindex: link.name for link in found})
        mine = [link for link in found if links.is_endpoint(link, self._named)]
        sides = netns.pod_sides(mine)
        for link in mine:
            side = sides.get(link.name)
            pod = (side.netns, side.ifindex) if side else None
            host = (self.own, link.ifindex)
            kind = links.kind_of(link)
            self.links[link.ifindex] = HostLink(link.name, link.ifindex, kind, host, pod, link.peer_netnsid)

    def ends(self) -> dict[Place, tuple[HostLink, str]]:
        """Every known device of a pair: the pair, and which end of it."""
        found = {link.host: (link, HOST) for link in self.links.values()}
        found.update({link.pod: (link, POD) for link in self.links.values() if link.pod is not None})
        return found

    def received(self) -> dict[int, Received]:
        """What each pod's device has received so far, by the host link's index; those that are gone are left out."""
        found: dict[int, Received] = {}
        with rtnetlink.Netlink() as kernel:
            for link in self.links.values():
                if link.pod is None or link.peer_netnsid is None:
                    continue
                with contextlib.suppress(OSError, ValueError):
                    found[link.ifindex] = _received(kernel, link.peer_netnsid, link.pod[1])
        return found


def _received(kernel: rtnetlink.Netlink, netnsid: int, ifindex: int) -> Received:
    """What a link of another namespace, given by our number for that, has received (kernel 4.17 and newer)."""
    body = struct.pack("=BxHiII", 0, 0, ifindex, 0, 0)
    body += rtnetlink.attribute(_IFLA_TARGET_NETNSID, struct.pack("=i", netnsid))
    link = rtnetlink.decode_link(kernel._one(rtnetlink.RTM_GETLINK, rtnetlink.RTM_NEWLINK, body))
    if link.statistics is None:
        raise ValueError(f"the kernel counts nothing for link {ifindex} of namespace {netnsid}")
    return Received(link.statistics.rx_packets, link.statistics.rx_bytes)


def grown(before: Mapping[int, Received], after: Mapping[int, Received]) -> dict[int, Received]:
    """Difference of two readings; for a link that was not there at the first, all of it."""
    nothing = Received(0, 0)
    return {
        index: Received(now.packets - before.get(index, nothing).packets, now.bytes - before.get(index, nothing).bytes)
        for index, now in after.items()
    }
