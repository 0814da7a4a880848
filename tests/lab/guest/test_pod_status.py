"""Pure parts of the kubelet stand-in: phases, counts after a reboot, probe pace, logs, commands."""

from pathlib import Path

import containerimages
import containerstart
import kubeletserver
import podstate
import podstatus
import pytest
import readiness
from podstate import PodState
from podstatus import ContainerRecord


def ended(code: int) -> ContainerRecord:
    record = ContainerRecord("c", "image")
    record.run("u/c/0")
    record.end(code, podstatus.now())
    return record


@pytest.mark.parametrize(
    ("record", "policy", "phase"),
    [
        (ContainerRecord("c", "image"), "Always", "Pending"),
        (ended(0), "Never", "Succeeded"),
        (ended(1), "Never", "Failed"),
        (ended(1), "OnFailure", "Running"),
        (ended(1), "Always", "Running"),
    ],
)
def test_phase(record: ContainerRecord, policy: str, phase: str) -> None:
    assert podstatus.phase([record], policy) == phase


def test_a_reboot_counts_as_a_restart_and_keeps_other_conditions() -> None:
    status = {"name": "c", "restartCount": 2, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
    pod = {
        "metadata": {"uid": "u", "namespace": "default", "name": "p"},
        "spec": {"containers": [{"name": "c"}]},
        "status": {"containerStatuses": [status]},
    }
    record = podstate.first_state(pod).records[0]
    assert record.restarts == 3
    assert record.last["terminated"]["reason"] == "Unknown"
    others = [{"type": "DisruptionTarget", "status": "True"}]
    built = podstatus.conditions(others, {"Ready": (False, "ContainersNotReady", "why")})
    assert built[0] == others[0]
    assert (built[1]["status"], built[1]["reason"]) == ("False", "ContainersNotReady")


def test_probes_are_quick_at_first_and_rare_once_ready() -> None:
    probe = readiness.probe_for({"readinessProbe": {"httpGet": {"port": 8080}, "periodSeconds": 2}}, "webserver")
    assert probe is not None
    assert probe.delay(0, ready=False) < 1 < probe.delay(5, ready=False) <= 2
    assert probe.delay(1, ready=True) == 30
    assert readiness.probe_for({}, "containerimages") is None
    connecting = readiness.probe_for({"readinessProbe": {"tcpSocket": {"port": 81}}}, "hostcommand")
    assert connecting is not None
    assert (connecting.port, connecting.path) == (81, "")


def test_commands() -> None:
    assert containerimages.resolve(["cilium-dbg", "build-config", "--x"]) == ("buildconfig", ["--x"])
    with pytest.raises(containerimages.UnknownCommand, match='"curl": executable file not found'):
        containerimages.resolve(["curl", "-s"])
    assert containerimages.resolve(["python3", "-c", "0"]) == ("hostcommand", ["python3", "-c", "0"])


@pytest.mark.parametrize(("seconds", "text"), [(10, "10s"), (80, "1m20s"), (300, "5m0s")])
def test_durations(seconds: float, text: str) -> None:
    assert containerstart.go_duration(seconds) == text


def test_previous_log_while_waiting_for_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_ROOT", str(tmp_path))
    record = ContainerRecord("c", "image", restarts=1)
    state = PodState("u", "default", "p", records=[record])
    state.folder.mkdir(parents=True)
    (state.folder / "c-0.log").write_text("first\n")
    (state.folder / "c-1.log").write_text("a\nsecond\n")
    record.last = {"terminated": {}}
    record.wait("CrashLoopBackOff")
    path = "/containerLogs/default/p/c"
    assert kubeletserver.read_log([state], path, "previous=true&tailLines=1") == (200, "text/plain", b"second\n")
    record.run("u/c/1")
    assert kubeletserver.read_log([state], path, "previous=true")[2] == b"first\n"
    assert kubeletserver.read_log([state], path, "")[2] == b"a\nsecond\n"
    assert kubeletserver.read_log([state], "/containerLogs/default/p/other", "")[0] == 400
