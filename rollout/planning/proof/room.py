"""What nodes have left: CPU, memory, pod slots, other resources and host ports, by number of the node."""

from __future__ import annotations

from collections.abc import Sequence

from rollout.domain.node import Node
from rollout.domain.scheduling import HostPort
from rollout.planning.proof.kinds import Kind

PPM = 1_000_000
_UNTOLD = 1 << 62
"""Room of a node that does not tell its own."""
_USUAL_SLOTS = 110
"""The kubelet's default for the most pods on a node."""
_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - an address that pods name; nothing is bound here


class Room:
    """Free resources of nodes. Requests count as the scheduler's NodeResourcesFit and NodePorts count them."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        told = [bool(node.cpu_millis or node.pod_slots) for node in nodes]
        self._all_cpu = [n.cpu_millis if t else 0 for n, t in zip(nodes, told, strict=True)]
        self._all_memory = [n.memory_bytes if t else 0 for n, t in zip(nodes, told, strict=True)]
        self._all_slots = [(n.pod_slots or _USUAL_SLOTS) if t else 0 for n, t in zip(nodes, told, strict=True)]
        self.cpu = [room if t else _UNTOLD for room, t in zip(self._all_cpu, told, strict=True)]
        self.memory = [room if t else _UNTOLD for room, t in zip(self._all_memory, told, strict=True)]
        self.slots = [room if t else _UNTOLD for room, t in zip(self._all_slots, told, strict=True)]
        self._told = told
        self.tightest = [PPM] * len(nodes)
        """The free share of what is scarcest on each node, in millionths: one without CPU is full."""
        self._extra = [{name: int(amount) for name, amount in node.extra} for node in nodes]
        self._ports: dict[int, dict[HostPort, int]] = {}

    def change(self, kind: Kind, node: int, by: int) -> None:
        """`by` pods of a class more (or fewer) on a node."""
        self.cpu[node] -= kind.cpu * by
        self.memory[node] -= kind.memory * by
        self.slots[node] -= by
        if self._told[node]:
            self.tightest[node] = self._tightest(node)
        if kind.extra:
            free = self._extra[node]
            for name, amount in kind.extra:
                free[name] = free.get(name, 0) - amount * by
        if kind.scheduling.host_ports:
            held = self._ports.setdefault(node, {})
            for port in kind.scheduling.host_ports:
                held[port] = held.get(port, 0) + by

    def shortage(self, kind: Kind, node: int) -> str:
        """What a node lacks for one more pod of a class; empty when it has room."""
        if self.slots[node] < 1:
            return "pod slots"
        if kind.cpu and kind.cpu > self.cpu[node]:
            return "cpu"
        if kind.memory and kind.memory > self.memory[node]:
            return "memory"
        if kind.extra and self._told[node]:
            free = self._extra[node]
            for name, amount in kind.extra:
                if amount and amount > free.get(name, 0):
                    return name
        return ""

    def port_taken(self, kind: Kind, node: int) -> bool:
        """Whether somebody on a node holds a host port that a class needs."""
        wanted = kind.scheduling.host_ports
        if not wanted:
            return False
        held = [port for port, count in self._ports.get(node, {}).items() if count > 0]
        return any(_clash(one, other) for one in wanted for other in held)

    def free_ppm(self, node: int) -> int:
        """The mean free share of CPU, memory and slots, in millionths; the whole for a node that tells nothing."""
        total = parts = 0
        for free, room in (
            (self.cpu[node], self._all_cpu[node]),
            (self.memory[node], self._all_memory[node]),
            (self.slots[node], self._all_slots[node]),
        ):
            if room:
                total += free * PPM // room
                parts += 1
        return total // parts if parts else PPM

    def _tightest(self, node: int) -> int:
        least = PPM
        if self._all_cpu[node]:
            least = self.cpu[node] * PPM // self._all_cpu[node]
        if self._all_memory[node]:
            least = min(least, self.memory[node] * PPM // self._all_memory[node])
        if self._all_slots[node]:
            least = min(least, self.slots[node] * PPM // self._all_slots[node])
        return max(least, 0)


def _clash(one: HostPort, other: HostPort) -> bool:
    if (one.protocol, one.port) != (other.protocol, other.port):
        return False
    return one.address == other.address or one.address in _EVERYWHERE or other.address in _EVERYWHERE
