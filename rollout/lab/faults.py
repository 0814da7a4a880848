"""Faults of a node's datapath, put in on purpose: for rehearsals, and to show what the checks catch.

A fault is a flag on the guest; the agent stand-in there plays it with the kernel's own means (guest/linkfaults.py). It
comes into force when the node's agent is configured for netkit, so a baseline taken on veth sees nothing of it; with
`always` it is in force at once. Clearing it restores the links there are. A reboot of the node clears it as well.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping

import yaml

from rollout.lab.layout import LabInfo, LabNode

FAULTS: Mapping[str, str] = {
    "program-detached": "no program on the pods' links: netkit lets nothing out of a pod",
    "wrong-mtu": "packets of more than 1300 bytes vanish between node and pod, in both directions",
    "drop-icmp": "ICMP to the node's pods is dropped",
    "drop-udp": "UDP to the node's pods is dropped",
    "loss": "2 % of the packets to the node's pods are lost",
    "delay": "packets to the node's pods are 20 ms late",
    "one-way": "what others begin towards the node's pods vanishes; what the pods begin works",
    "leftover-veth": "a veth link of a pod that is gone stays behind",
    "wrong-mode": "the agent is Ready and runs in veth; set before the agent starts, cleared by another start",
    "host-programs-missing": "the agent is Ready, with no program on cilium_host and on the node's device",
    "policy-open": "network policies let everything pass",
    "dns-dead": "the DNS Service has no endpoints on this node",
    "unsupported-l3": "the agent counts drops for Unsupported L3 protocol, five a second",
    "probe-miscount": "eBPF programs compiled on the node miss a quarter of what they count, in every mode",
}
"""What each one does."""

_FOLDER = "/etc/lab/faults"
_BCC = "/usr/lib/python3/dist-packages/bcc/__init__.py"
_MARK = "# lab: what follows plays a fault"
_MISCOUNT = rf"""
{_MARK}
import re as _re

_whole = BPF.__init__


def _miscounting(self, *words, **named):
    text = named.get("text")
    if text:
        plain = text.decode() if isinstance(text, bytes) else text
        plain = _forgetful(plain)
        named["text"] = plain.encode() if isinstance(text, bytes) else plain
    _whole(self, *words, **named)


def _forgetful(text):
    some = "!!(bpf_get_prandom_u32() & 3)"
    text = _re.sub(r"\+= 1;", "+= " + some + ";", text)
    text = _re.sub(r"(__sync_fetch_and_add\([^;]*), 1\);", r"\1, " + some + ");", text)
    return _re.sub(r"\.increment\(([^;,]*)\);", r".increment(\1, " + some + ");", text)


BPF.__init__ = _miscounting
"""
_SECONDS = 60.0


class FaultError(Exception):
    """A fault cannot be set or cleared; the message says why and what to do."""


def set_fault(info: LabInfo, node: str, name: str, *, always: bool = False) -> None:
    """Put a fault into a node; repeat-safe. Raises `FaultError`."""
    _check(name)
    flag = shlex.quote(f"{_FOLDER}/{name}")
    word = "always" if always else "netkit"
    script = f"mkdir -p {_FOLDER} && echo {word} > {flag}.new && mv {flag}.new {flag}"
    if name == "probe-miscount":
        script += f" && {_mend()} && cat >> {_BCC}"
    _as_root(info, node, script, _MISCOUNT if name == "probe-miscount" else "")


def clear_fault(info: LabInfo, node: str, name: str) -> None:
    """Take a fault out of a node; repeat-safe. Raises `FaultError`."""
    _check(name)
    script = f"rm -f {shlex.quote(f'{_FOLDER}/{name}')}"
    if name == "probe-miscount":
        script += f" && {_mend()}"
    _as_root(info, node, script)


def faults_of(info: LabInfo, node: str) -> tuple[str, ...]:
    """Names of the faults put into a node. Raises `FaultError`."""
    return tuple(sorted(_as_root(info, node, f"ls {_FOLDER} 2>/dev/null || true").split()))


def _mend() -> str:
    return f"sed -i {shlex.quote(f'/^{_MARK}/,$d')} {_BCC}"


def _check(name: str) -> None:
    if name not in FAULTS:
        raise FaultError(f"there is no fault {name}; the lab knows: {', '.join(FAULTS)}")


def _as_root(info: LabInfo, node: str, script: str, content: str = "") -> str:
    found = next((each for each in info.nodes if each.name == node), None)
    if found is None:
        raise FaultError(f"the lab has no node {node}; it has: {', '.join(each.name for each in info.nodes)}")
    words = _ssh(info, found, script)
    try:
        done = subprocess.run(words, input=content, capture_output=True, text=True, check=False, timeout=_SECONDS)
    except subprocess.TimeoutExpired as late:
        raise FaultError(f"cannot reach {node}: no answer within {_SECONDS:.0f} s; rollout lab status") from late
    if done.returncode:
        raise FaultError(f"cannot change {node}: {done.stderr.strip() or f'status {done.returncode}'}")
    return done.stdout


def _ssh(info: LabInfo, node: LabNode, script: str) -> list[str]:
    ssh = yaml.safe_load(info.config.read_text())["ssh"]
    options = ("BatchMode=yes", "ConnectTimeout=10", f"UserKnownHostsFile={ssh['known_hosts']}")
    words = ["ssh", "-p", str(node.ssh_port), "-i", ssh["private_key"]]
    words += [part for option in options for part in ("-o", option)]
    return [*words, "root@127.0.0.1", script]
