"""The port `Observer` in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from rollout.domain.errors import UsageError
from rollout.domain.inventory import Observation
from rollout.domain.observed import ALL_PROBES
from rollout.ports.clock import Clock
from rollout.ports.hosts import Host
from rollout.ports.observer import NO_INPUTS

Document = Mapping[str, Any]
Answer = Callable[[str, str], Document | str]


@dataclass
class FakeObserver:
    """Asks `answer` (node, probe) for a document; a text instead is the reason why there is none.

    A document with `failed` is one of a probe that could not run, as programs on nodes return it.
    """

    clock: Clock
    answer: Answer
    told: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """The inputs each node's probes were last given."""
    history: list[Mapping[str, Any]] = field(default_factory=list)
    """All inputs ever given, oldest first."""
    asked: list[tuple[str, str]] = field(default_factory=list)

    def observe(
        self,
        hosts: Sequence[Host],
        probes: Sequence[str],
        *,
        wall_s: int,
        cancel: Event | None = None,
        inputs: Mapping[str, Mapping[str, Any]] = NO_INPUTS,
    ) -> Mapping[str, Mapping[str, Observation]]:
        """Observations by node name, then probe name."""
        unknown = set(probes) - set(ALL_PROBES)
        if unknown:
            raise UsageError("unknown-probe", f"cannot observe {min(unknown)}: there is no such probe")
        self.history += [inputs[host.node] for host in hosts if host.node in inputs]
        self.told |= {host.node: inputs.get(host.node, {}) for host in hosts}
        return {host.node: {probe: self._one(host.node, probe, cancel) for probe in probes} for host in hosts}

    def _left_out(self, node: str, probe: str) -> bool:
        return probe not in self.told.get(node, {}).get("only", (probe,))

    def _one(self, node: str, probe: str, cancel: Event | None) -> Observation:
        at = self.clock.now()
        if cancel is not None and cancel.is_set():
            return Observation(node, probe, at, error=f"cannot observe {node}: the run was cancelled")
        if self._left_out(node, probe):
            return Observation(node, probe, at, error=f"cannot observe {node}: the playbook returned no document")
        self.asked.append((node, probe))
        found = self.answer(node, probe)
        if isinstance(found, str):
            return Observation(node, probe, at, error=found)
        if found.get("failed"):
            return Observation(node, probe, at, error=str(found["message"]), code=str(found.get("code") or ""))
        return Observation(node, probe, at, document=found)


def links_document(*links: tuple[str, str], boot_id: str = "boot-1", kernel: str = "6.12.0") -> Document:
    """A document of the probe `links` for links given as (name, kind)."""
    rows = [{"name": name, "kind": kind, "up": True, "health": name == "lxc_health"} for name, kind in links]
    return {"schema": 1, "probe": "links", "links": rows, "foreign": {}, "boot_id": boot_id, "kernel": kernel}


def agent_document(mode: str, *, state: str = "up", **fields: Any) -> Document:
    """A document of the probe `agent` for an agent that is well."""
    return {
        "schema": 1, "probe": "agent", "agent": state, "datapath-mode": mode, "configured-datapath-mode": mode,
        "intra-host-routing-mode": "BPF", "controllers-failing": 0, "endpoints": [], "settings": {},
        "drops": [{"reason": "Unsupported L3 protocol", "direction": "egress", "packets": 2}], **fields,
    }  # fmt: skip


def capability_document(*modes: str, scrub: bool = True, error: str = "") -> Document:
    """A document of the probe `capability`."""
    return {"schema": 1, "probe": "capability", "modes": list(modes), "scrub": scrub, "error": error}


def host_document(**fields: Any) -> Document:
    """A document of the probe `host` of a node with Cilium and nothing unusual."""
    rules = [(4, 9, 2004), (4, 100, 255), (4, 32766, 254), (4, 32767, 253), (6, 100, 255), (6, 32766, 254)]
    return {
        "schema": 1, "probe": "host", "kernel": "6.12.107+deb13-cloud-amd64", "boot_id": "boot-1", "unread": [],
        "rules": [
            {"family": family, "priority": priority, "table": table}
            | ({"mark": "0x200/0xf00"} if table == 2004 else {})
            for family, priority, table in rules
        ],
        "nics": [{"name": "ens3", "kind": "", "up": True, "default": True, "driver": "virtio_net", "xdp": ""}],
        "cni": [{"file": "05-cilium.conflist", "name": "cilium", "plugins": ["cilium-cni"]}],
        "kernel_config": {"CONFIG_NETKIT": "y", "CONFIG_NET_XGRESS": "y", "CONFIG_INET_DIAG_DESTROY": "y"},
        "programs": [
            {"kind": "cgroup_device", "name": "sd_devices", "count": 9},
            {"kind": "cgroup_sock_addr", "name": "cil_sock4_connec", "count": 1},
            {"kind": "sched_cls", "name": "cil_from_contai", "count": 4},
            {"kind": "sched_cls", "name": "tail_handle_ipv", "count": 8},
        ],
        "iptables_targets": ["ERROR", "MARK"], "iproute2": "6.15.0", "uptime_s": 7200,
    } | fields  # fmt: skip


# -- what a node without a fault answers, given the inputs of its probes -----------------------------------------------

_PROGRAMS = {
    "veth": (("tcx-ingress", "cil_from_contai"), ("tcx-egress", "cil_to_containe")),
    "netkit": (("netkit-peer", "cil_from_contai"), ("netkit-primary", "cil_to_containe")),
}


def programs_document(*links: tuple[str, str]) -> Document:
    """A document of the probe `programs`: every endpoint link and the host's devices bear Cilium's programs."""
    devices = [_device(4, "ens3", "other", "device", ("tcx-ingress", "cil_from_netdev"))]
    devices += [_device(2 + n, name, "veth", "host", ("tcx-ingress", f"cil_{name}")) for n, name in enumerate(_HOST)]
    for number, (name, kind) in enumerate(links, start=10):
        role = "health" if name == "lxc_health" else "endpoint"
        devices.append(_device(number, name, kind, role, *_PROGRAMS[kind.partition("/")[0]]))
    return {"schema": 1, "probe": "programs", "devices": devices, "unread": []}


_HOST = ("cilium_net", "cilium_host")


def _device(index: int, name: str, kind: str, role: str, *attached: tuple[str, str]) -> dict[str, Any]:
    rows = [{"at": at, "program": program, "id": index * 10, "tag": "0" * 16} for at, program in attached]
    return {"name": name, "ifindex": index, "kind": kind, "role": role, "attached": rows}


def counters_document(*links: tuple[str, str]) -> Document:
    """A document of the probe `counters`: traffic, and nothing lost."""
    rows = [
        {
            "name": name, "ifindex": number, "kind": kind, "rx_packets": 1000, "tx_packets": 1000, "rx_bytes": 90000,
            "tx_bytes": 90000, "rx_dropped": 0, "tx_dropped": 0, "rx_errors": 0, "tx_errors": 0,
        }
        for number, (name, kind) in enumerate(links, start=10)
    ]  # fmt: skip
    snmp = {"Tcp.RetransSegs": 3, "Tcp.OutSegs": 9000}
    return {"schema": 1, "probe": "counters", "links": rows, "snmp": snmp, "softnet_dropped": 0}


def reach_document(inputs: Mapping[str, Any]) -> Document:
    """A document of the probe `reach` in which everything the inputs name is reached."""
    told = inputs.get("reach") or {}
    cells: list[dict[str, Any]] = []
    bursts: list[dict[str, Any]] = []
    if told.get("pods"):
        sizes = told["sizes"]
        cells += [_cell("same-node", "tcp", size) for size in sizes]
        cells += [_cell("same-node", "icmp", 1472), _cell("node-to-pod", "tcp", 64)]
        bursts.append(_burst("same-node", told["packets"]))
        for peer in told.get("peers") or ():
            cells += [_cell("cross-node", "tcp", size, peer) for size in sizes]
            cells += [_cell("cross-node", "icmp", 1472, peer), _cell("inbound", "tcp", 64, peer)]
            bursts.append(_burst("cross-node", told["packets"], peer))
        cells += [_cell("service", "tcp", 64) | {"id": f"service/{s['name']}"} for s in told.get("services") or ()]
        cells += [_cell("dns", "dns", 64)] if told.get("dns") else []
        cells += [_cell("pod-to-api", "tcp", 64)] if told.get("api") else []
    return {"schema": 1, "probe": "reach", "cells": cells, "bursts": bursts, "skipped": []}


_NOBODY: Mapping[str, Any] = {"node": "", "kind": ""}


def _cell(path: str, protocol: str, size: int, peer: Mapping[str, Any] = _NOBODY) -> dict[str, Any]:
    name = "/".join((path, *filter(None, [peer["node"]]), protocol, "v4", str(size)))
    return {
        "id": name, "path": path, "protocol": protocol, "family": 4, "size": size, "peer": peer["node"],
        "peer_kind": peer["kind"], "target": "10.244.0.1:8791", "tries": 3, "ok": 3, "error": "",
        "rtt_us": [310, 290, 305],
    }  # fmt: skip


def _burst(path: str, packets: int, peer: Mapping[str, Any] = _NOBODY) -> dict[str, Any]:
    name = "/".join((path, *filter(None, [peer["node"]]), "udp", "v4"))
    return {
        "id": name, "path": path, "protocol": "udp", "family": 4, "size": 64, "peer": peer["node"],
        "peer_kind": peer["kind"], "sent": packets, "received": packets, "reordered": 0,
        "rtt_us": [250 + 7 * (n % 13) for n in range(packets)],
    }  # fmt: skip


def policy_document(inputs: Mapping[str, Any]) -> Document:
    """A document of the probe `policy` in which policies hold: role `a` is let in where it should be, nobody else."""
    told = inputs.get("policy") or {}
    rows = told.get("pairs") or ()
    first = {row["policy"]: row["port"] for row in reversed(rows) if row["from"] == "a"}
    pairs = []
    for row in rows:
        is_open = row["from"] == "a" and row["port"] == first[row["policy"]]
        pairs.append({**row, "result": "open" if is_open else "closed", "detail": "" if is_open else "timeout"})
    return {"schema": 1, "probe": "policy", "pairs": pairs, "skipped": list(told.get("skipped") or ())}


def _frame(probe: str) -> dict[str, Any]:
    programs = [{"name": f"{probe}_main", "runs": 5000, "run_ns": 500000}]
    return {
        "schema": 1, "probe": probe, "window_ms": 4000, "lost_events": 0, "reader": "bcc 0.31.0",
        "selftest": {"sent": 64, "seen": 64, "ok": True, "message": ""},
        "cost": {"compile_ms": 900, "attach_ms": 20, "programs": programs},
    }  # fmt: skip


def path_document(*links: tuple[str, str]) -> Document:
    """A document of the probe `path`: packets went both ways over every endpoint link."""
    rows = [
        {
            "name": name, "ifindex": number, "kind": kind,
            "to_pod": {"packets": 5000, "bytes": 450000}, "from_pod": {"packets": 5000, "bytes": 450000},
        }
        for number, (name, kind) in enumerate(links, start=10)
    ]  # fmt: skip
    kinds = sorted({kind for _, kind in links})
    ways = [(kind, way) for kind in kinds for way in ("from-pod", "to-pod")]
    hops = [{"kind": k, "direction": w, "count": 500, "log2_ns": [0] * 10 + [100, 300, 100]} for k, w in ways]
    return _frame("path") | {"links": rows, "hops": hops}


def drops_document() -> Document:
    """A document of the probe `drops`: the noise that every node has."""
    row = {"reason": "NO_SOCKET", "link": "ens3", "ifindex": 4, "protocol": "ipv4/udp", "packets": 3}
    return _frame("drops") | {"drops": [row], "reasons_from": "btf"}


def tcp_document() -> Document:
    """A document of the probe `tcp`: connections, none of them in trouble."""
    row = {
        "address": "10.244.1.5", "connects": 9, "connect_failures": 0, "connect_log2_us": [0] * 7 + [5, 4],
        "srtt_log2_us": [0] * 7 + [5, 4], "segments": 400, "retransmits": 0, "resets_sent": 0, "resets_received": 0,
    }  # fmt: skip
    return _frame("tcp") | {"endpoints": [row]}
