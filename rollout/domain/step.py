"""The step table: every kind of act on a node, and what is true about it.

Decision: whether a step may be repeated, how it is settled after a crash, what undoes it and whether a pause may rest
behind it stand in one table, because a step that lacks one of these answers is not finished (code-models.md 4.6).
Reboot is made repeat-safe by a condition checked on the node itself: it only reboots out of the boot id in the intent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from rollout.domain.node import Method


class StepKind(Enum):
    """The kinds of step, in the order of one node's way; at the end those of a node that is replaced."""

    RECHECK = "recheck"
    BASELINE = "baseline"
    CORDON = "cordon"
    DRAIN = "drain"
    EVACUATE = "evacuate"
    ASSIGN_MODE = "assign-mode"
    RESTART_AGENT = "restart-agent"
    REBOOT = "reboot"
    CLEAR_STRAGGLERS = "clear-stragglers"
    CONFIRM_MODE = "confirm-mode"
    RELEASE = "release"
    VERIFY = "verify"
    SOAK = "soak"
    UNCORDON = "uncordon"
    AWAIT_CAPACITY = "await-capacity"
    RETIRE = "retire"


class Track(Enum):
    """Which of a node's ways a step belongs to."""

    FORWARD = "forward"
    RETURN = "return"
    """Undo before the node was armed: take back fence and label, the agent was never restarted."""
    BACK = "back"
    """Restore the source mode after the node was armed."""


class Performer(Enum):
    """The port that has the effect."""

    CLUSTER = "cluster"
    HOSTS = "hosts"
    OBSERVER = "observer"
    CLOCK = "clock"


@dataclass(frozen=True, slots=True)
class StepSpec:
    """What is true about one kind of step."""

    kind: StepKind
    does: str
    done_when: str
    performer: Performer
    undo: StepKind | None
    settled_by: str
    rest_after: bool
    """A pause may leave the node here: not armed, no DaemonSet pod kept away."""
    armed: bool
    """While and after this step any agent restart flips the node, until confirm-mode."""
    deadline_s: int
    """Default deadline in seconds. Generous: slow is inconclusive, and only a deadline makes it a failure."""


_ROWS = (
    StepSpec(
        StepKind.RECHECK,
        "compare this node's facts with the plan",
        "nothing that matters moved",
        Performer.CLUSTER,
        None,
        "reading again",
        True,
        False,
        60,
    ),
    StepSpec(
        StepKind.BASELINE,
        "observe everything before any change, with probe pods that are gone afterwards",
        "observations stored",
        Performer.OBSERVER,
        None,
        "observing again",
        True,
        False,
        300,
    ),
    StepSpec(
        StepKind.CORDON,
        "mark unschedulable, with our owner mark",
        "unschedulable and mark read back",
        Performer.CLUSTER,
        StepKind.UNCORDON,
        "unschedulable flag and our annotation",
        True,
        False,
        60,
    ),
    StepSpec(
        StepKind.DRAIN,
        "evict pods, respecting disruption budgets",
        "no evictable pod left, by UID",
        Performer.CLUSTER,
        None,
        "pods left on the node",
        True,
        False,
        1800,
    ),
    StepSpec(
        StepKind.EVACUATE,
        "set our NoExecute taint, so that DaemonSet pods on the pod network leave",
        "no pod-network pod left but those that tolerate everything",
        Performer.CLUSTER,
        StepKind.RELEASE,
        "taint and pods left on the node",
        False,
        False,
        600,
    ),
    StepSpec(
        StepKind.ASSIGN_MODE,
        "set or remove our label; our CiliumNodeConfig selects on it",
        "label read back",
        Performer.CLUSTER,
        StepKind.ASSIGN_MODE,
        "the label",
        False,
        True,
        60,
    ),
    StepSpec(
        StepKind.RESTART_AGENT,
        "prove the node empty on the node, then replace the agent's pod",
        "a new agent pod: UID differs from the intent's",
        Performer.HOSTS,
        None,
        "agent pod UID against the intent's",
        False,
        True,
        600,
    ),
    StepSpec(
        StepKind.REBOOT,
        "reboot out of the boot id in the intent",
        "boot id differs and the node is Ready",
        Performer.HOSTS,
        None,
        "boot id against the intent's",
        False,
        True,
        1800,
    ),
    StepSpec(
        StepKind.CLEAR_STRAGGLERS,
        "wait for the agent; if it refuses, delete the pods it names while it is down",
        "agent Ready",
        Performer.CLUSTER,
        None,
        "agent pod's readiness",
        False,
        True,
        900,
    ),
    StepSpec(
        StepKind.CONFIRM_MODE,
        "make the probe pods and look at all that needs no eBPF",
        "every required check passes",
        Performer.OBSERVER,
        None,
        "observing again",
        False,
        True,
        600,
    ),
    StepSpec(
        StepKind.RELEASE,
        "remove our taint; DaemonSet pods come back",
        "they are Ready",
        Performer.CLUSTER,
        None,
        "taint, and readiness of the DaemonSet pods",
        True,
        False,
        600,
    ),
    StepSpec(
        StepKind.VERIFY,
        "observe everything again, judge it against the baseline, ask the gates of the node",
        "every required check passes, every gate proceeds",
        Performer.OBSERVER,
        None,
        "observing again",
        True,
        False,
        600,
    ),
    StepSpec(
        StepKind.SOAK,
        "watch the agent, and look at everything again and again, while the node is still fenced",
        "deadline in the intent passed, agent still Ready, the last look passed",
        Performer.CLOCK,
        None,
        "the deadline in the intent",
        True,
        False,
        3600,
    ),
    StepSpec(
        StepKind.UNCORDON,
        "make schedulable again, only if the cordon is ours",
        "schedulable and mark gone, read back",
        Performer.CLUSTER,
        None,
        "unschedulable flag and our annotation",
        True,
        False,
        60,
    ),
    StepSpec(
        StepKind.AWAIT_CAPACITY,
        "wait until the node's pool can do without it, every newcomer proven in the new mode",
        "as many nodes of the pool in service as the policy asks for, this one not counted",
        Performer.OBSERVER,
        None,
        "counting again",
        True,
        False,
        21600,
    ),
    StepSpec(
        StepKind.RETIRE,
        "hand the emptied node to the owner of its pool, who deletes it",
        "the node is gone, or another machine bears its name",
        Performer.CLUSTER,
        None,
        "whether the node is there, by UID",
        True,
        False,
        14400,
    ),
)

STEPS: Mapping[StepKind, StepSpec] = {row.kind: row for row in _ROWS}


@dataclass(frozen=True, slots=True)
class Ways:
    """The steps of a node's three tracks, in order."""

    forward: tuple[StepKind, ...]
    returning: tuple[StepKind, ...]
    backing: tuple[StepKind, ...]


REPLACE_STEPS: tuple[StepKind, ...] = (
    StepKind.RECHECK,
    StepKind.AWAIT_CAPACITY,
    StepKind.CORDON,
    StepKind.DRAIN,
    StepKind.RETIRE,
)
"""A node whose pool puts another in its place: its own agent is never restarted, so it is never armed."""

RETURN_STEPS: tuple[StepKind, ...] = (StepKind.RELEASE, StepKind.UNCORDON)
"""Undo of a node that was never armed."""

_LEFT_OUT_OF_ADOPTING = frozenset({StepKind.BASELINE, StepKind.SOAK})
"""A node without workload has nothing to compare with and nothing to watch under the fence."""


def ways(method: Method, *, adopts: bool = False) -> Ways:
    """A node's ways by method (design 4).

    `adopts`: a newly joined node without an endpoint of the old kind. Drain and evacuate stay in its way: they have
    nothing to do unless a pod came in the moment before the cordon, and then they do it as they should.
    """
    if method is Method.REPLACE:
        return Ways(REPLACE_STEPS, RETURN_STEPS, ())
    forward = forward_steps(method)
    if adopts:
        forward = tuple(kind for kind in forward if kind not in _LEFT_OUT_OF_ADOPTING)
    return Ways(forward, RETURN_STEPS, back_steps(method))


def forward_steps(method: Method) -> tuple[StepKind, ...]:
    """One node's way, by method (design 4)."""
    change = StepKind.RESTART_AGENT if method is Method.RESTART else StepKind.REBOOT
    return (
        StepKind.RECHECK,
        StepKind.BASELINE,
        StepKind.CORDON,
        StepKind.DRAIN,
        StepKind.EVACUATE,
        StepKind.ASSIGN_MODE,
        change,
        StepKind.CLEAR_STRAGGLERS,
        StepKind.CONFIRM_MODE,
        StepKind.RELEASE,
        StepKind.VERIFY,
        StepKind.SOAK,
        StepKind.UNCORDON,
    )


def back_steps(method: Method) -> tuple[StepKind, ...]:
    """Restore the source mode of a fenced node: drained and evacuated again, since pods may have come back on it."""
    change = StepKind.RESTART_AGENT if method is Method.RESTART else StepKind.REBOOT
    return (
        StepKind.CORDON,
        StepKind.DRAIN,
        StepKind.EVACUATE,
        StepKind.ASSIGN_MODE,
        change,
        StepKind.CLEAR_STRAGGLERS,
        StepKind.CONFIRM_MODE,
        StepKind.RELEASE,
        StepKind.VERIFY,
        StepKind.UNCORDON,
    )
