"""The template: a guest booted and warmed up once and saved; every machine of the lab starts from it in a second.

Rules: the template never reads its boot ID: the kernel draws that at the first read, and all machines would share it.
Its clock rate is baked in, so a template is good for one boot of one host. It has no seed: a machine gets that later.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rollout.lab.clock_rate import measure_tsc_khz
from rollout.lab.image import Image
from rollout.lab.image.build import locked
from rollout.lab.machine import POLL_S, QEMU, Machine, MachineError, MachineSpec, qemu_command
from rollout.lab.network import LabNetwork, free_port

Report = Callable[[str], None]
# What every machine does on its way up, done once so that its pages are in memory.
OWN_WARM_UP = ("lab-node status || true", "sudo -u ops sudo -n true", "/usr/lib/openssh/sftp-server </dev/null")
# Free memory still holds old contents, which would be saved and restored with the rest. Pages of zeros cost nothing.
CLEAR_FREE_MEMORY = "dd if=/dev/zero of=/dev/shm/zeros bs=1M 2>/dev/null; rm -f /dev/shm/zeros"
WARM_UP_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Template:
    """A saved guest in the cache: its state and the clock rate (kHz) that it believes in."""

    folder: Path
    key: str

    @property
    def state(self) -> Path:
        """Compressed state, for QEMU's -incoming."""
        return self.folder / "state.zst"

    @property
    def tsc_khz(self) -> int:
        return int((self.folder / "tsc-khz").read_text())


def ensure_template(
    image: Image, cache_dir: Path, warm_up: Sequence[str], report: Report, memory_mib: int = 512
) -> Template:
    """The template of `image` after the shell commands `warm_up`, made first if the cache lacks it (15 s and more).

    Raises MachineError naming the warm-up command that failed and its output.
    """
    host = host_boot()
    key = template_key(image, warm_up, qemu_version(), memory_mib)
    template = Template(cache_dir / "templates" / f"{host}-{key}", key)
    if template.folder.is_dir():
        return template
    template.folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(template.folder.with_suffix(".lock"), report):
        if not template.folder.is_dir():
            remove_outdated(template.folder.parent, host)
            make_template(image, template.folder, warm_up, memory_mib, report)
    return template


def host_boot() -> str:
    """Short name of this host's present boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]


def qemu_version() -> str:
    """First line of QEMU's --version: a state is good for one version only."""
    return subprocess.run([QEMU, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]


def template_key(image: Image, warm_up: Sequence[str], version: str, memory_mib: int) -> str:
    """Digest of everything that a state depends on, beside the boot of the host."""
    spec = MachineSpec("template", 1, 1, 1, memory_mib=memory_mib)
    machine = qemu_command(image, spec, Path("run"), 0, 0, 0)
    total = hashlib.sha256()
    for part in (image.digest, version, *machine, "warm-up", CLEAR_FREE_MEMORY, *OWN_WARM_UP, *warm_up):
        total.update(part.encode() + b"\0")
    return total.hexdigest()[:16]


def remove_outdated(folder: Path, host: str) -> None:
    """Remove templates of earlier boots of this host: their clock rate does not hold any more."""
    for path in folder.iterdir():
        if not path.name.startswith(f"{host}-"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def make_template(image: Image, target: Path, warm_up: Sequence[str], memory_mib: int, report: Report) -> None:
    """Boot, warm up and save a guest, then move the result to `target` in one go."""
    begin = time.monotonic()
    report("template: booting a machine ...")
    work = Path(tempfile.mkdtemp(prefix=f"{target.name}.", suffix=".partial", dir=target.parent))
    # The machines' data link is a tap, and a state only fits a machine with the same kinds of devices.
    network = LabNetwork.create(f"lab-template-{os.getpid()}")
    machine: Machine | None = None
    try:
        tsc_khz = measure_tsc_khz()
        (work / "tsc-khz").write_text(f"{tsc_khz}\n")
        spec = MachineSpec("template", 1, free_port(), free_port(), memory_mib=memory_mib)
        machine = Machine.boot(image, spec, network.tap(1), work / "run", tsc_khz)
        machine.wait_ssh(120.0)
        for command in (*OWN_WARM_UP, *warm_up):
            run_warm_up(machine, command, report)
        machine.ssh(["sh", "-c", CLEAR_FREE_MEMORY])
        save(machine, work / "state.zst")
        machine.stop()
        shutil.rmtree(work / "run")
        work.rename(target)
    finally:
        if machine is not None:
            machine.stop()
        network.delete()
        shutil.rmtree(work, ignore_errors=True)
    report(f"template: ready in {time.monotonic() - begin:.0f} s")


def run_warm_up(machine: Machine, command: str, report: Report) -> None:
    """Run one shell command as root in the template. Raises MachineError with its output if it fails."""
    begin = time.monotonic()
    done = machine.ssh(["sh", "-c", command], timeout_s=WARM_UP_TIMEOUT_S)
    if done.returncode:
        raise MachineError(
            f"cannot warm up the template: `{command}` failed with status {done.returncode}: {done.stderr.strip()}"
        )
    report(f"template: {command.splitlines()[0][:60]}: {time.monotonic() - begin:.1f} s")


def save(machine: Machine, target: Path, timeout_s: float = 60.0) -> None:
    """Stop the guest and write its state to `target`. Raises MachineError."""
    deadline = time.monotonic() + timeout_s
    machine.monitor.execute("stop")
    # QEMU slows a migration down to spare a network; this one goes to a file.
    machine.monitor.execute("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
    machine.monitor.execute("migrate", uri=f"exec:zstd -q -1 > {shlex.quote(str(target))}")
    while (status := machine.monitor.execute("query-migrate").get("status")) != "completed":
        if status in ("failed", "cancelled") or time.monotonic() > deadline:
            raise MachineError(
                f"cannot save the template to {target}: migration is {status}; check the free space there"
            )
        time.sleep(POLL_S)
    # The pipe's other end: zstd may still be writing when QEMU is done.
    machine.monitor.execute("quit")
    machine.process.wait(timeout_s)
