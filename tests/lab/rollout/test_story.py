"""What an operator does on the lab, by the real command line."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from rollout.lab.client import SteadyClient
from tests.support.lab import Rollout

pytestmark = pytest.mark.lab


def test_plans_are_equal_byte_for_byte_and_an_edited_one_is_refused(rollout: Rollout, tmp_path: Path) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    rollout.run("plan", "--target", "netkit", "--out", str(first))
    rollout.run("plan", "--target", "netkit", "--out", str(second))
    assert first.read_bytes() == second.read_bytes()
    rollout.run("approve", str(first), "--by", "ann", "--ticket", "T-1")
    text = bytearray(first.read_bytes())
    text[text.index(b'"canary":1') + 9] = ord("2")
    edited = tmp_path / "edited.json"
    edited.write_bytes(bytes(text))
    refused = rollout.run("apply", str(edited), expect=4)
    assert "no plan of this text" in refused.stderr


def test_bad_input_is_refused_before_anything_is_touched(rollout: Rollout, tmp_path: Path) -> None:
    assert "did you mean n1" in rollout.run("plan", "--target", "netkit", "--node", "n11", expect=2).stderr
    viewer = rollout.info.directory / "viewer.kubeconfig"
    plan = rollout.planned("plan", "--target", "netkit")
    denied = rollout.run("apply", str(plan), expect=4, kubeconfig=viewer)
    assert "not permitted to create pods" in denied.stderr and "netkit-rollout" in denied.stderr
    missing = rollout.run("plan", "--target", "netkit", expect=2, kubeconfig=tmp_path / "no-such-file")
    assert "no-such-file" in missing.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"user": "guarded"}, "sudo"),
        ({"python": "/usr/bin/python9"}, "ython"),
        ({"known_hosts": "changed"}, "host key"),
    ],
)
def test_a_node_that_cannot_be_reached_is_left_out_with_the_reason(
    rollout: Rollout, tmp_path: Path, change: dict[str, str], words: str
) -> None:
    config = yaml.safe_load(rollout.info.config.read_text())
    if change.get("known_hosts"):
        lines = Path(config["ssh"]["known_hosts"]).read_text().splitlines()
        other = subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")],
            check=True,
            capture_output=True,
        )
        assert other.returncode == 0
        key = " ".join((tmp_path / "other.pub").read_text().split()[:2])
        (tmp_path / "known_hosts").write_text("".join(f"{line.split()[0]} {key}\n" for line in lines))
        change = {"known_hosts": str(tmp_path / "known_hosts")}
    config["ssh"] |= change
    broken = tmp_path / "broken.yaml"
    broken.write_text(yaml.safe_dump(config))
    done = subprocess.run(
        [*rollout.command("plan", "--target", "netkit"), "--config", str(broken)],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 4, done.stdout + done.stderr
    assert words in done.stderr.lower()


def wait_for(rollout: Rollout, phase: str, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if rollout.json("status")["phase"] == phase:
            return
        time.sleep(0.3)
    raise AssertionError(f"never {phase}: {rollout.background_log()}")


def test_there_with_a_pause_and_back_in_parts_loses_no_request(rollout: Rollout) -> None:
    with SteadyClient(rollout.info.service) as client:
        plan = rollout.planned("plan", "--target", "netkit")
        first = there_with_a_pause(rollout, plan)
        assert rollout.kinds() == {"n1": {"netkit/l3"}, "n2": {"netkit/l3"}}
        assert '"fail"' not in json.dumps(rollout.json("verify"))
        assert "applied already" in rollout.run("apply", str(plan), expect=4).stderr
        rollout.run("apply", str(rollout.planned("rollback", first, "--node", "n1")))
        assert rollout.kinds() == {"n1": {"veth"}, "n2": {"netkit/l3"}}
        rollout.run("apply", str(rollout.planned("plan", "--target", "veth", "--node", "n2")))
    assert rollout.kinds() == {"n1": {"veth"}, "n2": {"veth"}}
    assert client.tally.sent > 100
    assert client.tally.lost == 0, client.tally
    assert rollout.api.agent_restarts() == 0


def there_with_a_pause(rollout: Rollout, plan: Path) -> str:
    """Apply, pause from a second terminal in the middle of the first node, resume; the rollout's id."""
    process = rollout.start("apply", str(plan))
    wait_for(rollout, "running")
    rollout.run("pause", "--reason", "lunch")
    assert process.wait(timeout=600) == 3, rollout.background_log()
    status = rollout.json("status")
    assert status["phase"] == "held"
    assert len([n for n in status["nodes"] if n["phase"] != "pending"]) <= 1
    assert "rollout resume" in rollout.run("why", "n2").stdout + rollout.run("why", "n1").stdout
    rollout.run("resume")
    return str(status["rollout"]["id"])


STRAGGLER = {
    "apiVersion": "apps/v1",
    "kind": "DaemonSet",
    "metadata": {"name": "clinger", "namespace": "default"},
    "spec": {
        "selector": {"matchLabels": {"app": "clinger"}},
        "template": {
            "metadata": {"labels": {"app": "clinger"}},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "tolerations": [{"operator": "Exists"}],
                "containers": [{"name": "c", "image": "localhost/lab-sleep:v1", "command": ["lab-sleep"]}],
            },
        },
    },
}


def cleared_pods(rollout: Rollout) -> list[str]:
    """Pods the journal says were deleted while the agent was down."""
    lines = [json.loads(line) for line in rollout.run("state", "export").stdout.splitlines()]
    outcomes = [json.loads(line["content"]) for line in lines if line.get("type") == "outcome"]
    return [pod for o in outcomes if o["step"] == "clear-stragglers" for pod in o["evidence"]["cleared"]]


def test_a_reboot_there_and_a_straggler_cleared_on_the_way_back(rollout: Rollout) -> None:
    sets = "/apis/apps/v1/namespaces/default/daemonsets"
    rollout.api.request("POST", sets, STRAGGLER)
    try:
        deadline = time.monotonic() + 60
        while rollout.api.request("GET", f"{sets}/clinger")["status"].get("numberReady", 0) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.3)
        before = boot_id(rollout)
        plan = rollout.planned("plan", "--target", "netkit-l2", "--node", "n2", "--method", "reboot")
        rollout.run("apply", str(plan))
        assert rollout.kinds()["n2"] == {"netkit/l2"}
        assert boot_id(rollout) != before
        assert cleared_pods(rollout) == []
        rollout.run("apply", str(rollout.planned("plan", "--target", "veth", "--node", "n2", "--method", "restart")))
        assert rollout.kinds()["n2"] == {"veth"}
        assert any(pod.startswith("default/clinger") for pod in cleared_pods(rollout))
    finally:
        rollout.api.request("DELETE", f"{sets}/clinger")


def boot_id(rollout: Rollout) -> str:
    return str(rollout.api.request("GET", "/api/v1/nodes/n2")["status"]["nodeInfo"]["bootID"])


def test_a_human_uncordon_holds(rollout: Rollout) -> None:
    """The budget is tightened while the node drains, so that the drain waits; meanwhile somebody uncordons the node."""
    budget = "/apis/policy/v1/namespaces/default/poddisruptionbudgets/web"
    merge = "application/merge-patch+json"
    pods = rollout.api.items("/api/v1/namespaces/default/pods")
    places = [p["spec"]["nodeName"] for p in pods if p["metadata"]["name"].startswith("web-")]
    node = max(sorted(set(places)), key=places.count)
    plan = rollout.planned("plan", "--target", "netkit", "--node", node)
    process = rollout.start("apply", str(plan))
    try:
        deadline = time.monotonic() + 300
        while not rollout.api.request("GET", f"/api/v1/nodes/{node}")["spec"].get("unschedulable"):
            assert time.monotonic() < deadline, rollout.background_log()
            time.sleep(0.05)
        rollout.api.request("PATCH", budget, {"spec": {"maxUnavailable": 0}}, merge)
        while "disruption" not in rollout.run("why", node).stdout.lower():
            assert time.monotonic() < deadline, rollout.background_log()
            time.sleep(0.2)
        rollout.api.request("PATCH", f"/api/v1/nodes/{node}", {"spec": {"unschedulable": None}}, merge)
        assert process.wait(timeout=300) == 3, rollout.background_log()
        assert "uncordoned" in rollout.run("why", node).stdout
    finally:
        rollout.api.request("PATCH", budget, {"spec": {"maxUnavailable": 1}}, merge)
    rollout.run("abort", "--reason", "not today")
    rollout.run("resume", expect=130)
    assert rollout.json("status")["phase"] == "aborted"
    assert rollout.kinds()[node] == {"veth"}
