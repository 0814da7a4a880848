"""kill -9 of apply at random moments, each followed by resume: the same end, nothing left behind."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable

import pytest

from rollout.lab.witness import LabApi
from tests.support.lab import Rollout

SEED = int(os.environ.get("ROLLOUT_CRASH_SEED", "7"))
KILLS = int(os.environ.get("ROLLOUT_CRASH_KILLS", "12"))
LONGEST_S = 24.0
"""Longest time a run is left alone before it is killed; a whole rollout of two nodes takes several times that."""


def ansible_processes() -> list[str]:
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if "ansible-playbook" in line and "rollout_crash" not in line]


def wait_until_no_ansible(seconds: float = 15.0) -> list[str]:
    deadline = time.monotonic() + seconds
    while (left := ansible_processes()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


def run_with_kills(rollout: Rollout, plan: str, chance: random.Random, kills: int) -> int:
    """Apply a plan, killing up to `kills` times; how many times it was."""
    process, done = rollout.start("apply", plan), 0
    while True:
        try:
            code = process.wait(timeout=chance.uniform(0.3, LONGEST_S) if done < kills else 1200)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            done += 1
            left = wait_until_no_ansible()
            assert not left, f"a killed apply left processes that may still change a node: {left}"
            process = rollout.start("resume")
            continue
        assert code == 0, rollout.background_log()
        return done


@pytest.mark.lab
def test_kills_end_in_the_same_state(rollout: Rollout, record_property: Callable[[str, object], None]) -> None:
    chance = random.Random(SEED)
    left, target, journeys = KILLS, "netkit", 0
    while left > 0 or target == "veth":
        plan = rollout.planned("plan", "--target", target)
        left -= run_with_kills(rollout, str(plan), chance, left)
        journeys += 1
        kind = {"netkit": {"netkit/l3"}, "veth": {"veth"}}[target]
        assert rollout.kinds() == {"n1": kind, "n2": kind}
        assert LabApi(rollout.info).leftovers() == []
        target = "veth" if target == "netkit" else "netkit"
    rollout.run("state", "check")
    record_property("kills", f"{KILLS} kills (seed {SEED}) over {journeys} rollouts")
