"""One batch of toolbox pods: created, waited for, read and deleted, a few nodes at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Event
from typing import Any
from uuid import uuid4

from rollout.adapters.observer import PLAYBOOK
from rollout.adapters.toolbox import words
from rollout.adapters.toolbox.manifest import ToolboxSettings, manifest
from rollout.adapters.toolbox.port import PodReport, Session, Toolbox
from rollout.domain.errors import Cancelled, RolloutError, StepFailed, TooManyRequests, Unavailable, UsageError
from rollout.ports.clock import Clock
from rollout.ports.hosts import Host, HostResult, HostRun

AT_ONCE = 25
"""Nodes observed at the same time, as many as Ansible's forks."""

_TAKEN_S = 15
"""A kubelet that is up sees a pod bound to it within a second or two; SSH, too, waits so long for a connection."""
_LATE_S = 5
"""How much longer than the wall time a pod is waited for: its own alarm rings first."""
_LOOK_S = 0.25
"""Between two looks at the cancel event; nothing is asked of the API then."""
_TRIES = 3
_RETRY_S = 1.0
_LONGEST_RETRY_S = 5.0
_OLD = timedelta(seconds=120)
"""A pod this much older than its own deadline is nobody's: clocks may differ by so much."""

Note = Callable[[str], None]


class ToolboxRuns:
    """Reads nodes through pods; takes the place of `Hosts.read` for the program `observe`. Thread-safe.

    `note` is told what was left behind, and why.
    """

    def __init__(self, toolbox: Toolbox, settings: ToolboxSettings, clock: Clock, note: Note) -> None:
        self._toolbox = toolbox
        self._settings = settings
        self._clock = clock
        self._note = note

    def read(
        self,
        playbook: str,
        hosts: tuple[Host, ...],
        variables: Mapping[str, Any],
        *,
        wall_s: int,
        cancel: Event | None = None,
    ) -> Mapping[str, HostRun]:
        """One result for every node. Raises `UsageError` for what cannot be run like this at all."""
        if playbook != PLAYBOOK:
            raise UsageError("playbook-unknown", f"cannot run {playbook} in a pod: only {PLAYBOOK} has a form for it")
        self._settings.check()
        if not hosts:
            return {}
        nodes = tuple(host.node for host in hosts)
        try:
            with self._toolbox.session() as session:
                batch = _Batch(self._toolbox.namespace, session, self._settings, variables, wall_s, cancel, self._note)
                batch.sweep(self._clock.now())
                return batch.run(nodes)
        except RolloutError as error:
            return {node: _failed(node, error, 0) for node in nodes}


class _Batch:
    def __init__(
        self,
        namespace: str,
        session: Session,
        settings: ToolboxSettings,
        variables: Mapping[str, Any],
        wall_s: int,
        cancel: Event | None,
        note: Note,
    ) -> None:
        self._namespace = namespace
        self._session = session
        self._settings = settings
        self._variables = variables
        self._wall_s = wall_s
        self._ends = time.monotonic() + wall_s
        self._cancel = cancel or Event()
        self._stop = Event()
        self._note = note
        self._id = uuid4().hex[:10]
        self._removed: set[str] = set()

    def run(self, nodes: Sequence[str]) -> dict[str, HostRun]:
        """All nodes. Whatever interrupts us, no pod of ours is left when this returns."""
        try:
            with ThreadPoolExecutor(min(AT_ONCE, len(nodes)), thread_name_prefix="toolbox") as pool:
                try:
                    runs = {node: pool.submit(self._one, number, node) for number, node in enumerate(nodes)}
                    return {node: run.result() for node, run in runs.items()}
                except BaseException:
                    self._stop.set()
                    raise
        finally:
            self._sweep_own()

    def sweep(self, now: datetime) -> None:
        """Delete pods that a process which died has left: past their deadline, they are nobody's."""
        for pod in self._session.pods():
            if pod.created_at is not None and now - pod.created_at > timedelta(seconds=pod.deadline_s) + _OLD:
                self._remove_last(pod)

    def _sweep_own(self) -> None:
        """Delete pods whose creation was never answered, or that could not be deleted in their turn."""
        for pod in self._session.pods():
            if pod.run == self._id and pod.ref.uid not in self._removed:
                self._remove_last(pod)

    # -- one node ----------------------------------------------------------------------------------------------------

    def _one(self, number: int, node: str) -> HostRun:
        begun = time.monotonic()
        try:
            document = self._document(f"nkr-toolbox-{self._id}-{number}", node)
        except RolloutError as error:
            return _failed(node, error, _since(begun))
        if document.get("failed"):
            message, hint, code = (str(document.get(key) or "") for key in ("message", "hint", "code"))
            return HostRun(node, HostResult.FAILED, message, hint, code, document, _since(begun))
        return HostRun(node, HostResult.SUCCEEDED, facts=document, duration_ms=_since(begun))

    def _document(self, name: str, node: str) -> dict[str, Any]:
        left = round(self._ends - time.monotonic())
        self._require_going(node)
        if left < 1:
            text = f"cannot observe {node}: its turn did not come in {self._wall_s} s"
            raise StepFailed("wall-timeout", text, hint="raise observe_timeout, or observe fewer nodes at once")
        wanted = manifest(self._settings, self._id, name, node, self._request(node), left)
        pod = self._create(name, node, wanted)
        try:
            pod = self._ended(pod)
            return self._read(pod)
        finally:
            self._remove(pod)

    def _create(self, name: str, node: str, wanted: Mapping[str, Any]) -> PodReport:
        """An answer of 429 means that nothing was done: it may be asked again."""
        for left in reversed(range(_TRIES)):
            try:
                return self._session.create(name, wanted)
            except TooManyRequests as error:
                if not left:
                    raise words.refused(error, node, self._namespace) from error
                self._stop.wait(_pause(error))
                self._require_going(node)
            except RolloutError as error:
                raise words.refused(error, node, self._namespace) from error
        raise AssertionError("unreachable")

    def _request(self, node: str) -> dict[str, Any]:
        """What `observe-node.yml` makes of the same variables."""
        given = self._variables
        return {
            "probes": list(given["probes"]),
            "inputs": given["inputs"].get(node, {}),
            "agent_socket": self._settings.agent_socket,
            "agent_timeout_s": given["agent_timeout_s"],
        }

    def _ended(self, pod: PodReport) -> PodReport:
        """Wait until the pod is over. Raises what keeps it from getting there."""
        begun, version = time.monotonic(), -1
        while True:
            self._require_going(pod.node)
            version, seen = self._session.wait(pod.ref, version, _LOOK_S)
            if seen is None:
                seen = self._session.read(pod.ref)
            if seen is None:
                raise words.gone(pod)
            pod = seen
            if pod.over:
                return pod
            trouble = words.hopeless(pod)
            if trouble is not None:
                raise trouble
            if not pod.taken and time.monotonic() - begun > _TAKEN_S:
                raise words.not_taken(pod, _TAKEN_S)
            if time.monotonic() > self._ends + _LATE_S:
                raise words.too_late(pod, self._wall_s, self._session.warning(pod.ref))

    def _read(self, pod: PodReport) -> dict[str, Any]:
        """The document. A log that misses it is read again: a runtime may still be writing what the container said."""
        for left in reversed(range(_TRIES)):
            try:
                log = self._session.log(pod.ref)
            except Unavailable:
                if not left:
                    raise
            else:
                document = words.document_of(log)
                if document is not None:
                    return document
                if not left or pod.exit_code != 0 or log.cut:
                    raise words.no_document(pod, log)
            self._stop.wait(_RETRY_S)
        raise AssertionError("unreachable")

    def _require_going(self, node: str) -> None:
        if self._cancel.is_set() or self._stop.is_set():
            raise Cancelled("cancelled", f"cannot observe {node}: the run was cancelled")

    def _remove(self, pod: PodReport) -> RolloutError | None:
        """Delete the pod, at once when nothing of it runs. Returns what kept it from going, if anything did."""
        grace = None if pod.taken else 0
        for left in reversed(range(_TRIES)):
            try:
                self._session.delete(pod.ref, grace)
            except (TooManyRequests, Unavailable) as error:
                if not left:
                    return error
                time.sleep(_pause(error))
            except RolloutError as error:
                return error
            else:
                self._removed.add(pod.ref.uid)
                return None
        raise AssertionError("unreachable")

    def _remove_last(self, pod: PodReport) -> None:
        """Delete the pod; nobody will try again in this run, so what keeps it is told."""
        error = self._remove(pod)
        if error is not None:
            self._note(f"the toolbox pod {pod.ref} is still there ({error.message}); it ends by its deadline")


def _failed(node: str, error: RolloutError, took_ms: int) -> HostRun:
    result = HostResult.FAILED
    if isinstance(error, Cancelled):
        result = HostResult.CANCELLED
    elif error.code in ("wall-timeout", "program-timeout"):
        result = HostResult.TIMED_OUT
    elif isinstance(error, Unavailable):
        result = HostResult.UNREACHABLE
    text = error.message if node in error.message else f"cannot observe {node}: {error.message}"
    return HostRun(node, result, text, error.hint, error.code, duration_ms=took_ms)


def _pause(error: RolloutError) -> float:
    asked = error.retry_after if isinstance(error, TooManyRequests) else None
    return min(float(asked or _RETRY_S), _LONGEST_RETRY_S)


def _since(begun: float) -> int:
    return round((time.monotonic() - begun) * 1000)
