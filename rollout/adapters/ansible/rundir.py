"""What one run finds on disk: its Ansible configuration, host list and variables, in a private folder.

Decision: variables are YAML in which every text is tagged `!unsafe`. ansible-core 2.19 trusts whatever comes from a
vars file as a template, so an untagged label value `{{ lookup('pipe', ...) }}` would be run on our machine.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import json
import os
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rollout.adapters.ansible.settings import HostsSettings
from rollout.domain.errors import UsageError
from rollout.domain.node import is_object_name
from rollout.ports.hosts import Host

_KEPT_ENVIRONMENT = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "SSH_AUTH_SOCK", "KRB5CCNAME", "XDG_RUNTIME_DIR"}
)
_PACKAGE_ROOT = Path(__file__).resolve().parents[3]
_PLUGINS = Path(__file__).resolve().parent / "plugins" / "action"
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_HOST_NAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9.-]{0,251}[a-zA-Z0-9])?")
_LONGEST_SOCKET_PATH = 100
_CONTROL_NAME = 40 + 18
"""Length of ssh's %C, a slash, and what ssh appends while it binds."""


@contextlib.contextmanager
def opened(settings: HostsSettings, label: str) -> Iterator[Path]:
    """A fresh private folder for one run, locked while in use; older ones are pruned afterwards."""
    root = settings.run_dir
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        root.chmod(0o700)
        folder = Path(tempfile.mkdtemp(prefix=f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{label}-", dir=root))
    except OSError as error:
        text = f"cannot keep runs in {root}: {error.strerror}"
        raise UsageError("run-dir", text, hint="set `hosts.run_dir` to a folder of yours") from error
    with (folder / "lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
    prune(settings)


def prune(settings: HostsSettings) -> None:
    """Remove runs beyond the last `keep_runs`, and those older than `keep_days`; never one in use."""
    oldest = time.time() - settings.keep_days * 86400
    names = sorted((one.name for one in settings.run_dir.iterdir() if (one / "lock").exists()), reverse=True)
    for position, name in enumerate(names):
        folder = settings.run_dir / name
        with contextlib.suppress(OSError):
            if position < settings.keep_runs and folder.stat().st_mtime >= oldest:
                continue
            with (folder / "lock").open(encoding="utf-8") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)


@contextlib.contextmanager
def control_dir(folder: Path) -> Iterator[Path]:
    """Where the run's SSH control sockets live: in the run's folder when their path stays short enough for a socket.

    The executor removes it as well, for the case that we are killed.
    """
    control = folder / "cp"
    if len(str(control)) + _CONTROL_NAME <= _LONGEST_SOCKET_PATH:
        control.mkdir(mode=0o700)
    else:
        control = Path(tempfile.mkdtemp(prefix="nkr-", dir="/tmp"))
    try:
        yield control
    finally:
        shutil.rmtree(control, ignore_errors=True)


def write(
    settings: HostsSettings, folder: Path, control: Path, hosts: Sequence[Host], variables: Mapping[str, Any]
) -> None:
    """Write configuration, host list and variables."""
    (folder / "ansible.cfg").write_text(_configuration(settings, folder, control), encoding="utf-8")
    (folder / "hosts.json").write_text(json.dumps(_host_list(settings, hosts)), encoding="utf-8")
    (folder / "vars.yml").write_text(unsafe_yaml(variables), encoding="utf-8")


def arguments(settings: HostsSettings, folder: Path, playbook: Path, hosts: int) -> list[str]:
    """The command line of ansible-playbook."""
    return ["-i", str(folder / "hosts.json"), "-e", f"@{folder / 'vars.yml'}",
            "-f", str(min(settings.forks, hosts)), str(playbook)]  # fmt: skip


def environment(folder: Path) -> dict[str, str]:
    """Our own environment by an allow-list, and where Ansible finds its configuration. Nothing secret goes along."""
    kept = {key: value for key, value in os.environ.items() if key in _KEPT_ENVIRONMENT}
    return {
        **kept,
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": str(_PACKAGE_ROOT),
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        # ansible-runner turns this off in the environment unless it is set there.
        "ANSIBLE_HOST_KEY_CHECKING": "True",
    }


def _configuration(settings: HostsSettings, folder: Path, control: Path) -> str:
    common = [
        "-o", "BatchMode=yes",
        "-o", "StrictHostKeyChecking=yes",
        "-o", f"UserKnownHostsFile={settings.known_hosts}",
        "-o", "UpdateHostKeys=no",
        "-o", "ForwardAgent=no",
        "-o", "ServerAliveInterval=10",
        "-o", "ServerAliveCountMax=6",
        "-o", "ControlMaster=auto",
        "-o", "ControlPersist=60s",
    ]  # fmt: skip
    if settings.private_key is not None:
        common += ["-o", "IdentitiesOnly=yes"]
    # ssh takes the first value it is given, so ours come before anything that is added.
    sections: dict[str, dict[str, object]] = {
        "defaults": {
            "home": folder / "ansible",
            "local_tmp": folder / "tmp",
            "action_plugins": _PLUGINS,
            "host_key_checking": True,
            "gathering": "explicit",
            "retry_files_enabled": False,
            "nocows": True,
            "nocolor": True,
            "deprecation_warnings": False,
            "devel_warning": False,
            "localhost_warning": False,
            "interpreter_python": settings.python,
            "remote_user": settings.user,
            "private_key_file": settings.private_key or "",
            "timeout": settings.connect_timeout_s,
            "forks": settings.forks,
            "callbacks_enabled": "",
            "error_on_undefined_vars": True,
            "display_skipped_hosts": False,
        },
        "inventory": {"enable_plugins": "yaml"},
        "privilege_escalation": {"become_method": "sudo", "become_ask_pass": False},
        "ssh_connection": {
            "pipelining": True,
            "ssh_args": shlex.join(common),
            "ssh_extra_args": shlex.join(settings.extra_ssh_args),
            "control_path_dir": control,
            "control_path": "%(directory)s/%%C",
            "usetty": False,
            "retries": 0,
        },
    }
    lines = []
    for section, options in sections.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {value}" for key, value in options.items() if value != ""]
    return "\n".join(lines) + "\n"


def _host_list(settings: HostsSettings, hosts: Sequence[Host]) -> dict[str, Any]:
    listed = {}
    for host in hosts:
        if not is_object_name(host.node):
            raise UsageError("node-name", f"cannot run on {host.node!r}: this is not a node's name")
        if not _is_address(host.address):
            text = f"cannot run on {host.node}: {host.address!r} is neither an address nor a host name"
            raise UsageError("node-address", text, hint="give the node's address in the configuration's mapping")
        listed[host.node] = {
            "ansible_host": host.address,
            "ansible_port": host.port or settings.port,
            "node": host.node,
        }
    common = {"ansible_become": settings.become, "ansible_python_interpreter": settings.python}
    return {"all": {"hosts": listed, "vars": common}}


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return _HOST_NAME.fullmatch(text) is not None
    return True


def unsafe_yaml(variables: Mapping[str, Any]) -> str:
    """Variables as YAML in which no text is a template."""
    for name in variables:
        if not _NAME.fullmatch(name) or name.startswith("ansible_"):
            raise UsageError("variable-name", f"cannot pass the variable {name!r} to a playbook: not a name of ours")
    return _yaml(variables) + "\n"


def _yaml(value: Any) -> str:
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_quoted(str(key))}: {_yaml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return "[" + ", ".join(_yaml(one) for one in value) + "]"
    return "!unsafe " + _quoted(str(value))


def _quoted(text: str) -> str:
    """A double-quoted YAML scalar; everything beyond plain ASCII is escaped."""
    return '"' + "".join(_escaped(letter) for letter in text) + '"'


def _escaped(letter: str) -> str:
    if letter in '"\\':
        return "\\" + letter
    return letter if " " <= letter <= "~" else f"\\U{ord(letter):08x}"
