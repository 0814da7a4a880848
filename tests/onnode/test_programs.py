"""Programs as a node runs them: one text on standard input, one document on standard output."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rollout.adapters.ansible.bundle import PROGRAMS, bundle, needed
from rollout.domain.observed import parse_capability
from rollout.onnode import agent, capability, entry, links, observe, prepare
from tests.onnode.observations import observation

BOOT_ID = entry.boot_id()


def run(program: str, request: dict[str, Any], stdout: int = subprocess.PIPE) -> dict[str, Any]:
    """Run a program the way the playbooks do, without our packages."""
    command = [sys.executable, "-I", "-S", "-"]
    done = subprocess.run(command, input=bundle(program, request).encode(), stdout=stdout, check=False)
    found: dict[str, Any] = json.loads(done.stdout) if done.stdout else {}
    return found


def claimed(tmp_path: Path, **more: Any) -> dict[str, Any]:
    return {"rollout": "r1", "fencing": 5, "claim_folder": str(tmp_path / "claim"), **more}


@pytest.mark.parametrize("path", sorted(PROGRAMS.glob("*.py")), ids=lambda path: path.name)
def test_python_3_9_can_read_it(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module != "__future__":
            assert (node.module or "").split(".")[0] in sys.stdlib_module_names
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= sys.stdlib_module_names


def test_observe_on_a_bare_python() -> None:
    document = run("observe", {"probes": ["links", "agent", "capability"], "agent_socket": "/nonexistent"})
    assert set(document["documents"]) == {"links", "agent", "capability"}
    assert document["documents"]["links"]["reader"] == "rtnetlink"
    assert document["documents"]["agent"]["agent"] == "down"
    for probe, one in document["documents"].items():
        assert (one["schema"], one["probe"]) == (1, probe)
        assert one["host"]
        assert one["took_ms"] >= 0


def test_only_what_is_asked_for() -> None:
    assert set(run("observe", {"probes": ["links"]})["documents"]) == {"links"}


def test_unknown_probe() -> None:
    assert run("observe", {"probes": ["weather"]})["code"] == "unknown-probe"


def test_one_probes_failure_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: entry.Document) -> entry.Document:
        raise OSError("no such luck")

    monkeypatch.setattr(agent, "main", broken)
    documents = observe.main({"probes": ["agent", "links"]})["documents"]
    assert documents["agent"]["failed"]
    assert "no such luck" in documents["agent"]["message"]
    assert "links" in documents["links"]


def test_a_program_ends_itself(tmp_path: Path) -> None:
    request = claimed(tmp_path, target="veth", limit_s=1)
    (tmp_path / "claim").mkdir()
    hold = f"import fcntl,time; f=open({str(tmp_path / 'claim' / 'lock')!r},'w'); fcntl.flock(f,2); print(1,flush=True)"
    with subprocess.Popen([sys.executable, "-c", f"{hold}; time.sleep(30)"], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        begun = time.monotonic()
        assert run("prepare", request) == {}
        assert time.monotonic() - begun < 4
        holder.kill()


def test_capability_leaves_no_namespace_and_says_what_it_found() -> None:
    before = _named_namespaces()
    found = capability.read()
    assert _named_namespaces() == before
    parsed = parse_capability(observation("capability", found))
    assert parsed is not None
    assert bool(parsed.error) == (len(parsed.modes) < 2)
    assert bool(found["modes"]) or not found["scrub"]


def _named_namespaces() -> list[str]:
    folder = Path("/run/netns")
    return sorted(one.name for one in folder.iterdir()) if folder.is_dir() else []


def rows(*named: tuple[str, str]) -> dict[str, Any]:
    found = [{"name": name, "kind": kind, "health": name == "lxc_health"} for name, kind in named]
    return {"links": found, "boot_id": BOOT_ID, "kernel": "6.12"}


@pytest.mark.parametrize(
    ("target", "more", "left"),
    [
        ("veth", {}, ["lxcb"]),
        ("netkit", {}, ["lxca", "lxcc"]),
        ("netkit", {"allowed_stragglers": ["lxca"]}, ["lxcc"]),
        ("netkit", {"allowed_stragglers": ["lxca", "lxcc"]}, []),
        ("netkit", {"allowed_count": 1, "allowed_stragglers": ["lxcc"]}, []),
        ("netkit", {"allowed_count": 1}, ["lxca", "lxcc"]),
        ("netkit-l2", {"allowed_count": 1}, ["lxca", "lxcb"]),
    ],
)
def test_prepare_names_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, more: dict[str, Any], left: list[str]
) -> None:
    table = rows(("lxca", "veth"), ("lxcb", "netkit/l3"), ("lxcc", "netkit/l2"), ("lxc_health", "veth"))
    if target == "veth":
        table = rows(("lxca", "veth"), ("lxcb", "netkit/l3"), ("lxc_health", "netkit/l3"))
    monkeypatch.setattr(links, "read", lambda: dict(table))
    able = {"modes": ["netkit", "netkit-l2"], "kernel": "6.12", "scrub": True, "error": ""}
    monkeypatch.setattr(capability, "read", lambda: able)
    request = claimed(tmp_path, target=target, agent_socket="/nonexistent", **more)
    if not left:
        assert prepare.main(request)["agent_socket"] == "down"
        assert prepare.main(request)["boot_id"] == BOOT_ID
        return
    with pytest.raises(entry.Refusal) as refusal:
        prepare.main(request)
    assert refusal.value.code == "node-not-empty"
    assert all(name in refusal.value.message for name in left)
    assert "lxc_health" not in refusal.value.message
    assert refusal.value.facts["links"] == table["links"]


def test_prepare_refuses_a_kernel_that_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "read", rows)
    unable = {"modes": [], "kernel": "6.1", "scrub": False, "error": "Unknown device type"}
    monkeypatch.setattr(capability, "read", lambda: unable)
    with pytest.raises(entry.Refusal, match="Unknown device type"):
        prepare.main(claimed(tmp_path, target="netkit"))


def test_fencing(tmp_path: Path) -> None:
    request = {**claimed(tmp_path), "target": "veth"}
    outcomes = [
        run("prepare", {**request, "rollout": rollout, "fencing": fencing}).get("code")
        for rollout, fencing in (("r1", 5), ("r1", 5), ("r2", 4), ("r2", 5), ("r2", 6), ("r1", 5))
    ]
    assert outcomes == [None, None, "fenced-off", "fenced-off", None, "fenced-off"]


@pytest.mark.parametrize("wrong", [{"fencing": "5"}, {"fencing": True}, {"rollout": ""}, {"target": "bridge"}])
def test_bad_requests(tmp_path: Path, wrong: dict[str, Any]) -> None:
    assert run("prepare", {**claimed(tmp_path, target="veth"), **wrong})["code"] == "bad-request"


def test_an_unreadable_claim_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "claim").mkdir()
    (tmp_path / "claim" / "claim.json").write_text("{")
    assert run("prepare", claimed(tmp_path, target="veth"))["code"] == "claim-unreadable"


def test_reboot_only_out_of_the_boot_that_is_named(tmp_path: Path) -> None:
    done = tmp_path / "done"
    command = ["touch", str(done)]
    other = run("reboot", claimed(tmp_path, boot_id="another", reboot_command=command))
    assert (other["rebooting"], other["boot_id"]) == (False, BOOT_ID)
    begun = time.monotonic()
    this = run("reboot", claimed(tmp_path, boot_id=BOOT_ID, reboot_command=command))
    assert time.monotonic() - begun < 2, "the answer must not wait for the reboot"
    assert this["rebooting"]
    assert not done.exists()
    deadline = time.monotonic() + 5
    while not done.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert done.exists()
    assert run("reboot", claimed(tmp_path, boot_id=""))["code"] == "bad-request"


def test_no_reboot_when_nobody_reads_the_answer(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    request = claimed(tmp_path, boot_id=BOOT_ID, reboot_command=["touch", str(tmp_path / "done")])
    run("reboot", request, stdout=writing)
    os.close(writing)
    time.sleep(2.5)
    assert not (tmp_path / "done").exists()


def test_the_bundle_is_small() -> None:
    plain = needed("observe", {"probes": ["agent", "links", "programs", "counters", "reach", "policy"]})
    assert sum(map(len, plain.values())) < 150_000
    assert len(plain) < len(needed("observe", {"probes": ["links", "path"]}))
    with pytest.raises(ValueError, match="no such program"):
        bundle("../evil", {})
