"""How machines are reached, and where runs are kept."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from rollout.domain.errors import UsageError

_USER = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.-]{0,63}\$?")
_PLAIN_PATH = re.compile(r"[^\n\r\"'\\;#$`{}]+")
_FORBIDDEN_SSH = ("stricthostkeychecking", "userknownhostsfile", "globalknownhostsfile", "batchmode", "nohostauth")
_HINT = "correct the sections `ssh` and `hooks` of the configuration"


@dataclass(frozen=True, slots=True)
class HostsSettings:
    """Settings of the Ansible adapter. `check` says whether they can be used at all.

    There is no password in here: keys log in, and sudo must not ask (`NOPASSWD`). Host keys are always checked.
    """

    run_dir: Path
    """Runs are kept below it, private, and pruned."""
    playbooks: Path
    known_hosts: Path
    """OpenSSH known_hosts with the nodes' keys, by the address that is connected to."""
    user: str = "root"
    port: int = 22
    private_key: Path | None = None
    """None: the keys of the SSH agent."""
    become: bool = True
    python: str = "/usr/bin/python3"
    """Python on the nodes, 3.9 or newer."""
    forks: int = 25
    connect_timeout_s: int = 15
    idle_timeout_s: int = 0
    """Stop a run that has reported nothing for so long; 0: only the wall time counts."""
    extra_ssh_args: tuple[str, ...] = ()
    """More arguments for ssh, e.g. ("-o", "ProxyJump=bastion"). They cannot replace the checks of host keys."""
    before_node: Path | None = None
    """The operator's playbook to run before each node; None: the empty one that ships."""
    after_node: Path | None = None
    keep_runs: int = 200
    keep_days: int = 14

    def check(self, *, ssh: bool = True) -> None:
        """Raise `UsageError` for the first setting that cannot be used; without `ssh`, keys may be missing."""
        self._check_values()
        self._check_files()
        if ssh:
            self._check_keys()

    def _check_values(self) -> None:
        if not _USER.fullmatch(self.user):
            raise _unusable("ssh-user", f"{self.user!r} is not a user name")
        if not 0 < self.port < 65536:
            raise _unusable("ssh-port", f"{self.port} is not a port")
        if not self.python.startswith("/") or not _PLAIN_PATH.fullmatch(self.python):
            raise _unusable("python-path", f"{self.python!r} is not an absolute path")
        if self.forks < 1 or self.connect_timeout_s < 1:
            raise _unusable("ssh-limits", "forks and the connect time-out must be at least 1")
        joined = "".join(self.extra_ssh_args).lower()
        for option in _FORBIDDEN_SSH:
            if option in joined:
                raise _unusable("ssh-args", f"extra arguments may not set {option}: host keys are always checked")

    def _check_files(self) -> None:
        paths = (self.run_dir, self.playbooks, self.known_hosts, self.private_key)
        for path in (one for one in paths if one is not None):
            if not _PLAIN_PATH.fullmatch(str(path)):
                raise _unusable("path", f"{str(path)!r} has characters that Ansible's configuration cannot hold")
        for hook in (self.before_node, self.after_node):
            if hook is not None and not os.access(hook, os.R_OK):
                raise _unusable("hook-missing", f"the hook {hook} is not readable")
        if not self.playbooks.is_dir():
            raise _unusable("playbooks-missing", f"there is no folder {self.playbooks}")

    def _check_keys(self) -> None:
        if not os.access(self.known_hosts, os.R_OK):
            raise UsageError(
                "known-hosts-missing",
                f"cannot use SSH: the known_hosts file {self.known_hosts} is not readable",
                hint="collect the nodes' keys from a trusted source (cloud console, ssh-keyscan on a trusted network)",
            )
        if self.private_key is not None:
            self._check_key(self.private_key)

    def _check_key(self, key: Path) -> None:
        if not os.access(key, os.R_OK):
            raise _unusable("ssh-key-missing", f"the private key {key} is not readable")
        status = key.stat()
        if status.st_uid == os.getuid() and status.st_mode & 0o077:
            raise UsageError(
                "ssh-key-open",
                f"cannot use SSH: others may read the private key {key}, and ssh refuses it",
                hint=f"chmod 600 {key}",
            )


def _unusable(code: str, reason: str) -> UsageError:
    return UsageError(code, f"cannot use SSH: {reason}", hint=_HINT)
