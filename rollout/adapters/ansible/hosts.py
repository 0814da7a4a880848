"""The port `Hosts` on Ansible."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import IO, Any

import yaml

from rollout.adapters.ansible import bundle, rundir
from rollout.adapters.ansible.outcome import RunRecord, results
from rollout.adapters.ansible.settings import HostsSettings
from rollout.domain.errors import UsageError
from rollout.ports.hosts import Host, HostRun

BEFORE_NODE = "hooks/before-node.yml"
AFTER_NODE = "hooks/after-node.yml"

_CANCEL_POLL_S = 0.2
_STOP_MARGIN_S = 30
"""How long after its wall time an executor may take to stop everything before it is killed itself."""
_LOG_SHOWN = 1000
_SECTIONS = ("tasks", "pre_tasks", "post_tasks", "roles")


class AnsibleHosts:
    """Runs playbooks in executor processes, one per run. May be used from several threads.

    `ssh_later`: keys are asked for only when a playbook runs, for those who observe nodes in another way.
    """

    def __init__(self, settings: HostsSettings, *, ssh_later: bool = False) -> None:
        settings.check(ssh=not ssh_later)
        self._settings = settings

    def act(
        self, playbook: str, host: Host, variables: Mapping[str, Any], *, wall_s: int, cancel: Event | None = None
    ) -> HostRun:
        """Run one playbook on one host, as its own run."""
        return self._run(playbook, (host,), variables, wall_s, cancel)[host.node]

    def read(
        self,
        playbook: str,
        hosts: tuple[Host, ...],
        variables: Mapping[str, Any],
        *,
        wall_s: int,
        cancel: Event | None = None,
    ) -> Mapping[str, HostRun]:
        """Run a read-only playbook over many hosts as one batch."""
        return self._run(playbook, hosts, variables, wall_s, cancel) if hosts else {}

    def playbook_digests(self) -> Mapping[str, str]:
        """SHA-256 of each playbook that may be run, and of the programs shipped to nodes under the name `onnode`.

        A replaced hook counts as what replaces it.
        """
        programs = hashlib.sha256(json.dumps(bundle.sources(), sort_keys=True).encode()).hexdigest()
        return {name: _digest(path) for name, path in sorted(self._playbooks().items())} | {"onnode": programs}

    def hooks(self) -> Mapping[str, tuple[str, bool]]:
        """The hooks in force: SHA-256, and whether the file has no tasks."""
        files = self._playbooks()
        return {Path(name).stem: (_digest(files[name]), _is_empty(files[name])) for name in (BEFORE_NODE, AFTER_NODE)}

    def _playbooks(self) -> dict[str, Path]:
        root = self._settings.playbooks
        found = {str(path.relative_to(root)): path for path in root.rglob("*.yml")}
        replaced = {BEFORE_NODE: self._settings.before_node, AFTER_NODE: self._settings.after_node}
        found.update({name: path for name, path in replaced.items() if path is not None})
        return found

    def _run(
        self, name: str, hosts: Sequence[Host], variables: Mapping[str, Any], wall_s: int, cancel: Event | None
    ) -> dict[str, HostRun]:
        playbook = self._playbooks().get(name)
        if playbook is None:
            raise UsageError(
                "playbook-unknown", f"cannot run the playbook {name}: it is not in {self._settings.playbooks}"
            )
        self._settings.check()
        with rundir.opened(self._settings, playbook.stem) as folder, rundir.control_dir(folder) as control:
            rundir.write(self._settings, folder, control, hosts, {"limit_s": wall_s, **variables})
            spec = {
                "parent": os.getpid(),
                "run_dir": str(folder),
                "control_dir": str(control),
                "playbook": str(playbook.resolve()),
                "arguments": rundir.arguments(self._settings, folder, playbook.resolve(), len(hosts)),
                "wall_s": wall_s,
                "idle_s": self._settings.idle_timeout_s,
            }
            record = _execute(folder, spec, wall_s, cancel)
        return results((host.node for host in hosts), record)


def _execute(folder: Path, spec: Mapping[str, Any], wall_s: int, cancel: Event | None) -> RunRecord:
    begun = time.monotonic()
    record = RunRecord()
    log = folder / "executor.log"
    with log.open("wb") as errors, _executor(folder, errors) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(spec).encode() + b"\n")
            process.stdin.flush()
        for line in _lines(process, begun + wall_s + _STOP_MARGIN_S, cancel):
            message = json.loads(line)
            record.end = message.get("end", record.end)
            if "event" in message:
                record.events.append(message["event"])
    record.log = log.read_bytes()[-_LOG_SHOWN:].decode("utf-8", "replace").strip()
    record.duration_ms = round((time.monotonic() - begun) * 1000)
    return record


@contextlib.contextmanager
def _executor(folder: Path, errors: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """The executor process in a session of its own: an interrupt from the terminal reaches us, and we cancel it."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "rollout.adapters.ansible.executor"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        cwd=folder,
        env=rundir.environment(folder),
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(BrokenPipeError):
            process.communicate()  # end of file on its input stops it, if it still runs


def _lines(process: subprocess.Popen[bytes], deadline: float, cancel: Event | None) -> Iterator[bytes]:
    """Lines of the executor's output. Tells it to stop when `cancel` is set; kills it when it outstays its deadline."""
    assert process.stdout is not None
    received = b""
    told = False
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if cancel is not None and cancel.is_set() and not told:
                _tell_to_stop(process)
                told = True
            if time.monotonic() > deadline:
                process.kill()
            if not selector.select(_CANCEL_POLL_S if cancel is not None and not told else 1.0):
                continue
            part = os.read(process.stdout.fileno(), 1 << 16)
            if not part:
                return
            *lines, received = (received + part).split(b"\n")
            yield from lines


def _tell_to_stop(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(b"cancel\n")
        process.stdin.flush()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class _Tolerant(yaml.SafeLoader):
    """Reads playbooks whatever their tags (`!unsafe`, `!vault`): only their shape is looked at."""


_Tolerant.add_multi_constructor("!", lambda *_: None)


def _is_empty(path: Path) -> bool:
    """Whether a playbook has no tasks at all."""
    try:
        plays = yaml.load(path.read_bytes(), _Tolerant) or []  # noqa: S506  a SafeLoader
    except yaml.YAMLError as error:
        raise UsageError("hook-unreadable", f"cannot read the hook {path}: {error}", hint="correct its YAML") from error
    if not isinstance(plays, list):
        raise UsageError("hook-unreadable", f"cannot read the hook {path}: it is not a list of plays")
    return not any(isinstance(play, dict) and _has_tasks(play) for play in plays)


def _has_tasks(play: Mapping[str, Any]) -> bool:
    return any(play.get(section) for section in _SECTIONS) or any("import_playbook" in str(key) for key in play)
