"""What observing by pods asks of a Kubernetes API, as values and a protocol."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from rollout.domain.node import PodRef

LABEL_TOOLBOX = "netkit-rollout.io/toolbox"
"""On every pod of ours; the value is the id of the run that made it."""


@dataclass(frozen=True, slots=True)
class PodReport:
    """A toolbox pod as the API last showed it. Texts are the kubelet's own; empty where it said nothing."""

    ref: PodRef
    run: str = ""
    """Value of `LABEL_TOOLBOX`."""
    node: str = ""
    created_at: datetime | None = None
    deadline_s: int = 0
    """activeDeadlineSeconds; 0 when there is none."""
    leaving: bool = False
    """Being deleted."""
    taken: bool = False
    """The node's kubelet has seen it."""
    phase: str = ""
    reason: str = ""
    message: str = ""
    waiting_reason: str = ""
    waiting_message: str = ""
    exit_code: int | None = None
    """Of the container, once it has ended."""
    ended_reason: str = ""
    ended_message: str = ""

    @property
    def over(self) -> bool:
        """Whether its container has ended, or never will start."""
        return self.phase in ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class PodLog:
    """A container's log. `cut`: it is longer than what was read."""

    text: str
    cut: bool = False


class Session(Protocol):
    """One run's view of toolbox pods in one namespace. Every method raises our own errors; thread-safe."""

    def pods(self) -> tuple[PodReport, ...]:
        """All toolbox pods, of whichever run, as last seen."""
        ...

    def create(self, name: str, manifest: Mapping[str, Any]) -> PodReport:
        """Create a pod. An answer that was lost is looked up, so that a pod which was made is not forgotten."""
        ...

    def wait(self, pod: PodRef, version: int, timeout_s: float) -> tuple[int, PodReport | None]:
        """The pod once anything changed after `version`, or after `timeout_s`; None when it is not there."""
        ...

    def read(self, pod: PodRef) -> PodReport | None:
        """The pod by a fresh read; None when this incarnation is not there."""
        ...

    def log(self, pod: PodRef) -> PodLog:
        """Its container's log; empty when there is none."""
        ...

    def warning(self, pod: PodRef) -> str:
        """The newest warning event about it, for a message; empty when there is none or it may not be read."""
        ...

    def delete(self, pod: PodRef, grace_s: int | None) -> None:
        """Delete this incarnation; nothing when it is gone."""
        ...


class Toolbox(Protocol):
    """Where toolbox pods live."""

    @property
    def namespace(self) -> str:
        """The namespace of all pods."""
        ...

    def session(self) -> AbstractContextManager[Session]:
        """Begin to watch; ends with the block. Raises our own errors when the pods cannot be seen."""
        ...
