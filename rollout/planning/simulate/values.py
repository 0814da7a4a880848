"""What a simulation says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class WaveForecast:
    """One wave. Times in seconds since the start of the rollout."""

    wave: int
    name: str
    nodes: int
    began_s: int
    ended_s: int
    """Behind its soak under load."""
    bound_s: int
    """The least its limits let it take: its slots always busy, nobody waiting for a budget."""
    evictions: int
    moved_again: int
    """Evictions of pods that had been evicted before in this rollout."""
    refused: int
    """Evictions that a budget refused at first."""
    refusals: int
    """Refusals in all: each is asked again after `drain.retry_s`."""
    most_out: int
    headroom_cpu_percent: int
    """Least share of allocatable CPU that requests left free on nodes in service; -1: not told."""
    headroom_memory_percent: int
    binding: str
    """What held it back."""

    @property
    def seconds(self) -> int:
        """How long it takes."""
        return self.ended_s - self.began_s


@dataclass(frozen=True, slots=True)
class Busy:
    """A node that many pods went through."""

    node: str
    evicted: int
    moved_again: int
    landed: int
    """Replacements that were placed on it before its own turn came."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """A whole rollout in thought."""

    waves: tuple[WaveForecast, ...]
    pods: int
    """Different pods that were evicted, a replacement counting as the pod it stands for."""
    moves: Mapping[int, int] = field(default_factory=dict)
    """How many pods moved once, twice, ...; empty when pods were only counted."""
    busiest: tuple[Busy, ...] = ()
    homeless: int = 0
    """Replacements that found no place until the end."""
    late: tuple[str, ...] = ()
    """Nodes whose emptying takes longer than its deadline."""
    binding: str = ""

    @property
    def seconds(self) -> int:
        """From the first node's start to the end of the last gate's wait."""
        return self.waves[-1].ended_s if self.waves else 0

    @property
    def bound_s(self) -> int:
        """The least its limits let it take."""
        return sum(wave.bound_s for wave in self.waves)

    @property
    def evictions(self) -> int:
        """All of them."""
        return sum(wave.evictions for wave in self.waves)

    @property
    def refusals(self) -> int:
        """All of them."""
        return sum(wave.refusals for wave in self.waves)

    @property
    def moves_per_thousand(self) -> int:
        """Evictions per thousand evicted pods, rounded up: 1000 is once each."""
        return -(-self.evictions * 1000 // self.pods) if self.pods else 1000
