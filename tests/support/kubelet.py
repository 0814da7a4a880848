"""Kubelets that really run pods: each container's command is a process of this machine, its output the pod's log.

On the API stand-in's loop, for tests of what goes through pods. Deadlines and deletions are kept; of a pod that will
not run, the status says what a real kubelet would.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

from rollout.lab.apiserver.objects import Obj, name_of, namespace_of, now_text, uid_of
from rollout.lab.apiserver.storage import ADDED, DELETED, Change
from rollout.lab.apiserver.store import Store

Status = dict[str, Any]


def waiting(reason: str, message: str = "") -> Status:
    """The status of a pod whose container waits."""
    state = {"waiting": {"reason": reason, "message": message}}
    return {"phase": "Pending", "startTime": now_text(), "containerStatuses": [_container(state)]}


def ended(code: int, reason: str = "", message: str = "") -> Status:
    """The status of a pod whose container has ended."""
    state = {"terminated": {"exitCode": code, "reason": reason or ("Error" if code else "Completed")}}
    if message:
        state["terminated"]["message"] = message
    phase = "Failed" if code else "Succeeded"
    return {"phase": phase, "startTime": now_text(), "containerStatuses": [_container(state)]}


def _container(state: dict[str, Any]) -> dict[str, Any]:
    return {"name": "observe", "image": "x", "imageID": "", "ready": False, "restartCount": 0, "state": state}


class LocalKubelets:
    """One for every node named in `run`, and for those in `refuse`, by the status that they give each pod."""

    def __init__(self, *run: str, refuse: dict[str, Status] | None = None) -> None:
        self._run = set(run)
        self.refuse = refuse or {}
        self.command: Callable[[list[str]], list[str]] = lambda words: words
        """What is run in place of a container's command."""
        self.logs: dict[str, bytes] = {}
        self.pods: list[Obj] = []
        """Every pod that was seen, as it was created."""
        self.most_at_once = 0
        self._store: Store | None = None
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsubscribe: Callable[[], None] = lambda: None

    def attach(self, store: Store) -> None:
        """Where the pods are."""
        self._store = store

    async def log(self, namespace: str, pod: str, container: str, previous: bool) -> bytes:
        """What the API server serves as the pod's log."""
        return self.logs[f"{namespace}/{pod}"]

    @property
    def running(self) -> int:
        """Processes of pods that run now."""
        return len(self._processes)

    # -- a companion of the server ------------------------------------------------------------------------------------

    async def start(self) -> None:
        assert self._store is not None
        self._unsubscribe = self._store.subscribe("pods", self._on_pod)

    async def stop(self) -> None:
        self._unsubscribe()
        for uid in list(self._processes):
            self._kill(uid)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _on_pod(self, change: Change) -> None:
        pod = change.new
        node = pod["spec"].get("nodeName")
        if change.action == DELETED:
            self._kill(uid_of(change.old or pod))
        elif pod["metadata"].get("deletionTimestamp"):
            self._kill(uid_of(pod))
            self._later(self._remove(pod))
        elif change.action == ADDED:
            self.pods.append(pod)
            if node in self.refuse:
                self._later(self._publish(pod, self.refuse[node]))
            elif node in self._run:
                self._later(self._live(pod))

    def _later(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _remove(self, pod: Obj) -> None:
        assert self._store is not None
        if self._same(pod):
            self._store.remove_now("pods", name_of(pod), namespace_of(pod))

    async def _live(self, pod: Obj) -> None:
        container = pod["spec"]["containers"][0]
        await self._publish(pod, {"phase": "Running", "startTime": now_text(), "containerStatuses": []})
        process = await asyncio.create_subprocess_exec(
            *self.command(container["command"]),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        uid = uid_of(pod)
        self._processes[uid] = process
        self.most_at_once = max(self.most_at_once, len(self._processes))
        deadline = pod["spec"].get("activeDeadlineSeconds")
        try:
            output, _ = await asyncio.wait_for(process.communicate(), deadline)
        except TimeoutError:
            self._kill(uid)
            await self._publish(pod, {"phase": "Failed", "reason": "DeadlineExceeded", "startTime": now_text()})
            return
        finally:
            self._processes.pop(uid, None)
        self.logs[f"{namespace_of(pod)}/{name_of(pod)}"] = output
        code = process.returncode or 0
        await self._publish(pod, ended(128 - code if code < 0 else code))

    def _kill(self, uid: str) -> None:
        process = self._processes.pop(uid, None)
        if process is not None and process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)

    def _same(self, pod: Obj) -> bool:
        assert self._store is not None
        found = self._store.find("pods", name_of(pod), namespace_of(pod))
        return found is not None and uid_of(found) == uid_of(pod)

    async def _publish(self, pod: Obj, status: Status) -> None:
        if self._same(pod) and self._store is not None:
            change: Callable[[Obj], None] = lambda obj: obj["status"].update(status)  # noqa: E731
            self._store.mutate("pods", name_of(pod), change, namespace_of(pod), "status")
