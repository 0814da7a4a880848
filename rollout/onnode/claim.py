"""One act at a time on a node, and none by a rollout that has lost its lease.

`/run/netkit-rollout/lock` is held while an act runs. `/run/netkit-rollout/claim.json` records the rollout and the
highest fencing number that acted here; a lower number is a rollout whose lease has passed to another, and is refused.
/run is emptied by a reboot, and that is right: what an old program left running is gone too.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import entry

FOLDER = "/run/netkit-rollout"
_WAIT_S = 5.0


@contextlib.contextmanager
def held(request: entry.Document, act: str) -> Iterator[None]:
    """Hold the node for `act`. Request: `rollout`, `fencing`; `claim_folder` is for tests."""
    rollout, fencing = str(request.get("rollout") or ""), request.get("fencing")
    if not rollout or not isinstance(fencing, int) or isinstance(fencing, bool):
        text = "cannot act: the variables rollout (text) and fencing (a number) are required"
        raise entry.Refusal("bad-request", text)
    folder = Path(str(request.get("claim_folder") or FOLDER))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(handle, folder)
        _claim(folder / "claim.json", rollout, fencing, act)
        entry.require_listener()
        yield
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    deadline = time.monotonic() + _WAIT_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise entry.Refusal(
                    "node-busy",
                    f"cannot act: another act of netkit-rollout holds {folder}/lock",
                    "wait for it to end (it ends itself within its time limit), then repeat",
                ) from None
            time.sleep(0.1)


def _claim(path: Path, rollout: str, fencing: int, act: str) -> None:
    seen = _read(path)
    highest, owner = seen.get("fencing"), seen.get("rollout")
    if isinstance(highest, int) and (fencing < highest or (fencing == highest and owner != rollout)):
        raise entry.Refusal(
            "fenced-off",
            f"cannot act: rollout {owner} acted here with fencing number {highest}, ours is {fencing} ({rollout})",
            f"another rollout took the lease: stop this one. If the lease was deleted by hand, remove {path}",
            holder=seen,
        )
    fresh = {"rollout": rollout, "fencing": fencing, "act": act, "pid": os.getpid()}
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(fresh), encoding="utf-8")
    temporary.replace(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        seen = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        raise entry.Refusal(
            "claim-unreadable", f"cannot act: {path} is not what netkit-rollout writes", "look at it, then remove it"
        ) from None
    return seen if isinstance(seen, dict) else {}
