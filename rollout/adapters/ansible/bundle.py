"""One Python text out of the folder `rollout/onnode`, to be read by a node's Python from standard input.

By hand: `python -m rollout.adapters.ansible.bundle PROGRAM [REQUEST] | ssh NODE sudo python3 -I -`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from rollout.onnode import bpf_sources

PROGRAMS = Path(__file__).resolve().parents[2] / "onnode"

_C_SOURCES = "onnode.bpf_sources"
_WATCHING = ("path", "drops", "tcp")
_BY_THEMSELVES = ("host",)
"""Probes of a module that no other imports: it goes along only where they are asked for."""
_ONLY_FOR_EBPF = re.compile(r"onnode\.(bpf\w+|btf|wire|path|drops|tcp)")

_LOADER = """
import importlib, json, sys
from importlib.machinery import ModuleSpec
class Shipped:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in SOURCES:
            return ModuleSpec(name, Shipped, is_package=name == "onnode")
    @staticmethod
    def create_module(spec):
        return None
    @staticmethod
    def exec_module(module):
        exec(compile(SOURCES[module.__name__], module.__name__ + ".py", "exec"), module.__dict__)
sys.meta_path.insert(0, Shipped)
entry = importlib.import_module("onnode.entry")
entry.run(PROGRAM, importlib.import_module("onnode." + PROGRAM).main, json.loads(REQUEST))
"""


@cache
def sources() -> Mapping[str, str]:
    """Text of every module, by its name on the node; the probes' C sources are in one of them."""
    found = {"onnode": ""}
    for path in sorted(PROGRAMS.glob("[!_]*.py")):
        found[f"onnode.{path.stem}"] = path.read_text(encoding="utf-8")
    found[_C_SOURCES] = f"SOURCES = {bpf_sources.SOURCES!r}\n"
    return found


def needed(program: str, request: Mapping[str, Any]) -> Mapping[str, str]:
    """The modules that `program` may import: those of some probes go along only where one of them is asked for."""
    asked = request.get("probes", (*_WATCHING, *_BY_THEMSELVES)) if program == "observe" else (program,)
    unasked = {f"onnode.{probe}" for probe in _BY_THEMSELVES if probe not in asked}
    watched = program == "wire" or any(probe in _WATCHING for probe in asked)
    return {
        name: text
        for name, text in sources().items()
        if name not in unasked and (watched or not _ONLY_FOR_EBPF.fullmatch(name))
    }


def bundle(program: str, request: Mapping[str, Any]) -> str:
    """The text that runs `program` with `request`."""
    if f"onnode.{program}" not in sources():
        raise ValueError(f"cannot run {program} on a node: there is no such program in {PROGRAMS}")
    head = f"SOURCES = {dict(needed(program, request))!r}\nPROGRAM = {program!r}\nREQUEST = {json.dumps(request)!r}\n"
    return head + _LOADER


if __name__ == "__main__":
    sys.stdout.write(bundle(sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}))
