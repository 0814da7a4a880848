"""Links decoded from raw netlink messages, and read from a real kernel."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rollout.domain.observed import parse_links
from rollout.onnode import links, rtnetlink
from tests.onnode.observations import observation

DATA = Path(__file__).with_name("data")
_POLICY = {"forward": 0, "blackhole": 2}
_SCRUB = {"none": 0, "default": 1}
_MODE = {"l2": 0, "l3": 1}
_FLAGS = {"UP": 1, "BROADCAST": 2, "LOOPBACK": 8, "NOARP": 0x80, "MULTICAST": 0x1000, "LOWER_UP": 0x10000}
_STATES = {"UNKNOWN": 0, "DOWN": 2, "UP": 6}
_NESTED = 0x8000


def nla(kind: int, payload: bytes) -> bytes:
    """One attribute, built by hand: length, type, payload, padding."""
    return struct.pack("=HH", len(payload) + 4, kind) + payload + bytes(-len(payload) % 4)


def u32(value: int) -> bytes:
    return struct.pack("=I", value)


def message(link: Mapping[str, Any], *, nested: int = 0, newer: bytes = b"") -> bytes:
    """RTM_NEWLINK as the kernel sends it, for a link as `ip -d -j link` shows it."""
    flags = sum(_FLAGS[flag] for flag in link["flags"])
    body = struct.pack("=BxHiII", 0, 1, link["ifindex"], flags, 0)
    body += nla(3, link["ifname"].encode() + b"\0") + nla(16, bytes([_STATES[link["operstate"]]]))
    if "link_index" in link:
        body += nla(5, u32(link["link_index"]))
    if "link_netnsid" in link:
        body += nla(37, struct.pack("=i", link["link_netnsid"]))
    if "linkinfo" in link:
        info = nla(1, link["linkinfo"]["info_kind"].encode() + b"\0")
        if "info_data" in link["linkinfo"]:
            info += nla(2 | nested, _netkit(link["linkinfo"]["info_data"]) + newer)
        body += nla(18 | nested, info)
    return body


def _netkit(data: Mapping[str, str]) -> bytes:
    return (
        nla(2, bytes([data["type"] == "primary"]))
        + nla(3, u32(_POLICY[data["policy"]]))
        + nla(4, u32(_POLICY[data["peer_policy"]]))
        + nla(5, u32(_MODE[data["mode"]]))
        + (nla(6, u32(_SCRUB[data["scrub"]])) + nla(7, u32(_SCRUB[data["peer_scrub"]])) if "scrub" in data else b"")
    )


def recorded(mode: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((DATA / f"{mode}.json").read_text())["links"]
    return found


@pytest.mark.parametrize(("mode", "kind", "count"), [("netkit", "netkit/l3", 1), ("veth", "veth", 5)])
def test_recorded_nodes(mode: str, kind: str, count: int) -> None:
    body = links.describe([rtnetlink.decode_link(message(link)) for link in recorded(mode)])
    assert [row["kind"] for row in body["links"] if not row["health"]] == [kind] * count
    assert [row["name"] for row in body["links"] if row["health"]] == ["lxc_health"]
    assert body["foreign"] == {"veth": 2}
    table = parse_links(observation("links", {**body, "boot_id": "b", "kernel": "k"}))
    assert table is not None
    assert table.counts(health=False) == {kind: count}


@pytest.mark.parametrize("nested", [0, _NESTED])
def test_netkit_attributes(nested: int) -> None:
    newer = nla(8, b"\x20\0") + nla(9, b"\0\0") + nla(10, u32(0))
    pod = next(link for link in recorded("netkit") if link["ifname"] == "lxc67d48fa832e8")
    decoded = rtnetlink.decode_link(message(pod, nested=nested, newer=newer))
    assert decoded.netkit is not None
    assert (decoded.netkit.headroom, decoded.mac) == (32, "")
    shown = links.row(decoded)
    assert shown == {
        "name": "lxc67d48fa832e8", "ifindex": 40, "kind": "netkit/l3", "kernel_kind": "netkit", "up": True,
        "operstate": "up", "peer_ifindex": 39, "peer_netnsid": 0, "health": False, "primary": True,
        "policy": "forward", "peer_policy": "blackhole", "scrub": "none", "peer_scrub": "default",
    }  # fmt: skip


def test_layer_two_on_a_kernel_without_scrub() -> None:
    data = {"mode": "l2", "type": "primary", "policy": "forward", "peer_policy": "blackhole"}
    pod = {"ifindex": 7, "ifname": "lxc1", "flags": [], "operstate": "DOWN",
           "linkinfo": {"info_kind": "netkit", "info_data": data}}  # fmt: skip
    shown = links.row(rtnetlink.decode_link(message(pod)))
    assert (shown["kind"], shown["up"], shown["scrub"]) == ("netkit/l2", False, None)


def test_which_links_are_endpoints() -> None:
    def link(name: str, kind: str) -> rtnetlink.Link:
        return rtnetlink.Link(1, name, 1, kind, "up", None, None, None)

    found = [link("lxcbr0", "bridge"), link("veth9", "veth"), link("eni1", "veth"), link("cilium_host", "veth"),
             link("lxc12", "ipvlan"), link("eth0", "")]  # fmt: skip
    body = links.describe(found, ["eni1", "cilium_host"])
    assert [(row["name"], row["kind"]) for row in body["links"]] == [("eni1", "veth"), ("lxc12", "other")]
    assert body["foreign"] == {"veth": 2}


def test_impossible_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="impossible"):
        list(rtnetlink.attributes(b"\xff\xff\0\0"))


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare")
def test_a_real_link_table() -> None:
    script = """
    ip link add lxc0a1b2c3d4e5f type veth peer name tmp1 && ip link add lxc_health type veth peer name tmp2 &&
    ip link add cilium_host type veth peer name cilium_net && ip link set lxc0a1b2c3d4e5f up || exit 77
    exec "$0" -m rollout.onnode links '{}'
    """
    done = subprocess.run(["unshare", "-n", "sh", "-c", script, sys.executable], capture_output=True, check=False)
    if done.returncode == 77:
        pytest.skip(f"no veth here: {done.stderr.decode()}")
    document = json.loads(done.stdout)
    assert [(row["name"], row["kind"], row["up"], row["health"]) for row in document["links"]] == [
        ("lxc0a1b2c3d4e5f", "veth", True, False),
        ("lxc_health", "veth", False, True),
    ]
    assert document["foreign"] == {"veth": 4}
    assert document["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
