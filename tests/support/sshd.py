"""A real sshd on a loopback port, for tests of what goes over SSH.

Installs nothing: without an sshd (Debian's openssh-server) the tests are skipped, and say so.
`SSHD` in the environment names one elsewhere.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_START_SECONDS = 10


@dataclass(frozen=True)
class Sshd:
    """Where it listens and what logs in there."""

    port: int
    user: str
    key: Path
    known_hosts: Path
    tools: Path
    """Folder in front of the remote PATH: put a `sudo` there to play one."""

    @property
    def pid(self) -> int:
        """Process id of the listening sshd."""
        return int((self.key.parent / "sshd.pid").read_text())


@pytest.fixture(scope="session", name="sshd")
def sshd_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """One sshd for the whole session."""
    with serving(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Sshd]:
    """An sshd for the current user, with keys of its own, until the block ends."""
    program = _program()
    folder.chmod(0o700)
    for name in ("host_key", "key"):
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(folder / name))
    shutil.copy(folder / "key.pub", folder / "authorized_keys")
    tools = folder / "tools"
    tools.mkdir()
    port = free_port()
    (folder / "sshd_config").write_text(_configuration(folder, port, tools))
    public = (folder / "host_key.pub").read_text().strip()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port},[127.0.0.2]:{port},[127.0.0.3]:{port} {public}\n")
    with contextlib.suppress(PermissionError):
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    command = [program, "-D", "-f", str(folder / "sshd_config"), "-E", str(folder / "sshd.log")]
    process = subprocess.Popen(command)
    try:
        _await_port(process, port, folder)
        yield Sshd(port, getpass.getuser(), folder / "key", folder / "known_hosts", tools)
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    """A loopback port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _program() -> str:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    found = os.environ.get("SSHD") or shutil.which("sshd", path=path)
    if not found or not shutil.which("ssh"):
        pytest.skip("no sshd here: install openssh-server (it need not be started)")
    return found


def _configuration(folder: Path, port: int, tools: Path) -> str:
    return f"""
Port {port}
ListenAddress 127.0.0.1
ListenAddress 127.0.0.2
ListenAddress 127.0.0.3
HostKey {folder}/host_key
PidFile {folder}/sshd.pid
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
MaxStartups 100
MaxSessions 100
Subsystem sftp internal-sftp
SetEnv PATH={tools}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
"""


def _await_port(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    log = folder / "sshd.log"
    pytest.skip(f"sshd does not start here: {log.read_text()[-500:] if log.exists() else 'no log'}")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
