"""SSH keys and allowed-signers files, made by ssh-keygen."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rollout.domain.approval import NAMESPACE


def make_key(folder: Path, name: str, kind: str = "ed25519", passphrase: str = "") -> Path:
    """A new key pair; the private file."""
    file = folder / name
    size = ("-b", "2048") if kind == "rsa" else ()
    _run("ssh-keygen", "-q", "-t", kind, *size, "-N", passphrase, "-C", name, "-f", str(file))
    return file


def public(key: Path) -> str:
    """The public half, in one line."""
    return Path(f"{key}.pub").read_text().strip()


def allow(file: Path, *rows: tuple[str, Path] | tuple[str, Path, str]) -> Path:
    """An allowed-signers file of (principals, key, options)."""
    lines = []
    for row in rows:
        principals, key, options = row if len(row) == 3 else (*row, f'namespaces="{NAMESPACE}"')
        lines.append(" ".join(word for word in (principals, options, public(key)) if word))
    file.write_text("# who may sign as whom\n" + "\n".join(lines) + "\n")
    return file


def sign(key: Path, statement: bytes, namespace: str = NAMESPACE) -> str:
    """As a person does it by hand."""
    return _run("ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", namespace, text=statement)


def revoke(file: Path, *keys: Path) -> Path:
    """A key revocation list."""
    _run("ssh-keygen", "-q", "-k", "-f", str(file), *(f"{key}.pub" for key in keys))
    return file


@dataclass(frozen=True)
class Agent:
    """A running SSH agent."""

    socket: str

    def add(self, key: Path) -> None:
        """Load a private key."""
        _run("ssh-add", "-q", str(key), env={"SSH_AUTH_SOCK": self.socket})


@contextmanager
def ssh_agent(folder: Path) -> Iterator[Agent]:
    """An agent of its own, ended with the block."""
    told = _run("ssh-agent", "-s", "-a", str(folder / "agent.sock"))
    found = re.search(r"SSH_AGENT_PID=(\d+)", told)
    assert found is not None
    try:
        yield Agent(str(folder / "agent.sock"))
    finally:
        os.kill(int(found[1]), 15)


def _run(*words: str, text: bytes = b"", env: dict[str, str] | None = None) -> str:
    return subprocess.run(
        words, input=text, capture_output=True, check=True, timeout=60, env={**os.environ, **(env or {})}
    ).stdout.decode()


def as_env(words: Sequence[tuple[str, str]] = ()) -> dict[str, str]:
    """The environment of a person without an agent."""
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **dict(words)}
