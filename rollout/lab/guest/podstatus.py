"""A pod's status as the kubelet reports it, from what the worker knows."""

import calendar
import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from logline import timestamp

Json = dict[str, Any]

OWN_CONDITIONS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
OVER = ("Succeeded", "Failed")
"""Phases that a pod does not leave again."""
DEADLINE_EXCEEDED = "DeadlineExceeded"
_FAILURES = {DEADLINE_EXCEEDED: "Pod was active on the node longer than the specified deadline"}
_TIME = "%Y-%m-%dT%H:%M:%SZ"


def now() -> str:
    return timestamp()[:19] + "Z"


def seconds_since(moment: str) -> float:
    """From a time of a status to now, by this node's clock."""
    return time.time() - calendar.timegm(time.strptime(moment, _TIME))


def at(seconds: float) -> str:
    return timestamp(int(seconds * 1e9))[:19] + "Z"


@dataclass
class ContainerRecord:
    """One container of a pod over its restarts; kept on disk with the pod."""

    name: str
    image: str
    init: bool = False
    restarts: int = 0
    runtime_id: str = ""
    """The running instance's id in the runtime, empty while none runs."""
    state: Json = field(default_factory=dict)
    last: Json = field(default_factory=dict)
    ready: bool = False
    backoff: float = 0.0
    """Seconds, unscaled; 0 means that the next restart is immediate."""
    ever_started: bool = False

    @property
    def running(self) -> bool:
        return "running" in self.state

    @property
    def finished_well(self) -> bool:
        return bool(self.state.get("terminated", {}).get("exitCode") == 0)

    def wait(self, reason: str, message: str = "") -> None:
        self.state = {"waiting": {"reason": reason} | ({"message": message} if message else {})}

    def run(self, runtime_id: str) -> None:
        self.runtime_id = runtime_id
        self.ever_started = True
        self.state = {"running": {"startedAt": now()}}

    def end(self, code: int, started: str, reason: str = "", message: str = "") -> None:
        ended: Json = {"exitCode": code, "reason": reason or ("Completed" if code == 0 else "Error")}
        ended |= {"startedAt": started, "finishedAt": now(), "containerID": container_id(self.runtime_id)}
        if message:
            ended["message"] = message
        self.state = {"terminated": ended}
        self.runtime_id = ""
        self.ready = False


def container_id(runtime_id: str) -> str:
    return f"containerd://{hashlib.sha256(runtime_id.encode()).hexdigest()}" if runtime_id else ""


def container_status(record: ContainerRecord) -> Json:
    ended = record.state.get("terminated") or record.last.get("terminated") or {}
    shown = {
        "name": record.name,
        "image": record.image,
        "imageID": f"sha256:{hashlib.sha256(record.image.encode()).hexdigest()}",
        "containerID": container_id(record.runtime_id) or ended.get("containerID", ""),
        "ready": record.finished_well if record.init else record.ready,
        "started": record.running,
        "restartCount": record.restarts,
        "state": record.state,
        "lastState": record.last,
    }
    return shown if shown["containerID"] else {key: held for key, held in shown.items() if key != "containerID"}


def phase(records: Iterable[ContainerRecord], restart_policy: str) -> str:
    mains = [each for each in records if not each.init]
    if any(not each.ever_started for each in mains):
        return "Pending"
    over = [each for each in mains if "terminated" in each.state]
    if len(over) < len(mains) or restart_policy == "Always":
        return "Running"
    if all(each.finished_well for each in over):
        return "Succeeded"
    return "Failed" if restart_policy == "Never" else "Running"


def conditions(previous: list[Json], facts: dict[str, tuple[bool, str, str]]) -> list[Json]:
    """Ours anew, with the time of the last change kept; other writers' conditions as they are."""
    earlier = {each["type"]: each for each in previous}
    built = [each for each in previous if each["type"] not in OWN_CONDITIONS]
    for kind, (true, reason, message) in facts.items():
        status = "True" if true else "False"
        old = earlier.get(kind, {})
        since = old.get("lastTransitionTime") if old.get("status") == status else now()
        entry: Json = {"type": kind, "status": status, "lastProbeTime": None, "lastTransitionTime": since}
        if not true:
            entry |= {"reason": reason, "message": message}
        built.append(entry)
    return built


@dataclass(frozen=True)
class PodFacts:
    records: list[ContainerRecord]
    sandbox: bool
    initialized: bool
    terminating: bool
    host_address: str
    pod_address: str
    restart_policy: str
    start_time: str
    failure: str = ""


def build(facts: PodFacts, previous: Json) -> Json:
    """The whole status. `previous` is the one last seen in the API."""
    mains = [each for each in facts.records if not each.init]
    unready = [each.name for each in mains if not each.ready]
    in_phase = "Failed" if facts.failure else phase(facts.records, facts.restart_policy)
    over = in_phase in OVER
    reason = "PodCompleted" if over else "ContainersNotReady"
    message = f"containers with unready status: [{' '.join(unready)}]"
    waiting = [each.name for each in facts.records if each.init and not each.finished_well]
    held: dict[str, tuple[bool, str, str]] = {
        "PodReadyToStartContainers": (facts.sandbox, "", ""),
        "Initialized": (
            facts.initialized,
            "ContainersNotInitialized",
            f"containers with incomplete status: [{' '.join(waiting)}]",
        ),
        "Ready": (not unready and facts.initialized and not facts.terminating and not over, reason, message),
        "ContainersReady": (not unready and not facts.terminating and not over, reason, message),
        "PodScheduled": (True, "", ""),
    }
    status: Json = {
        "phase": in_phase,
        "conditions": conditions(previous.get("conditions") or [], held),
        "hostIP": facts.host_address,
        "hostIPs": [{"ip": facts.host_address}],
        "startTime": facts.start_time,
        "qosClass": previous.get("qosClass") or "BestEffort",
        "containerStatuses": [container_status(each) for each in mains],
    }
    if facts.failure:
        status |= {"reason": facts.failure, "message": _FAILURES.get(facts.failure, "")}
    inits = [container_status(each) for each in facts.records if each.init]
    if inits:
        status["initContainerStatuses"] = inits
    if facts.pod_address:
        status |= {"podIP": facts.pod_address, "podIPs": [{"ip": facts.pod_address}]}
    return status
