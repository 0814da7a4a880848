"""Probe `agent`: what the Cilium agent says of itself over its unix socket.

The agent answers slowly while it regenerates endpoints (20 to 30 s seen), so time-outs are generous and slowness is
reported as `slow`, not judged. A socket that is missing or refuses means `down`. Both are data: the program exits 0.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from typing import Any

from . import entry

SOCKET = "/var/run/cilium/cilium.sock"
TIMEOUT_S = 60

SETTINGS = (
    # struct field names, as newer agents spell them
    "AttachMode", "AutoDirectNodeRoutes", "CreationTime", "DatapathMode", "EnableAutoDirectRouting",
    "EnableBPFMasquerade", "EnableBPFTProxy", "EnableCiliumEndpointSlice", "EnableEndpointHealthChecking",
    "EnableEndpointRoutes", "EnableEnvoyConfig", "EnableHealthChecking", "EnableHostFirewall",
    "EnableHostLegacyRouting", "EnableIPSec", "EnableIPv4", "EnableIPv4Masquerade", "EnableIPv6",
    "EnableIPv6Masquerade", "EnableL7Proxy", "EnableTCX", "EnableWireguard", "EncryptNode", "IPAM",
    "BPFSocketLBHostnsOnly", "KubeProxyReplacement", "NodePortAcceleration", "RoutingMode", "TunnelProtocol",
    # flag names, as older ones do
    "bpf-lb-acceleration", "bpf-lb-sock-hostns-only", "cni-chaining-mode", "datapath-mode", "enable-bpf-masquerade",
    "enable-bpf-tproxy", "enable-cilium-endpoint-slice", "enable-endpoint-health-checking", "enable-endpoint-routes",
    "enable-health-checking", "enable-host-firewall", "enable-host-legacy-routing", "enable-ipsec", "enable-ipv4",
    "enable-ipv4-masquerade", "enable-ipv6", "enable-ipv6-masquerade", "enable-l7-proxy", "enable-tcx",
    "enable-wireguard", "ipam", "kube-proxy-replacement", "routing-mode", "tunnel-protocol",
)  # fmt: skip
_DROPS = "cilium_drop_count_total"
_DRIFT = "cilium_drift_checker_config_delta"
_NESTED_SETTINGS = "UnsafeDaemonConfigOption"


class _Slow(Exception):
    """No answer in time, or a broken one: nothing can be concluded."""


class _Down(Exception):
    """Nobody serves the socket."""


def main(request: entry.Document) -> entry.Document:
    """The probe as a program of its own. Request: `agent_socket`, `agent_timeout_s`."""
    return read(str(request.get("agent_socket") or SOCKET), float(request.get("agent_timeout_s") or TIMEOUT_S))


def read(path: str = SOCKET, timeout_s: float = TIMEOUT_S) -> entry.Document:
    """The document's body. All requests together take at most `timeout_s`; what was read before that is kept."""
    deadline = time.monotonic() + timeout_s
    body: entry.Document = {"agent": "up"}
    try:
        body.update(reduce_endpoints(get(path, "/v1/endpoint", deadline)))
        body.update(reduce_config(get(path, "/v1/config", deadline)))
        body.update(reduce_status(get(path, "/v1/healthz", deadline)))
        body.update(_metrics(path, deadline))
    except _Down as error:
        return {"agent": "down", "reason": str(error)}
    except _Slow as error:
        body.update(agent="slow", reason=str(error))
    return body


def state(path: str = SOCKET, timeout_s: float = 2) -> str:
    """Whether anyone accepts on the socket: up, slow or down. Cheap: asks nothing."""
    try:
        _connect(path, time.monotonic() + timeout_s).close()
    except _Down:
        return "down"
    except _Slow:
        return "slow"
    return "up"


def get(path: str, resource: str, deadline: float) -> Any:
    """GET over the socket. HTTP/1.0, so that the answer is never chunked and ends with the connection."""
    begun = time.monotonic()
    connection = _connect(path, deadline)
    with connection:
        try:
            connection.sendall(f"GET {resource} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            received = _until_closed(connection, deadline)
        except OSError as error:  # socket.timeout is one of them
            waited = time.monotonic() - begun
            raise _Slow(f"cannot read {resource} from {path} within {waited:.0f} s: {error}") from error
    head, _, content = received.partition(b"\r\n\r\n")
    status = head.split(b"\r\n", 1)[0].split(b" ")
    if len(status) < 2 or status[1] != b"200":
        shown = head.split(b"\r\n", 1)[0].decode("latin-1")
        raise _Slow(f"cannot read {resource} from {path}: the agent answered {shown!r}")
    try:
        return json.loads(content)
    except ValueError as error:
        raise _Slow(f"cannot read {resource} from {path}: the answer ended early ({error})") from error


def _connect(path: str, deadline: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(max(0.1, deadline - time.monotonic()))
        connection.connect(path)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
        connection.close()
        raise _Down(f"cannot connect to {path}: {error.strerror}") from error
    except OSError as error:
        connection.close()
        raise _Slow(f"cannot connect to {path}: {error}") from error
    return connection


def _until_closed(connection: socket.socket, deadline: float) -> bytes:
    parts: list[bytes] = []
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise OSError("timed out")
        connection.settimeout(left)
        part = connection.recv(1 << 18)
        if not part:
            return b"".join(parts)
        parts.append(part)


def _metrics(path: str, deadline: float) -> entry.Document:
    """Packets dropped, settings in drift; nothing from an agent that serves no metrics here, or not now."""
    try:
        metrics = get(path, "/v1/metrics", deadline)
    except _Slow:
        return {}
    return {**reduce_metrics(metrics), **reduce_drift(metrics)}


def reduce_drift(metrics: list[dict[str, Any]] | None) -> entry.Document:
    """How many settings differ from what the agent would start with; nothing where it has no drift checker.

    The gauge is there since 1.19; a value of zero is left out of its JSON (cilium-netkit.md 3).
    """
    told = [int(one.get("value") or 0) for one in metrics or [] if one.get("name") == _DRIFT]
    return {"config-delta": max(told)} if told else {}


def reduce_metrics(metrics: list[dict[str, Any]] | None) -> entry.Document:
    """What checks need of GET /v1/metrics (cilium api/v1 model Metric: name, value, labels): drops by reason.

    The agent counts per direction INGRESS or EGRESS; a value of zero is left out of its JSON.
    """
    drops: dict[tuple[str, str], int] = {}
    for one in metrics or []:
        if one.get("name") == _DROPS:
            labels = one.get("labels") or {}
            key = str(labels.get("reason") or ""), str(labels.get("direction") or "").lower()
            drops[key] = drops.get(key, 0) + int(one.get("value") or 0)
    rows = [{"reason": reason, "direction": way, "packets": count} for (reason, way), count in sorted(drops.items())]
    return {"drops": rows}


def reduce_status(status: Mapping[str, Any]) -> entry.Document:
    """What checks need of GET /v1/healthz, under the agent's own names. Absent in this version: absent here."""
    routing = status.get("routing") or {}
    replacement = status.get("kube-proxy-replacement") or {}
    features = replacement.get("features") or {}
    controllers = status.get("controllers") or []
    failing = [c for c in controllers if (c.get("status") or {}).get("consecutive-failure-count")]
    body = {
        "datapath-mode": status.get("datapath-mode"),
        "configured-datapath-mode": status.get("configured-datapath-mode"),
        "attach-mode": status.get("attach-mode"),
        "intra-host-routing-mode": routing.get("intra-host-routing-mode"),
        "inter-host-routing-mode": routing.get("inter-host-routing-mode"),
        "tunnel-protocol": routing.get("tunnel-protocol"),
        "masquerading-mode": (status.get("masquerading") or {}).get("mode"),
        "masquerading": status.get("masquerading"),
        "kube-proxy-replacement-mode": replacement.get("mode"),
        "kube-proxy-replacement": {"features": features, "devices": replacement.get("devices")},
        "encryption-mode": (status.get("encryption") or {}).get("mode"),
        "cni-chaining-mode": (status.get("cni-chaining") or {}).get("mode"),
        "host-firewall-mode": (status.get("host-firewall") or {}).get("mode"),
        "state": (status.get("cilium") or {}).get("state"),
        "version": (status.get("cilium") or {}).get("msg"),
        "controllers": len(controllers),
        "controllers-failing": len(failing),
        "controllers-failing-names": [str(c.get("name")) for c in failing[:20]],
    }
    return {key: value for key, value in body.items() if value is not None}


def reduce_config(config: Mapping[str, Any]) -> entry.Document:
    """What checks need of GET /v1/config."""
    status = config.get("status") or {}
    effective = status.get("daemonConfigurationMap") or {}
    nested = effective.get(_NESTED_SETTINGS) or {}
    settings = {key: source[key] for source in (nested, effective) for key in SETTINGS if key in source}
    kept = ("datapathMode", "configuredDatapathMode", "ipam-mode", "deviceMTU", "deviceHeadroom", "deviceTailroom")
    return {"settings": settings, "config": {key: status[key] for key in kept if key in status}}


def reduce_endpoints(endpoints: list[dict[str, Any]] | None) -> entry.Document:
    """What checks need of GET /v1/endpoint."""
    return {"endpoints": [_endpoint(one) for one in endpoints or []]}


def _endpoint(one: dict[str, Any]) -> dict[str, Any]:
    status = one.get("status") or {}
    networking = status.get("networking") or {}
    addresses = (networking.get("addressing") or [{}])[0]
    shown = {
        "id": one.get("id"),
        "state": status.get("state"),
        "interface-name": networking.get("interface-name"),
        "interface-index": networking.get("interface-index"),
        "ipv4": addresses.get("ipv4"),
        "ipv6": addresses.get("ipv6"),
        "pod": _pod(status.get("external-identifiers") or {}),
        "health": (status.get("health") or {}).get("overallHealth"),
    }
    return {key: value for key, value in shown.items() if value not in (None, "")}


def _pod(identifiers: Mapping[str, Any]) -> str:
    """`namespace/name` by the older shapes; newer agents no longer say, and the join is by endpoint id."""
    if identifiers.get("k8s-pod-name"):
        return "{}/{}".format(identifiers.get("k8s-namespace", ""), identifiers["k8s-pod-name"])
    return str(identifiers.get("pod-name") or "")
