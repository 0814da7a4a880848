"""How many pods of a group are in each domain of a topology key, kept up to date as pods move.

What the scheduler's filters InterPodAffinity and PodTopologySpread ask (upstream: pkg/scheduler/framework/plugins).
"""

from __future__ import annotations

from collections.abc import Sequence

from rollout.planning.proof.kinds import Kind

Values = Sequence[str | None]
"""By number of a node: its domain, or None where it has none."""


class Tally:
    """Pods by domain. Nodes without the topology key do not count."""

    __slots__ = ("counts", "values")

    def __init__(self, values: Values) -> None:
        self.values = values
        self.counts: dict[str, int] = {}

    def change(self, node: int, by: int) -> None:
        """`by` pods more (or fewer) on a node."""
        value = self.values[node]
        if value is None:
            return
        now = self.counts.get(value, 0) + by
        if now:
            self.counts[value] = now
        else:
            self.counts.pop(value, None)

    def has(self, node: int) -> bool:
        """Whether the node's domain has any."""
        value = self.values[node]
        return value is not None and value in self.counts

    def take_stock(self, kinds: list[Kind]) -> None:
        """Count the pods of these classes where they are now."""
        for kind in kinds:
            for node, count in kind.at.items():
                self.change(node, count)


class Frame:
    """The nodes that a spread constraint counts, and how many of them each domain has. Shared by constraints."""

    __slots__ = ("counted", "nodes", "values")

    def __init__(self, values: Values, counted: Sequence[bool]) -> None:
        self.values = values
        self.counted = [wanted and value is not None for wanted, value in zip(counted, values, strict=True)]
        self.nodes: dict[str, int] = {}
        for value, wanted in zip(values, self.counted, strict=True):
            if wanted and value is not None:
                self.nodes[value] = self.nodes.get(value, 0) + 1


class SpreadTally:
    """Pods by domain, over the nodes of a frame, with the least count at hand.

    A node may join or leave (`include`) when taints count; then the frame must be its own.
    """

    __slots__ = ("_counted", "_histogram", "_low", "_nodes", "_on_node", "counts", "values")

    def __init__(self, frame: Frame) -> None:
        self.values = frame.values
        self._counted = frame.counted
        self._nodes = frame.nodes
        self.counts = dict.fromkeys(frame.nodes, 0)
        self._on_node: dict[int, int] = {}
        self._histogram = {0: len(frame.nodes)} if frame.nodes else {}
        self._low = 0

    @property
    def domains(self) -> int:
        """Domains that have a node that counts."""
        return len(self._nodes)

    def low(self) -> int:
        """The least count of any domain; 0 when there is none."""
        if not self._histogram:
            return 0
        if self._low not in self._histogram:
            self._low = min(self._histogram)
        return self._low

    def include(self, node: int, wanted: bool) -> None:
        """Let a node count, or not."""
        value = self.values[node]
        if value is None or self._counted[node] is wanted:
            return
        self._counted[node] = wanted
        pods = self._on_node.get(node, 0)
        if wanted:
            self._nodes[value] = self._nodes.get(value, 0) + 1
            self._set(value, self.counts.get(value, 0) + pods)
            return
        self._nodes[value] -= 1
        if self._nodes[value]:
            self._set(value, self.counts[value] - pods)
            return
        del self._nodes[value]
        self._forget(self.counts.pop(value))

    def change(self, node: int, by: int) -> None:
        """`by` pods more (or fewer) on a node."""
        self._on_node[node] = self._on_node.get(node, 0) + by
        value = self.values[node]
        if value is not None and self._counted[node]:
            self._set(value, self.counts[value] + by)

    def take_stock(self, kinds: list[Kind]) -> None:
        """Count the pods of these classes where they are now."""
        for kind in kinds:
            for node, count in kind.at.items():
                self.change(node, count)

    def _set(self, value: str, count: int) -> None:
        if value in self.counts:
            self._forget(self.counts[value])
        self.counts[value] = count
        self._histogram[count] = self._histogram.get(count, 0) + 1
        self._low = min(self._low, count)

    def _forget(self, count: int) -> None:
        left = self._histogram[count] - 1
        if left:
            self._histogram[count] = left
        else:
            del self._histogram[count]
