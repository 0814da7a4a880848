"""The eBPF probes on this machine's kernel, over veth: exact counts, honest self-tests, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rollout.adapters.ansible import bundle
from rollout.onnode import bpf_sources, bpfcalls
from tests.onnode.shipped import watched

PYTHON = "/usr/bin/python3"
PROBES = ("path", "drops", "tcp")
has_bcc = subprocess.run([PYTHON, "-I", "-c", "import bcc"], capture_output=True, check=False).returncode == 0
needs_bcc = pytest.mark.skipif(not has_bcc, reason="python3-bpfcc is not installed")
not_root = pytest.mark.skipif(os.geteuid() != 0, reason="eBPF needs root")


def run(text: str, **more: Any) -> dict[str, Any]:
    """A node's Python over `text`; its document."""
    done = subprocess.run([PYTHON, "-I", "-"], input=text.encode(), capture_output=True, check=True, timeout=60, **more)
    found: dict[str, Any] = json.loads(done.stdout)
    assert "trace" not in found, found
    return found


def held_by(process: int) -> set[int]:
    """Numbers of the eBPF programs that a process holds."""
    found = set()
    for path in Path(f"/proc/{process}/fdinfo").iterdir():
        try:
            found |= {int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith("prog_id:")}
        except OSError:
            continue
    return found


def gone(programs: set[int]) -> bool:
    """Whether the kernel lets go of all of them within seconds; it frees them in the background."""
    deadline = time.monotonic() + 10
    while programs & set(bpfcalls.program_names()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    return run(watched({"kind": "veth", "probes": PROBES}))


def link(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in document["links"] if one["name"] == name)
    return found


@needs_bcc
@pytest.mark.root
@not_root
class TestCounts:
    @pytest.mark.parametrize("probe", PROBES)
    @pytest.mark.parametrize("window", ["udp", "tcp"])
    def test_self_tests(self, seen: dict[str, Any], window: str, probe: str) -> None:
        document = seen[window][probe]
        test = document["selftest"]
        assert test == {"sent": 28 if probe == "tcp" else 64, "seen": test["sent"], "ok": True, "message": ""}
        assert document["lost_events"] == 0
        assert document["reader"].startswith("bcc 0.")
        assert all(one["run_ns"] > 0 for one in document["cost"]["programs"] if one["runs"])

    def test_path(self, seen: dict[str, Any]) -> None:
        document = seen["udp"]["path"]
        assert seen["delivered"] == 200
        sender, receiver = link(document, "lxca"), link(document, "lxcb")
        frame = 100 + 28 + 14  # payload, headers, Ethernet
        assert sender["from_pod"] == {"packets": 230, "bytes": 230 * frame, "refused": 0}
        assert receiver["to_pod"] == {"packets": 230, "bytes": 230 * frame, "refused": 0, "redirected": 0}
        assert {one["kind"] for one in document["links"]} == {"veth"}
        replies = receiver["from_pod"]["packets"]  # "port unreachable", of which the kernel sends a few only
        for hop in document["hops"]:
            assert hop["count"] == sum(hop["log2_ns"]) == 230 + replies
        assert [hop["direction"] for hop in document["hops"]] == ["from-pod", "to-pod"]

    def test_drops(self, seen: dict[str, Any]) -> None:
        document = seen["udp"]["drops"]
        mine = [one for one in document["drops"] if one["link"] in ("lxca", "lxcb")]
        assert [(one["reason"], one["link"], one["side"], one["protocol"], one["packets"]) for one in mine] == [
            ("NO_SOCKET", "lxcb", "pod", "ipv4/udp", 30)
        ]
        assert document["reasons_from"] == "btf"
        refused = [
            (one["link"], one["protocol"], one["packets"])
            for one in seen["tcp"]["drops"]["drops"]
            if one["reason"] == "NO_SOCKET"
        ]
        assert ("lxcb", "ipv4/tcp", 5) in refused
        assert ("lxcb", "ipv6/tcp", 2) in refused

    @pytest.mark.parametrize(("family", "accepted", "refused"), [(4, 20, 5), (6, 7, 2)])
    def test_tcp(self, seen: dict[str, Any], family: int, accepted: int, refused: int) -> None:
        rows = {one["address"]: one for one in seen["tcp"]["tcp"]["endpoints"]}
        near, far = (rows["10.99.0.1"], rows["10.99.0.2"]) if family == 4 else (rows["fd99::1"], rows["fd99::2"])
        assert (near["connects"], near["connect_failures"], near["resets_received"]) == (accepted, refused, refused)
        assert (far["accepts"], far["resets_sent"], far["connects"]) == (accepted, refused, 0)
        assert sum(near["connect_log2_us"]) == accepted
        assert 0 < sum(far["srtt_log2_us"]) <= far["segments"]
        assert near["retransmits"] == far["retransmits"] == 0

    def test_windows_begin_empty(self, seen: dict[str, Any]) -> None:
        assert not any(one["address"].startswith(("10.99", "fd99")) for one in seen["udp"]["tcp"]["endpoints"])

    def test_nothing_is_left(self, seen: dict[str, Any]) -> None:
        names = set(seen["programs"].values())
        assert {"path_begun", "path_sent", "path_arrived", "drops_freed", "tcp_state", "tcp_segment"} <= names
        assert gone({int(number) for number in seen["programs"]})


SPOILT = {
    "path": ("found->packets += 1;", "found->packets += (bpf_get_prandom_u32() & 7) != 0;"),
    "drops": ("what.reason = ctx->args[2];", "what.reason = ctx->args[2]; if (!(bpf_get_prandom_u32() & 7)) return 0;"),
    "tcp": ("&endpoint->connects, 1", "&endpoint->connects, 2"),
}


@needs_bcc
@pytest.mark.root
@not_root
@pytest.mark.parametrize("probe", PROBES)
def test_a_probe_that_miscounts_says_so(probe: str) -> None:
    right, wrong = SPOILT[probe]
    texts = dict(bpf_sources.SOURCES)
    assert right in texts[f"{probe}.c"]
    texts[f"{probe}.c"] = texts[f"{probe}.c"].replace(right, wrong)
    found = run(watched({"kind": "veth", "probes": PROBES}, {"onnode.bpf_sources": f"SOURCES = {texts!r}"}))
    for other in PROBES:
        test = found["udp"][other]["selftest"]
        assert test["ok"] == (other != probe), test
    test = found["udp"][probe]["selftest"]
    assert test["sent"] != test["seen"]
    assert f"cannot trust probe {probe}" in test["message"]
    assert "sent " in test["message"]
    assert "seen " in test["message"]


@needs_bcc
@pytest.mark.root
@not_root
class TestKilled:
    def test_in_the_window(self) -> None:
        process = subprocess.Popen([PYTHON, "-I", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin
        assert process.stdout
        process.stdin.write(watched({"kind": "veth", "probes": PROBES, "wait_in": "window"}).encode())
        process.stdin.close()
        assert process.stdout.readline() == b"window\n"
        assert len(held_by(process.pid)) == 10
        self.kill(process)

    @pytest.mark.parametrize("after_ms", [5, 60, 120, 180, 240, 300])
    def test_while_opening(self, after_ms: int) -> None:
        """Wherever that hits: starting, compiling, attaching, or in the self-test."""
        process = subprocess.Popen([PYTHON, "-I", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        text = bundle.bundle("observe", {"probes": list(PROBES), "inputs": {"window": {"seconds": 60}}})
        assert process.stdin
        process.stdin.write(text.encode())
        process.stdin.close()
        time.sleep(after_ms / 1000)
        self.kill(process)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End it the hard way; its programs go, and its children, which would keep its output open."""
        process.send_signal(signal.SIGSTOP)
        programs = held_by(process.pid)
        process.kill()
        process.wait()
        assert process.stdout
        while process.stdout.read(4096):
            pass
        process.stdout.close()
        assert gone(programs)
        assert not list(Path("/tmp").glob("netkit-rollout-*"))


def test_without_bcc() -> None:
    """The reading probes still answer, and the others say what is missing and how to get it."""
    text = bundle.bundle("observe", {"probes": ["links", *PROBES], "inputs": {"window": {"seconds": 1}}})
    documents = run("import sys; sys.modules['bcc'] = None\n" + text)["documents"]
    assert "links" in documents["links"]
    for probe in PROBES:
        document = documents[probe]
        assert (document["failed"], document["code"], document["missing"]) == (
            True,
            "bpf-unavailable",
            ["python3-bpfcc"],
        )
        assert document["probe"] == probe
        assert "toolbox" in document["message"] + document.get("hint", "")
