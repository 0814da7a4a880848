"""Links, addresses and routes of pods and of the node, through rtnetlink.

pyroute2 has no netkit class, so it is registered here. Values are the kernel's (uapi/linux/if_link.h).
"""

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import namespaces
from pyroute2 import IPRoute, NetlinkError
from pyroute2.netlink import nla
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg, ifinfveth

POD_LINK = "eth0"
LinkError = NetlinkError
"""The kernel refused a change of links, addresses or routes."""
MTU = 1500
_L2, _L3 = 0, 1
_FORWARD, _BLACKHOLE = 0, 2
_SCRUB_NONE, _SCRUB_DEFAULT = 0, 1
_NOARP = 0x80
_PERMANENT = 0x80
_SCOPE_LINK = 253


class Netkit(nla):  # type: ignore[misc]
    """IFLA_INFO_DATA of a netkit link."""

    prefix = "IFLA_"
    nla_map = (
        ("IFLA_NETKIT_UNSPEC", "none"),
        ("IFLA_NETKIT_PEER_INFO", "peer"),
        ("IFLA_NETKIT_PRIMARY", "uint8"),
        ("IFLA_NETKIT_POLICY", "uint32"),
        ("IFLA_NETKIT_PEER_POLICY", "uint32"),
        ("IFLA_NETKIT_MODE", "uint32"),
        ("IFLA_NETKIT_SCRUB", "uint32"),
        ("IFLA_NETKIT_PEER_SCRUB", "uint32"),
    )

    @staticmethod
    def peer(*_: object, **__: object) -> Any:
        # A link message in an attribute: of the same shape as veth's.
        return ifinfveth


ifinfmsg.ifinfo.register_link_kind(module={"netkit": Netkit})


@dataclass(frozen=True)
class LinkFacts:
    index: int
    name: str
    mode: str
    """In Cilium's spelling: veth, netkit, netkit-l2; another kind of link by the kernel's name."""
    mac: str


def _facts(link: Any) -> LinkFacts:
    kind = link.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") or ""
    layer = link.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA", "IFLA_NETKIT_MODE") if kind == "netkit" else None
    mode = "netkit-l2" if layer == _L2 else kind
    return LinkFacts(link["index"], link.get_attr("IFLA_IFNAME"), mode, link.get_attr("IFLA_ADDRESS") or "")


def find(name: str) -> LinkFacts | None:
    """The link as the kernel has it now, or None."""
    with IPRoute() as ipr:
        return _find(ipr, name)


def _find(ipr: Any, name: str) -> LinkFacts | None:
    try:
        links = list(ipr.get_links(ifname=name))
    except NetlinkError as error:
        if error.code == 19:  # ENODEV
            return None
        raise
    return _facts(links[0]) if links else None


def names(prefix: str) -> list[str]:
    with IPRoute() as ipr:
        return [name for link in ipr.get_links() if (name := link.get_attr("IFLA_IFNAME")).startswith(prefix)]


def random_mac() -> str:
    raw = bytearray(os.urandom(6))
    raw[0] = raw[0] & 0xFE | 0x02
    return raw.hex(":")


def has_mac(mode: str) -> bool:
    """The kernel refuses a MAC on a netkit link in L3 mode."""
    return mode != "netkit"


def create_pair(mode: str, name: str, namespace: Path, peer_name: str = POD_LINK) -> tuple[LinkFacts, str]:
    """A pair as Cilium makes it, its peer straight in the namespace, both down; the host side and the peer's MAC.

    Only the attached program lets the pod's packets out: the peer's own policy is to drop.
    """
    peer_mac = random_mac() if has_mac(mode) else ""
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with IPRoute() as ipr:
            ipr.link("add", **_pair_request(mode, name, peer_name, peer_mac, descriptor))
            made = _find(ipr, name)
    finally:
        os.close(descriptor)
    if made is None:
        raise OSError(f"cannot create link {name}: it is gone again")
    return made, peer_mac


def _pair_request(mode: str, name: str, peer_name: str, peer_mac: str, descriptor: int) -> dict[str, Any]:
    request: dict[str, Any] = {"ifname": name, "mtu": MTU, "txqlen": 1000}
    if mode == "veth":
        peer = {"ifname": peer_name, "address": peer_mac, "mtu": MTU, "net_ns_fd": descriptor}
        return request | {"kind": "veth", "address": random_mac(), "peer": peer}
    attributes: list[tuple[str, object]] = [("IFLA_IFNAME", peer_name), ("IFLA_MTU", MTU)]
    attributes.append(("IFLA_NET_NS_FD", descriptor))
    if peer_mac:
        attributes.append(("IFLA_ADDRESS", peer_mac))
        request["address"] = random_mac()
    return request | {
        "kind": "netkit",
        "netkit_mode": _L2 if mode == "netkit-l2" else _L3,
        "netkit_policy": _FORWARD,
        "netkit_peer_policy": _BLACKHOLE,
        "netkit_scrub": _SCRUB_NONE,
        "netkit_peer_scrub": _SCRUB_DEFAULT,
        "netkit_peer_info": {"attrs": attributes},
    }


def configure_pod(namespace: Path, address: str, gateway: str, gateway_mac: str, link: str = POD_LINK) -> None:
    """The pod's side: /32 address, default route through the node's own address.

    Cilium's program answers ARP for the gateway; a permanent neighbour does here.
    """

    def body() -> None:
        with IPRoute() as ipr:
            ipr.link("set", index=1, state="up")
            index = _index(ipr, link)
            ipr.addr("add", index=index, address=address, prefixlen=32)
            ipr.link("set", index=index, state="up")
            ipr.route("add", dst=f"{gateway}/32", oif=index, scope=_SCOPE_LINK)
            ipr.route("add", dst="0.0.0.0/0", gateway=gateway, oif=index)
            if gateway_mac:
                ipr.neigh("replace", dst=gateway, lladdr=gateway_mac, ifindex=index, state=_PERMANENT)

    namespaces.inside(namespace, body)


def expose_pod(name: str, address: str, pod_mac: str) -> None:
    """The host's side: up, and a route to the pod's address."""
    with IPRoute() as ipr:
        index = _index(ipr, name)
        ipr.link("set", index=index, state="up")
        ipr.route("replace", dst=f"{address}/32", oif=index, scope=_SCOPE_LINK)
        if pod_mac:
            ipr.neigh("replace", dst=address, lladdr=pod_mac, ifindex=index, state=_PERMANENT)
    loosen_reverse_path(name)


def loosen_reverse_path(name: str) -> None:
    setting = Path(f"/proc/sys/net/ipv4/conf/{name}/rp_filter")
    if setting.exists():
        setting.write_text("0")


def delete(name: str) -> bool:
    """Remove the link, and its peer with it. False if there was none."""
    with IPRoute() as ipr:
        found = _find(ipr, name)
        if found is None:
            return False
        try:
            ipr.link("del", index=found.index)
        except NetlinkError as error:
            if error.code != 19:
                raise
    return True


def ensure_host_pair(router: str) -> None:
    """cilium_host and cilium_net: a veth pair in every mode, with the router's address."""
    with IPRoute() as ipr:
        if _find(ipr, "cilium_host") is None:
            ipr.link("add", ifname="cilium_host", kind="veth", peer={"ifname": "cilium_net"})
        for name in ("cilium_net", "cilium_host"):
            index = _index(ipr, name)
            ipr.link("set", index=index, flags=_NOARP, change=_NOARP)
            ipr.link("set", index=index, state="up", mtu=MTU)
            loosen_reverse_path(name)
        ipr.addr("replace", index=_index(ipr, "cilium_host"), address=router, prefixlen=32)


def ensure_route(cidr: str, via: str) -> None:
    """The direct route to another node's pods."""
    with IPRoute() as ipr:
        ipr.route("replace", dst=cidr, gateway=via)


def remove_route(cidr: str) -> None:
    with IPRoute() as ipr:
        try:
            ipr.route("del", dst=cidr)
        except NetlinkError as error:
            if error.code != 3:  # ESRCH
                raise


def device_of(address: str) -> str:
    """The link that holds the node's own address; "eth0" if none does."""
    with IPRoute() as ipr:
        for entry in ipr.get_addr(family=socket.AF_INET):
            if entry.get_attr("IFA_ADDRESS") == address:
                return str(entry.get_attr("IFA_LABEL") or "eth0")
    return "eth0"


def probe_netkit() -> str:
    """Why this kernel has no netkit, or an empty string: tried with a pair in a namespace thrown away."""

    def body() -> str:
        namespaces.unshare_network()
        with IPRoute() as ipr:
            try:
                ipr.link("add", ifname="probe0", kind="netkit", netkit_mode=_L3)
            except NetlinkError as error:
                return os.strerror(error.code)
        return ""

    return namespaces.in_thread(body)


def _index(ipr: Any, name: str) -> int:
    found = _find(ipr, name)
    if found is None:
        raise OSError(f"cannot find link {name}")
    return found.index
