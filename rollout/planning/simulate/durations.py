"""How long the steps of a node take: from this state's history, else assumed ranges that say so.

The assumed ranges are wide on purpose. Orders of magnitude are those of a recorded switch on a real cluster
(real-cluster.md: an agent that starts or refuses takes 20-30 s under emulation, which is 5 to 20 times slower than
real machines; a container's end waits for its grace period, 30 s by default), and of the rollouts of the lab.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum

from rollout.domain.node import Pod
from rollout.domain.plan import NodePlan
from rollout.domain.policy import Policy
from rollout.domain.step import StepKind
from rollout.domain.times import StepTime


class Quantile(Enum):
    """Which end of the range."""

    P50 = "p50"
    P90 = "p90"


ASSUMED: Mapping[StepKind, tuple[int, int]] = {
    StepKind.RECHECK: (1, 5),
    StepKind.BASELINE: (20, 60),
    StepKind.CORDON: (1, 3),
    StepKind.EVACUATE: (5, 35),
    StepKind.ASSIGN_MODE: (1, 3),
    StepKind.RESTART_AGENT: (15, 60),
    StepKind.REBOOT: (90, 300),
    StepKind.CLEAR_STRAGGLERS: (5, 60),
    StepKind.CONFIRM_MODE: (15, 60),
    StepKind.RELEASE: (5, 40),
    StepKind.VERIFY: (20, 90),
    StepKind.UNCORDON: (1, 3),
    StepKind.AWAIT_CAPACITY: (120, 600),
    StepKind.RETIRE: (30, 300),
    StepKind.AWAIT_CAPACITY: (1, 900),
    StepKind.RETIRE: (60, 1800),
}
"""Seconds, low and high. The drain is simulated pod by pod, and the soak is the policy's own number."""

POD_ENDS: tuple[int, int] = (3, 30)
"""From an accepted eviction to the pod's end; never more than its own grace period."""
POD_READY: tuple[int, int] = (8, 30)
"""From a replacement's placing to its readiness."""
GATE: tuple[int, int] = (10, 60)
"""A look at a wave's nodes at its gate."""


class Durations:
    """Step times at one quantile. A cohort without history of its own takes that of all nodes, then what is assumed."""

    def __init__(self, policy: Policy, history: Iterable[StepTime], quantile: Quantile) -> None:
        self._policy = policy
        self._high = quantile is Quantile.P90
        self._known = {(row.cohort, row.step): row for row in history if row.nodes > 0}
        self._beside: dict[tuple[str, tuple[StepKind, ...]], tuple[int, int]] = {}

    @property
    def pod_ready_s(self) -> int:
        """From a replacement's placing to its readiness."""
        return POD_READY[self._high]

    @property
    def gate_s(self) -> int:
        """The look at the gate behind a wave."""
        return GATE[self._high]

    @property
    def pods_end_s(self) -> int:
        """From accepted evictions to the end of pods of whatever grace period."""
        return POD_ENDS[self._high]

    def pod_ends_s(self, pod: Pod) -> int:
        """From an accepted eviction to the pod's end."""
        return min(POD_ENDS[self._high], max(1, pod.grace_s))

    def before_drain_s(self, node: NodePlan) -> int:
        """Of the steps up to the cordon."""
        return self._beside_s(node)[0]

    def after_drain_s(self, node: NodePlan) -> int:
        """Of the steps behind the drain, the fenced soak among them."""
        return self._beside_s(node)[1]

    def _beside_s(self, node: NodePlan) -> tuple[int, int]:
        """Before and behind the drain; worked out once for nodes of one cohort with the same steps."""
        kinds = tuple([step.kind for step in node.steps])
        key = (node.cohort, kinds)
        if key not in self._beside:
            at = kinds.index(StepKind.DRAIN) if StepKind.DRAIN in kinds else len(kinds)
            before, after = kinds[:at], kinds[at + 1 :]
            self._beside[key] = (
                sum(self._step_s(node.cohort, kind) for kind in before),
                sum(self._step_s(node.cohort, kind) for kind in after),
            )
        return self._beside[key]

    def drain_s(self, cohort: str) -> int | None:
        """What emptying a node of this cohort took before; None without history."""
        row = self._row(cohort, StepKind.DRAIN)
        return None if row is None else self._of(row)

    def _step_s(self, cohort: str, kind: StepKind) -> int:
        if kind is StepKind.SOAK:
            return self._policy.soak_fenced_s
        row = self._row(cohort, kind)
        return ASSUMED[kind][self._high] if row is None else self._of(row)

    def _row(self, cohort: str, kind: StepKind) -> StepTime | None:
        return self._known.get((cohort, kind)) or self._known.get(("", kind))

    def _of(self, row: StepTime) -> int:
        return max(0, row.p90_s if self._high else row.p50_s)


def basis(history: Iterable[StepTime]) -> str:
    """Where the times come from, in a sentence."""
    rows = [row for row in history if row.nodes > 0]
    if not rows:
        return "assumed ranges per step, since this state holds no finished rollout: wide on purpose"
    most = max(
        sum(r.nodes for r in rows if r.step is kind and r.cohort)
        or max((r.nodes for r in rows if r.step is kind), default=0)
        for kind in StepKind
    )
    cohorts = len({row.cohort for row in rows if row.cohort})
    known = {row.step for row in rows}
    lacking = [kind.value for kind in StepKind if kind in ASSUMED and kind not in known]
    rest = f"; assumed for {', '.join(lacking)}" if lacking else ""
    return f"median and p90 of {most} node(s) in {cohorts} cohort(s) that this state has led before{rest}"
