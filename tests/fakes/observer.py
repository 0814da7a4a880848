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
    """Asks `answer` (node, probe) for a document; a text instead is the reason why there is none."""

    clock: Clock
    answer: Answer
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
        return {host.node: {probe: self._one(host.node, probe, cancel) for probe in probes} for host in hosts}

    def _one(self, node: str, probe: str, cancel: Event | None) -> Observation:
        at = self.clock.now()
        if cancel is not None and cancel.is_set():
            return Observation(node, probe, at, error=f"cannot observe {node}: the run was cancelled")
        self.asked.append((node, probe))
        found = self.answer(node, probe)
        if isinstance(found, str):
            return Observation(node, probe, at, error=found)
        return Observation(node, probe, at, document=found)


def links_document(*links: tuple[str, str], boot_id: str = "boot-1", kernel: str = "6.12.0") -> Document:
    """A document of the probe `links` for links given as (name, kind)."""
    rows = [{"name": name, "kind": kind, "up": True, "health": name == "lxc_health"} for name, kind in links]
    return {"schema": 1, "probe": "links", "links": rows, "foreign": {}, "boot_id": boot_id, "kernel": kernel}


def agent_document(mode: str, *, state: str = "up", **fields: Any) -> Document:
    """A document of the probe `agent` for an agent that is well."""
    return {
        "schema": 1, "probe": "agent", "agent": state, "datapath-mode": mode, "configured-datapath-mode": mode,
        "intra-host-routing-mode": "BPF", "controllers-failing": 0, "endpoints": [], "settings": {}, **fields,
    }  # fmt: skip


def capability_document(*modes: str, scrub: bool = True, error: str = "") -> Document:
    """A document of the probe `capability`."""
    return {"schema": 1, "probe": "capability", "modes": list(modes), "scrub": scrub, "error": error}
