"""Probe `host`: what of a node's own set-up matters to the switch and no other probe tells. It only reads.

Routing rules, CNI configuration, parts of the kernel's configuration, loaded eBPF programs, network cards with their
XDP programs, iptables targets, the version of iproute2, uptime. Each part is read by itself: what this kernel or this
account does not tell is under `unread`, with the reason, and its key is missing from the document.
Request: `cni_folder`, another place of the CNI configuration.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import attached, entry, rtnetlink

CNI_FOLDER = "/etc/cni/net.d"
KERNEL_OPTIONS = ("CONFIG_NETKIT", "CONFIG_NET_XGRESS", "CONFIG_INET_DIAG_DESTROY", "CONFIG_VETH", "CONFIG_KVM")
PROGRAM_KINDS = (
    "unspec", "socket_filter", "kprobe", "sched_cls", "sched_act", "tracepoint", "xdp", "perf_event", "cgroup_skb",
    "cgroup_sock", "lwt_in", "lwt_out", "lwt_xmit", "sock_ops", "sk_skb", "cgroup_device", "sk_msg", "raw_tracepoint",
    "cgroup_sock_addr", "lwt_seg6local", "lirc_mode2", "sk_reuseport", "flow_dissector", "cgroup_sysctl",
    "raw_tracepoint_writable", "cgroup_sockopt", "tracing", "struct_ops", "ext", "lsm", "sk_lookup", "syscall",
    "netfilter",
)  # fmt: skip
"""BPF_PROG_TYPE by its number (uapi/linux/bpf.h)."""

_CNI_ENDINGS = (".conf", ".conflist", ".json")
"""What a container runtime reads, in the order of the names; the first file that is sound is used."""
_MOST_FILE_BYTES = 1 << 20
_MOST_ROWS = 200
_RUN_SECONDS = 5

Row = dict[str, Any]


def main(request: entry.Document) -> entry.Document:
    """The probe as a program of its own."""
    return read(Path(str(request.get("cni_folder") or CNI_FOLDER)))


def read(cni_folder: Path = Path(CNI_FOLDER)) -> entry.Document:
    """The document's body."""
    parts: dict[str, Callable[[], Any]] = {
        "rules": _rules,
        "nics": _nics,
        "cni": lambda: cni_files(cni_folder),
        "kernel_config": _kernel_config,
        "programs": _programs,
        "iptables_targets": _iptables_targets,
        "iproute2": _iproute2,
        "uptime_s": lambda: int(float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])),
    }
    body: entry.Document = {"kernel": entry.kernel_release(), "boot_id": entry.boot_id()}
    unread: list[Row] = []
    for name, part in parts.items():
        try:
            body[name] = part()
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            unread.append({"name": name, "why": _words(error)})
    return {**body, "unread": unread}


def _words(error: Exception) -> str:
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        return f"{error.strerror or error}{where}"
    return f"{type(error).__name__}: {error}"


def _rules() -> list[Row]:
    with rtnetlink.Netlink() as kernel:
        return [rule_row(rule) for rule in kernel.rules()[:_MOST_ROWS]]


def rule_row(rule: rtnetlink.Rule) -> Row:
    """A routing rule as the document shows it: priority and table always, the rest where the rule looks at it."""
    told = {
        "action": "" if rule.action == rtnetlink.FR_ACT_TO_TBL else str(rule.action),
        "from": rule.source,
        "to": rule.destination,
        "mark": f"{rule.mark:#x}/{rule.mask:#x}" if rule.mark or rule.mask else "",
        "iif": rule.enters_by,
        "oif": rule.leaves_by,
    }
    shown: Row = {"family": rule.family, "priority": rule.priority, "table": rule.table}
    return {**shown, **{key: value for key, value in told.items() if value}}


def _nics() -> list[Row]:
    """Links without a kernel kind, the loopback aside: the machine's own cards. And all others that bear XDP."""
    with rtnetlink.Netlink() as kernel:
        ways_out = kernel.default_devices()
        links = kernel.links()
    rows = []
    names: dict[int, str] = {}
    for link in sorted(links, key=lambda one: one.ifindex):
        if link.name == "lo" or (link.kind and not link.xdp_program):
            continue
        if link.xdp_program and link.xdp_program not in names:
            names[link.xdp_program] = _name_of(link.xdp_program)
        rows.append(
            {
                "name": link.name,
                "kind": link.kind,
                "up": bool(link.flags & rtnetlink.IFF_UP),
                "default": link.ifindex in ways_out,
                "driver": _driver(link.name),
                "xdp": names.get(link.xdp_program, ""),
            }
        )
    return rows[:_MOST_ROWS]


def _name_of(number: int) -> str:
    try:
        return attached.program(number).name or f"program {number}"
    except OSError:
        return f"program {number}"


def _driver(link: str) -> str:
    try:
        return Path(f"/sys/class/net/{link}/device/driver").resolve(strict=True).name
    except OSError:
        return ""


def cni_files(folder: Path) -> list[Row]:
    """Configuration files in name order with the plugins they name; `error` for one that cannot be read."""
    names = sorted(name for name in os.listdir(folder) if name.endswith(_CNI_ENDINGS))  # noqa: PTH208 - as in bpfcalls
    return [_cni_file(folder / name) for name in names[:_MOST_ROWS]]


def _cni_file(path: Path) -> Row:
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(_MOST_FILE_BYTES))
        plugins = content.get("plugins", [content])
        types = [str(plugin["type"]) for plugin in plugins]
        return {"file": path.name, "name": str(content.get("name") or ""), "plugins": types}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return {"file": path.name, "name": "", "plugins": [], "error": _words(error)}


def _kernel_config() -> dict[str, str]:
    """`y`, `m`, or `n` for each option of interest. Raises OSError where the kernel's configuration is nowhere."""
    release = entry.kernel_release()
    places = (Path("/proc/config.gz"), Path(f"/boot/config-{release}"), Path(f"/lib/modules/{release}/config"))
    place = next((one for one in places if one.is_file()), None)
    if place is None:
        raise FileNotFoundError(2, "the kernel's configuration is at none of the usual places", str(places[0]))
    with gzip.open(place, "rt", errors="replace") if place.suffix == ".gz" else place.open(errors="replace") as file:
        return kernel_options(file.read())


def kernel_options(text: str) -> dict[str, str]:
    """The options of interest out of a kernel's configuration; one that is not set reads `n`."""
    found = dict(re.findall(r"^(CONFIG_\w+)=([ym])$", text, re.M))
    return {name: found.get(name, "n") for name in KERNEL_OPTIONS}


def _programs() -> list[Row]:
    """Every loaded eBPF program: kind, name, and how many there are of both."""
    counted: dict[tuple[str, str], int] = {}
    for one in attached.every_program():
        kind = PROGRAM_KINDS[one.kind] if one.kind < len(PROGRAM_KINDS) else str(one.kind)
        counted[kind, one.name] = counted.get((kind, one.name), 0) + 1
    rows = [{"kind": kind, "name": name, "count": count} for (kind, name), count in sorted(counted.items())]
    return rows[:_MOST_ROWS]


def _iptables_targets() -> list[str]:
    """Targets that the kernel has ready. A hint only: a module that is built in is there without any rule."""
    found: set[str] = set()
    for name in ("/proc/net/ip_tables_targets", "/proc/net/ip6_tables_targets"):
        try:
            found.update(Path(name).read_text(encoding="ascii").split())
        except FileNotFoundError:  # iptables was never used in this namespace
            continue
    return sorted(found)


def _iproute2() -> str:
    """The version as `ip -V` prints it, e.g. `6.15.0`."""
    done = subprocess.run(
        ["ip", "-V"],
        capture_output=True, text=True, check=False, timeout=_RUN_SECONDS,
    )  # fmt: skip
    match = re.search(r"iproute2-(?:ss)?v?(\S+?),?(?:\s|$)", done.stdout)
    if match is None:
        raise ValueError(f"`ip -V` printed {done.stdout[:60]!r}")
    return match[1]
