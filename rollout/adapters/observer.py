"""The port `Observer` on the port `Hosts`: one batch run of `observe-node.yml`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from threading import Event
from typing import Any, Protocol

from rollout.domain.errors import UsageError
from rollout.domain.inventory import Observation
from rollout.domain.observed import ALL_PROBES
from rollout.ports.clock import Clock
from rollout.ports.hosts import Host, HostResult, HostRun
from rollout.ports.observer import NO_INPUTS

PLAYBOOK = "observe-node.yml"
SCHEMA = 1

_LONGEST_AGENT_WAIT_S = 60


class Batches(Protocol):
    """The part of the port `Hosts` that observing takes. The toolbox gives it without SSH."""

    def read(
        self,
        playbook: str,
        hosts: tuple[Host, ...],
        variables: Mapping[str, Any],
        *,
        wall_s: int,
        cancel: Event | None = None,
    ) -> Mapping[str, HostRun]:
        """See `rollout.ports.hosts.Hosts.read`."""
        ...


class PlaybookObserver:
    """Ships `rollout.onnode` programs through a playbook. An observation is dated at the start of its run."""

    def __init__(self, hosts: Batches, clock: Clock, *, agent_socket: str = "") -> None:
        self._hosts = hosts
        self._clock = clock
        self._agent_socket = agent_socket

    def observe(
        self,
        hosts: Sequence[Host],
        probes: Sequence[str],
        *,
        wall_s: int,
        cancel: Event | None = None,
        inputs: Mapping[str, Mapping[str, Any]] = NO_INPUTS,
    ) -> Mapping[str, Mapping[str, Observation]]:
        """Every (node, probe) asked for has an observation."""
        unknown = sorted(set(probes) - set(ALL_PROBES))
        if unknown:
            text = f"cannot observe {unknown[0]}: probes are {', '.join(ALL_PROBES)}"
            raise UsageError("unknown-probe", text)
        variables: dict[str, Any] = {
            "probes": list(probes),
            "agent_socket": self._agent_socket,
            "inputs": {host.node: dict(inputs.get(host.node, {})) for host in hosts},
            "agent_timeout_s": min(_LONGEST_AGENT_WAIT_S, max(2, wall_s // 2)),
        }
        at = self._clock.now()
        runs = self._hosts.read(PLAYBOOK, tuple(hosts), variables, wall_s=wall_s, cancel=cancel)
        return {host.node: _observations(runs[host.node], probes, at) for host in hosts}


def _observations(run: HostRun, probes: Sequence[str], at: datetime) -> dict[str, Observation]:
    """What came back counts even if the run was stopped later, for instance because another node was slow."""
    documents = run.facts.get("documents") or {}
    return {probe: _observation(run, probe, documents.get(probe), at) for probe in probes}


def _observation(run: HostRun, probe: str, document: Any, at: datetime) -> Observation:
    if not isinstance(document, Mapping):
        return Observation(run.node, probe, at, error=_why_not(run), code=run.code)
    if document.get("failed"):
        return Observation(
            run.node, probe, at, error=str(document.get("message")), code=str(document.get("code") or "")
        )
    if document.get("schema") != SCHEMA:
        text = f"cannot use what probe {probe} returned: schema {document.get('schema')}, expected {SCHEMA}"
        return Observation(run.node, probe, at, error=text)
    return Observation(run.node, probe, at, document=dict(document))


def _why_not(run: HostRun) -> str:
    if run.result is HostResult.SUCCEEDED:
        return f"cannot observe {run.node}: the playbook returned no document; is {PLAYBOOK} changed?"
    text = run.message or f"cannot observe {run.node}: {run.result.value}"
    return f"{text}. {run.hint}" if run.hint else text
