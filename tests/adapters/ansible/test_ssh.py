"""What goes wrong over SSH, with a real sshd: each has its code and says what to do."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Timer

import pytest

import rollout
from rollout.adapters.ansible.hosts import AnsibleHosts
from rollout.ports.hosts import Host, HostResult
from tests.support import playbooks
from tests.support.processes import of_folder
from tests.support.sshd import Sshd, free_port

NODE = Host("n1", "127.0.0.1")
SHIPPED = Path(rollout.__file__).parents[1] / "playbooks"

AS_NOBODY = """
- hosts: all
  gather_facts: false
  become: true
  become_user: nobody
  tasks:
    - ansible.builtin.raw: "true"
"""
PROGRAM_AS_NOBODY = """
- hosts: all
  gather_facts: false
  become: true
  become_user: nobody
  tasks:
    - onnode: {program: observe, request: {probes: [links]}}
"""
MODULE = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.command: "true"
"""

BROKEN = "- hosts: all\n  tusks: []\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    more = {"nobody": AS_NOBODY, "program": PROGRAM_AS_NOBODY, "module": MODULE, "broken": BROKEN}
    return playbooks.write(tmp_path / "playbooks", **more)


def test_refused_port(sshd: Sshd, tmp_path: Path, folder: Path) -> None:
    hosts = AnsibleHosts(playbooks.settings(sshd, tmp_path, folder, port=free_port()))
    run = hosts.act("echo.yml", NODE, {"text": ""}, wall_s=60)
    assert (run.result, run.code) == (HostResult.UNREACHABLE, "ssh-refused")


def test_silent_port_times_out(sshd: Sshd, tmp_path: Path, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        hosts = AnsibleHosts(playbooks.settings(sshd, tmp_path, folder, connect_timeout_s=1))
        run = hosts.act("echo.yml", Host("n1", "127.0.0.1", port), {"text": ""}, wall_s=60)
    assert (run.result, run.code) == (HostResult.UNREACHABLE, "ssh-timeout")


def test_unknown_host_key(sshd: Sshd, tmp_path: Path, folder: Path) -> None:
    empty = tmp_path / "known_hosts"
    empty.touch()
    hosts = AnsibleHosts(playbooks.settings(sshd, tmp_path, folder, known_hosts=empty))
    run = hosts.act("echo.yml", NODE, {"text": ""}, wall_s=60)
    assert (run.result, run.code) == (HostResult.UNREACHABLE, "host-key-unknown")
    assert empty.read_text() == ""


def test_changed_host_key(sshd: Sshd, tmp_path: Path, folder: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{sshd.port} {(tmp_path / 'other.pub').read_text()}")
    hosts = AnsibleHosts(playbooks.settings(sshd, tmp_path, folder, known_hosts=known))
    run = hosts.act("echo.yml", NODE, {"text": ""}, wall_s=60)
    assert (run.result, run.code) == (HostResult.UNREACHABLE, "host-key-changed")


def test_key_not_accepted(sshd: Sshd, tmp_path: Path, folder: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    hosts = AnsibleHosts(playbooks.settings(sshd, tmp_path, folder, private_key=tmp_path / "other"))
    run = hosts.act("echo.yml", NODE, {"text": ""}, wall_s=60)
    assert (run.result, run.code) == (HostResult.UNREACHABLE, "ssh-auth")


@contextmanager
def played_sudo(sshd: Sshd, script: str) -> Iterator[None]:
    """A `sudo` on the node that does what `script` says."""
    played = sshd.tools / "sudo"
    played.write_text(f"#!/bin/sh\n{script}\n")
    played.chmod(0o755)
    try:
        yield
    finally:
        played.unlink()


@pytest.mark.parametrize(
    ("playbook", "words", "code"),
    [
        ("nobody.yml", "sudo: a password is required", "sudo-password"),
        ("program.yml", "sudo: a password is required", "sudo-password"),
        ("program.yml", "Sorry, user ops is not allowed to execute '/bin/sh' as nobody on n1.", "sudo-refused"),
    ],
)
def test_sudo_refuses(sshd: Sshd, tmp_path: Path, folder: Path, playbook: str, words: str, code: str) -> None:
    with played_sudo(sshd, f'echo "{words}" >&2; exit 1'):
        run = AnsibleHosts(playbooks.settings(sshd, tmp_path, folder)).act(playbook, NODE, {}, wall_s=60)
    assert (run.result, run.code) == (HostResult.FAILED, code)


def test_sudo_lets_a_program_through(sshd: Sshd, tmp_path: Path, folder: Path) -> None:
    with played_sudo(sshd, 'while [ "$1" != -u ]; do shift; done; shift 2; exec "$@"'):
        run = AnsibleHosts(playbooks.settings(sshd, tmp_path, folder)).act("program.yml", NODE, {}, wall_s=60)
    assert run.result is HostResult.SUCCEEDED, run
    assert set(run.facts["documents"]) == {"links"}


@pytest.mark.parametrize("playbook", ["module.yml", "observe-node.yml"])
def test_python_missing(sshd: Sshd, tmp_path: Path, folder: Path, playbook: str) -> None:
    shutil.copy(SHIPPED / "observe-node.yml", folder)
    hosts = AnsibleHosts(playbooks.settings(sshd, tmp_path, folder, python="/usr/bin/python3.99"))
    run = hosts.act(playbook, NODE, {"probes": [], "inputs": {NODE.node: {}}}, wall_s=60)
    assert (run.result, run.code) == (HostResult.FAILED, "python-missing")


def test_broken_playbook(sshd: Sshd, tmp_path: Path, folder: Path) -> None:
    run = AnsibleHosts(playbooks.settings(sshd, tmp_path, folder)).act("broken.yml", NODE, {}, wall_s=60)
    assert (run.result, run.code) == (HostResult.FAILED, "playbook-error")
    assert "tusks" in run.message


def test_idle_time_out(sshd: Sshd, tmp_path: Path, folder: Path) -> None:
    hosts = AnsibleHosts(playbooks.settings(sshd, tmp_path, folder, idle_timeout_s=2))
    run = hosts.act("slow.yml", NODE, {}, wall_s=60)
    assert (run.result, run.code) == (HostResult.TIMED_OUT, "idle-timeout")
    assert run.duration_ms < 10_000
    assert of_folder(tmp_path) == []


def test_cancel_in_the_middle(sshd: Sshd, tmp_path: Path, folder: Path) -> None:
    cancel = Event()
    Timer(1.5, cancel.set).start()
    run = AnsibleHosts(playbooks.settings(sshd, tmp_path, folder)).act("slow.yml", NODE, {}, wall_s=60, cancel=cancel)
    assert (run.result, run.code) == (HostResult.CANCELLED, "cancelled")
    assert run.duration_ms < 10_000
    assert of_folder(tmp_path) == []


def test_a_long_run_folder_still_has_room_for_sockets(sshd: Sshd, tmp_path: Path, folder: Path) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    run = AnsibleHosts(playbooks.settings(sshd, deep, folder)).act("echo.yml", NODE, {"text": "x"}, wall_s=60)
    assert run.result is HostResult.SUCCEEDED
