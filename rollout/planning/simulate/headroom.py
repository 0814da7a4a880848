"""How much of the cluster's CPU and memory requests leave free while nodes are out."""

from __future__ import annotations

from rollout.domain.inventory import ClusterSnapshot


class Headroom:
    """Sums kept as nodes go and come: asked at every start, so nothing walks over the fleet."""

    def __init__(self, cluster: ClusterSnapshot) -> None:
        daemons: dict[str, tuple[int, int]] = {}
        cpu = memory = 0
        for pod in cluster.pods:
            if pod.finished:
                continue
            cpu, memory = cpu + pod.cpu_millis, memory + pod.memory_bytes
            if pod.owner_kind == "DaemonSet" or pod.mirror:
                had = daemons.get(pod.node, (0, 0))
                daemons[pod.node] = had[0] + pod.cpu_millis, had[1] + pod.memory_bytes
        self._bound = daemons
        """Requests that go with their node."""
        self._asked = (cpu, memory)
        self._offer = {n.name: (n.cpu_millis, n.memory_bytes) for n in cluster.nodes}
        self._left = (sum(o[0] for o in self._offer.values()), sum(o[1] for o in self._offer.values()))
        self._told = (self._left[0] > 0, self._left[1] > 0)

    def gone(self, node: str) -> None:
        """A node is out, and what is bound to it."""
        self._change(node, -1)

    def back(self, node: str) -> None:
        """It takes pods again."""
        self._change(node, 1)

    def _change(self, node: str, sign: int) -> None:
        offer, bound = self._offer.get(node, (0, 0)), self._bound.get(node, (0, 0))
        self._left = (self._left[0] + sign * offer[0], self._left[1] + sign * offer[1])
        self._asked = (self._asked[0] + sign * bound[0], self._asked[1] + sign * bound[1])

    def least(self, had: tuple[int, int]) -> tuple[int, int]:
        """The lesser of what a wave saw before and what is free now, in percent."""
        return _least(had[0], self._percent(0)), _least(had[1], self._percent(1))

    def _percent(self, which: int) -> int:
        if not self._told[which]:
            return -1
        offer, asked = self._left[which], self._asked[which]
        return max(0, (offer - asked) * 100 // offer) if offer > 0 else 0


def _least(one: int, other: int) -> int:
    if one < 0 or other < 0:
        return max(one, other)
    return min(one, other)
