"""Start, show and stop a lab. The lab itself is a process of its own (supervisor.py)."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rollout.lab.image import ensure_image
from rollout.lab.layout import LabInfo, LabLayout, LabNode, cache_directory, default_directory
from rollout.lab.network import LabNetwork
from rollout.lab.supervisor import WARM_UP
from rollout.lab.template import ensure_template

__all__ = ["LabError", "LabInfo", "LabNode", "LabStatus", "default_directory", "lab_down", "lab_status", "lab_up"]

_STARTED: list[subprocess.Popen[bytes]] = []
"""Supervisors outlive the command that starts them; kept, so that nobody takes them for forgotten."""

UP_S = 300.0
DOWN_S = 30.0


class LabError(Exception):
    """The lab cannot be started or stopped; the message says why and where to look."""


@dataclass(frozen=True)
class LabStatus:
    """A running lab: what it told, and the memory its processes hold."""

    info: LabInfo
    rss_mib: int


def lab_up(directory: Path, report: Callable[[str], None]) -> LabInfo:
    """Start a lab, or find it running. Image and template are made first if they are not cached. Raises `LabError`."""
    if os.geteuid() != 0:
        raise LabError("cannot start the lab: it makes network namespaces and taps; run it as root")
    layout = LabLayout(directory.resolve())
    layout.make()
    with layout.path("lab.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        running = lab_status(directory)
        if running is not None:
            return running.info
        image = ensure_image(cache_directory(), report)
        ensure_template(image, cache_directory(), WARM_UP, report)
        return _start(layout, report)


def _start(layout: LabLayout, report: Callable[[str], None]) -> LabInfo:
    _clean(layout)
    log = layout.path("supervisor.log")
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "rollout.lab.supervisor", str(layout.directory)],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
            cwd="/",
        )
    _STARTED.append(process)
    layout.path("supervisor.pid").write_text(str(process.pid))
    deadline, shown = time.monotonic() + UP_S, 0
    while time.monotonic() < deadline:
        shown = _relay(log, shown, report)
        info = layout.read_info()
        if info is not None:
            return info
        if process.poll() is not None:
            raise LabError(f"cannot start the lab: its process ended; the end of {log}:\n{_tail(log)}")
        time.sleep(0.1)
    process.terminate()
    raise LabError(f"cannot start the lab: it was not ready after {UP_S:.0f} s; the end of {log}:\n{_tail(log)}")


def _relay(log: Path, shown: int, report: Callable[[str], None]) -> int:
    lines = log.read_text(errors="replace").splitlines()
    for line in lines[shown:]:
        report(line)
    return len(lines)


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-25:])


def _clean(layout: LabLayout) -> None:
    """Take away what a killed lab left: its namespace's name and the news that it is up."""
    layout.path("ready.json").unlink(missing_ok=True)
    LabNetwork(layout.network).delete()


def lab_status(directory: Path) -> LabStatus | None:
    """The running lab, None when there is none."""
    layout = LabLayout(directory.resolve())
    info = layout.read_info()
    if info is None or not _alive(info.pid):
        return None
    return LabStatus(info, sum(_rss_mib(pid) for pid in _family(info.pid)))


def lab_down(directory: Path) -> bool:
    """Stop a lab and everything it started; its state database and journal stay. False when none was running."""
    layout = LabLayout(directory.resolve())
    pid = _supervisor(layout)
    if pid is None:
        _clean(layout)
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + DOWN_S
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    if _alive(pid):
        os.kill(pid, signal.SIGKILL)  # the machines die with it: they asked for a parent-death signal
    for process in _STARTED:
        process.poll()  # one of ours that has ended is no zombie
    _clean(layout)
    return True


def _supervisor(layout: LabLayout) -> int | None:
    try:
        pid = int(layout.path("supervisor.pid").read_text())
    except (OSError, ValueError):
        return None
    return pid if _alive(pid) else None


def _alive(pid: int) -> bool:
    """Whether `pid` is a supervisor of a lab; numbers are reused."""
    try:
        return b"rollout.lab.supervisor" in Path(f"/proc/{pid}/cmdline").read_bytes() and not _zombie(pid)
    except OSError:
        return False


def _zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def _family(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in task.read_text().split()]
    return found


def _rss_mib(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) // 1024
    except OSError:
        pass
    return 0
