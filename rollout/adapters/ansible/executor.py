"""The process that one run lives in: starts ansible-playbook, forwards its events, leaves nothing behind.

A JSON line on standard input says what to run; a second line, or end of file, means stop. On standard output come JSON
lines: `{"event": ...}` for each event that a result is made from, then one `{"end": ...}`.

Decision: a process per run, because ansible-runner's own cancel kills only its direct child and workers of ansible-core
2.19 leave its process group. As a sub-reaper this process inherits whatever else is orphaned, and can kill it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

from ansible_runner.config.runner import RunnerConfig
from ansible_runner.runner import Runner

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LAUNCHER = str(Path(__file__).with_name("launcher.py"))
_TERM_GRACE_S = 5.0
_KILL_LIMIT_S = 10.0
_LONGEST_TEXT = 4000
_TASK_EVENTS = {"runner_on_ok": "ok", "runner_on_failed": "failed", "runner_on_unreachable": "unreachable"}


class Stop(threading.Thread):
    """Ends ansible-playbook when told to, when time is up, or when whoever started us is gone."""

    def __init__(self, spec: dict[str, Any], commands: int, wake: int) -> None:
        super().__init__(daemon=True)
        self._commands, self._wake = commands, wake
        self._deadline = time.monotonic() + float(spec["wall_s"])
        self._idle_s = float(spec["idle_s"])
        self.last_event = time.monotonic()
        self.why = ""

    def run(self) -> None:
        """Wait for a reason, then stop. Ends with the process."""
        self.why = self._reason()
        for pid, command in _children(os.getpid()):
            if _LAUNCHER in command:
                _signal(pid, signal.SIGTERM)
        deadline = time.monotonic() + _TERM_GRACE_S
        while time.monotonic() < deadline and any(_LAUNCHER in command for _, command in _children(os.getpid())):
            time.sleep(0.05)
        kill_descendants()

    def _reason(self) -> str:
        while True:
            until = self._deadline
            if self._idle_s:
                until = min(until, self.last_event + self._idle_s)
            ready, _, _ = select.select([self._commands, self._wake], [], [], max(0.0, until - time.monotonic()))
            if self._commands in ready:
                return "cancelled" if os.read(self._commands, 1024) else "parent-died"
            if self._wake in ready:
                return "parent-died"
            if time.monotonic() >= self._deadline:
                return "wall-timeout"
            if self._idle_s and time.monotonic() >= self.last_event + self._idle_s:
                return "idle-timeout"


def main() -> None:
    """Run what the specification says."""
    commands = sys.stdin.fileno()
    spec = json.loads(_line(commands))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    wake = _bind_to_parent(int(spec["parent"]))
    stop = Stop(spec, commands, wake)
    stop.start()
    status, code = _play(spec, stop, answers)
    if stop.why:
        stop.join(_TERM_GRACE_S + _KILL_LIMIT_S)
    kill_descendants()
    shutil.rmtree(spec["control_dir"], ignore_errors=True)
    _answer(answers, {"end": {"status": status, "rc": code, "why": stop.why}})


def _line(handle: int) -> bytes:
    """One line, not a byte more: the rest is for the thread that waits for commands."""
    received = b""
    while not received.endswith(b"\n"):
        part = os.read(handle, 1)
        if not part:
            sys.exit("no specification on standard input")
        received += part
    return received


def _bind_to_parent(parent: int) -> int:
    """Become a sub-reaper that hears of its parent's death; a descriptor that is readable when a signal came."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("whoever started this run is gone")
    return reading


def _play(spec: dict[str, Any], stop: Stop, answers: IO[str]) -> tuple[str, int | None]:
    """Run ansible-playbook to its end; runner's word for how, and its exit code."""

    def hear(event: dict[str, Any]) -> bool:
        stop.last_event = time.monotonic()
        kept = reduce(event)
        if kept is not None:
            _answer(answers, {"event": kept})
        return False  # not kept on disk

    def heed(status: dict[str, Any], runner_config: Any) -> None:
        if status["status"] == "running":  # the artefact `command` holds the environment
            Path(runner_config.artifact_dir, "command").unlink(missing_ok=True)

    config = RunnerConfig(private_data_dir=spec["run_dir"], playbook=spec["playbook"], ident="run", quiet=True)
    config.prepare()
    config.cwd = spec["run_dir"]
    config.command = [sys.executable, "-P", _LAUNCHER, str(os.getpid()), *spec["arguments"]]
    try:
        status, code = Runner(config, event_handler=hear, status_handler=heed).run()
    except Exception as error:  # noqa: BLE001  whatever pexpect or runner raises: the tree has to be killed first
        sys.stderr.write(f"ansible-runner: {type(error).__name__}: {error}\n")
        return "error", None
    return str(status), code


def reduce(event: dict[str, Any]) -> dict[str, Any] | None:
    """What a result needs of an event, None for the others."""
    kind, data = event.get("event", ""), event.get("event_data") or {}
    if kind == "playbook_on_stats":
        counted = ("ok", "failures", "dark", "skipped", "rescued", "ignored")
        return {"kind": "stats", **{key: data.get(key) or {} for key in counted}}
    if kind in _TASK_EVENTS:
        result = data.get("res") or {}
        return {
            "kind": _TASK_EVENTS[kind],
            "host": data.get("host"),
            "task": data.get("task"),
            "ignored": bool(data.get("ignore_errors")),
            "message": _message(result),
            "code": result.get("rollout_code") or "",
            "hint": result.get("rollout_hint") or "",
            "facts": (result.get("ansible_stats") or {}).get("data") or {},
        }
    if kind in ("verbose", "error", "warning") and event.get("stdout"):
        return {"kind": "text", "text": str(event["stdout"])[:_LONGEST_TEXT]}
    return None


def _message(result: dict[str, Any]) -> str:
    """What the task said, its own message first. A loop's failed items say it themselves."""
    parts = [result.get("msg"), result.get("stderr"), result.get("module_stderr")]
    parts += [item.get("msg") for item in result.get("results") or () if isinstance(item, dict) and item.get("failed")]
    shown = [str(part).strip() for part in parts if part]
    return "\n".join(dict.fromkeys(shown))[:_LONGEST_TEXT]


def _answer(answers: IO[str], message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # nobody reads any more: the monitor sees to that
        answers.write(json.dumps(message, default=str) + "\n")
        answers.flush()


def kill_descendants() -> None:
    """SIGTERM, then SIGKILL for whatever lives below us, until nothing does."""
    begun = time.monotonic()
    while living := _descendants():
        patient = time.monotonic() - begun < 0.3
        for pid in living:
            _signal(pid, signal.SIGTERM if patient else signal.SIGKILL)
        if time.monotonic() - begun > _KILL_LIMIT_S:  # in uninterruptible sleep; they end when the kernel lets them
            return
        time.sleep(0.02)


def _descendants() -> list[int]:
    """Processes below us that are not dead. The dead are left to init: runner collects its own child's exit code."""
    below = {os.getpid()}
    table = _processes()
    grew = True
    while grew:
        fresh = [pid for pid, (parent, _) in table.items() if parent in below and pid not in below]
        below.update(fresh)
        grew = bool(fresh)
    return [pid for pid in below - {os.getpid()} if table[pid][1] not in "ZX"]


def _processes() -> dict[int, tuple[int, str]]:
    """Parent and state of every process."""
    table: dict[int, tuple[int, str]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()
                table[int(entry.name)] = (int(fields[1]), fields[0].decode())
    return table


def _children(parent: int) -> list[tuple[int, str]]:
    """Living children with their command lines."""
    found = []
    for pid, (above, state) in _processes().items():
        if above == parent and state not in "ZX":
            with contextlib.suppress(OSError):
                found.append((pid, Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()))
    return found


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


if __name__ == "__main__":
    main()
