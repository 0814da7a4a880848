"""Runs the programs that build an image, each as a named step with its own log file."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rollout.lab.image.errors import ImageError

Report = Callable[[str], None]
# Program: the Debian package that has it.
PROGRAMS = {
    "apt-get": "apt",
    "chroot": "coreutils",
    "cpio": "cpio",
    "dpkg-deb": "dpkg",
    "mke2fs": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
    "qemu-system-x86_64": "qemu-system-x86",
    "setpriv": "util-linux",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "zstd": "zstd",
}
# mke2fs, chroot and ip live there, and the PATH of a plain user, of cron and of some CI runners lacks it.
SYSTEM_PATH = ":".join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


@dataclass(frozen=True)
class Steps:
    """Runs named steps; `logs` is the folder for their logs, `report` gets one line per step."""

    logs: Path
    report: Report

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Report the step's title and, at its end, how long it took."""
        self.report(f"image: {title} ...")
        begin = time.monotonic()
        yield
        self.report(f"image: {title}: {time.monotonic() - begin:.1f} s")

    def run(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        advice: str,
        folder: Path | None = None,
        settings: Mapping[str, str] | None = None,
        stdin: str | None = None,
    ) -> str:
        """Run `command`, logging to `<logs>/<name>.log`, and return its output.

        Raises ImageError naming the step, its log and `advice` if the command fails or is missing.
        """
        log = self.logs / f"{name}.log"
        words = [str(word) for word in command]
        environment = {**os.environ, "PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8", **(settings or {})}
        try:
            done = subprocess.run(
                words,
                cwd=folder,
                env=environment,
                input=stdin,
                capture_output=True,
                text=True,
                check=False,
                errors="replace",
            )
        except OSError as cause:
            raise ImageError(
                f"cannot build the lab image: step {name}: cannot start {words[0]}: {cause}; {advice}"
            ) from cause
        with log.open("a") as output:
            output.write(f"$ {' '.join(words)}\n{done.stdout}{done.stderr}[status {done.returncode}]\n")
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
            raise ImageError(
                f"cannot build the lab image: step {name} failed with status {done.returncode}: "
                f"{' | '.join(last)}; log: {log}; {advice}"
            )
        return done.stdout


def missing_programs() -> dict[str, str]:
    """Programs that the lab needs and this machine lacks, each with its Debian package."""
    return {name: package for name, package in PROGRAMS.items() if shutil.which(name, path=SYSTEM_PATH) is None}


def require_programs() -> None:
    """Raise ImageError if this machine cannot build or run the lab's machines."""
    missing = missing_programs()
    if missing:
        packages = " ".join(sorted(set(missing.values())))
        raise ImageError(
            f"cannot build the lab image: programs missing: {', '.join(sorted(missing))}; "
            f"on Debian: apt-get install --no-install-recommends {packages}"
        )
    if os.geteuid() != 0:
        raise ImageError("cannot build the lab image: it needs root (mmdebstrap, network namespaces); run it as root")
