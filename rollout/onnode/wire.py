"""The eBPF probes of one observation: compiled together, tried on known traffic, watching for one window.

A probe watches through raw tracepoints and does nothing to any link. All it puts into the kernel hangs on descriptors
of this process, so it is gone with the process, also when that is killed. Before it is trusted, each counts traffic of
a known amount in namespaces of our own (`bpftrial`); one that miscounts says so in `selftest`, with both numbers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from . import bpfcalls, bpfcompile, bpflinks, bpfprobe, bpftrial, btf, entry
from .bpf_sources import SOURCES
from .drops import Drops
from .path import Path
from .tcp import Tcp

PROBES: Mapping[str, type[bpfprobe.Probe]] = {one.name: one for one in (Path, Drops, Tcp)}
_HEADERS = "include/"


class Wire:
    """Watches with the wanted probes. A context manager; `open`, `begin`, `end` in this order.

    Request: `endpoint_links`, names that the agent gives its links (see `links`).
    A node on which the probes cannot run is no error: `end` then says for each what is missing.
    """

    def __init__(self, wanted: tuple[str, ...], request: entry.Document) -> None:
        self._wanted = tuple(name for name in PROBES if name in wanted)
        self._table = bpflinks.Table(request.get("endpoint_links") or ())
        self._failures: dict[str, entry.Document] = {}
        self._probes: dict[str, bpfprobe.Probe] = {}
        self._tests: dict[str, bpfprobe.SelfTest] = {}
        self._costs: dict[str, bpfcalls.Cost] = {}
        self._received: dict[int, bpflinks.Received] = {}
        self._loaded: bpfcompile.Loaded | None = None
        self._stats = -1
        self._opened = self._begun = time.monotonic()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Compile, attach, and let each probe prove itself."""
        self._opened = time.monotonic()
        trial = _start_trial()
        try:
            self._compile()
            for name in self._wanted:
                if name not in self._failures:
                    self._attach(name)
            for name, probe in self._probes.items():
                self._tests[name] = _proven(probe, trial)
        finally:
            if isinstance(trial, bpftrial.Trial):
                trial.close()

    def begin(self) -> None:
        """Start the window: what was counted so far is forgotten."""
        if self._probes:
            self._table.read()
            self._stats = bpfcalls.enable_stats()
            self._received = self._table.received()
            for probe in self._probes.values():
                probe.clear()
            self._costs = self._cost()
        self._begun = time.monotonic()

    def end(self) -> dict[str, entry.Document]:
        """End the window: a document for each wanted probe."""
        window_ms = round((time.monotonic() - self._begun) * 1000)
        failed = entry.guarded("wire", self._stop) if self._probes else {}
        documents: dict[str, entry.Document] = {}
        for name in self._wanted:
            body = self._failures.get(name) or ({**failed, "probe": name} if failed.get("failed") else None)
            read = partial(self._body, name, window_ms) if body is None else partial(dict, body)
            documents[name] = {**entry.guarded(name, read), "took_ms": self._took_ms()}
        return documents

    @property
    def watching(self) -> bool:
        """Whether any probe could be attached: without, there is no window to wait for."""
        return bool(self._probes)

    def close(self) -> None:
        """Take everything out of the kernel. May be repeated."""
        if self._stats >= 0:
            os.close(self._stats)
            self._stats = -1
        if self._loaded is not None:
            self._loaded.close()
            self._loaded = None
        self._probes.clear()

    def _took_ms(self) -> int:
        return round((time.monotonic() - self._opened) * 1000)

    def _compile(self) -> None:
        """Fill `_loaded` with what all wanted probes need, or `_failures`."""
        document = entry.guarded("wire", self._compiled)
        if document.get("failed"):
            self._failures = {name: _failure(document) for name in self._wanted} | self._failures

    def _compiled(self) -> entry.Document:
        self._types = _types()
        macros: dict[str, int] = {}
        for name in self._wanted:
            try:
                macros.update(_offsets(self._types, PROBES[name].fields))
            except btf.BtfError as error:
                self._failures[name] = _failure(entry.guarded(name, partial(_unknown, name, error)))
        names = [name for name in self._wanted if name not in self._failures]
        if names:
            text = SOURCES["common.h"] + "".join(SOURCES[f"{name}.c"] for name in names)
            headers = {path: content for path, content in SOURCES.items() if path.startswith(_HEADERS)}
            self._loaded = bpfcompile.compile_text(text, macros, headers)
        return {}

    def _attach(self, name: str) -> None:
        document = entry.guarded(name, partial(self._attached, name))
        if document.get("failed"):
            self._failures[name] = _failure(document)

    def _attached(self, name: str) -> entry.Document:
        assert self._loaded is not None
        self._loaded.attach(PROBES[name].programs)
        self._probes[name] = Drops(self._loaded, self._types) if name == "drops" else PROBES[name](self._loaded)
        return {}

    def _stop(self) -> entry.Document:
        """Everything that is the same for all probes, read as near to the end of the window as can be."""
        after = self._cost()
        self._costs = {name: bpfcalls.Cost(*(b - a for a, b in zip(self._costs[name], after[name]))) for name in after}
        received = self._table.received()
        self._table.read()
        self._window = bpfprobe.Window(self._table, bpflinks.grown(self._received, received))
        return {}

    def _cost(self) -> dict[str, bpfcalls.Cost]:
        programs = self._loaded.programs if self._loaded else {}
        return {name: bpfcalls.cost(descriptor) for name, descriptor in programs.items()}

    def _body(self, name: str, window_ms: int) -> entry.Document:
        assert self._loaded is not None
        probe, test = self._probes[name], self._tests[name]
        names = {program for one in probe.programs for program in (one.name, one.instead)}
        mine = {program: cost for program, cost in self._costs.items() if program in names}
        cost: dict[str, Any] = {
            "compile_ms": self._loaded.compile_ms,
            "attach_ms": self._loaded.attach_ms,
            "programs": [{"name": n, "runs": c.runs, "run_ns": c.run_ns} for n, c in sorted(mine.items())],
        }
        return {
            "window_ms": window_ms,
            "selftest": {"sent": test.sent, "seen": test.seen, "ok": test.ok, "message": test.message},
            "cost": cost,
            "reader": f"bcc {bpfcompile.version()}",
            "lost_events": probe.lost() + sum(one.missed for one in mine.values()),
            **probe.body(self._window),
        }


def _types(path: str = btf.VMLINUX) -> btf.Btf:
    try:
        return btf.read(path)
    except (OSError, btf.BtfError) as error:
        text = f"cannot run eBPF probes: this kernel does not describe its own types ({error})"
        hint = "boot a kernel with CONFIG_DEBUG_INFO_BTF (every distribution's that has netkit), or verify without eBPF"
        raise bpfcompile.unavailable(text, hint, "kernel BTF") from error


def _offsets(types: btf.Btf, fields: Mapping[str, tuple[str, str]]) -> dict[str, int]:
    return {macro: types.offset(structure, field) for macro, (structure, field) in fields.items()}


def _unknown(name: str, error: btf.BtfError) -> entry.Document:
    text = f"cannot run probe {name} on kernel {entry.kernel_release()}: {error}"
    raise bpfcompile.unavailable(
        text, "this kernel is unlike those that the probe knows: verify without it", "kernel types"
    )


def _failure(document: entry.Document) -> entry.Document:
    """What of a failed document is its own and not the frame's."""
    return {key: value for key, value in document.items() if key not in ("schema", "probe", "host", "took_ms")}


def _start_trial() -> bpftrial.Trial | OSError:
    try:
        return bpftrial.Trial()
    except OSError as error:
        return error


def _proven(probe: bpfprobe.Probe, trial: bpftrial.Trial | OSError) -> bpfprobe.SelfTest:
    try:
        if isinstance(trial, OSError):
            raise trial
        trial.await_ground()  # what it sent while it was made is not to be counted
        probe.clear()
        return probe.prove(trial)
    except (OSError, ValueError, KeyError) as error:
        return bpfprobe.SelfTest(0, 0, f"cannot run the self-test of probe {probe.name}: {error}")
