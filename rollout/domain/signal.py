"""What other systems are asked by external gates, and what came back: raw, judged by `rollout.checks.signals`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Subjects:
    """What a gate is asked about: one node of a wave, or the wave."""

    wave: str
    """The wave's name."""
    nodes: tuple[str, ...]
    """The nodes of the wave that were moved, or are just being moved."""
    node: str = ""
    """The node in question; empty at the gate behind a wave."""


@dataclass(frozen=True, slots=True)
class SignalAnswer:
    """An HTTP status with its body, or in `error` the reason why there is none. Nothing here is judged."""

    status: int = 0
    body: str = ""
    error: str = ""
