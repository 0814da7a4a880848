"""What one step on one node is given, and the questions many steps ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event
from typing import Any

from rollout.app.world import World
from rollout.domain.errors import Cancelled, StepFailed
from rollout.domain.journal import Result
from rollout.domain.node import ANNOTATION_ROLLOUT, TAINT_EVACUATE, DatapathMode, Method, Node, OwnerMark, Pod
from rollout.domain.plan import NodePlan, Plan
from rollout.domain.step import StepKind, Track
from rollout.ports.cluster import NodeView
from rollout.ports.hosts import Host


class NodeLost(Exception):
    """The node is gone, or another machine bears its name. Message: what was found."""


class StepHeld(Exception):
    """The step may not go on until a person or the world changes something."""

    def __init__(self, code: str, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.code, self.reason, self.hint = code, reason, hint


@dataclass(frozen=True, slots=True)
class StepEnd:
    """How a step ended, for its outcome entry."""

    result: Result
    code: str = ""
    reason: str = ""
    hint: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepContext:
    """One step on one node. `deadline` ends all waiting; `say` records why it is not further."""

    world: World
    plan: Plan
    node: NodePlan
    rollout: str
    track: Track
    step: StepKind
    attempt: int
    fencing: int
    before: Mapping[str, Any]
    deadline: datetime
    cancel: Event
    say: Callable[[str, str], None]

    @property
    def mode(self) -> DatapathMode:
        """The mode this way leads to."""
        return self.node.source if self.track is Track.BACK else self.node.target

    @property
    def host(self) -> Host:
        """How the node is reached."""
        return self.world.host(self.node.name, self.node.facts.internal_ip)

    @property
    def reboots(self) -> bool:
        """Whether this node's method is reboot."""
        return self.node.method is Method.REBOOT

    def mark(self, prior_unschedulable: bool | None = None) -> OwnerMark:
        """Our owner mark for this node; the prior state is the plan's unless told otherwise."""
        prior = self.node.facts.unschedulable if prior_unschedulable is None else prior_unschedulable
        return OwnerMark(self.rollout, self.plan.digest[:12], prior, self.plan.supersedes)

    def view(self) -> NodeView:
        """Node and pods from the watch. Raises `NodeLost`."""
        view = self.world.cluster.view(self.node.name)
        self.require_same(view.node)
        return view

    def wait_change(self, view: NodeView, at_most_s: float = 30.0) -> NodeView:
        """Wait for the node or its pods to change. Raises `Cancelled`, `NodeLost`, `StepFailed` at the deadline."""
        self.check_time()
        left = (self.deadline - self.world.clock.now()).total_seconds()
        newer = self.world.cluster.wait_change(self.node.name, view.version, max(0.0, min(at_most_s, left)))
        self.check_time()
        self.require_same(newer.node)
        return newer

    def pause(self, seconds: float) -> None:
        """Wait a little. Raises `Cancelled`, `StepFailed` at the deadline."""
        self.check_time()
        if self.world.clock.wait(seconds, self.cancel):
            raise Cancelled("cancelled", "cannot finish the step: it was stopped")

    def check_time(self) -> None:
        """Raises `Cancelled` when stopped, `StepFailed` when the deadline passed."""
        if self.cancel.is_set():
            raise Cancelled("cancelled", "cannot finish the step: it was stopped")
        if self.world.clock.now() >= self.deadline:
            raise StepFailed(
                f"{self.step.value}-timeout",
                f"cannot finish {self.step.value} on {self.node.name}: its deadline passed",
                hint=f"see what it waited for: rollout why {self.node.name}",
            )

    def require_same(self, node: Node | None) -> None:
        """Raises `NodeLost` unless it is the very node of the plan."""
        if node is None:
            raise NodeLost(f"node {self.node.name} does not exist any more")
        if node.uid != self.node.facts.uid:
            raise NodeLost(f"node {self.node.name} was replaced by another machine (uid {node.uid})")

    def require_fence(self, node: Node | None) -> None:
        """Raises `StepHeld` when somebody took our cordon off: a human's uncordon means hold.

        A view may be older than our own cordon, since a watch lags: before it is believed the node is read afresh.
        """
        assert node is not None
        if not node.unschedulable and not self.world.cluster.read_node(self.node.name).unschedulable:
            raise StepHeld(
                "uncordoned-by-other",
                f"somebody uncordoned node {self.node.name}",
                f"if it may go on: kubectl cordon {self.node.name}, then rollout resume; if not: rollout abort",
            )


def is_ours(node: Node, rollout: str) -> bool:
    """Whether a node carries this rollout's owner mark."""
    return node.annotations.get(ANNOTATION_ROLLOUT) == rollout


def has_taint(node: Node) -> bool:
    """Whether a node carries our NoExecute taint."""
    return any(t.key == TAINT_EVACUATE for t in node.taints)


def agent_pod(view: NodeView, plan: Plan) -> Pod | None:
    """The agent's pod on the node: the newest that is not terminating, else a terminating one."""
    own = [p for p in view.pods if p.owner_uid == plan.cluster.agent_daemonset_uid]
    living = [p for p in own if not p.terminating]
    candidates = living or own
    return candidates[-1] if candidates else None


def agent_ready(view: NodeView, plan: Plan) -> bool:
    """Whether an agent runs on the node and is Ready; a terminating one is on its way out."""
    pod = agent_pod(view, plan)
    return pod is not None and pod.ready and not pod.terminating
