"""From C text to programs attached in the kernel, by BCC; and in words, what is missing where that cannot be.

Decision: raw tracepoints only. They are attached through descriptors, so the kernel takes them away with the process
that made them, however it dies. Kprobes and plain tracepoints go through files under tracefs, which would stay.
Decision: one text and one run of the compiler for all probes: most of the time is the compiler's own start.
Decision: stand-ins for the eight kernel headers that BCC asks for, out of our own sources. No node needs any headers,
and nothing depends on their version. They lie in a file system that only the compiling thread sees.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from . import bpfcalls, bpfmounts, entry

UNAVAILABLE = "bpf-unavailable"
_PYTHON_FOLDERS = ("/usr/lib/python3/dist-packages",)
_PLACE, _SYMBOLS = "/tmp", "kallsyms"  # noqa: S108 - covered by a file system of our own
_KERNEL_SOURCE = "BCC_KERNEL_SOURCE"
_TAIL = 1500

_INSTALL = {
    "debian": "apt-get install --no-install-recommends python3-bpfcc",
    "ubuntu": "apt-get install --no-install-recommends python3-bpfcc",
    "rhel": "dnf install python3-bcc",
    "fedora": "dnf install python3-bcc",
    "amzn": "dnf install python3-bcc",
    "suse": "zypper install python3-bcc",
    "opensuse": "zypper install python3-bcc",
    "arch": "pacman -S python-bcc",
    "alpine": "apk add py3-bcc",
}
_TOOLBOX = "run the observers from the toolbox image (toolbox/Dockerfile), which has all of it"


class Program(NamedTuple):
    """A function of the C text and the raw tracepoint it goes to. `instead`: for kernels with one argument less."""

    name: str
    tracepoint: str
    instead: str = ""


def unavailable(message: str, hint: str, *missing: str) -> entry.Refusal:
    """The refusal of a node on which the probes cannot run."""
    return entry.Refusal(UNAVAILABLE, message, hint, missing=list(missing))


def import_bcc() -> Any:
    """BCC's Python module. Raises Refusal(bpf-unavailable) that says what is missing and how to get it."""
    try:
        return _imported()
    except ImportError as error:
        text = "cannot run eBPF probes: BCC's Python module (bcc) is not installed"
        raise unavailable(text, _hint(), "python3-bpfcc") from error
    except (OSError, AttributeError) as error:
        # dlopen failed (libbcc or the LLVM it needs), or a function that the Python files expect is not in it.
        text = f"cannot run eBPF probes: BCC's library (libbcc) cannot be used: {error}"
        hint = f"install libbcc, the LLVM it was built with and its Python module in one version: {_hint()}"
        raise unavailable(text, hint, "libbcc") from error


def _imported() -> Any:
    try:
        return importlib.import_module("bcc")
    except ModuleNotFoundError as error:
        # A Python that is not the distribution's own does not look where the distribution puts the module.
        if error.name != "bcc" or not any(Path(one, "bcc").is_dir() for one in _PYTHON_FOLDERS):
            raise
    sys.path.extend(one for one in _PYTHON_FOLDERS if one not in sys.path)
    importlib.invalidate_caches()
    return importlib.import_module("bcc")


def _hint() -> str:
    """How to get BCC on this distribution."""
    names = _distribution()
    for name in names:
        if name in _INSTALL:
            return f"{_INSTALL[name]}; or {_TOOLBOX}"
    return f"{_TOOLBOX}: {names[0] if names else 'this system'} installs no packages on a node"


def _distribution(release: str = "/etc/os-release") -> list[str]:
    """This distribution's name and those that it is like."""
    try:
        lines = Path(release).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    fields = dict(line.split("=", 1) for line in lines if "=" in line)
    return [name for key in ("ID", "ID_LIKE") for name in fields.get(key, "").strip("\"'").split()]


class _Unsuitable(Exception):
    """The program reads more arguments than the tracepoint has."""


class _Failed(Exception):
    """The kernel or the library said no; the text says what."""


class Loaded:
    """Compiled programs, attached. `close` detaches and unloads; so does the end of the process.

    `compile_ms` is the compiler's time, `attach_ms` that of loading (the kernel's verifier) and attaching.
    """

    def __init__(self, bpf: Any, raw_tracepoint: int, compile_ms: int) -> None:
        self._bpf = bpf
        self._kind = raw_tracepoint
        self._links: list[int] = []
        self.programs: dict[str, int] = {}
        self.compile_ms = compile_ms
        self.attach_ms = 0

    def attach(self, programs: Sequence[Program]) -> None:
        """Load and attach. Raises Refusal(bpf-unavailable) with the kernel's reason."""
        begun = time.monotonic()
        for program in programs:
            try:
                self._attach_one(program)
            except _Failed as error:
                raise _refused(program, str(error)) from error
        self.attach_ms += round((time.monotonic() - begun) * 1000)

    def _attach_one(self, program: Program) -> None:
        for name in filter(None, (program.name, program.instead)):
            descriptor = self._load(name)
            try:
                self._links.append(bpfcalls.attach_raw_tracepoint(descriptor, program.tracepoint))
            except OSError as error:
                if error.errno == errno.EINVAL and program.instead and name != program.instead:
                    continue
                raise _Failed(f"cannot attach it to {program.tracepoint}: {error.strerror}") from error
            self.programs[name] = descriptor
            return

    def _load(self, name: str) -> int:
        with _errors() as said:
            try:
                return int(self._bpf.load_func(name, self._kind).fd)
            except Exception as error:
                raise _Failed(f"{error} {said()}".strip()) from error

    def map(self, name: str) -> int:
        """The descriptor of a map."""
        return int(self._bpf[name].map_fd)

    def close(self) -> None:
        """Detach and unload everything. May be repeated."""
        for descriptor in self._links:
            os.close(descriptor)
        self._links.clear()
        self.programs.clear()
        self._bpf.cleanup()


def compile_text(text: str, macros: Mapping[str, int], headers: Mapping[str, str]) -> Loaded:
    """Compile `text`; nothing is loaded yet. Raises Refusal(bpf-unavailable).

    The stand-in headers come first; where a BCC asks for others, those of the node, if it has any, are tried.
    """
    bcc = import_bcc()
    flags = [f"-D{name}={value}" for name, value in sorted(macros.items())]
    begun = time.monotonic()
    errors: list[str] = []
    for attempt in (_with_stand_ins, _with_installed_headers):
        with _errors() as said:
            try:
                bpf = attempt(partial(bcc.BPF, text=text.encode(), cflags=flags), headers)
            except Exception:  # noqa: BLE001 - BCC raises nothing more exact; the compiler's words are in `said`
                errors.append(said())
                continue
        if bpf is not None:
            return Loaded(bpf, bcc.BPF.RAW_TRACEPOINT, round((time.monotonic() - begun) * 1000))
    words = f"cannot run eBPF probes: BCC {version()} cannot compile them: {errors[0]}"
    raise unavailable(words, f"install another version of BCC, or {_TOOLBOX}", "bcc")


def version() -> str:
    """BCC's version, empty when it does not say."""
    return str(getattr(sys.modules.get("bcc"), "__version__", ""))


def _with_stand_ins(compiled: Callable[[], Any], headers: Mapping[str, str]) -> Any:
    """Compile with our headers, and with a list of kernel symbols that has the one BCC looks up in it.

    BCC sorts all 150000 symbols to learn whether the kernel has a helper that every one since 5.5 has: half its time.
    """

    def alone() -> Any:
        bpfmounts.mount("tmpfs", _PLACE, "tmpfs")
        _write(_PLACE, {**headers, _SYMBOLS: "ffffffff81000000 T bpf_probe_read_kernel\n"})
        bpfmounts.mount(f"{_PLACE}/{_SYMBOLS}", "/proc/kallsyms", None, bpfmounts.BIND)
        return _compile_with(_PLACE, compiled)

    try:
        return bpfmounts.privately(alone)
    except OSError:  # not allowed: then a folder that everybody sees, removed in the end
        with tempfile.TemporaryDirectory(prefix="netkit-rollout-") as folder:
            _write(folder, headers)
            return _compile_with(folder, compiled)


def _compile_with(folder: str, compiled: Callable[[], Any]) -> Any:
    before = os.environ.get(_KERNEL_SOURCE)
    os.environ[_KERNEL_SOURCE] = folder
    try:
        return compiled()
    finally:
        del os.environ[_KERNEL_SOURCE]
        if before is not None:
            os.environ[_KERNEL_SOURCE] = before


def _write(folder: str, texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _with_installed_headers(compiled: Callable[[], Any], _headers: Mapping[str, str]) -> Any:
    """Compile with the node's own kernel headers; None when it has none.

    Not with /sys/kernel/kheaders.tar.xz: BCC unpacks it into a folder that it leaves behind.
    """
    release = os.uname().release
    places = (os.environ.get(_KERNEL_SOURCE, ""), f"/lib/modules/{release}/build", f"/lib/modules/{release}/source")
    folder = next((place for place in places if place and Path(place, "include").is_dir()), "")
    return _compile_with(folder, compiled) if folder else None


@contextlib.contextmanager
def _errors() -> Iterator[Callable[[], str]]:
    """What libraries write to standard error meanwhile: it is kept from our output; the result gives its end."""
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)

        def said() -> str:
            file.seek(0)
            lines = file.read().decode("utf-8", "replace").split("\n")
            return " | ".join(line.strip() for line in lines if line.strip())[-_TAIL:]

        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _refused(program: Program, words: str) -> entry.Refusal:
    text = f"cannot run eBPF probes: the kernel refuses program {program.name}: {words}"
    lockdown = _lockdown()
    if lockdown == "confidentiality":
        hint = "the kernel is locked down (confidentiality): boot it with lockdown=integrity, or verify without eBPF"
        return unavailable(f"{text} (kernel lockdown: {lockdown})", hint, "lockdown")
    hint = (
        "the observers need root with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN, and a kernel that allows tracing programs"
    )
    return unavailable(text, f"{hint}; see the kernel's log", "permission to load eBPF programs")


def _lockdown(path: str = "/sys/kernel/security/lockdown") -> str:
    try:
        return Path(path).read_text(encoding="ascii").partition("[")[2].partition("]")[0]
    except OSError:
        return ""
