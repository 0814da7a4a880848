"""Where the pods of a made-up cluster are: a deterministic scheduler of few rules, which keeps every hard one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.fleet.shape import INSTANCES, ZONES, App, Machine

POD_SLOTS = 110
DAEMONS = ("cilium", "logd")
"""DaemonSets with a pod on every node; `sensor` has one on every ingress node."""
SENSOR = "sensor"


@dataclass(frozen=True, slots=True)
class Placed:
    """One pod: the workload's place in the list (a DaemonSet by name), its number in it, and its node."""

    app: int
    daemon: str
    ordinal: int
    node: int


class Placement:
    """Rooms left, and one way round each pool of nodes."""

    def __init__(self, machines: list[Machine]) -> None:
        self._machines = machines
        self._slots = [POD_SLOTS - len(DAEMONS) - m.ingress for m in machines]
        self._cpu = [m.cores * 1000 - 400 for m in machines]
        self._memory = [m.gib * 1024 - 1024 for m in machines]
        busy = [m for m in machines if not m.empty]
        self._pools = {"": _uneven(busy)}
        self._pools |= {zone: _uneven([m for m in busy if m.zone == zone]) for zone in ZONES}
        self._pools |= {kind: _uneven([m for m in busy if m.instance == kind]) for kind, _, _ in INSTANCES}
        self._pools["ingress"] = [m.index for m in machines if m.ingress]
        self._next = dict.fromkeys(self._pools, 0)

    def place(self, app: App) -> Iterator[Placed]:
        """The pods of one workload. Raises `AssertionError` when the nodes are full."""
        used: set[int] = set()
        for ordinal in range(app.replicas):
            node = self._find(_pool_of(app, ordinal), app, used)
            used.add(node)
            yield Placed(app.index, "", ordinal, node)

    def _find(self, pool: str, app: App, used: set[int]) -> int:
        nodes = self._pools[pool]
        alone = app.trait in ("anti", "quorum", "ingress", "zonal", "local")
        for _ in range(len(nodes)):
            node = nodes[self._next[pool] % len(nodes)]
            self._next[pool] += 1
            roomy = self._slots[node] > 0 and self._cpu[node] >= app.cpu and self._memory[node] >= app.memory
            if roomy and not (alone and node in used):
                self._slots[node] -= 1
                self._cpu[node] -= app.cpu
                self._memory[node] -= app.memory
                return node
        raise AssertionError(f"no node of pool {pool!r} has room for {app.name}: ask for fewer pods")


def _uneven(machines: list[Machine]) -> list[int]:
    """Each node once, every third one twice: clusters are never even."""
    order = [m.index for m in machines]
    return order + order[::3]


def selected_instance(app: App) -> str:
    """The instance type that a workload with a node selector asks for."""
    return INSTANCES[app.index % len(INSTANCES)][0]


def _pool_of(app: App, ordinal: int) -> str:
    if app.trait in ("spread", "zonal", "quorum"):
        return ZONES[ordinal % len(ZONES)]
    if app.trait == "selector":
        return selected_instance(app)
    return "ingress" if app.trait == "ingress" else ""


def daemon_pods(machines: list[Machine]) -> Iterator[Placed]:
    """Pods of DaemonSets."""
    for machine in machines:
        for daemon in DAEMONS:
            yield Placed(-1, daemon, machine.index, machine.index)
        if machine.ingress:
            yield Placed(-1, SENSOR, machine.index, machine.index)
