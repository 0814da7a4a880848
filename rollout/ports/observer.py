"""Observation of nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Event
from types import MappingProxyType
from typing import Any, Protocol

from rollout.domain.inventory import Observation
from rollout.ports.hosts import Host

NO_INPUTS: Mapping[str, Mapping[str, Any]] = MappingProxyType({})


class Observer(Protocol):
    """Ships programs of `rollout.onnode` to nodes and returns their JSON, unjudged.

    Duties: read-only or self-cleaning. Every (node, probe) asked for has an `Observation`; one that could not be made
    carries `error` with the reason and what to do. Raises only for settings that cannot be used at all (`UsageError`).
    """

    def observe(
        self,
        hosts: Sequence[Host],
        probes: Sequence[str],
        *,
        wall_s: int,
        cancel: Event | None = None,
        inputs: Mapping[str, Mapping[str, Any]] = NO_INPUTS,
    ) -> Mapping[str, Mapping[str, Observation]]:
        """Observations by node name, then probe name (`rollout.domain.observed.ALL_PROBES`).

        `inputs`: by node name, what its probes are told (which pods to reach, how long to watch); see rollout/onnode.
        `only` among them names the probes that run there; the others have an `error`.
        """
        ...
