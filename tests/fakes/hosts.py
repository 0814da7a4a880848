"""The port `Hosts` in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from rollout.domain.errors import UsageError
from rollout.domain.node import is_object_name
from rollout.ports.hosts import Host, HostResult, HostRun

Answer = Callable[[Host, Mapping[str, Any]], HostRun]


@dataclass(frozen=True)
class Call:
    """One host of one run, as it was asked for."""

    playbook: str
    node: str
    variables: Mapping[str, Any]


@dataclass
class FakeHosts:
    """Answers each playbook by a function; those in `down` cannot be reached. Every call is in `calls`."""

    playbooks: dict[str, Answer] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    hook_files: dict[str, tuple[str, bool]] = field(
        default_factory=lambda: {"before-node": ("0" * 64, True), "after-node": ("0" * 64, True)}
    )
    calls: list[Call] = field(default_factory=list)

    def act(
        self, playbook: str, host: Host, variables: Mapping[str, Any], *, wall_s: int, cancel: Event | None = None
    ) -> HostRun:
        """Run one playbook on one host."""
        return self.read(playbook, (host,), variables, wall_s=wall_s, cancel=cancel)[host.node]

    def read(
        self,
        playbook: str,
        hosts: tuple[Host, ...],
        variables: Mapping[str, Any],
        *,
        wall_s: int,
        cancel: Event | None = None,
    ) -> Mapping[str, HostRun]:
        """Run a playbook over many hosts."""
        if playbook not in self.playbooks:
            raise UsageError("playbook-unknown", f"cannot run the playbook {playbook}: there is none")
        for host in hosts:
            if not is_object_name(host.node):
                raise UsageError("node-name", f"cannot run on {host.node!r}: this is not a node's name")
        return {host.node: self._one(playbook, host, variables, cancel) for host in hosts}

    def playbook_digests(self) -> Mapping[str, str]:
        """A digest for each playbook that has an answer."""
        return {name: f"{position:064x}" for position, name in enumerate(sorted(self.playbooks))}

    def hooks(self) -> Mapping[str, tuple[str, bool]]:
        """The hooks as set."""
        return self.hook_files

    def _one(self, playbook: str, host: Host, variables: Mapping[str, Any], cancel: Event | None) -> HostRun:
        if cancel is not None and cancel.is_set():
            return HostRun(host.node, HostResult.CANCELLED, "cancelled", "read the node again", "cancelled")
        self.calls.append(Call(playbook, host.node, dict(variables)))
        if host.node in self.down:
            text = f"cannot reach {host.node}: connection refused"
            return HostRun(host.node, HostResult.UNREACHABLE, text, "is sshd running?", "ssh-refused")
        return self.playbooks[playbook](host, variables)


def succeeded(**facts: Any) -> Answer:
    """An answer that always succeeds with `facts`."""
    return lambda host, _: HostRun(host.node, HostResult.SUCCEEDED, facts=facts)


def failed(code: str, message: str, **facts: Any) -> Answer:
    """An answer that always fails."""
    return lambda host, _: HostRun(host.node, HostResult.FAILED, message, "read the task", code, facts)


def timed_out(host: Host, _: Mapping[str, Any]) -> HostRun:
    """An answer that took too long."""
    text = f"cannot tell how the playbook ended on {host.node}: the run took longer than it may"
    return HostRun(host.node, HostResult.TIMED_OUT, text, "read the node again", "wall-timeout")
