"""A running lab for tests, and the real command line against it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rollout.lab.layout import LabInfo, LabNode
from rollout.lab.witness import LabApi, link_kinds

TIMEOUT_S = 1200


@dataclass
class Rollout:
    """Runs `rollout` as a person would, with a state file of its own."""

    info: LabInfo
    directory: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def api(self) -> LabApi:
        return LabApi(self.info)

    @property
    def state(self) -> Path:
        return self.directory / "state.db"

    def command(self, *arguments: str, kubeconfig: Path | None = None) -> list[str]:
        flags = ["--config", str(self.info.config), "--state", str(self.state)]
        if kubeconfig is not None:
            flags += ["--kubeconfig", str(kubeconfig)]
        return [sys.executable, "-m", "rollout", *arguments, *flags]

    def run(self, *arguments: str, expect: int = 0, kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run to the end and require the exit code."""
        done = subprocess.run(
            self.command(*arguments, kubeconfig=kubeconfig),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == expect, (
            f"{arguments}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        )
        return done

    def plain(self, *arguments: str) -> str:
        """Run a command that takes neither configuration nor state, and require success; its standard output."""
        words = [sys.executable, "-m", "rollout", *arguments]
        done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        return done.stdout

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start in the background; output goes to a file for the failure message."""
        with (self.directory / "background.log").open("ab") as log:
            process = subprocess.Popen(self.command(*arguments), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.started.append(process)
        return process

    def stop(self) -> None:
        """End what is still running, as a failed test leaves it, and give up rollouts that are held.

        While a rollout is held, nodes still to do keep its soft taint.
        """
        for process in self.started:
            process.kill()
            process.wait()
        for found in self.json("status", "--all")["rollouts"]:
            if found["phase"] in ("held", "running", "aborting"):
                for word in ("abort", "resume"):
                    subprocess.run(self.command(word, found["id"]), timeout=TIMEOUT_S, check=False, capture_output=True)

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--output", "json").stdout)

    def planned(self, *arguments: str) -> Path:
        """Make and approve a plan; its file."""
        plan = self.directory / "plan.json"
        self.run(*arguments, "--out", str(plan))
        self.run("approve", str(plan), "--by", "reviewer", "--ticket", "T-1")
        return plan

    def node(self, name: str) -> LabNode:
        return next(n for n in self.info.nodes if n.name == name)

    def kinds(self) -> dict[str, set[str]]:
        """Kinds of endpoint links per node, by the guests' own ip(8)."""
        return {n.name: set(link_kinds(self.info, n)) for n in self.info.nodes}

    def background_log(self) -> str:
        return (self.directory / "background.log").read_text(errors="replace")[-6000:]
