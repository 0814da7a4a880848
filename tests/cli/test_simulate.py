"""simulate, as a reviewer asks it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import QUICK, Run, approved, planned
from tests.cli.simulated import SimulatedWiring


def test_a_plan_is_run_in_thought_and_nothing_is_touched(run: Run, wiring: SimulatedWiring) -> None:
    rollout = planned(run)
    before = dict(wiring.cluster.nodes)
    result = run("simulate", rollout)
    assert result.exit_code == 0, result.stderr
    assert wiring.cluster.nodes == before
    assert "evictions" in result.stdout
    assert "assumed ranges" in result.stdout
    assert "What would bind next" in result.stdout


def test_the_values(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "plan.json"
    assert run("plan", *QUICK, "--out", str(out)).exit_code == 0
    values = json.loads(run("simulate", str(out), "--output", "json").stdout)
    assert values["moved"] == []
    assert values["other"] is None
    low, high = values["planned"]["low"], values["planned"]["high"]
    assert 0 < low["seconds"] < high["seconds"]
    assert low["pods"] == 3 <= low["evictions"]
    assert sum(wave["evictions"] for wave in low["waves"]) == low["evictions"]
    assert [row["name"] for row in values["more"]][:2] == ["as planned", "max_unavailable 2"]


def test_another_policy_stands_beside_the_plan_which_stays(run: Run) -> None:
    rollout = planned(run)
    shown = run("show", rollout, "--output", "json").stdout
    result = run("simulate", rollout, "--max-unavailable", "3", "--growth", "3", "--output", "json")
    assert result.exit_code == 0, result.stderr
    values = json.loads(result.stdout)
    assert values["other"]["low"]["seconds"] <= values["planned"]["low"]["seconds"]
    assert run("show", rollout, "--output", "json").stdout == shown
    text = run("simulate", rollout, "--max-unavailable", "3").stdout
    assert "As planned, and as asked" in text


def test_a_window_that_is_closed_makes_it_longer(run: Run) -> None:
    rollout = planned(run)
    values = json.loads(
        run(
            "simulate", rollout, "--window", "mon-fri 22:00-04:00 Europe/Berlin", "--start", "2026-11-23T12:00+00:00",
            "--output", "json",
        ).stdout
    )  # fmt: skip
    assert values["other"]["low"]["seconds"] > 9 * 3600 > values["planned"]["low"]["seconds"]


def test_what_moved_since_the_plan_is_told(run: Run, wiring: SimulatedWiring) -> None:
    rollout = planned(run)
    wiring.cluster.remove_node("n2")
    values = json.loads(run("simulate", rollout, "--output", "json").stdout)
    assert any("n2" in words for words in values["moved"])
    assert any("fleet has 2 nodes, 3 when planned" in words for words in values["moved"])


def test_step_times_come_from_rollouts_of_this_state(run: Run) -> None:
    first = approved(run, "--node", "n1")
    assert run("apply", first).exit_code == 0
    second = planned(run)
    result = run("simulate", second)
    assert "that this state has led before" in result.stdout
    basis = json.loads(run("show", second, "--output", "json").stdout)
    assert "1 node(s)" in json.dumps(basis)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--start", "tomorrow"), "is no time such as"),
        (("--start", "2026-12-05T22:00"), "has no offset"),
        (("--window", "night"), "is no window such as"),
        (("--window", "noday 22:00-04:00"), "is no day"),
        (("--max-unavailable", "some"), "neither a count"),
        (("--max-unavailable", "1"), "the plan has this very policy"),
    ],
)
def test_what_makes_no_sense_is_told(run: Run, options: tuple[str, ...], words: str) -> None:
    rollout = planned(run)
    result = run("simulate", rollout, *options)
    assert result.exit_code == 2
    assert words in result.stderr


def test_another_cluster_is_refused(run: Run, wiring: SimulatedWiring) -> None:
    rollout = planned(run)
    wiring.cluster.uid = "cluster-2"
    result = run("simulate", rollout)
    assert result.exit_code == 4
    assert "it is of cluster" in result.stderr
