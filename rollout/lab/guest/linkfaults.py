"""Faults that a person asks of this node's datapath, for rehearsals: flags in a folder, and what they do to links.

A flag is a file named after the fault. Its text is "netkit" (in force while the agent is configured for netkit) or
"always".
"""

import subprocess
import zlib
from pathlib import Path

import labpaths
import linkprogram
import namespaces
import podlinks

PROGRAM_DETACHED, WRONG_MTU = "program-detached", "wrong-mtu"
DROP_ICMP, DROP_UDP, ONE_WAY = "drop-icmp", "drop-udp", "one-way"
LOSS, DELAY = "loss", "delay"
LEFTOVER_VETH, WRONG_MODE, HOST_PROGRAMS_MISSING = "leftover-veth", "wrong-mode", "host-programs-missing"
POLICY_OPEN, DNS_DEAD, UNSUPPORTED_L3 = "policy-open", "dns-dead", "unsupported-l3"
# What netem(8) is told: on what the node sends to the pod.
_NETEM = {LOSS: "loss 2%", DELAY: "delay 20ms"}
ON_LINKS = frozenset({*_NETEM, WRONG_MTU})
_PROTOCOLS = {DROP_ICMP: "icmp", DROP_UDP: "udp"}
_MTU = 1300
LEFTOVER_LINK = f"lxc{zlib.crc32(b'leftover'):012x}"


def active(folder: Path, configured_mode: str) -> frozenset[str]:
    """The faults in force."""
    if not folder.is_dir():
        return frozenset()
    switched = configured_mode != "veth"
    return frozenset(each.name for each in folder.iterdir() if switched or each.read_text().strip() == "always")


def apply_to_link(link: str, index: int, endpoint: int, before: frozenset[str], now: frozenset[str]) -> None:
    """Make a pod's link as the faults in force want it; `before` are those it was made for."""
    wanted = " ".join(words for name, words in _NETEM.items() if name in now)
    if wanted:
        _tc("replace", link, f"root netem {wanted}")
    elif before & _NETEM.keys():
        _tc("del", link, "root")
    folder = labpaths.pinned_faults(endpoint)
    if WRONG_MTU in now and not folder.exists():
        for point in ("tcx-ingress", "tcx-egress"):
            linkprogram.attach(index, point, "lab_wrong_mtu", folder / point, linkprogram.drop_longer(_MTU))
    elif WRONG_MTU not in now:
        linkprogram.detach(folder)


def _tc(act: str, link: str, rest: str) -> None:
    words = ["tc", "qdisc", act, "dev", link, *rest.split()]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode and act != "del":
        raise OSError(f"cannot play a fault on {link}: {done.stderr.strip()}")


def filter_rules(now: frozenset[str]) -> str:
    """The faults that the packet filter plays, on what goes to this node's pods."""
    to_pods = 'oifname "lxc*"'
    dropped = [f"{to_pods} ip protocol {word} drop" for name, word in _PROTOCOLS.items() if name in now]
    # Not what the node itself begins, which is not forwarded: its kubelet sees nothing wrong.
    refused = [f"{to_pods} ct state new drop"] if ONE_WAY in now else []
    lines = ["add table ip lab_fault"]
    for hook, rules in (("postrouting", dropped), ("forward", refused)):
        lines.append(f"add chain ip lab_fault {hook} {{ type filter hook {hook} priority 0; }}")
        lines.append(f"flush chain ip lab_fault {hook}")
        lines += [f"add rule ip lab_fault {hook} {rule}" for rule in rules]
    return "\n".join(lines) + "\n"


def play_leftover(wanted: bool) -> None:
    """A veth link of a pod that nobody knows any more, its peer in a namespace without a process."""
    namespace = labpaths.netns() / "cni-leftover"
    if wanted and podlinks.find(LEFTOVER_LINK) is None:
        namespaces.remove(namespace)
        namespaces.create(namespace)
        podlinks.create_pair("veth", LEFTOVER_LINK, namespace)
    elif not wanted and podlinks.delete(LEFTOVER_LINK):
        namespaces.remove(namespace)
