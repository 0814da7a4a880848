"""The eBPF probes in a guest: netkit and veth, another BCC, another kernel, no kernel headers. Needs root and QEMU."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from machine_seeds import node_seed

from rollout.lab.image import ensure_image
from rollout.lab.image.steps import missing_programs
from rollout.lab.machine import Machine, MachineSpec
from rollout.lab.network import LabNetwork, free_port
from rollout.lab.supervisor import WARM_UP
from rollout.lab.template import ensure_template
from tests.onnode.shipped import watched

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(bool(missing_programs()), reason=f"programs missing: {', '.join(missing_programs())}"),
]
CACHE = Path(os.environ.get("NETKIT_ROLLOUT_LAB_CACHE") or platformdirs.user_cache_path("netkit-rollout") / "lab")
PROBES = ("path", "drops", "tcp")
FRAME = 100 + 28 + 14


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    image = ensure_image(CACHE, print)
    template = ensure_template(image, CACHE, WARM_UP, print)
    network = LabNetwork.create(f"lab-probes-{os.getpid()}")
    spec = MachineSpec("node-1", 1, free_port(), free_port(), node_seed(1, 2))
    machine = Machine.restore(image, template, spec, network.tap(1), tmp_path_factory.mktemp("machine"))
    try:
        machine.wait_ready(90)
        yield machine
    finally:
        machine.stop()
        network.delete()


def run(machine: Machine, request: dict[str, Any]) -> dict[str, Any]:
    # Without the guest's own headers: a node has none.
    command = ["env", "-u", "BCC_KERNEL_SOURCE", "python3", "-I", "-"]
    done = machine.ssh(command, timeout_s=240, stdin=watched(request))
    assert done.returncode == 0, f"{done.stderr}\n{machine.console_tail()}"
    found: dict[str, Any] = json.loads(done.stdout)
    assert "trace" not in found, found
    return found


@pytest.mark.parametrize("kind", ["netkit", "veth"])
def test_counts_are_exact(machine: Machine, kind: str) -> None:
    found = run(machine, {"kind": kind, "probes": PROBES})
    for probe in PROBES:
        test = found["udp"][probe]["selftest"]
        # Twice what it is on a kernel without netkit: both kinds of pair are tried.
        assert test == {"sent": 56 if probe == "tcp" else 128, "seen": test["sent"], "ok": True, "message": ""}
    path = found["udp"]["path"]
    first, second = sorted(path["links"], key=lambda link: str(link["name"]))
    assert {first["kind"], second["kind"]} == {"veth" if kind == "veth" else "netkit/l3"}
    assert first["from_pod"] == {"packets": 230, "bytes": 230 * FRAME, "refused": 0}
    assert (second["to_pod"]["packets"], second["to_pod"]["refused"]) == (230, 0)
    assert all(hop["count"] >= 230 and hop["kind"] == first["kind"] for hop in path["hops"])
    drops = [one for one in found["udp"]["drops"]["drops"] if one["link"] == "lxcb"]
    assert [(one["reason"], one["protocol"], one["packets"]) for one in drops] == [("NO_SOCKET", "ipv4/udp", 30)]
    rows = {one["address"]: one for one in found["tcp"]["tcp"]["endpoints"]}
    assert (rows["10.99.0.1"]["connects"], rows["10.99.0.1"]["connect_failures"]) == (20, 5)
    assert (rows["fd99::1"]["connects"], rows["fd99::1"]["connect_failures"]) == (7, 2)
    if kind == "netkit":
        require_blackhole_seen(found["blackhole"])


def require_blackhole_seen(documents: dict[str, Any]) -> None:
    """A link whose program is gone: nothing crosses, and both probes say where it ends."""
    first, second = sorted(documents["path"]["links"], key=lambda link: str(link["name"]))
    assert first["from_pod"] == {"packets": 0, "bytes": 0, "refused": 30}
    assert second["to_pod"]["packets"] == 0
    # netkit gives a packet to the other end before it asks for the verdict.
    lost = [one for one in documents["drops"]["drops"] if one["protocol"] == "ipv4/udp"]
    assert [(one["link"], one["side"], one["packets"]) for one in lost] == [("lxca", "host", 30)]


def test_nothing_is_left(machine: Machine) -> None:
    command = (
        "cat /sys/kernel/tracing/kprobe_events 2>/dev/null; bpftool prog show | grep -E 'path_|drops_|tcp_' || true"
    )
    left = machine.ssh(["sh", "-c", f"sleep 1; {command}; ls -d /tmp/netkit-rollout-* 2>/dev/null || true"])
    assert left.stdout.strip() == ""
