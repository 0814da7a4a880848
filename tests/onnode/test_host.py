"""The probe `host`: read from this kernel, in namespaces and folders of the test's own."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rollout.domain.observed import HostState, parse_host
from rollout.onnode import attached, entry, host, rtnetlink
from rollout.planning.preflight.hosts import foreign_rules
from tests.onnode.net import Net
from tests.onnode.observations import observation
from tests.onnode.test_attached import _XDP, _XDP_HOOK, attachment, load
from tests.onnode.test_links import nla, u32
from tests.onnode.test_programs import run

root = [
    pytest.mark.root,
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(map(shutil.which, ("ip", "nsenter", "sysctl"))), reason="needs root and iproute2"
    ),
]


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    made = Net()
    try:
        made.build()
        yield made
    finally:
        made.remove()


def parsed(document: dict[str, Any]) -> HostState:
    found = parse_host(observation("host", document))
    assert found is not None
    return found


def test_as_a_node_runs_it(tmp_path: Path) -> None:
    document = run("observe", {"probes": ["host"], "cni_folder": str(tmp_path)})["documents"]["host"]
    assert (document["schema"], document["probe"], document["boot_id"]) == (1, "host", entry.boot_id())
    found = parsed(document)
    assert found.cni == ()
    assert found.uptime_s > 0
    assert {*document} | {row["name"] for row in document["unread"]} >= {
        "rules", "nics", "cni", "kernel_config", "programs", "iptables_targets", "iproute2", "uptime_s",
    }  # fmt: skip


def test_cni_files_in_the_order_in_which_a_runtime_takes_them(tmp_path: Path) -> None:
    (tmp_path / "10-flannel.conflist").write_text(
        json.dumps({"name": "cbr0", "plugins": [{"type": "flannel"}, {"type": "portmap"}]})
    )
    (tmp_path / "05-cilium.conf").write_text(json.dumps({"name": "cilium", "type": "cilium-cni"}))
    (tmp_path / "00-broken.conflist").write_text('{"plugins": [{"type"')
    (tmp_path / "01-list.json").write_text("[]")
    (tmp_path / "05-cilium.conflist.cilium_bak").write_text("{}")
    rows = host.cni_files(tmp_path)
    assert [(row["file"], row["plugins"]) for row in rows] == [
        ("00-broken.conflist", []),
        ("01-list.json", []),
        ("05-cilium.conf", ["cilium-cni"]),
        ("10-flannel.conflist", ["flannel", "portmap"]),
    ]
    assert [bool(row.get("error")) for row in rows] == [True, True, False, False]


def test_what_cannot_be_read_is_said_and_the_rest_stands(tmp_path: Path) -> None:
    document = host.read(tmp_path / "nowhere")
    assert "cni" not in document
    found = parsed(document)
    assert found.cni is None
    assert found.why_not("cni") == f"No such file or directory: {tmp_path}/nowhere"
    assert found.uptime_s


def test_kernel_options() -> None:
    text = "# CONFIG_NETKIT is not set\nCONFIG_VETH=m\nCONFIG_NET_XGRESS=y\nCONFIG_NETKIT_OTHER=y\n"
    options = host.kernel_options(text)
    assert (options["CONFIG_NETKIT"], options["CONFIG_VETH"], options["CONFIG_NET_XGRESS"]) == ("n", "m", "y")


@pytest.mark.skipif(not Path("/proc/config.gz").exists(), reason="this kernel does not show its configuration")
def test_the_kernels_own_configuration(tmp_path: Path) -> None:
    with gzip.open("/proc/config.gz", "rt") as file:
        expected = "y" if "CONFIG_VETH=y\n" in file.read() else "m"
    assert host.read(tmp_path)["kernel_config"]["CONFIG_VETH"] in (expected, "n")


def test_a_rule_out_of_a_raw_message() -> None:
    head = struct.pack("=BBBBBBBBI", 2, 0, 16, 0, 0, 0, 0, rtnetlink.FR_ACT_TO_TBL, 0)
    body = (
        nla(6, u32(9)) + nla(15, u32(2004)) + nla(10, u32(0x200)) + nla(16, u32(0xF00)) + nla(2, bytes([10, 9, 0, 0]))
    )
    rule = rtnetlink.decode_rule(head + body)
    assert host.rule_row(rule) == {
        "family": 4, "priority": 9, "table": 2004, "from": "10.9.0.0/16", "mark": "0x200/0xf00",
    }  # fmt: skip


def test_a_failed_document_is_none() -> None:
    assert parse_host(observation("host", {"failed": True, "message": "no"})) is None
    assert parsed({"schema": 1}).rules is None
    assert parsed({"schema": 1}).why_not("rules") == "the node did not tell it"


@pytest.mark.usefixtures("net")
class TestOnAKernel:
    pytestmark = root

    def read(self, net: Net) -> HostState:
        return parsed(net.observe(["host"], net.inputs())["host"])

    def test_rules_beyond_the_kernels_own(self, net: Net) -> None:
        rules = self.read(net).rules
        assert rules is not None
        assert {(rule.family, rule.priority) for rule in rules} >= {(4, 0), (4, 32766), (4, 32767), (6, 0)}
        assert foreign_rules(rules) == ()
        words = ("from", "10.9.0.0/16", "table", "77", "priority", "200")
        marked = ("fwmark", "0x200/0xf00", "table", "2004", "priority", "9")
        try:
            net.exec("node", "ip", "rule", "add", *words)
            net.exec("node", "ip", "rule", "add", *marked)
            net.exec("node", "ip", "-6", "rule", "add", "iif", "eth0", "table", "78", "priority", "300")
            rules = self.read(net).rules
            assert rules is not None
            assert [str(rule) for rule in foreign_rules(rules)] == [
                "200: from 10.9.0.0/16 lookup 77",
                "300: from all iif eth0 lookup 78",
            ]
            assert "9: from all fwmark 0x200/0xf00 lookup 2004" in {str(rule) for rule in rules}
        finally:
            net.exec("node", "ip", "rule", "del", *words)
            net.exec("node", "ip", "rule", "del", *marked)
            net.exec("node", "ip", "-6", "rule", "del", "iif", "eth0", "table", "78", "priority", "300")

    def test_programs_and_xdp_by_name(self, net: Net) -> None:
        program = load(b"not_ciliums", _XDP, 2)
        try:
            found = self.read(net)
            assert ("xdp", "not_ciliums") in {(p.kind, p.name) for p in found.programs or ()}
            with attachment(net, "eth0", program, _XDP_HOOK):
                found = self.read(net)
                assert [(n.name, n.xdp, n.kind) for n in found.nics or ()] == [("eth0", "not_ciliums", "veth")]
        finally:
            os.close(program)
        assert "not_ciliums" not in {p.name for p in self.read(net).programs or ()}

    def test_every_program_is_listed_once(self) -> None:
        program = load(b"counted_once", _XDP, 2)
        try:
            assert [one.name for one in attached.every_program()].count("counted_once") == 1
        finally:
            os.close(program)
