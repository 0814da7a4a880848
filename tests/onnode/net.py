"""A node, two pods on it and a pod on a node behind it, out of network namespaces and veth pairs.

The node's own namespace has `lxca` and `lxcb` to the pods, as Cilium names its links, and `eth0` to the far node, which
has `lxcp` to the peer. Addresses carry the process's number, so that test processes do not find each other's pods.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rollout.adapters.ansible.bundle import bundle

_numbers = itertools.count(1)
ECHO = Path(__file__).parents[2] / "rollout/onnode/echo.py"
TOKEN = "t0ken"
PORTS = "8791,8792,8793"
_SYSCTLS = (
    "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv4.conf.all.rp_filter=0",
    "net.ipv4.conf.default.rp_filter=0", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.all.accept_dad=0",
    "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0",
)  # fmt: skip


def sh(*words: str, check: bool = True) -> str:
    """Run a command; its output."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


class Net:
    """The namespaces by their short names: node, far, a, b, p."""

    def __init__(self) -> None:
        self._carrier: subprocess.Popen[bytes] | None = None
        number = next(_numbers)
        self._tag = f"nkrt{os.getpid()}x{number}"
        second = os.getpid() % 200 + 20
        third = os.getpid() // 200 % 200
        base = {"a": (number % 7, 7), "b": (number % 7, 8), "p": (number % 7, 9)}
        self.v4 = {who: f"10.{second}.{third}.{n * 16 + m}" for who, (n, m) in base.items()}
        self.v6 = {who: f"fd00:{os.getpid():x}::{n}:{m}" for who, (n, m) in base.items()}
        self.node_address, self.far_address = "192.168.77.11", "192.168.77.12"

    def name(self, who: str) -> str:
        return f"{self._tag}-{who}"

    def exec(self, who: str, *words: str, check: bool = True) -> str:
        """Run a command in a namespace."""
        return sh("ip", "netns", "exec", self.name(who), *words, check=check)

    def build(self, *, loss_per_mille: int = 0, delay_ms: int = 0) -> None:
        """Make everything. With loss or delay the two nodes are joined by a wire that has them, each way."""
        for who in ("node", "far", "a", "b", "p"):
            sh("ip", "netns", "add", self.name(who))
            self.exec(who, "ip", "link", "set", "lo", "up")
            self.exec(who, "sysctl", "-qw", *_SYSCTLS, check=False)
        for host, pod, link in (("node", "a", "lxca"), ("node", "b", "lxcb"), ("far", "p", "lxcp")):
            self._pod(host, pod, link)
        if loss_per_mille or delay_ms:
            self._wire(loss_per_mille, delay_ms)
        else:
            far = self.name("far")
            self.exec("node", "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", far)
        self._address_nodes()

    def _wire(self, loss_per_mille: int, delay_ms: int) -> None:
        words = [sys.executable, "-m", "tests.onnode.lossywire", self.name("node"), self.name("far")]
        words += [str(loss_per_mille), str(delay_ms), "7"]
        self._carrier = subprocess.Popen(words, stdout=subprocess.PIPE, cwd=ECHO.parents[2])
        assert self._carrier.stdout is not None
        assert self._carrier.stdout.readline() == b"ready\n"

    def _pod(self, host: str, pod: str, link: str) -> None:
        self.exec(host, "ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", self.name(pod))
        self.exec(host, "ip", "link", "set", link, "up", "addrgenmode", "none")
        self.exec(host, "ip", "addr", "add", "169.254.1.1/32", "dev", link)
        self.exec(host, "ip", "addr", "add", "fe80::1/64", "dev", link, "nodad")
        self.exec(host, "ip", "route", "add", f"{self.v4[pod]}/32", "dev", link)
        self.exec(host, "ip", "route", "add", f"{self.v6[pod]}/128", "dev", link)
        self.exec(pod, "ip", "link", "set", "eth0", "up")
        self.exec(pod, "ip", "addr", "add", f"{self.v4[pod]}/32", "dev", "eth0")
        self.exec(pod, "ip", "addr", "add", f"{self.v6[pod]}/128", "dev", "eth0", "nodad")
        self.exec(pod, "ip", "route", "add", "169.254.1.1/32", "dev", "eth0", "scope", "link")
        self.exec(pod, "ip", "route", "add", "default", "via", "169.254.1.1")
        self.exec(pod, "ip", "route", "add", "default", "via", "fe80::1", "dev", "eth0")

    def _address_nodes(self) -> None:
        six = {"node": "fd00:77::11", "far": "fd00:77::12"}
        four = {"node": self.node_address, "far": self.far_address}
        for me, other, behind in (("node", "far", ("p",)), ("far", "node", ("a", "b"))):
            self.exec(me, "ip", "link", "set", "eth0", "up")
            self.exec(me, "ip", "addr", "add", f"{four[me]}/24", "dev", "eth0")
            self.exec(me, "ip", "addr", "add", f"{six[me]}/64", "dev", "eth0", "nodad")
            for pod in behind:
                self.exec(me, "ip", "route", "add", f"{self.v4[pod]}/32", "via", four[other])
                self.exec(me, "ip", "route", "add", f"{self.v6[pod]}/128", "via", six[other])
        self.exec("node", "ip", "route", "add", "default", "via", self.far_address)

    def remove(self) -> None:
        """Take everything away."""
        if self._carrier is not None:
            self._carrier.kill()
            self._carrier.communicate()
        for who in ("node", "far", "a", "b", "p"):
            sh("ip", "netns", "del", self.name(who), check=False)

    def start(self, who: str, *words: str) -> subprocess.Popen[bytes]:
        """Start a command in a namespace."""
        return subprocess.Popen(["ip", "netns", "exec", self.name(who), *words])

    @contextmanager
    def echoes(self) -> Iterator[None]:
        """Echo servers in all pods, listening."""
        words = (sys.executable, "-I", "-c", ECHO.read_text(), "--token", TOKEN, "--ports", PORTS)
        with ExitStack() as stack:
            for who in ("a", "b", "p"):
                server = stack.enter_context(self.start(who, *words))
                stack.callback(server.kill)
            for who in ("a", "b", "p"):
                self._until_listening(who)
            yield

    def _until_listening(self, who: str) -> None:
        deadline = time.monotonic() + 10
        while ":8793" not in self.exec(who, "ss", "-lnt"):
            assert time.monotonic() < deadline, f"no echo in {who}"
            time.sleep(0.05)

    def addresses(self, who: str, families: Sequence[int] = (4, 6)) -> list[str]:
        return [{4: self.v4, 6: self.v6}[family][who] for family in families]

    def inputs(self, families: Sequence[int] = (4, 6), **more: Any) -> dict[str, Any]:
        """What `observe` is told of these pods."""
        reach = {
            "token": TOKEN,
            "port": 8791,
            "pods": [{"role": who, "name": f"nkr-{who}", "addresses": self.addresses(who, families)} for who in "ab"],
            "peers": [{"node": "n2", "kind": "veth", "addresses": self.addresses("p", families)}],
            "node_address": self.node_address,
            "sizes": [64, 1400, 4000],
            "packets": 200,
            "deadline_ms": 2500,
        }
        return {"reach": {**reach, **more}}

    def observe(self, probes: Sequence[str], inputs: dict[str, Any], **request: Any) -> dict[str, Any]:
        """Run `observe` in the node's namespace as a playbook does; its documents."""
        text = bundle("observe", {"probes": list(probes), "inputs": inputs, "limit_s": 30, **request})
        command = ["nsenter", f"--net=/run/netns/{self.name('node')}", sys.executable, "-I", "-S", "-"]
        done = subprocess.run(command, input=text.encode(), capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        document = json.loads(done.stdout)
        found: dict[str, Any] = document["documents"]
        return found
