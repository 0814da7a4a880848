"""What the kubelet stand-in knows of one pod, kept on disk over its own restart."""

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import labpaths
import podstatus
from podstatus import ContainerRecord

Json = dict[str, Any]


@dataclass
class PodState:
    uid: str
    namespace: str
    name: str
    sandbox: str = ""
    """The sandbox container's id, empty while there is none."""
    netns: str = ""
    """Empty for a pod on the host's network."""
    address: str = ""
    initialized: bool = False
    start_time: str = ""
    failure: str = ""
    """Why the pod as a whole failed; empty while it did not."""
    records: list[ContainerRecord] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return labpaths.pods() / self.uid

    def save(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        fresh = self.folder / "state.json.new"
        fresh.write_text(json.dumps(asdict(self)))
        fresh.rename(self.folder / "state.json")

    def forget(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def log_file(self, record: ContainerRecord, previous: bool = False) -> Path:
        return self.folder / f"{record.name}-{record.restarts - (1 if previous else 0)}.log"


def load(folder: Path) -> PodState | None:
    """None if the directory holds no usable state."""
    try:
        held = json.loads((folder / "state.json").read_text())
    except (OSError, ValueError):
        return None
    records = [ContainerRecord(**each) for each in held.pop("records")]
    return PodState(**held, records=records)


def load_all() -> dict[str, PodState]:
    folder = labpaths.pods()
    found = [load(each) for each in folder.iterdir()] if folder.is_dir() else []
    return {each.uid: each for each in found if each is not None}


def first_state(pod: Json) -> PodState:
    """For a pod new to this node, or one whose sandbox went with a reboot: then its counts go on from the API's."""
    meta, spec = pod["metadata"], pod["spec"]
    state = PodState(meta["uid"], meta["namespace"], meta["name"])
    reported = pod.get("status") or {}
    state.start_time = reported.get("startTime") or ""
    known = {each["name"]: each for each in reported.get("containerStatuses") or []}
    over = reported.get("phase") in podstatus.OVER
    state.failure = reported.get("reason", "") if over else ""
    for container in spec.get("initContainers") or []:
        record = ContainerRecord(container["name"], container.get("image", ""), init=True)
        record.wait("PodInitializing")
        state.records.append(record)
    waiting = "PodInitializing" if state.records else "ContainerCreating"
    for container in spec["containers"]:
        record = ContainerRecord(container["name"], container.get("image", ""))
        record.wait(waiting)
        if over:
            _end(record, known.get(container["name"]))
        else:
            _continue(record, known.get(container["name"]))
        state.records.append(record)
    return state


def _end(record: ContainerRecord, reported: Json | None) -> None:
    """Of a pod that had run its course before the reboot: it stays as it was reported."""
    ended = {"exitCode": 255, "reason": "Unknown"}
    record.state = {"terminated": ((reported or {}).get("state") or {}).get("terminated") or ended}
    record.restarts = int((reported or {}).get("restartCount") or 0)
    record.ever_started = True


def _continue(record: ContainerRecord, reported: Json | None) -> None:
    """After a reboot: what ran before has ended, nobody knows how."""
    if not reported or not (reported.get("state", {}).get("running") or reported.get("restartCount")):
        return
    started = reported["state"].get("running", {}).get("startedAt", "")
    record.restarts = int(reported.get("restartCount") or 0) + 1
    ended = {"exitCode": 255, "reason": "Unknown", "startedAt": started, "finishedAt": started}
    record.last = {"terminated": ended | {"containerID": reported.get("containerID", "")}}
