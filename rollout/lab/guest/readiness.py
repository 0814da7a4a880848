"""Readiness of a container: which request tells, and asking it."""

import http.client
import socket
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

# For containers without a probe of their own, by the module that plays them.
_DEFAULTS = {"webserver": ("", 8080, "/"), "agent": ("127.0.0.1", 9879, "/healthz")}
# A ready container is asked rarely, since every question costs an emulated guest real time; its exit is an event.
_READY_PERIOD = 30.0
_FIRST_PERIOD = 0.1


@dataclass(frozen=True)
class Probe:
    host: str
    port: int
    path: str
    """Empty for a probe that only connects."""
    period: float
    timeout: float

    def delay(self, attempts: int, ready: bool) -> float:
        """Seconds to the next question: quick at first, as a start is what is waited for."""
        if ready:
            return max(self.period, _READY_PERIOD)
        return min(self.period, _FIRST_PERIOD * 2.0 ** min(attempts, 8))


def probe_for(container: Json, module: str) -> Probe | None:
    """None if the container is ready as soon as it runs. HTTP and TCP probes are played."""
    declared = container.get("readinessProbe") or {}
    period, timeout = float(declared.get("periodSeconds") or 2), float(declared.get("timeoutSeconds") or 2)
    asked = declared.get("httpGet")
    if asked:
        return Probe(
            asked.get("host") or "", _port(container, asked["port"]), asked.get("path") or "/", period, timeout
        )
    connected = declared.get("tcpSocket")
    if connected:
        return Probe(connected.get("host") or "", _port(container, connected["port"]), "", period, timeout)
    if module in _DEFAULTS:
        return Probe(*_DEFAULTS[module], period, timeout)
    return None


def _port(container: Json, port: int | str) -> int:
    for each in container.get("ports") or []:
        if each.get("name") == port:
            return int(each["containerPort"])
    return int(port)


def ask(probe: Probe, pod_address: str) -> bool:
    # An emulated guest needs longer than the one second that probes allow by default.
    host, patience = probe.host or pod_address, max(probe.timeout, 5.0)
    return _ask_http(probe, host, patience) if probe.path else _connects(host, probe.port, patience)


def _connects(host: str, port: int, patience: float) -> bool:
    try:
        with socket.create_connection((host, port), patience):
            return True
    except OSError:
        return False


def _ask_http(probe: Probe, host: str, patience: float) -> bool:
    connection = http.client.HTTPConnection(host, probe.port, timeout=patience)
    try:
        connection.request("GET", probe.path, headers={"Connection": "close"})
        return 200 <= connection.getresponse().status < 400
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
