"""Small playbooks for tests."""

from __future__ import annotations

from pathlib import Path

from rollout.adapters.ansible.settings import HostsSettings
from tests.support.sshd import Sshd

_TEXTS = {
    "echo.yml": """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.raw: "true"
    - ansible.builtin.set_stats: {per_host: true, data: {said: "{{ text }}"}}
""",
    "fail.yml": """
- hosts: all
  gather_facts: false
  tasks:
    - name: Refuse
      ansible.builtin.fail: {msg: no such luck}
""",
    "slow.yml": """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.raw: sleep 20
""",
    "hooks/before-node.yml": "- {hosts: all, tasks: []}\n",
    "hooks/after-node.yml": "- {hosts: all, tasks: []}\n",
}


def write(folder: Path, **more: str) -> Path:
    """A folder of playbooks: the common ones, and `more` by name without the ending."""
    for name, text in {**_TEXTS, **{f"{name}.yml": text for name, text in more.items()}}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def settings(sshd: Sshd, folder: Path, playbooks: Path, **others: object) -> HostsSettings:
    """Settings that reach `sshd`."""
    given: dict[str, object] = {
        "run_dir": folder / "runs", "playbooks": playbooks, "known_hosts": sshd.known_hosts, "user": sshd.user,
        "port": sshd.port, "private_key": sshd.key, "python": "/usr/bin/python3", **others,
    }  # fmt: skip
    return HostsSettings(**given)  # type: ignore[arg-type]
