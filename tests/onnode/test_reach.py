"""Reach and policy from inside pods' namespaces, over paths that work and paths that are broken in one way each."""

from __future__ import annotations

import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rollout.adapters.ansible.bundle import bundle
from tests.onnode.net import Net

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(map(shutil.which, ("ip", "ss", "nsenter", "sysctl"))),
        reason="needs root, iproute2 and util-linux",
    ),
]


@contextmanager
def network(**faults: int) -> Iterator[Net]:
    net = Net()
    try:
        net.build(**faults)
        with net.echoes():
            yield net
    finally:
        net.remove()


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    with network() as made:
        yield made


@contextmanager
def rule(net: Net, *words: str, who: str = "node", family: str = "-4") -> Iterator[None]:
    """A rule that loses the packets it is about; they are dropped where they would be forwarded."""
    net.exec(who, "ip", family, "rule", "add", "pref", "50", *words)
    try:
        yield
    finally:
        net.exec(who, "ip", family, "rule", "del", "pref", "50")


def reach(net: Net, families: tuple[int, ...] = (4,), **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = net.observe(["reach"], net.inputs(families, **more))["reach"]
    assert not found.get("failed"), found
    return found


def broken(document: dict[str, Any]) -> set[str]:
    """Ids of the cells that nobody answered."""
    return {cell["id"] for cell in document["cells"] if not cell["ok"]}


def test_all_is_well_on_both_families_and_it_ends_at_once(net: Net) -> None:
    begun = time.monotonic()
    document = reach(net, (4, 6))
    assert broken(document) == set()
    assert time.monotonic() - begun < 2.4, "it must not wait for its deadline"
    cells = {cell["id"]: cell for cell in document["cells"]}
    assert len(cells) == len(document["cells"])
    for path in ("same-node", "cross-node/n2", "node-to-pod/a", "node-to-pod/b"):
        for family, fill in ((4, 1472), (6, 1452)):
            kinds = {
                (c["protocol"], c["size"]) for i, c in cells.items() if i.startswith(path) and c["family"] == family
            }
            tcp = {("tcp", 64), ("tcp", 1400), ("tcp", 4000)}
            assert kinds == tcp | {("udp", 64), ("udp", 1400), ("icmp", 64), ("icmp", fill)}
    inbound = cells["inbound/n2/tcp/v6/4000"]
    assert (inbound["peer"], inbound["peer_kind"], inbound["tries"], inbound["ok"]) == ("n2", "veth", 1, 1)
    small = cells["same-node/udp/v4/64"]
    assert (small["tries"], small["ok"], len(small["rtt_us"]), small["error"]) == (3, 3, 3, "")
    bursts = {burst["id"]: burst for burst in document["bursts"]}
    assert set(bursts) == {f"{path}/icmp/v{family}" for path in ("same-node", "cross-node/n2") for family in (4, 6)}
    for burst in bursts.values():
        assert (burst["sent"], burst["received"], burst["reordered"]) == (200, 200, 0)
        assert len(burst["rtt_us"]) == 200
        assert all(isinstance(rtt, int) and rtt >= 0 for rtt in burst["rtt_us"])


def test_what_is_not_named_is_skipped_with_a_reason(net: Net) -> None:
    document = reach(net, peers=[], pods=net.inputs()["reach"]["pods"][:1])
    skipped = {(row["path"], row["family"]) for row in document["skipped"]}
    assert {
        ("same-node", 4),
        ("cross-node", 4),
        ("inbound", 4),
        ("service", 0),
        ("dns", 0),
        ("pod-to-api", 0),
    } <= skipped
    assert all(row["why"] for row in document["skipped"])
    assert broken(document) == set()


def test_a_pod_that_is_not_here(net: Net) -> None:
    pods = [{"role": "a", "addresses": ["203.0.113.1"]}, {"role": "b", "addresses": ["203.0.113.2"]}]
    document = reach(net, pods=pods, deadline_ms=600)
    assert any("cannot find the network namespace of pod a" in row["why"] for row in document["skipped"])


@pytest.mark.parametrize("protocol", ["icmp", "udp", "tcp"])
def test_one_protocol_is_dropped(net: Net, protocol: str) -> None:
    begun = time.monotonic()
    with rule(net, "ipproto", protocol, "blackhole"):
        document = reach(net, deadline_ms=1500)
    assert time.monotonic() - begun < 1.5 + 1.5, "time-outs must not add up"
    assert document["took_ms"] <= 1500 + 400
    across = {cell["id"] for cell in document["cells"] if cell["path"] in ("same-node", "cross-node")}
    assert broken(document) & across == {one for one in across if f"/{protocol}/" in one}
    for cell in document["cells"]:
        assert bool(cell["error"]) == (cell["ok"] < 1), cell
        assert cell["tries"] == 3 or cell["ok"], cell
    ways = {burst["id"].split("/")[-2] for burst in document["bursts"]}
    assert ways == {"udp" if protocol == "icmp" else "icmp"}, "where ICMP is not answered, bursts go by UDP"
    for burst in document["bursts"]:
        assert burst["protocol"] in ways
        assert burst["received"] > 0


def test_v6_alone_is_broken(net: Net) -> None:
    with rule(net, "ipproto", "ipv6-icmp", "blackhole", family="-6"):
        document = reach(net, (4, 6), deadline_ms=1500)
    across = [cell for cell in document["cells"] if cell["path"] in ("same-node", "cross-node")]
    assert {cell["id"] for cell in across if not cell["ok"]} == {
        cell["id"] for cell in across if cell["family"] == 6 and cell["protocol"] == "icmp"
    }


def test_a_small_mtu_shows_on_large_packets_only(net: Net) -> None:
    """The far node's end of the wire takes less than the near one believes: nobody says that a packet was too long."""
    net.exec("far", "ip", "link", "set", "eth0", "mtu", "1300")
    try:
        document = reach(net, deadline_ms=1200)
    finally:
        net.exec("far", "ip", "link", "set", "eth0", "mtu", "1500")
    assert {"cross-node/n2/icmp/v4/1472", "cross-node/n2/udp/v4/1400"} <= broken(document)
    assert not {one for one in broken(document) if one.startswith(("same-node", "node-to-pod")) or one.endswith("/64")}


def test_a_router_says_what_the_path_allows(net: Net) -> None:
    net.exec("node", "ip", "link", "set", "lxca", "mtu", "1300")
    try:
        document = reach(net, deadline_ms=1200)
    finally:
        net.exec("node", "ip", "link", "set", "lxca", "mtu", "1500")
    cell = next(cell for cell in document["cells"] if cell["id"] == "same-node/icmp/v4/1472")
    assert not cell["ok"]
    assert cell["error"] == "the packet is too long for the path: it allows 1300 bytes"


def test_one_way_only(net: Net) -> None:
    """New connections from the peer to a are lost; those of a to the peer get there and back."""
    match = ("from", net.v4["p"], "to", net.v4["a"], "ipproto", "tcp", "dport", "8791")
    with rule(net, *match, "blackhole"):
        document = reach(net, deadline_ms=1500)
    assert broken(document) == {f"inbound/n2/tcp/v4/{size}" for size in (64, 1400, 4000)}
    cell = next(cell for cell in document["cells"] if cell["path"] == "inbound")
    assert cell["error"] == "the peer says: timeout"


def test_a_service_that_refuses_and_dns_that_is_dead(net: Net) -> None:
    services = [{"name": "default/web", "address": net.v4["b"], "port": 8791},
                {"name": "default/gone", "address": net.v4["b"], "port": 9}]  # fmt: skip
    document = reach(
        net, services=services, api={"address": net.v4["p"], "port": 8792}, deadline_ms=900,
        dns={"servers": [net.v4["p"]], "name": "kubernetes.default.svc.cluster.local"},
    )  # fmt: skip
    assert broken(document) == {"service/default/gone:9/tcp/v4/0", f"dns/{net.v4['p']}/udp", f"dns/{net.v4['p']}/tcp"}
    errors = {cell["id"]: cell["error"] for cell in document["cells"]}
    assert errors["service/default/gone:9/tcp/v4/0"] == "connection refused"


@pytest.mark.parametrize(("code", "ok"), [(0, True), (3, True), (2, False)])
def test_dns_answers(net: Net, code: int, ok: bool) -> None:
    server = f"""
import socket, threading
def answer(q): return q[:2] + bytes([0x81, 0x80 | {code}]) + q[4:]
def stream():
    l = socket.socket(); l.setsockopt(1, 2, 1); l.bind(("", 53)); l.listen()
    while True:
        c, _ = l.accept(); q = c.recv(512); a = answer(q[2:]); c.sendall(len(a).to_bytes(2, "big") + a); c.close()
threading.Thread(target=stream, daemon=True).start()
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("", 53)); print("ready", flush=True)
while True:
    q, who = u.recvfrom(512); u.sendto(answer(q), who)
"""
    words = ["ip", "netns", "exec", net.name("p"), sys.executable, "-c", server]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as serving:
        try:
            assert serving.stdout is not None
            serving.stdout.readline()
            document = reach(net, dns={"servers": [net.v4["p"]], "name": "example.org"}, packets=20)
        finally:
            serving.kill()
    cells = [cell for cell in document["cells"] if cell["path"] == "dns"]
    assert {(cell["over"], bool(cell["ok"])) for cell in cells} == {("udp", ok), ("tcp", ok)}
    assert all(("SERVFAIL" in cell["error"]) != ok for cell in cells)


def test_loss_shows_in_the_bursts() -> None:
    """Two in a hundred each way: about 16 of 400 do not come back."""
    with network(loss_per_mille=20) as lossy:
        document = reach(lossy, packets=400)
    burst = next(burst for burst in document["bursts"] if burst["path"] == "cross-node")
    assert burst["sent"] == 400
    assert 4 <= burst["sent"] - burst["received"] <= 36
    near = next(burst for burst in document["bursts"] if burst["path"] == "same-node")
    assert near["sent"] == near["received"] == 400


def test_delay_shows_in_the_bursts_and_still_all_are_sent() -> None:
    with network(delay_ms=20) as slow:
        document = reach(slow, packets=400)
    assert broken(document) == set()
    burst = next(burst for burst in document["bursts"] if burst["path"] == "cross-node")
    assert burst["sent"] == burst["received"] == 400
    assert statistics.median(burst["rtt_us"]) >= 40_000


def pairs(net: Net, *wanted: tuple[str, str, int, str]) -> dict[str, Any]:
    listed = [
        {"id": f"{source}-{target}-{port}", "policy": "nkr-guard", "from": source, "to": target, "port": port,
         "protocol": protocol} for source, target, port, protocol in wanted
    ]  # fmt: skip
    inputs = {**net.inputs(), "policy": {"token": "t0ken", "control_port": 8791, "pairs": listed}}
    found: dict[str, Any] = net.observe(["policy"], inputs)["policy"]
    assert not found.get("failed"), found
    return found


def test_policy_pairs(net: Net) -> None:
    wanted = (("a", "b", 8792, "tcp"), ("a", "b", 8793, "tcp"), ("a", "b", 9, "tcp"), ("peer:n2", "b", 8792, "tcp"),
              ("peer:n2", "b", 8793, "tcp"), ("a", "b", 8792, "udp"), ("a", "b", 8793, "udp"), ("a", "c", 1, "tcp"),
              ("peer:n2", "b", 8792, "udp"))  # fmt: skip
    with rule(net, "to", net.v4["b"], "dport", "8793", "blackhole"):
        document = pairs(net, *wanted)
    found = {(row["from"], row["protocol"], row["port"]): row["result"] for row in document["pairs"]}
    assert found == {
        ("a", "tcp", 8792): "open", ("a", "tcp", 8793): "closed", ("a", "tcp", 9): "open",
        ("peer:n2", "tcp", 8792): "open", ("peer:n2", "tcp", 8793): "closed",
        ("a", "udp", 8792): "open", ("a", "udp", 8793): "closed",
    }  # fmt: skip
    assert document["took_ms"] < 2200
    assert {row["id"] for row in document["skipped"]} == {"a-c-1", "peer:n2-b-8792"}


def test_a_prohibition_closes(net: Net) -> None:
    with rule(net, "to", net.v4["b"], "ipproto", "tcp", "dport", "8793", "prohibit"):
        document = pairs(net, ("a", "b", 8793, "tcp"))
    assert [row["result"] for row in document["pairs"]] == ["closed"]


def test_a_broken_path_is_no_policy(net: Net) -> None:
    with rule(net, "to", net.v4["b"], "ipproto", "tcp", "blackhole"):
        document = pairs(net, ("a", "b", 8793, "tcp"), ("peer:n2", "b", 8793, "tcp"))
    assert [row["result"] for row in document["pairs"]] == ["unknown", "unknown"]
    assert all("control port 8791" in row["detail"] for row in document["pairs"])


def test_killed_in_the_middle_nothing_is_left(net: Net) -> None:
    def state() -> tuple[list[str], str, str]:
        return (
            sorted(one.name for one in Path("/run/netns").iterdir()),
            net.exec("node", "ip", "-o", "link"),
            net.exec("a", "ss", "-Htun"),
        )

    before = state()
    with rule(net, "ipproto", "udp", "blackhole"):
        text = bundle("observe", {"probes": ["reach", "policy"], "inputs": net.inputs((4,), deadline_ms=8000)})
        command = ["nsenter", f"--net=/run/netns/{net.name('node')}", sys.executable, "-I", "-S", "-"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
            assert running.stdin is not None
            running.stdin.write(text.encode())
            running.stdin.close()
            deadline = time.monotonic() + 10
            while net.exec("a", "ss", "-Htun") == before[2]:
                assert time.monotonic() < deadline, "it was never at work"
            assert running.poll() is None
            running.send_signal(signal.SIGKILL)
            running.wait()
    deadline = time.monotonic() + 5
    while state() != before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert state() == before
