"""One Python text out of the folder `rollout/onnode`, to be read by a node's Python from standard input.

By hand: `python -m rollout.adapters.ansible.bundle PROGRAM [REQUEST] | ssh NODE sudo python3 -I -`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

PROGRAMS = Path(__file__).resolve().parents[2] / "onnode"

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
    """Text of every module, by its name on the node."""
    found = {"onnode": ""}
    for path in sorted(PROGRAMS.glob("[!_]*.py")):
        found[f"onnode.{path.stem}"] = path.read_text(encoding="utf-8")
    return found


def bundle(program: str, request: Mapping[str, Any]) -> str:
    """The text that runs `program` with `request`."""
    if f"onnode.{program}" not in sources():
        raise ValueError(f"cannot run {program} on a node: there is no such program in {PROGRAMS}")
    head = f"SOURCES = {dict(sources())!r}\nPROGRAM = {program!r}\nREQUEST = {json.dumps(request)!r}\n"
    return head + _LOADER


if __name__ == "__main__":
    sys.stdout.write(bundle(sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}))
