"""Observation of nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Event
from typing import Protocol

from rollout.domain.inventory import Observation
from rollout.ports.hosts import Host


class Observer(Protocol):
    """Ships programs of `rollout.onnode` to nodes and returns their JSON, unjudged.

    Duties: read-only or self-cleaning. Every (node, probe) asked for has an `Observation`; one that could not be made
    carries `error` with the reason and what to do. Raises only for settings that cannot be used at all (`UsageError`).
    """

    def observe(
        self, hosts: Sequence[Host], probes: Sequence[str], *, wall_s: int, cancel: Event | None = None
    ) -> Mapping[str, Mapping[str, Observation]]:
        """Observations by node name, then probe name. Probes: links, agent, capability (programs in rollout/onnode)."""
        ...
