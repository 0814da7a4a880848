"""What the eBPF probes cost: time per packet over an empty program, time until they watch, CPU while they do.

Times are the kernel's own (run_time_ns / run_cnt). Those of emulated guests tell ratios only.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from benchmarks.report import report
from rollout.lab.image import ensure_image
from rollout.lab.image.steps import missing_programs
from rollout.lab.machine import Machine, MachineSpec
from rollout.lab.network import LabNetwork, free_port
from rollout.lab.supervisor import WARM_UP
from rollout.lab.template import ensure_template
from tests.onnode.shipped import watched

PYTHON = "/usr/bin/python3"
COSTED = Path(__file__).with_name("costed.py").read_text()
BUDGET_NS = 150
PER_PACKET = ("path_begun", "path_sent", "path_arrived", "drops_freed", "tcp_segment")
"""Programs that run once for a packet or a segment; the others run for a connection."""
CACHE = Path(os.environ.get("NETKIT_ROLLOUT_LAB_CACHE") or platformdirs.user_cache_path("netkit-rollout") / "lab")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="eBPF needs root")


def text(kind: str, packets: int) -> str:
    return watched({"kind": kind, "packets": packets}, {"onnode.costed": COSTED}, "costed")


def say(where: str, found: Mapping[str, Any], *, emulated: bool) -> None:
    empty = min(one["empty"] for one in found["ns"]["empty"])
    for probe, rounds in found["ns"].items():
        for name, cost in sorted(rounds[0].items()):
            if probe != "empty" and not emulated:
                budget = BUDGET_NS if name in PER_PACKET else 10 * BUDGET_NS
                report(f"{where}: {name}, over an empty program ({empty} ns)", cost - empty, budget, "ns")
            elif name in PER_PACKET:  # the others run too seldom there to be told from the host's own pauses
                report(f"{where}: {name}, against an empty program ({empty} ns)", cost / empty, 20)
    spent = found["ms"]
    each = sum(spent[name] for name in ("path", "drops", "tcp"))
    report(f"{where}: compile and load each probe alone, in all", each / 1000, 60 if emulated else 2, "s")
    report(f"{where}: compile, load and self-test all in one", found["open_ms"] / 1000, 30 if emulated else 1, "s")
    report(f"{where}: CPU while watching for a second", found["idle_ms"], 50 if emulated else 10, "ms")


def test_here_on_veth() -> None:
    done = subprocess.run(
        [PYTHON, "-I", "-"], input=text("veth", 20_000).encode(), capture_output=True, check=True, timeout=300
    )
    say("veth, here", require(done.stdout.decode()), emulated=False)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    image = ensure_image(CACHE, print)
    template = ensure_template(image, CACHE, WARM_UP, print)
    network = LabNetwork.create(f"lab-bench-{os.getpid()}")
    spec = MachineSpec("node-1", 1, free_port(), free_port())
    machine = Machine.restore(image, template, spec, network.tap(1), tmp_path_factory.mktemp("machine"))
    try:
        machine.wait_ssh(90)
        yield machine
    finally:
        machine.stop()
        network.delete()


@pytest.mark.skipif(bool(missing_programs()), reason="no emulator")
@pytest.mark.parametrize("kind", ["netkit", "veth"])
def test_in_a_guest(machine: Machine, kind: str) -> None:
    done = machine.ssh(["python3", "-I", "-"], timeout_s=400, stdin=text(kind, 1000))
    assert done.returncode == 0, done.stderr
    say(f"{kind}, emulated", require(done.stdout), emulated=True)


def require(output: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(output)
    assert not found.get("failed"), found
    return found
