"""A fault put into a lab's node, a rollout over it, and what the rollout made of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.support.lab import Rollout

NODE = "n1"


@dataclass(frozen=True)
class Trial:
    """What came of one fault. `seconds`: from the new agent's being Ready to the verdict; None: before the restart."""

    fault: str
    check: str
    seconds: float | None
    words: str
    changed: frozenset[str]
    """Nodes whose agent was restarted in the other mode."""

    def line(self) -> str:
        """For a table."""
        when = "before the restart" if self.seconds is None else f"{self.seconds:.1f} s"
        return f"{self.fault:22} {self.check:16} {when:>18}  {len(self.changed)} node(s) changed  {self.words[:90]}"


@contextmanager
def fault(rollout: Rollout, name: str) -> Iterator[None]:
    """The fault is in force on the node, and cleared at the end."""
    directory = str(rollout.info.directory)
    _lab(rollout, "fault", name, NODE, "--dir", directory)
    try:
        yield
    finally:
        _lab(rollout, "fault", name, NODE, "--clear", "--dir", directory)


def _lab(rollout: Rollout, *arguments: str) -> None:
    rollout.plain("lab", *arguments)


def run_trial(rollout: Rollout, name: str) -> Trial:
    """Apply a plan over all nodes, one at a time and NODE first, with the fault in force on NODE."""
    plan = rollout.planned("plan", "--target", "netkit", "--on-failure", "roll-back")
    with fault(rollout, name):
        process = rollout.start("apply", str(plan))
        code = process.wait(timeout=1200)
    assert code != 0, f"the fault {name} went unnoticed:\n{rollout.background_log()}"
    return read_trial(name, entries(rollout))


def entries(rollout: Rollout) -> list[dict[str, Any]]:
    """The journal of the newest rollout, in order."""
    lines = [json.loads(line) for line in rollout.run("state", "export").stdout.splitlines()]
    mine = [line for line in lines if line["kind"] == "entry"]
    newest = mine[-1]["rollout"]
    found = []
    for line in mine:
        if line["rollout"] == newest:
            found.append(
                {**json.loads(line["content"]), "type": line["type"], "at": datetime.fromisoformat(line["at"])}
            )
    return found


def read_trial(name: str, journal: list[dict[str, Any]]) -> Trial:
    """The first failed or held outcome of NODE, and how long the new agent was Ready by then."""
    outcomes = [e for e in journal if e["type"] == "outcome"]
    armed = {e["node"] for e in outcomes if e["step"] in ("restart-agent", "reboot") and e["result"] == "done"}
    first = next(e for e in outcomes if e["result"] in ("failed", "held") and e["node"] == NODE)
    ready = next(
        (e["at"] for e in outcomes if e["node"] == NODE and e["step"] == "clear-stragglers" and e["at"] < first["at"]),
        None,
    )
    seconds = (first["at"] - ready).total_seconds() if ready else None
    check = first["code"].removeprefix("check-").removesuffix("-inconclusive")
    return Trial(name, check, seconds, first["reason"], frozenset(armed))
