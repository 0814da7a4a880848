"""adopt, as an operator drives it."""

from __future__ import annotations

import json
from pathlib import Path

from rollout.domain.node import Taint
from tests.builders import node
from tests.cli.conftest import Run
from tests.cli.simulated import SimulatedWiring


def join(wiring: SimulatedWiring, name: str) -> None:
    taint = Taint("example.com/joining", "", "NoSchedule")
    wiring.cluster.add_node(node(name, internal_ip=f"10.0.0.{name[1:]}", taints=(taint,)))
    wiring.model.settle()


def test_the_whole_way(run: Run, wiring: SimulatedWiring, tmp_path: Path) -> None:
    join(wiring, "n4")
    out = tmp_path / "adopt.json"
    result = run("adopt", "--soak-loaded", "0", "--out", str(out))
    assert result.exit_code == 0, result.stderr
    assert "adopt" in result.stdout
    plan = json.loads(out.read_text())
    assert [n["name"] for n in plan["nodes"]] == ["n4"]
    assert run("approve", str(out), "--by", "bob", "--ticket", "CHG-7").exit_code == 0
    applied = run("apply", str(out))
    assert applied.exit_code == 0, applied.stderr
    assert wiring.cluster.modes["n4"] == "netkit"
    again = run("adopt", "n4")
    assert again.exit_code == 4
    assert "n4: already on netkit" in again.stderr


def test_listing_the_fleet(run: Run, wiring: SimulatedWiring) -> None:
    made = json.loads(run("plan", "--output", "json").stdout)["id"]
    join(wiring, "n4")
    text = run("adopt", "--list")
    assert text.exit_code == 0, text.stderr
    assert "0 of 4 nodes of the current fleet are on netkit: 0.0 %" in text.stdout
    assert "rollout adopt" in text.stdout
    values = json.loads(run("adopt", "--list", "--since", made, "-o", "json").stdout)
    assert values["counts"] == {"on target": 0, "to adopt": 1, "to do": 3, "exempt": 0, "unknown": 0}
    assert [n["node"] for n in values["nodes"] if n["joined"]] == ["n4"]
    assert values["fleet"] == 4


def test_old_endpoints_are_refused_with_what_to_do(run: Run) -> None:
    result = run("adopt", "n1")
    assert result.exit_code == 4
    assert "plan it: rollout plan --node n1" in result.stderr


def test_options_that_fight(run: Run, tmp_path: Path) -> None:
    assert run("adopt", "--since", "x").exit_code == 2
    assert run("adopt", "--list", "--out", str(tmp_path / "x.json")).exit_code == 2
    assert "did you mean n1" in run("adopt", "n11").stderr
