"""Machines as Ansible reaches them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from threading import Event
from typing import Any, Protocol


class HostResult(Enum):
    """How a playbook ended on one host."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNREACHABLE = "unreachable"
    """Nothing may be concluded about what was done there."""
    CANCELLED = "cancelled"
    TIMED_OUT = "timed-out"
    """Wall or idle time-out: stopped and its processes killed; the node must be read again."""


@dataclass(frozen=True, slots=True)
class HostRun:
    """One playbook on one host: result, the failed task's words, and what the playbook returned.

    `facts` holds what tasks published with `set_stats` (per host). `hint` says what the operator should do next
    (host key changed, sudo asks for a password, Python missing, connection refused).
    """

    node: str
    result: HostResult
    message: str = ""
    hint: str = ""
    code: str = ""
    """kebab-case, e.g. ssh-refused, host-key-changed, sudo-password, python-missing, task-failed."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    duration_ms: int = 0


@dataclass(frozen=True, slots=True)
class Host:
    """How to reach a node: its name, the address from its InternalIP or the configuration's mapping."""

    node: str
    address: str
    port: int | None = None


class Hosts(Protocol):
    """Runs playbooks.

    Duties: values reach a playbook as a vars file, never as text in a command or template; the run directory is private
    (0700) and pruned; the environment is cleaned; host keys are always checked. When this process dies, no process it
    started goes on changing the node. Raises `UsageError` when SSH settings cannot be used at all.
    """

    def act(
        self, playbook: str, host: Host, variables: Mapping[str, Any], *, wall_s: int, cancel: Event | None = None
    ) -> HostRun:
        """Run one playbook on one host, as its own run."""
        ...

    def read(
        self,
        playbook: str,
        hosts: tuple[Host, ...],
        variables: Mapping[str, Any],
        *,
        wall_s: int,
        cancel: Event | None = None,
    ) -> Mapping[str, HostRun]:
        """Run a read-only playbook over many hosts as one batch, 25 forks. Every host has an answer."""
        ...

    def playbook_digests(self) -> Mapping[str, str]:
        """SHA-256 of each playbook that may be run, by its name relative to the playbooks folder, and of `onnode`."""
        ...

    def hooks(self) -> Mapping[str, tuple[str, bool]]:
        """The hooks in force, before-node and after-node: SHA-256 of the file, and whether it has no tasks."""
        ...
