"""One virtual machine of the lab: a QEMU process, its console, its monitor, and SSH into it.

Decision: QEMU's emulator (TCG), not KVM: it runs in any CI. Two faults of it are designed around: without `-cx16`
guests crash now and then, and the clock rate must be told to the guest (see clock_rate). `-la57` saves a page-table
level.
Decision: no `-no-reboot`: a reboot of the guest is real and stays inside the same process. A panic therefore must not
reboot (`panic=0`); it is found on the console.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rollout.lab.clock_rate import measure_tsc_khz
from rollout.lab.image import Image
from rollout.lab.network import greets, machine_mac

QEMU = "qemu-system-x86_64"
SEED_BYTES = 8 << 20
PANIC = re.compile(r"Kernel panic - not syncing: ?(?P<reason>[^\r\n]*)")
# norandmaps: with libraries at ever new addresses QEMU translates every program anew: a login takes 2.4 times as long.
KERNEL_OPTIONS = (
    "console=ttyS0 quiet loglevel=4 mitigations=off nokaslr no_timer_check random.trust_cpu=on net.ifnames=0 "
    "panic=0 oops=panic norandmaps init_on_alloc=0 tsc=reliable clocksource=tsc"
)
# MiB of translated code that QEMU keeps at most. With 96 it was thrown away in every compile of an eBPF program.
TRANSLATION_CACHE_MIB = 512
POLL_S = 0.02
SSH_RETRY_S, FIRST_BANNER_S = 0.1, 1.0

# A child's death signal is tied to the thread that started it, so QEMU is started by a thread that lives as we do.
_STARTER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="qemu-starter")


class MachineError(Exception):
    """A machine cannot be started or used; the message says what failed, on what, and where to look."""


class GuestPanicError(MachineError):
    """The guest's kernel panicked; the message has the end of its console."""


class TemplateState(Protocol):
    """What a machine needs of a template: the saved state and the clock rate it was saved with."""

    @property
    def state(self) -> Path: ...
    @property
    def tsc_khz(self) -> int: ...


@dataclass(frozen=True)
class MachineSpec:
    """One machine: ports are on 127.0.0.1 and must be free; `seed` is a tar, empty for none."""

    name: str
    index: int
    ssh_port: int
    kubelet_port: int
    seed: bytes = b""
    memory_mib: int = 512

    def seed_disk(self) -> bytes:
        """The seed as a disk of fixed size. Raises MachineError if it does not fit."""
        if len(self.seed) > SEED_BYTES:
            raise MachineError(
                f"cannot start machine {self.name}: seed of {len(self.seed)} bytes, at most {SEED_BYTES} fit"
            )
        return self.seed.ljust(SEED_BYTES, b"\0")


def qemu_command(
    image: Image, spec: MachineSpec, run_dir: Path, tap_fd: int, monitor_fd: int, tsc_khz: int
) -> list[str]:
    """QEMU's arguments. Machines that share a state may differ in paths, ports, descriptors and MAC only."""
    forwards = f"hostfwd=tcp:127.0.0.1:{spec.ssh_port}-:22,hostfwd=tcp:127.0.0.1:{spec.kubelet_port}-:10250"
    command = [QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35"]
    command += ["-accel", f"tcg,thread=multi,tb-size={TRANSLATION_CACHE_MIB}", "-cpu", "max,-cx16,-la57"]
    command += ["-smp", "1", "-m", str(spec.memory_mib)]
    command += ["-kernel", str(image.kernel), "-initrd", str(image.initrd)]
    command += ["-append", f"{KERNEL_OPTIONS} tsc_early_khz={tsc_khz}"]
    command += ["-serial", f"file:{escape(run_dir / f'{spec.name}.console')}"]
    command += ["-chardev", f"socket,id=monitor,fd={monitor_fd}", "-mon", "chardev=monitor,mode=control"]
    for letter, path in (("root", image.disk), ("seed", run_dir / f"{spec.name}.seed")):
        command += ["-drive", f"file={escape(path)},format=raw,if=none,id={letter},readonly=on,cache=unsafe"]
        command += ["-device", f"virtio-blk-pci,drive={letter}"]
    # A change of its GUID, at every restore, tells the guest's kernel to renew its randomness.
    command += ["-device", "virtio-rng-pci", "-device", "vmgenid,guid=auto"]
    command += ["-netdev", f"user,id=mgmt,restrict=on,ipv6=off,{forwards}"]
    command += ["-device", "virtio-net-pci,netdev=mgmt,romfile=,mac=52:54:00:77:ff:01"]
    command += ["-netdev", f"tap,id=lab,fd={tap_fd}"]
    command += ["-device", f"virtio-net-pci,netdev=lab,romfile=,mac={machine_mac(spec.index)}"]
    return command


def escape(path: Path) -> str:
    """A path inside one of QEMU's comma-separated options."""
    return str(path).replace(",", ",,")


def find_panic(console: str) -> str | None:
    """The reason of the kernel panic on a console, or None."""
    found = PANIC.search(console)
    return found["reason"].strip() if found else None


class Monitor:
    """QEMU's machine protocol (QMP) over a socket; events are skipped."""

    def __init__(self, connection: socket.socket, timeout_s: float = 60.0) -> None:
        connection.settimeout(timeout_s)
        self._stream = connection.makefile("rwb")
        self._connection = connection
        self._read()
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: Any) -> Any:
        """Run one command and return its result. Raises MachineError if QEMU refuses it or is gone."""
        message = {"execute": command, "arguments": arguments}
        try:
            self._stream.write(json.dumps(message).encode() + b"\n")
            self._stream.flush()
            while True:
                reply = self._read()
                if "return" in reply:
                    return reply["return"]
                if "error" in reply:
                    raise MachineError(f"cannot {command}: QEMU says {reply['error'].get('desc')}")
        except OSError as cause:
            raise MachineError(f"cannot {command}: the connection to QEMU broke: {cause}") from cause

    def close(self) -> None:
        self._connection.close()

    def _read(self) -> dict[str, Any]:
        line = self._stream.readline()
        if not line:
            raise ConnectionResetError("QEMU ended")
        reply: dict[str, Any] = json.loads(line)
        return reply


def start_qemu(command: Sequence[str], descriptors: Sequence[int], log: Path) -> subprocess.Popen[bytes]:
    """Start QEMU so that it is killed when this process ends, however it ends."""
    with log.open("wb") as output:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *command],
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


@dataclass
class Machine:
    """A running machine. Made by `boot` or `restore`, ended by `stop`."""

    image: Image
    spec: MachineSpec
    run_dir: Path
    process: subprocess.Popen[bytes]
    monitor: Monitor
    # A restored guest is a copy of the template's until the host has told it who it is.
    unconfigured: bool = field(default=False)

    @staticmethod
    def boot(image: Image, spec: MachineSpec, tap_fd: int, run_dir: Path, tsc_khz: int | None = None) -> Machine:
        """Start a machine cold. Takes `tap_fd` over: it is closed here once QEMU holds it. Raises MachineError."""
        return _start(image, spec, tap_fd, run_dir, tsc_khz or measure_tsc_khz(), ())

    @staticmethod
    def restore(image: Image, template: TemplateState, spec: MachineSpec, tap_fd: int, run_dir: Path) -> Machine:
        """Start a machine from a template's state, running; `wait_ready` then configures it. Takes `tap_fd` over.

        Raises MachineError.
        """
        source = f"exec:zstd -qdc {shlex.quote(str(template.state))}"
        machine = _start(image, spec, tap_fd, run_dir, template.tsc_khz, ("-incoming", source))
        try:
            machine._await_state(timeout_s=60.0)
            machine.monitor.execute("cont")
        except BaseException:
            machine.stop()
            raise
        machine.unconfigured = True
        return machine

    @property
    def console(self) -> Path:
        """File with what the guest wrote to its serial console since QEMU started."""
        return self.run_dir / f"{self.spec.name}.console"

    def wait_ready(self, timeout_s: float = 60.0, *, unlike_boot_id: str | None = None) -> None:
        """Wait until the guest is the node of its seed; configures a restored guest.

        After a reboot give the old boot ID as `unlike_boot_id`, so that the guest before the reboot does not count.
        Raises GuestPanicError or MachineError, the latter also when `timeout_s` seconds have passed.
        """
        deadline = time.monotonic() + timeout_s
        if self.unconfigured:
            self.wait_ssh(timeout_s)
            self.configure()
            return
        # What `lab-node status` looks at, without starting Python; waiting inside saves a login per look.
        condition = "test -e /run/lab/configured"
        if unlike_boot_id:
            condition += f" && ! grep -q {shlex.quote(unlike_boot_id)} /proc/sys/kernel/random/boot_id"
        wait = f"for _ in $(seq 50); do if {condition}; then exit 0; fi; sleep 0.1; done; exit 1"
        while self._await_banner(deadline) and self.ssh(["sh", "-c", wait], timeout_s=20).returncode:
            time.sleep(SSH_RETRY_S)

    def wait_ssh(self, timeout_s: float = 60.0) -> None:
        """Wait until the guest lets root in. Raises GuestPanicError or MachineError."""
        deadline = time.monotonic() + timeout_s
        while self._await_banner(deadline) and self.ssh(["true"], timeout_s=20).returncode:
            time.sleep(SSH_RETRY_S)

    def configure(self, timeout_s: float = 60.0) -> None:
        """Make the guest the node of its seed (again): clock, randomness, network, service. Raises MachineError."""
        words = self.ssh_command(["lab-node", "configure", "--ask-host"])
        pipe = subprocess.PIPE
        with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as session:
            assert session.stdin and session.stdout
            limit = threading.Timer(timeout_s, session.kill)
            limit.start()
            try:
                asked = session.stdout.readline()
                answer = f"{time.time():.4f} {secrets.token_hex(32)}\n" if asked else ""
                _, errors = session.communicate(answer)
            finally:
                limit.cancel()
        if session.returncode:
            said = errors.strip() or f"status {session.returncode}"
            raise MachineError(f"cannot configure machine {self.spec.name}: {said}; {self._where()}")
        self.unconfigured = False

    def boot_id(self) -> str:
        """The guest kernel's boot ID: changes with every boot. Raises MachineError."""
        done = self.ssh(["cat", "/proc/sys/kernel/random/boot_id"])
        if done.returncode:
            raise MachineError(
                f"cannot read the boot ID of machine {self.spec.name}: {done.stderr.strip()}; {self._where()}"
            )
        return done.stdout.strip()

    def ssh_options(self) -> list[str]:
        """Options for ssh, sftp and scp, without the port (-p or -P)."""
        options = ["-F", "/dev/null", "-i", str(self.image.ssh_key)]
        settings = {
            "BatchMode": "yes",
            "ConnectTimeout": "5",
            "IdentitiesOnly": "yes",
            "LogLevel": "ERROR",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": str(self.run_dir / f"{self.spec.name}.known_hosts"),
        }
        return options + [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]

    def ssh_command(self, command: Sequence[str], user: str = "root") -> list[str]:
        """Arguments that run `command` in the guest; no word of it is seen by a shell unquoted."""
        return [
            "ssh",
            *self.ssh_options(),
            "-p",
            str(self.spec.ssh_port),
            f"{user}@127.0.0.1",
            "--",
            shlex.join(command),
        ]

    def ssh(
        self, command: Sequence[str], user: str = "root", timeout_s: float = 60.0, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the guest. Status 255: no connection; 124: `timeout_s` seconds have passed."""
        words = self.ssh_command(command, user)
        feed: dict[str, Any] = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
        try:
            return subprocess.run(words, capture_output=True, text=True, check=False, timeout=timeout_s, **feed)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(
                words, 124, "", f"no answer from {self.spec.name} within {timeout_s:.0f} s"
            )

    def alive(self) -> bool:
        """True while QEMU runs and the guest's kernel has not panicked."""
        return self.process.poll() is None and self.panic() is None

    def panic(self) -> str | None:
        """The reason of the guest's kernel panic, or None."""
        return find_panic(self._console_text())

    def console_tail(self, lines: int = 30) -> str:
        """The last lines of the console."""
        return "\n".join(self._console_text().splitlines()[-lines:])

    def rss_mib(self) -> int:
        """Memory that QEMU has resident, in MiB; 0 if it ended."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return 0
        found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
        return int(found[1]) // 1024 if found else 0

    def stop(self) -> None:
        """End QEMU at once, like pulling the plug. May be repeated."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.monitor.close()

    def _await_state(self, timeout_s: float) -> None:
        """Wait until QEMU has read the incoming state."""
        deadline = time.monotonic() + timeout_s
        while self.monitor.execute("query-status")["status"] == "inmigrate":
            if time.monotonic() > deadline:
                raise MachineError(f"cannot restore machine {self.spec.name} within {timeout_s:.0f} s; {self._where()}")
            time.sleep(POLL_S)

    def _await_banner(self, deadline: float) -> bool:
        """Wait until sshd greets; returns True. Raises GuestPanicError, or MachineError once `deadline` has passed.

        QEMU accepts connections for a guest that is not up and keeps them waiting for long, so each try is cut short;
        the tries grow longer, for a busy host on which the greeting itself takes seconds.
        """
        patience_s = FIRST_BANNER_S
        while True:
            self._require_alive()
            if time.monotonic() > deadline:
                raise MachineError(f"machine {self.spec.name} is not ready in time; {self._where()}")
            if greets(self.spec.ssh_port, patience_s):
                return True
            patience_s = min(patience_s * 1.2, 10.0)
            time.sleep(POLL_S)

    def _require_alive(self) -> None:
        reason = self.panic()
        if reason is not None:
            raise GuestPanicError(
                f"kernel panic in machine {self.spec.name}: {reason}; its console ends:\n{self.console_tail()}"
            )
        if self.process.poll() is not None:
            raise MachineError(
                f"QEMU of machine {self.spec.name} ended with status {self.process.returncode}; {self._where()}"
            )

    def _where(self) -> str:
        return f"console: {self.console}, QEMU's log: {self.run_dir / f'{self.spec.name}.qemu.log'}"

    def _console_text(self) -> str:
        try:
            return self.console.read_text(errors="replace")
        except OSError:
            return ""


def _start(image: Image, spec: MachineSpec, tap_fd: int, run_dir: Path, tsc_khz: int, extra: Sequence[str]) -> Machine:
    """Write the machine's files and start its QEMU."""
    ours, theirs = socket.socketpair()
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        (run_dir / f"{spec.name}.seed").write_bytes(spec.seed_disk())
        (run_dir / f"{spec.name}.console").unlink(missing_ok=True)
        (run_dir / f"{spec.name}.known_hosts").write_text(image.known_hosts_line(spec.ssh_port))
        command = [*qemu_command(image, spec, run_dir, tap_fd, theirs.fileno(), tsc_khz), *extra]
        log = run_dir / f"{spec.name}.qemu.log"
        process = _STARTER.submit(start_qemu, command, (tap_fd, theirs.fileno()), log).result()
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
        os.close(tap_fd)
    try:
        return Machine(image, spec, run_dir, process, Monitor(ours))
    except (OSError, MachineError) as cause:
        process.kill()
        process.wait()
        ours.close()
        said = log.read_text(errors="replace").strip()
        raise MachineError(f"cannot start machine {spec.name}: {said or cause}; QEMU's log: {log}") from cause
