"""What a run finds on disk, and what is left of it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml

from rollout.adapters.ansible import rundir
from rollout.adapters.ansible.hosts import AnsibleHosts
from rollout.domain.errors import UsageError
from rollout.ports.hosts import Host, HostResult
from tests.support import playbooks
from tests.support.sshd import Sshd

NODE = Host("n1", "127.0.0.1")
TRAP = "{{ lookup('pipe', 'touch %s') }}"

LABELS = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.raw: "true"
      name: "label {{ labels.zone }}"
    - ansible.builtin.set_stats: {per_host: true, data: {seen: "{{ labels.zone }}", asked: "{{ {'a': labels} }}"}}
"""
ENVIRONMENT = """
- hosts: all
  gather_facts: false
  connection: local
  tasks:
    - ansible.builtin.command: env
      register: found
    - ansible.builtin.set_stats: {per_host: true, data: {env: "{{ found.stdout_lines }}"}}
"""


class Tagged(yaml.SafeLoader):
    pass


Tagged.add_constructor("!unsafe", lambda _, node: ("unsafe", node.value))


def test_every_text_is_marked_unsafe() -> None:
    text = 'a{{ b }}"\\\n\x07\x85\u2028é\U0001f600'
    written = rundir.unsafe_yaml({"a": {"k": [text, 1, True, None, 0.5]}, "b": ()})
    assert yaml.load(written, Tagged) == {"a": {"k": [("unsafe", text), 1, True, None, 0.5]}, "b": []}


@pytest.mark.parametrize("name", ["ansible_become", "a-b", "", "1a", "{{ x }}"])
def test_variable_names(name: str) -> None:
    with pytest.raises(UsageError):
        rundir.unsafe_yaml({name: 1})


def test_a_label_value_is_not_run(sshd: Sshd, tmp_path: Path) -> None:
    value = TRAP % (tmp_path / "sprung")
    folder = playbooks.write(tmp_path / "playbooks", labels=LABELS)
    hosts = AnsibleHosts(playbooks.settings(sshd, tmp_path, folder))
    run = hosts.act("labels.yml", NODE, {"labels": {"zone": value}}, wall_s=60)
    assert run.result is HostResult.SUCCEEDED
    assert run.facts["seen"] == value
    assert run.facts["asked"] == {"a": {"zone": value}}
    assert not (tmp_path / "sprung").exists()


def test_addresses(sshd: Sshd, tmp_path: Path) -> None:
    hosts = AnsibleHosts(playbooks.settings(sshd, tmp_path, playbooks.write(tmp_path / "playbooks")))
    with pytest.raises(UsageError, match="neither an address"):
        hosts.act("echo.yml", Host("n1", "127.0.0.1 -oProxyCommand=id"), {"text": ""}, wall_s=60)


def test_our_environment_stays_with_us(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "hunter2")
    monkeypatch.setenv("ANSIBLE_HOST_KEY_CHECKING", "False")
    folder = playbooks.write(tmp_path / "playbooks", environment=ENVIRONMENT)
    run = AnsibleHosts(playbooks.settings(sshd, tmp_path, folder)).act("environment.yml", NODE, {}, wall_s=60)
    assert run.result is HostResult.SUCCEEDED, run
    assert "ANSIBLE_HOST_KEY_CHECKING=True" in run.facts["env"]
    assert not any("hunter2" in line for line in run.facts["env"])
    kept = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert not any(b"hunter2" in path.read_bytes() for path in kept)
    assert not any(path.name == "command" for path in kept)


def test_folders_are_private_and_pruned(sshd: Sshd, tmp_path: Path) -> None:
    folder = playbooks.write(tmp_path / "playbooks")
    hosts = AnsibleHosts(playbooks.settings(sshd, tmp_path, folder, keep_runs=2))
    for _ in range(3):
        hosts.act("hooks/before-node.yml", NODE, {}, wall_s=60)
    runs = list((tmp_path / "runs").iterdir())
    assert len(runs) == 2
    assert {stat.S_IMODE(one.stat().st_mode) for one in (tmp_path / "runs", *runs)} == {0o700}


def test_a_run_in_use_is_not_pruned(sshd: Sshd, tmp_path: Path) -> None:
    settings = playbooks.settings(sshd, tmp_path, playbooks.write(tmp_path / "playbooks"), keep_runs=0)
    with rundir.opened(settings, "one") as folder:
        rundir.prune(settings)
        assert folder.exists()
    assert not folder.exists()


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ({"known_hosts": Path("/nonexistent")}, "known_hosts"),
        ({"private_key": Path("/nonexistent")}, "private key"),
        ({"user": "root; id"}, "user name"),
        ({"port": 0}, "port"),
        ({"python": "python3"}, "absolute path"),
        ({"extra_ssh_args": ("-o", "StrictHostKeyChecking=no")}, "host keys are always checked"),
        ({"before_node": Path("/nonexistent")}, "hook"),
        ({"run_dir": Path("/tmp/a\nb")}, "characters"),
    ],
)
def test_settings_that_cannot_be_used(sshd: Sshd, tmp_path: Path, others: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        AnsibleHosts(playbooks.settings(sshd, tmp_path, playbooks.write(tmp_path / "playbooks"), **others))


def test_hooks_can_be_replaced(sshd: Sshd, tmp_path: Path) -> None:
    folder = playbooks.write(tmp_path / "playbooks")
    own = tmp_path / "own.yml"
    own.write_text("- hosts: all\n  vars: {a: !unsafe '{{'}\n  tasks: [{debug: {msg: hi}}]\n")
    shipped = AnsibleHosts(playbooks.settings(sshd, tmp_path, folder))
    replaced = AnsibleHosts(playbooks.settings(sshd, tmp_path, folder, before_node=own))
    assert shipped.hooks()["before-node"][1]
    assert not replaced.hooks()["before-node"][1]
    assert replaced.hooks()["after-node"] == shipped.hooks()["after-node"]
    assert replaced.playbook_digests()["hooks/before-node.yml"] == replaced.hooks()["before-node"][0]
