"""Signatures by OpenSSH: `ssh-keygen -Y sign` and `-Y verify` (ssh-keygen(1); allowed signers: its ALLOWED SIGNERS).

Decision: the program that is on every operator's machine. Instead of: a library, because keys live in agents, on tokens
and behind certificates, all of which ssh-keygen knows and a library would have to learn.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rollout.domain.approval import NAMESPACE, SignatureCheck
from rollout.domain.errors import Refused, Unavailable, UsageError
from rollout.domain.verdict import Status
from rollout.ports.signatures import AGENT, SIGNATURE_LIMIT

_CHECK_S = 20
_SIGN_S = 300
"""Longest time for a person to type a passphrase or touch a token."""
_GOOD = re.compile(r"with \S+ key (SHA256:[A-Za-z0-9+/=]+)\s*\Z")
_KEPT = ("HOME", "PATH", "TZ")
"""TZ: times without a zone in the allowed-signers file are local."""
_FOR_SIGNING = ("DISPLAY", "SSH_ASKPASS", "SSH_AUTH_SOCK", "SSH_SK_PROVIDER", "TERM", "WAYLAND_DISPLAY")


@dataclass(frozen=True, slots=True)
class SignatureSettings:
    """Files of the site, and whether a person sits at the terminal who can be asked for a passphrase."""

    allowed_signers: Path | None = None
    revoked_keys: Path | None = None
    """A key revocation list (ssh-keygen -k), or public keys, one a line."""
    terminal: bool = False


class SshSignatures:
    """The port `Signatures`."""

    def __init__(self, settings: SignatureSettings, env: Mapping[str, str] | None = None) -> None:
        self._settings = settings
        self._env = dict(os.environ if env is None else env)

    # --- checking ----------------------------------------------------------------------------------------------

    def check(self, statement: bytes, signature: str, signer: str, at: datetime) -> SignatureCheck:
        """Whether a key that may sign as `signer` made it. Never raises."""
        unready = self._unready()
        if unready:
            return SignatureCheck(Status.INCONCLUSIVE, why=unready)
        if len(signature) > SIGNATURE_LIMIT or not signer or "\0" in signer:
            return SignatureCheck(Status.FAIL, why="it is not a signature by anybody")
        try:
            with tempfile.TemporaryDirectory(prefix="rollout-") as folder:
                file = _private_file(Path(folder) / "signature", signature)
                return self._check(statement, file, signer, at)
        except (OSError, subprocess.SubprocessError) as error:
            return SignatureCheck(Status.INCONCLUSIVE, why=f"it could not be checked: {_words(error)}")

    def _unready(self) -> str:
        """Why nothing can be checked here; empty when it can."""
        allowed, revoked = self._settings.allowed_signers, self._settings.revoked_keys
        if allowed is None:
            return "it could not be checked: approval.allowed_signers is not configured"
        if shutil.which("ssh-keygen", path=self._env.get("PATH")) is None:
            return "it could not be checked: ssh-keygen was not found; install OpenSSH's client"
        for key, path in (("allowed_signers", allowed), ("revoked_keys", revoked)):
            if path is not None and not os.access(path, os.R_OK):
                return f"it could not be checked: cannot read {path} (approval.{key})"
        return ""

    def _check(self, statement: bytes, file: Path, signer: str, at: datetime) -> SignatureCheck:
        allowed, revoked = self._settings.allowed_signers, self._settings.revoked_keys
        when = f"-Overify-time={at.astimezone():%Y%m%d%H%M%S}"
        verify = ("-Y", "verify", "-f", str(allowed), "-I", signer, "-n", NAMESPACE, "-s", str(file), when)
        told = self._run((*verify, *(("-r", str(revoked)) if revoked else ())), statement)
        good = _GOOD.search(told.stdout.decode(errors="replace").strip())
        if told.returncode == 0 and good:
            return SignatureCheck(Status.PASS, key=good[1])
        if revoked and self._run(verify, statement).returncode == 0:
            why = f"its key is revoked, or {revoked} is damaged (approval.revoked_keys)"
            return SignatureCheck(Status.FAIL, why=why)
        return SignatureCheck(Status.FAIL, why=self._fault(statement, file, signer, when, _stderr(told)))

    def _fault(self, statement: bytes, file: Path, signer: str, when: str, told: str) -> str:
        """Why a signature is not accepted, for people: `ssh-keygen` itself says little."""
        sound = self._run(("-Y", "check-novalidate", "-n", NAMESPACE, "-s", str(file)), statement)
        said = _stderr(sound)
        if sound.returncode != 0:
            if "namespace" in said:
                return f"it was made for another purpose (its namespace is not {NAMESPACE})"
            if "incorrect signature" in said:
                return "it is over another text: digest, name, ticket or expiry are not those that were signed"
            return f"it is not an SSH signature ({said or 'no reason given'})"
        key = _GOOD.search(sound.stdout.decode(errors="replace").strip())
        shown = key[1] if key else "its key"
        allowed = self._settings.allowed_signers
        found = self._run(("-Y", "find-principals", "-f", str(allowed), "-s", str(file), when), b"")
        names = found.stdout.decode(errors="replace").split()
        if names and signer not in names:
            return f"{shown} is the key of {', '.join(names)}, not of {signer}"
        reason = re.sub(r"^\S+?:(\d+): ", r"line \1: ", told)
        if reason and reason != "Could not verify signature.":
            return f"{shown} may not sign as {signer} by {allowed}, {reason}"
        return f"{shown} is not listed for {signer} in {allowed}"

    # --- signing -----------------------------------------------------------------------------------------------

    def sign(self, statement: bytes, key: str, signer: str) -> str:
        """A signature over `statement`, armoured."""
        with tempfile.TemporaryDirectory(prefix="rollout-") as folder:
            if key == AGENT:
                file = _private_file(Path(folder) / "key.pub", self._agent_key(signer) + "\n")
            else:
                file = Path(key).expanduser()
            if not file.is_file():
                raise UsageError(
                    "signing-key", f"cannot sign: there is no key {key}", hint="name a key file: --key FILE"
                )
            try:
                told = self._run(("-Y", "sign", "-f", str(file), "-n", NAMESPACE), statement, signing=True)
            except FileNotFoundError as error:
                raise _no_program("ssh-keygen") from error
            except subprocess.TimeoutExpired as error:
                raise Unavailable(
                    "signing-timeout",
                    f"cannot sign: ssh-keygen did not end within {error.timeout:.0f} s",
                    hint="try again",
                ) from error
        signature = told.stdout.decode(errors="replace")
        if told.returncode != 0 or "BEGIN SSH SIGNATURE" not in signature:
            raise self._not_signed(key, _stderr(told))
        return signature

    def _not_signed(self, key: str, said: str) -> Refused | UsageError:
        if "passphrase" in said or "incorrect passphrase" in said:
            return Refused(
                "signing-locked",
                f"cannot sign: the key {key} asks for a passphrase"
                + ("" if self._settings.terminal else " and there is no terminal to ask on"),
                hint="load it into an agent: ssh-add FILE, then --key agent",
            )
        if "private key" in said.lower():
            return UsageError(
                "signing-key",
                f"cannot sign: the private key of {key} is neither beside it nor in the agent, or others may read it",
                hint="see: ssh-add -l; a private key must be readable by its owner only",
            )
        return Refused("signing-failed", f"cannot sign with {key}: {said or 'no reason given'}", hint="see: ssh-add -l")

    def _agent_key(self, signer: str) -> str:
        """The public key of the agent that fits: the only one, or the only one listed (for `signer`)."""
        try:
            told = self._run(("-L",), b"", program="ssh-add", signing=True, wall_s=_CHECK_S)
        except FileNotFoundError as error:
            raise _no_program("ssh-add") from error
        except subprocess.TimeoutExpired as error:
            raise Unavailable("agent-silent", "cannot sign: the SSH agent is silent", hint="ssh-add -l") from error
        keys = [line for line in told.stdout.decode(errors="replace").splitlines() if len(line.split()) > 1]
        if told.returncode != 0 or not keys:
            raise UsageError(
                "signing-key", "cannot sign: there is no SSH agent with a key", hint="ssh-add, or --key FILE"
            )
        fitting = self._listed(keys, "") if len(keys) > 1 else keys
        fitting = self._listed(fitting, signer) if len(fitting) > 1 else fitting
        if len(fitting) != 1:
            names = ", ".join(" ".join(line.split()[2:]) or line.split()[0] for line in fitting or keys)
            raise UsageError(
                "signing-key",
                f"cannot sign: it cannot be told which of the agent's keys is {signer}'s: {names}",
                hint="name its public half: --key FILE.pub",
            )
        return fitting[0]

    def _listed(self, keys: Sequence[str], signer: str) -> list[str]:
        """Keys of the allowed-signers file; with `signer` only those on lines that name them."""
        allowed = self._settings.allowed_signers
        try:
            lines = allowed.read_text(encoding="utf-8").splitlines() if allowed else []
        except (OSError, UnicodeDecodeError):
            return []
        rows = [line.split() for line in lines if line.strip() and not line.lstrip().startswith("#")]
        mine = [row for row in rows if not signer or signer in row[0].strip('"').split(",")]
        blobs = {word for row in mine for word in row[1:]}
        return [key for key in keys if key.split()[1] in blobs]

    # --- the program -------------------------------------------------------------------------------------------

    def _run(
        self,
        arguments: Sequence[str],
        text: bytes,
        *,
        program: str = "ssh-keygen",
        signing: bool = False,
        wall_s: int | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """One run in a clean environment. Away from the terminal unless a person at it may be asked."""
        asks = signing and self._settings.terminal
        names = (*_KEPT, *_FOR_SIGNING) if signing else _KEPT
        env = {name: self._env[name] for name in names if name in self._env} | {"LC_ALL": "C"}
        if not asks:
            env["SSH_ASKPASS_REQUIRE"] = "never"
        found = shutil.which(program, path=env.get("PATH"))
        if found is None:
            raise FileNotFoundError(program)
        return subprocess.run(
            [found, *arguments],
            input=text,
            capture_output=True,
            env=env,
            timeout=wall_s or (_SIGN_S if asks else _CHECK_S),
            start_new_session=not asks,
            check=False,
        )


def _private_file(path: Path, text: str) -> Path:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)
    return path


def _stderr(told: subprocess.CompletedProcess[bytes]) -> str:
    """What it said, in one line."""
    lines = [line.strip() for line in told.stderr.decode(errors="replace").splitlines()]
    return "; ".join(line for line in lines if line and not line.startswith("Signing data"))


def _words(error: Exception) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return f"ssh-keygen did not answer within {_CHECK_S} s"
    return str(error) or type(error).__name__


def _no_program(name: str) -> Unavailable:
    return Unavailable("no-ssh-keygen", f"cannot sign: {name} was not found", hint="install OpenSSH's client")
