"""Programs and counters of links, read from a real kernel in namespaces of the test's own."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rollout.onnode import attached, counters, devices, netns, programs, rtnetlink
from tests.onnode.net import Net

root = [
    pytest.mark.root,
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(map(shutil.which, ("ip", "nsenter", "sysctl"))), reason="needs root and iproute2"
    ),
]

_PROG_LOAD, _LINK_CREATE = 5, 28
_SCHED_CLS, _XDP, _XDP_HOOK = 3, 6, 37


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    made = Net()
    try:
        made.build()
        yield made
    finally:
        made.remove()


def load(name: bytes, kind: int, verdict: int) -> int:
    """A program that only returns `verdict`; its descriptor."""
    code = struct.pack("<BBhi", 0xB7, 0, 0, verdict) + struct.pack("<BBhi", 0x95, 0, 0, 0)
    text, licence = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"GPL")
    fields = struct.pack("=IIQQIIQII", kind, 2, ctypes.addressof(text), ctypes.addressof(licence), 0, 0, 0, 0, 0)
    return attached.call(_PROG_LOAD, ctypes.create_string_buffer(fields + name.ljust(16, b"\0"), 128))


@contextmanager
def attachment(net: Net, link: str, program: int, hook: int) -> Iterator[None]:
    """The program on a link of the node while the descriptor is open."""
    node = os.open(f"/run/netns/{net.name('node')}", os.O_RDONLY)

    def attach() -> int:
        fields = struct.pack("=IIII", program, index_of(link), hook, 0)
        return attached.call(_LINK_CREATE, ctypes.create_string_buffer(fields, 128))

    descriptor = -1
    try:
        descriptor = netns.inside(node, attach)
        yield
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.EPERM, errno.EOPNOTSUPP) and descriptor < 0:
            pytest.skip(f"this kernel attaches no such program: {error.strerror}")
        raise
    finally:
        os.close(node)
        if descriptor >= 0:
            os.close(descriptor)


def index_of(name: str) -> int:
    with rtnetlink.Netlink() as kernel:
        return next(link.ifindex for link in kernel.links() if link.name == name)


def rows(net: Net) -> dict[str, Any]:
    found = net.observe(["programs"], net.inputs())["programs"]
    assert found["unread"] == []
    return {row["name"]: row for row in found["devices"]}


@pytest.mark.usefixtures("net")
class TestOnAKernel:
    pytestmark = root

    def test_which_links_are_looked_at(self, net: Net) -> None:
        found = rows(net)
        assert {name: (row["role"], row["kind"]) for name, row in found.items()} == {
            "lxca": ("endpoint", "veth"),
            "lxcb": ("endpoint", "veth"),
            "eth0": ("device", "veth"),
        }
        assert all(row["attached"] == [] for row in found.values())

    def test_tcx_programs_in_their_order(self, net: Net) -> None:
        first, second = load(b"cil_from_contai", _SCHED_CLS, -1), load(b"cil_second", _SCHED_CLS, -1)
        try:
            with (
                attachment(net, "lxca", first, attached.TCX_INGRESS),
                attachment(net, "lxca", second, attached.TCX_INGRESS),
                attachment(net, "lxca", second, attached.TCX_EGRESS),
            ):
                found = rows(net)
        finally:
            os.close(first)
            os.close(second)
        shown = [(one["at"], one["program"]) for one in found["lxca"]["attached"]]
        assert shown == [
            ("tcx-ingress", "cil_from_contai"),
            ("tcx-ingress", "cil_second"),
            ("tcx-egress", "cil_second"),
        ]
        assert all(one["id"] > 0 and len(one["tag"]) == 16 for one in found["lxca"]["attached"])
        assert found["lxcb"]["attached"] == []
        assert rows(net)["lxca"]["attached"] == [], "they went with their descriptors"

    def test_xdp(self, net: Net) -> None:
        program = load(b"cil_xdp_entry", _XDP, 2)
        try:
            with attachment(net, "eth0", program, _XDP_HOOK):
                assert [(one["at"], one["program"]) for one in rows(net)["eth0"]["attached"]] == [
                    ("xdp", "cil_xdp_entry")
                ]
        finally:
            os.close(program)

    def test_counters_count(self, net: Net) -> None:
        def read() -> tuple[dict[str, Any], dict[str, int]]:
            found = net.observe(["counters"], net.inputs())["counters"]
            return {row["name"]: row for row in found["links"]}, found["snmp"]

        send = f"import socket; s=socket.socket(2,2); [s.sendto(bytes(56), ({net.v4['a']!r}, 9)) for _ in range(3)]"
        before, _ = read()
        net.exec("node", sys.executable, "-c", send)
        after, snmp = read()
        assert set(after) == {"lxca", "lxcb", "eth0"}
        assert after["lxca"]["tx_packets"] - before["lxca"]["tx_packets"] >= 3
        assert after["lxca"]["rx_bytes"] - before["lxca"]["rx_bytes"] >= 3 * 84
        assert {"Tcp.RetransSegs", "Ip.ForwDatagrams", "TcpExt.TCPTimeouts"} <= set(snmp)

    def test_where_the_other_end_of_a_link_is(self, net: Net) -> None:
        node = os.open(f"/run/netns/{net.name('node')}", os.O_RDONLY)

        def read() -> dict[str, netns.PodSide]:
            with rtnetlink.Netlink() as kernel:
                return netns.pod_sides(kernel.links())

        try:
            found = netns.inside(node, read)
        finally:
            os.close(node)
        assert {name: side.netns for name, side in found.items() if name.startswith("lxc")} == {
            f"lxc{who}": Path(f"/run/netns/{net.name(who)}").stat().st_ino for who in "ab"
        }
        inside = net.exec("a", "cat", "/sys/class/net/eth0/ifindex").strip()
        assert str(found["lxca"].ifindex) == inside

    def test_finding_a_pod_leaves_the_process_where_it_is(self, net: Net) -> None:
        own = netns.own_number()
        with netns.Namespaces() as namespaces:
            found = namespaces.find([net.v4["a"], net.v6["b"], "192.0.2.1"])
            assert {address: os.fstat(one).st_ino for address, one in found.items()} == {
                net.v4["a"]: Path(f"/run/netns/{net.name('a')}").stat().st_ino,
                net.v6["b"]: Path(f"/run/netns/{net.name('b')}").stat().st_ino,
            }
        assert netns.own_number() == own
        assert all(not netns.is_local(net.v4[who]) for who in "ab")

    def test_a_pod_whose_namespace_has_no_name(self, net: Net) -> None:
        """As with runtimes that keep namespaces by a process only."""
        script = f"ip addr add {net.v4['a'].rsplit('.', 1)[0]}.250/32 dev lo && echo ready && exec sleep 60"
        with net_process(["unshare", "-n", "sh", "-c", script]) as running, netns.Namespaces() as namespaces:
            address = f"{net.v4['a'].rsplit('.', 1)[0]}.250"
            assert running.stdout.readline() == b"ready\n"
            assert (
                os.fstat(namespaces.find([address])[address]).st_ino
                == Path(f"/proc/{running.pid}/ns/net").stat().st_ino
            )


@contextmanager
def net_process(words: list[str]) -> Iterator[Any]:
    import subprocess

    with subprocess.Popen(words, stdout=subprocess.PIPE) as running:
        try:
            yield running
        finally:
            running.kill()


class Kernel:
    """Stands for a kernel that has no tcx, and a link with a clsact filter."""

    def filters(self, ifindex: int, hook: int) -> list[rtnetlink.Filter]:
        return [rtnetlink.Filter("cil_from_container-lxc1", 7)] if hook == rtnetlink.TC_CLSACT_INGRESS else []


def test_an_old_kernel_is_read_by_its_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    def query(_: int, __: int) -> list[int]:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(attached, "programs_on", query)
    monkeypatch.setattr(attached, "program", lambda number: attached.Program(number, "cil_from_contai", "00" * 8))
    reading = programs.Reading(Kernel())  # type: ignore[arg-type]
    link = rtnetlink.Link(4, "lxc1", 1, "veth", "up", 3, 0, None)
    row = reading.device(devices.Device(link, "endpoint"))
    assert row["attached"] == [{"at": "tc-ingress", "program": "cil_from_contai", "id": 7, "tag": "00" * 8}]
    assert [one["name"] for one in reading.unread] == ["lxc1", "lxc1"]
    assert "no such hook" in reading.unread[0]["why"]


def test_tables_of_proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "snmp").write_text("Ip: Forwarding InDiscards\nIp: 1 7\nTcp: RetransSegs MaxConn\nTcp: 12 -1\n")
    found = counters._pairs_of_lines(str(tmp_path / "snmp"))
    assert found == {"Ip.Forwarding": 1, "Ip.InDiscards": 7, "Tcp.RetransSegs": 12, "Tcp.MaxConn": -1}
    (tmp_path / "snmp6").write_text("Ip6InDiscards                   \t3\nIcmp6InPktTooBigs\t4\nUdpLite6InErrors\t5\n")
    assert counters._lines(str(tmp_path / "snmp6")) == {
        "Ip6.InDiscards": 3,
        "Icmp6.InPktTooBigs": 4,
        "UdpLite6.InErrors": 5,
    }
    assert counters._softnet("0000a001 0000000a 00000000\n00000000 00000002 00000000\n") == 12
    assert counters._text(str(tmp_path / "none")) == ""
