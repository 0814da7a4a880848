"""The agent's refusal to start over links of another mode, read from its log (real-cluster.md, agent-refuses.log)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_REFUSAL = re.compile(
    r"Cannot start cilium-agent with datapath-mode=(?P<mode>[a-z0-9-]+): detected (?P<count>\d+) existing"
)
_POD = re.compile(r"([a-z0-9-]+/[a-z0-9][a-z0-9.-]*) \(endpoint-(\d+)\)")


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the agent named: the mode it was told, how many endpoints stand in its way, and their pods."""

    mode: str
    count: int
    pods: tuple[str, ...]
    """namespace/name."""


def parse_refusal(log: str) -> Refusal | None:
    """The last refusal in an agent's log, of either wording (cilium-netkit.md 2); None when there is none."""
    found = None
    for line in log.splitlines():
        match = _REFUSAL.search(line)
        if match:
            pods = tuple(pod for pod, _ in _POD.findall(line))
            found = Refusal(match["mode"], int(match["count"]), pods)
    return found
