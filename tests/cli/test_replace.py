"""plan --method replace, as an operator drives it."""

from __future__ import annotations

import json
from pathlib import Path

from rollout.domain.node import LABEL_MODE
from tests.builders import node
from tests.cli.conftest import QUICK, Run
from tests.cli.simulated import SimulatedWiring

POOL = {"karpenter.sh/nodepool": "big"}


def test_nodes_of_no_pool_are_refused_with_what_to_do(run: Run) -> None:
    result = run("plan", "--method", "replace", *QUICK)
    assert result.exit_code == 4
    assert "it belongs to no pool that would replace it: plan it with method restart or reboot" in result.stderr


def test_a_pool_is_replaced(run: Run, wiring: SimulatedWiring, tmp_path: Path) -> None:
    cluster = wiring.cluster
    for name in ("n1", "n2", "n3"):
        cluster.change_node(name, labels={**cluster.nodes[name].labels, **POOL})
    nothing = run("plan", "--method", "replace", *QUICK)
    assert nothing.exit_code == 4
    assert "no CiliumNodeConfig of ours gives netkit" in nothing.stderr
    moved = json.loads(run("plan", "--node", "n1", *QUICK, "-o", "json").stdout)["id"]
    assert run("approve", moved, "--by", "bob", "--ticket", "C").exit_code == 0
    assert run("apply", moved).exit_code == 0
    out = tmp_path / "plan.json"
    made = run("plan", "--method", "replace", "--node", "n2", *QUICK, "--out", str(out))
    assert made.exit_code == 0, made.stderr
    assert run("approve", str(out), "--by", "bob", "--ticket", "C").exit_code == 0

    def hook(when: str, method: str, args: tuple[object, ...]) -> None:
        old = cluster.nodes.get("n2")
        if (when, method) != ("before", "wait_change") or old is None or not old.unschedulable:
            return
        if all(p.owner_kind == "DaemonSet" for p in cluster.pods_on("n2")):
            cluster.remove_node("n2")
            cluster.add_node(node("n4", internal_ip="10.0.0.4", labels={**POOL, LABEL_MODE: "netkit"}))

    cluster.hook = hook
    applied = run("apply", str(out))
    assert applied.exit_code == 0, applied.stderr
    assert "1 replaced" in applied.stdout
    assert set(cluster.nodes) == {"n1", "n3", "n4"}
    assert "delete nodeclaim of n2" in applied.stderr


def test_a_policy_that_makes_no_sense(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "rollout.yaml"
    file.write_text("policy:\n  replace:\n    slack: -1\n")
    result = run("plan", "--config", str(file), *QUICK)
    assert result.exit_code == 2
    assert "replace.slack" in result.stderr
    file.write_text("policy:\n  most_watched: 3\n")
    result = run("plan", "--config", str(file), *QUICK)
    assert result.exit_code == 4
    assert "would have to be watched" in result.stderr
