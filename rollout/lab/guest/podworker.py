"""One pod on this node, from its sandbox to its removal: a thread that sleeps until something happens to the pod."""

import contextlib
import os
import queue
import signal
import threading
import time
import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import containerimages
import labpaths
import namespaces
import podstatus
import readiness
from containerstart import command_of, go_duration, log_tail, pod_environment, sandbox_message
from kubeapi import Api, ApiError, ApiUnreachable, Json, pod_path
from nodeevents import EventWriter
from podnet import PluginFailed, Pod, PodNet
from podstate import PodState
from podstatus import ContainerRecord
from runtimeclient import RuntimeClient, RuntimeGone
from statusreport import StatusReport

# The kubelet's own figures, in seconds; all but grace periods shrink with the time scale.
_SANDBOX_RETRY = 10.0
_FIRST_BACKOFF, _LAST_BACKOFF = 10.0, 300.0
_STEADY_SECONDS = 600.0
_DELETE_RETRY = _FAULT_SECONDS = 5.0


@dataclass(frozen=True)
class NodeContext:
    """What every worker shares."""

    name: str
    address: str
    time_scale: float
    environment: dict[str, str]
    api: Api
    runtime: RuntimeClient
    network: PodNet
    events: EventWriter
    network_changed: Callable[[], None]
    ended: Callable[[str], None]
    """Told the uid of a pod of which nothing is left."""


class PodWorker:
    def __init__(self, context: NodeContext, pod: Json, state: PodState) -> None:
        self._context = context
        self._pod = pod
        self.state = state
        self._ending = threading.Event()
        self._ended_at = 0.0
        self._gone = False
        self._inbox: queue.Queue[Json | None] = queue.Queue()
        self._report = StatusReport(context.api, context.events)
        self._due: dict[str, float] = {}
        self._attempts: dict[str, int] = {}
        self._thread = threading.Thread(target=self._run, name=state.name, daemon=True)
        self._observe(pod)

    def start(self) -> None:
        self._thread.start()

    # What happens to the pod: called by other threads.

    def update(self, pod: Json) -> None:
        self._pod = pod
        self._observe(pod)

    def vanish(self) -> None:
        """The object is gone: nothing is left to be graceful for."""
        self._gone = True
        self._finish()

    def exited(self, event: Json) -> None:
        self._inbox.put(event)

    def _observe(self, pod: Json) -> None:
        if pod["metadata"].get("deletionTimestamp"):
            self._finish()

    def _finish(self) -> None:
        if not self._ending.is_set():
            self._ended_at = time.monotonic()
            self._ending.set()
        self._inbox.put(None)

    # The pod's life: in its own thread.

    def _run(self) -> None:
        while True:
            try:
                self._live()
                self._context.ended(self.state.uid)
                return
            except RuntimeGone:
                return
            except Exception:  # noqa: BLE001 - one pod's fault must not leave it unattended
                self._context.events.report(f"pod {self.state.name}: {traceback.format_exc()}")
                time.sleep(_FAULT_SECONDS)

    def _live(self) -> None:
        self._adopt()
        if not self._over() and self._prepare():
            while not self._ending.is_set() and not self._over():
                self._tend()
        if self._over():
            self._settle()
        self._publish()
        self._ending.wait()
        self._terminate()

    def _over(self) -> bool:
        self._check_deadline()
        return bool(self.state.failure) or self._phase() in podstatus.OVER

    def _check_deadline(self) -> None:
        if not self.state.failure and self._active_left() <= 0:
            self.state.failure = podstatus.DEADLINE_EXCEEDED
            self.state.save()

    def _active_left(self) -> float:
        """Seconds until the pod has been active for as long as it may."""
        limit = self._pod["spec"].get("activeDeadlineSeconds")
        if limit is None or not self.state.start_time:
            return float("inf")
        return float(limit) - podstatus.seconds_since(self.state.start_time)

    def _settle(self) -> None:
        """The pod has run its course: what still runs is ended, and its network goes. The object stays."""
        self._publish()
        running = [each for each in self.state.records if each.running]
        grace = float(self._pod["spec"].get("terminationGracePeriodSeconds", 30))
        until = time.monotonic() + grace
        self._signal(running, signal.SIGTERM)
        self._await_exits(running, lambda: min(until, self._deadline() if self._ending.is_set() else until))
        self._signal(running, signal.SIGKILL)
        self._await_exits(running)
        self._remove_sandbox()

    def _phase(self) -> str:
        return podstatus.phase(self.state.records, self._restart_policy())

    def _restart_policy(self) -> str:
        return str(self._pod["spec"].get("restartPolicy") or "Always")

    def _adopt(self) -> None:
        """Compare the state on disk with the runtime: what ended while nobody looked is told now."""
        running = self._context.runtime.containers()
        for record in self.state.records:
            if not record.runtime_id:
                continue
            held = running.get(record.runtime_id)
            if held is None:
                self._note_exit(record, 255, "Unknown")
            elif held["code"] is not None:
                self._note_exit(record, held["code"])
            else:
                self._due[record.name] = 0.0
        if self.state.netns and not namespaces.exists(Path(self.state.netns)):
            self.state.sandbox = self.state.netns = self.state.address = ""

    def _prepare(self) -> bool:
        """Sandbox and init containers. False if the pod is to end first."""
        if not self.state.start_time:
            self.state.start_time = podstatus.now()
        self._publish()
        while not self.state.sandbox:
            if self._ending.is_set() or self._over():
                return False
            if not self._make_sandbox():
                self._ending.wait(_SANDBOX_RETRY * self._context.time_scale)
        self._publish()
        while not self.state.initialized and not self._ending.is_set() and not self._over():
            self._tend_inits()
        return self.state.initialized

    def _make_sandbox(self) -> bool:
        identity = os.urandom(32).hex()
        if self._pod["spec"].get("hostNetwork"):
            self.state.sandbox, self.state.address = identity, self._context.address
            self.state.save()
            return True
        netns = labpaths.netns() / f"cni-{uuid.uuid4()}"
        namespaces.create(netns)
        try:
            made = self._context.network.add(identity, netns, self._subject(), self._ending)
        except PluginFailed as failure:
            namespaces.remove(netns)
            if not self._ending.is_set():
                self._context.events.warn(self._pod, "FailedCreatePodSandBox", sandbox_message(identity, failure))
            return False
        self.state.sandbox, self.state.netns, self.state.address = identity, str(netns), made.address
        self.state.save()
        return True

    def _subject(self) -> Pod:
        meta, spec = self._pod["metadata"], self._pod["spec"]
        account = spec.get("serviceAccountName") or "default"
        return Pod(meta["namespace"], meta["name"], meta["uid"], account, meta.get("labels") or {})

    def _tend_inits(self) -> None:
        """One init container after the other."""
        for record in self.state.records:
            if record.init and not record.finished_well:
                self._tend_one(record)
                self._wait()
                return
        self.state.initialized = True
        for record in self.state.records:
            if not record.init and not record.ever_started:
                record.wait("PodInitializing" if any(each.init for each in self.state.records) else "ContainerCreating")
        self.state.save()

    def _tend(self) -> None:
        for record in self.state.records:
            if not record.init:
                self._tend_one(record)
        self._wait()

    def _tend_one(self, record: ContainerRecord) -> None:
        """Start it or ask it for readiness, if that is due."""
        if time.monotonic() < self._due.setdefault(record.name, 0.0):
            return
        if record.running:
            self._probe(record)
        elif self._may_start(record):
            self._start(record)
        else:
            self._due[record.name] = float("inf")

    def _may_start(self, record: ContainerRecord) -> bool:
        policy = "OnFailure" if record.init and self._restart_policy() == "Always" else self._restart_policy()
        ended = record.state.get("terminated")
        if ended is None or policy == "Always":
            return True
        return policy == "OnFailure" and ended["exitCode"] != 0

    def _wait(self) -> None:
        """Publish what changed, then sleep to the next event or deadline."""
        self._publish()
        deadlines = [at for at in self._due.values() if at != float("inf")]
        if (left := self._active_left()) != float("inf"):
            deadlines.append(time.monotonic() + left)
        if self._report.due:
            deadlines.append(self._report.due)
        timeout = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
        self._receive(timeout)

    def _receive(self, timeout: float | None) -> None:
        with contextlib.suppress(queue.Empty):
            event = self._inbox.get(timeout=timeout)
            while event is not None:
                self._take_exit(event)
                event = self._inbox.get_nowait()

    def _take_exit(self, event: Json) -> None:
        for record in self.state.records:
            if record.runtime_id == event["id"]:
                self._note_exit(record, event["code"])

    # Containers.

    def _spec(self, record: ContainerRecord) -> Json:
        listed = self._pod["spec"].get("initContainers" if record.init else "containers") or []
        return next(each for each in listed if each["name"] == record.name)

    def _start(self, record: ContainerRecord) -> None:
        spec = self._spec(record)
        if "terminated" in record.state:
            record.last = {"terminated": record.state["terminated"]}
        if record.ever_started:
            record.restarts += 1
        try:
            module, arguments = containerimages.resolve(command_of(spec))
        except containerimages.UnknownCommand as unknown:
            record.ever_started = True
            record.end(128, podstatus.now(), "StartError", f"failed to create containerd task: {unknown}")
            self._after_exit(record)
            return
        identity = f"{self.state.uid}/{record.name}/{record.restarts}"
        environment = self._context.environment | pod_environment(self._pod, spec, self.state, self._context.address)
        self._remove_old_log(record)
        self._context.runtime.start(
            identity,
            module,
            arguments,
            environment=environment,
            netns=self.state.netns or None,
            log=str(self.state.log_file(record)),
        )
        record.run(identity)
        self._attempts[record.name] = 0
        self._due[record.name] = 0.0
        self.state.save()
        self._publish()
        self._probe(record)

    def _remove_old_log(self, record: ContainerRecord) -> None:
        if record.restarts > 1:
            (self.state.folder / f"{record.name}-{record.restarts - 2}.log").unlink(missing_ok=True)

    def _note_exit(self, record: ContainerRecord, code: int, reason: str = "") -> None:
        started = record.state.get("running", {}).get("startedAt", "")
        message = ""
        if self._spec(record).get("terminationMessagePolicy") == "FallbackToLogsOnError" and code:
            message = log_tail(self.state.log_file(record), 2048)
        with contextlib.suppress(OSError):
            self._context.runtime.forget(record.runtime_id)
        record.end(code, started, reason, message)
        self._after_exit(record)

    def _after_exit(self, record: ContainerRecord) -> None:
        """Plan the restart: at once the first time, then after a pause that doubles."""
        self._due[record.name] = 0.0
        self._publish()
        again = self._may_start(record) and not self._ending.is_set() and not self.state.failure
        if not again:
            self._due[record.name] = float("inf")
        elif record.backoff:
            self._back_off(record)
        record.backoff = min(record.backoff * 2 or _FIRST_BACKOFF, _LAST_BACKOFF)
        self.state.save()

    def _back_off(self, record: ContainerRecord) -> None:
        pod = f"{self.state.name}_{self.state.namespace}({self.state.uid})"
        text = f"back-off {go_duration(record.backoff)} restarting failed container={record.name} pod={pod}"
        record.last = {"terminated": record.state["terminated"]}
        record.wait("CrashLoopBackOff", text)
        self._due[record.name] = time.monotonic() + record.backoff * self._context.time_scale
        self._context.events.warn(self._pod, "BackOff", text.replace("back-off", "Back-off", 1))

    def _probe(self, record: ContainerRecord) -> None:
        if record.init:
            self._due[record.name] = float("inf")
            return
        spec = self._spec(record)
        module, _ = containerimages.resolve(command_of(spec))
        probe = readiness.probe_for(spec, module)
        record.ready = probe is None or readiness.ask(probe, self.state.address)
        if record.ready and module == "agent":
            self._context.network_changed()
        if probe is None:
            self._due[record.name] = float("inf")
            return
        attempts = self._attempts[record.name] = self._attempts.get(record.name, 0) + 1
        self._due[record.name] = time.monotonic() + probe.delay(attempts, record.ready)

    def _publish(self) -> None:
        if self._gone:
            return
        self._report.publish(
            self._pod,
            podstatus.PodFacts(
                records=self.state.records,
                sandbox=bool(self.state.sandbox),
                initialized=self.state.initialized or not any(each.init for each in self.state.records),
                terminating=self._ending.is_set(),
                host_address=self._context.address,
                pod_address=self.state.address,
                restart_policy=self._restart_policy(),
                start_time=self.state.start_time,
                failure=self.state.failure,
            ),
        )

    # The end.

    def _terminate(self) -> None:
        """Unready but serving through the preStop sleep, SIGTERM, SIGKILL when grace is over; then links and object."""
        self._publish()
        running = [each for each in self.state.records if each.running]
        self._sleep_until(min(self._ended_at + self._pre_stop(running), self._deadline()))
        self._signal(running, signal.SIGTERM)
        self._await_exits(running, self._deadline)
        self._signal(running, signal.SIGKILL)
        self._await_exits(running)
        self._remove_sandbox()
        self._publish()
        self._delete_object()
        self.state.forget()

    def _deadline(self) -> float:
        """Read anew each time: a second deletion may shorten the grace period."""
        if self._gone:
            return self._ended_at
        return self._ended_at + float(self._pod["metadata"].get("deletionGracePeriodSeconds") or 0)

    def _pre_stop(self, running: list[ContainerRecord]) -> float:
        hooks = [(self._spec(each).get("lifecycle") or {}).get("preStop") or {} for each in running]
        return max((float((each.get("sleep") or {}).get("seconds") or 0) for each in hooks), default=0.0)

    def _sleep_until(self, moment: float) -> None:
        while (left := min(moment, self._deadline()) - time.monotonic()) > 0:
            self._receive(left)

    def _signal(self, records: list[ContainerRecord], number: int) -> None:
        for each in records:
            if each.running:
                self._context.runtime.signal(each.runtime_id, number)

    def _remove_sandbox(self) -> None:
        if self.state.netns:
            self._context.network.delete(self.state.sandbox)
            namespaces.remove(Path(self.state.netns))
            self.state.netns = ""
            self.state.save()

    def _await_exits(self, records: list[ContainerRecord], limit: Callable[[], float] | None = None) -> None:
        while any(each.running for each in records):
            left = limit() - time.monotonic() if limit else None
            if left is not None and left <= 0:
                return
            self._receive(left)

    def _delete_object(self) -> None:
        options: Json = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.state.uid}}
        while not self._gone:
            try:
                self._context.api.delete(pod_path(self.state.namespace, self.state.name), options)
                return
            except ApiError as error:
                # Not found, or a new pod of that name: either way this one is gone.
                if not error.passing:
                    return
            except ApiUnreachable:
                pass
            time.sleep(_DELETE_RETRY)
