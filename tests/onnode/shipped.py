"""The text that a node is sent, with a program of the tests' own beside the real ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rollout.adapters.ansible import bundle

WATCHED = Path(__file__).with_name("watched.py")


def watched(request: Mapping[str, Any], replaced: Mapping[str, str] | None = None, program: str = "watched") -> str:
    """Runs `watched`, or another of the given programs, with `request`; `replaced`: more texts, or others than ours."""
    sources = {**bundle.sources(), "onnode.watched": WATCHED.read_text(), **(replaced or {})}
    head = f"SOURCES = {sources!r}\nPROGRAM = {program!r}\nREQUEST = {json.dumps(request)!r}\n"
    return head + bundle._LOADER
