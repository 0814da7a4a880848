"""Which processes belong to a run: those that name its folder in environment or command line, or work in it.

An ssh master writes its title over its environment, but keeps its working folder.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path


def of_folder(folder: Path) -> list[int]:
    """Living processes of runs below `folder`, ourselves left out."""
    wanted = str(folder).encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                text += str((entry / "cwd").readlink()).encode()
                if wanted in text and (entry / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                    found.append(int(entry.name))
    return found


def wait_until(condition: object, seconds: float) -> bool:
    """Whether the callable `condition` came true in time."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return bool(condition())
