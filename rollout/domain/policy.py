"""What the operator allows for a rollout. Part of the plan, hence of the digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from rollout.domain.node import DatapathMode
from rollout.domain.step import STEPS, StepKind


class MethodChoice(Enum):
    """auto: restart when the agent has the start-up guard, else reboot."""

    AUTO = "auto"
    RESTART = "restart"
    REBOOT = "reboot"


class OnFailure(Enum):
    """What to do with a node that failed after it was armed."""

    HOLD = "hold"
    ROLL_BACK = "roll-back"


@dataclass(frozen=True, slots=True)
class DrainRules:
    """What a drain may do to pods beyond evicting owned, movable ones."""

    delete_empty_dir: bool = True
    """Evict pods with emptyDir volumes: their scratch data ends with them."""
    evict_unowned: bool = False
    """Evict pods that no controller will replace."""
    retry_s: int = 5
    """Seconds between two tries of an eviction that a budget refused and gave no Retry-After for; kubectl waits 5."""


@dataclass(frozen=True, slots=True)
class Waiver:
    """Lifts one blocking preflight rule on the nodes named (all when empty); says who asked and why."""

    rule: str
    by: str
    reason: str
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """All that steers planning and the engine. Durations in seconds."""

    target: DatapathMode
    method: MethodChoice = MethodChoice.AUTO
    nodes: tuple[str, ...] = ()
    """Names to plan; empty: every node the selector matches."""
    selector: Mapping[str, str] = field(default_factory=dict)
    max_unavailable: str = "1"
    """Most nodes out at once: a count, or a share of the fleet (rounded down, at least 1). Foreign outages count."""
    canary: int = 1
    growth: int = 2
    """Each wave is at most this many times as large as the one before."""
    on_failure: OnFailure = OnFailure.HOLD
    failure_budget: int = 0
    """Failed, lost and quarantined nodes tolerated before the rollout holds."""
    soak_fenced_s: int = 60
    soak_loaded_s: int = 300
    drain: DrainRules = field(default_factory=DrainRules)
    deadlines_s: Mapping[str, int] = field(default_factory=dict)
    """Overrides of the step table's deadlines, by step name."""
    waivers: tuple[Waiver, ...] = ()

    def deadline_s(self, kind: StepKind) -> int:
        """Deadline of one step in seconds."""
        return self.deadlines_s.get(kind.value, STEPS[kind].deadline_s)

    def most_unavailable(self, fleet: int) -> int:
        """`max_unavailable` as a count for a fleet of `fleet` nodes; never less than one."""
        text = self.max_unavailable
        if text.endswith("%"):
            return max(1, fleet * int(text[:-1]) // 100)
        return int(text)
