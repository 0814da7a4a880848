"""Nothing outlives the process that started it: killed with SIGKILL in the middle of a playbook."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import playbooks
from tests.support.processes import of_folder, wait_until
from tests.support.sshd import Sshd

PARENT = """
import json, sys
from pathlib import Path
from rollout.adapters.ansible.hosts import AnsibleHosts
from rollout.adapters.ansible.settings import HostsSettings
from rollout.ports.hosts import Host
given = json.loads(sys.argv[1])
paths = {"run_dir", "playbooks", "known_hosts", "private_key"}
settings = HostsSettings(**{k: Path(v) if k in paths else v for k, v in given["settings"].items()})
AnsibleHosts(settings).act(given["playbook"], Host("n1", "127.0.0.1"), given["variables"], wall_s=60)
"""

LOCAL = """
- hosts: all
  gather_facts: false
  connection: local
  tasks:
    - ansible.builtin.shell: "touch {{ begun }}; sleep 2; touch {{ done }}"
    - ansible.builtin.file: {path: "{{ next }}", state: touch}
"""
REMOTE = LOCAL.replace("  connection: local\n", "")
GUARDED = """
- hosts: all
  gather_facts: false
  tasks:
    - onnode:
        program: reboot
        request: {rollout: r1, fencing: 1, boot_id: "{{ boot_id }}", claim_folder: "{{ claim }}",
                  reboot_command: [touch, "{{ done }}"], limit_s: 60}
"""

Start = Callable[[str], "subprocess.Popen[bytes]"]


@pytest.fixture
def start(sshd: Sshd, tmp_path: Path) -> Start:
    """Start a parent that runs one of our playbooks."""
    folder = playbooks.write(tmp_path / "playbooks", local=LOCAL, remote=REMOTE, guarded=GUARDED)
    settings = playbooks.settings(sshd, tmp_path, folder)
    given = {key: str(getattr(settings, key)) for key in ("run_dir", "playbooks", "known_hosts", "private_key")}
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    names = {name: str(tmp_path / name) for name in ("begun", "done", "next", "claim")}

    def started(playbook: str) -> subprocess.Popen[bytes]:
        spec = {
            "settings": {**given, "user": settings.user, "port": settings.port},
            "playbook": playbook,
            "variables": {**names, "boot_id": boot_id},
        }
        return subprocess.Popen([sys.executable, "-c", PARENT, json.dumps(spec)])

    return started


def _run_processes(tmp_path: Path) -> list[int]:
    return of_folder(tmp_path / "runs")


def _executor(parent: int) -> int:
    return int(Path(f"/proc/{parent}/task/{parent}/children").read_text().split()[0])


def test_killed_parent_local_task(start: Start, tmp_path: Path) -> None:
    parent = start("local.yml")
    assert wait_until((tmp_path / "begun").exists, 20)
    parent.kill()
    parent.wait()
    assert wait_until(lambda: not _run_processes(tmp_path), 10)
    assert not wait_until((tmp_path / "done").exists, 2.3)
    assert not (tmp_path / "next").exists()


def test_killed_parent_remote_task(start: Start, tmp_path: Path) -> None:
    """The command that runs on the node is not ours to stop (pipelining); nothing comes after it."""
    parent = start("remote.yml")
    assert wait_until((tmp_path / "begun").exists, 20)
    parent.kill()
    parent.wait()
    assert wait_until(lambda: not _run_processes(tmp_path), 10)
    wait_until((tmp_path / "done").exists, 5)
    assert not wait_until((tmp_path / "next").exists, 1)


def test_killed_executor(start: Start, tmp_path: Path) -> None:
    parent = start("local.yml")
    assert wait_until((tmp_path / "begun").exists, 20)
    os.kill(_executor(parent.pid), signal.SIGKILL)
    assert parent.wait(10) == 0
    assert wait_until(lambda: not _run_processes(tmp_path), 10)
    assert not wait_until((tmp_path / "done").exists, 2.3)


def test_a_program_on_the_node_changes_nothing_once_we_are_gone(start: Start, tmp_path: Path) -> None:
    """It is kept waiting by the node's lock; when it gets it, nobody reads its output any more, and it stops."""
    claim = tmp_path / "claim"
    claim.mkdir()
    with (claim / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        parent = start("guarded.yml")
        assert wait_until(lambda: _waiting_for(claim / "lock"), 20)
        parent.kill()
        parent.wait()
        assert wait_until(lambda: not _run_processes(tmp_path), 10)
    assert wait_until(lambda: not _waiting_for(claim / "lock"), 10)
    assert not wait_until((tmp_path / "done").exists, 3)


def test_a_program_on_the_node_does_its_work_while_we_live(start: Start, tmp_path: Path) -> None:
    parent = start("guarded.yml")
    assert parent.wait(30) == 0
    assert wait_until((tmp_path / "done").exists, 5)


def _waiting_for(lock: Path) -> bool:
    """Whether another process has the lock's file open."""
    for entry in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if entry.parts[2] != str(os.getpid()) and entry.readlink() == lock:
                return True
        except OSError:
            continue
    return False
