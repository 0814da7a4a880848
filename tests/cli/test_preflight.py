"""`rollout preflight`: exit codes, remedies, single rules, waivers that are refused."""

from __future__ import annotations

import json

import pytest

from rollout.planning.preflight import CATALOGUE
from tests.cli.conftest import Run
from tests.cli.simulated import SimulatedWiring
from tests.fakes.observer import agent_document

WAIVE = ("--waive-by", "ann", "--waive-reason", "see CHG-12")


def with_tproxy(wiring: SimulatedWiring, *names: str) -> None:
    """Nodes whose agent says that BPF TPROXY is on."""
    sound = wiring.model.observer.answer

    def answer(node: str, probe: str) -> object:
        found = sound(node, probe)
        if probe != "agent" or node not in names:
            return found
        assert not isinstance(found, str)
        return {**found, "settings": {**found["settings"], "EnableBPFTProxy": True}}

    wiring.model.observer.answer = answer  # type: ignore[assignment]


def test_what_blocks_comes_first_with_its_remedy(run: Run, wiring: SimulatedWiring) -> None:
    with_tproxy(wiring, "n1", "n3")
    result = run("preflight")
    assert result.exit_code == 4
    first = next(line for line in result.stdout.splitlines() if "bpf.tproxy" in line)
    assert first.split()[0] == "block" and "tproxy-off" in first and first.split()[-1] == "2"
    assert "2 blocking" in result.stdout
    assert "n1, n3" in result.stdout


def test_warnings_count_only_when_asked_to(run: Run) -> None:
    assert run("preflight").exit_code == 0
    assert run("preflight", "--strict").exit_code == 4


def test_as_json(run: Run, wiring: SimulatedWiring) -> None:
    with_tproxy(wiring, "n2")
    found = json.loads(run("preflight", "--output", "json").stdout)
    assert found["remedies"][0]["rules"] == ["tproxy-off"]
    assert found["remedies"][0]["nodes"] == ["n2"]
    assert {one["rule"] for one in found["findings"]} >= {"tproxy-off", "agents-ready"}


def test_one_rule_is_explained_without_a_cluster(run: Run, wiring: SimulatedWiring) -> None:
    result = run("preflight", "--rule", "endpoint-routes-socketlb")
    assert result.exit_code == 0
    for words in ("47913", "turn endpoint routes off", "the agent's settings", "may be waived"):
        assert words in result.stdout
    assert "none: " in run("preflight", "--rule", "kernel-netkit").stdout
    assert wiring.opened == []


def test_an_unknown_rule_names_the_near_one(run: Run) -> None:
    result = run("preflight", "--rule", "tproxy-of")
    assert result.exit_code == 2
    assert "did you mean tproxy-off?" in result.stderr


@pytest.mark.parametrize("form", ["text", "json", "md"])
def test_the_catalogue_is_listed_without_a_cluster(run: Run, wiring: SimulatedWiring, form: str) -> None:
    result = run("preflight", "--list", "--output", form)
    assert result.exit_code == 0
    assert all(row.id in result.stdout for row in CATALOGUE)
    assert wiring.opened == []


def test_a_waiver_lifts_what_may_be_lifted(run: Run, wiring: SimulatedWiring) -> None:
    with_tproxy(wiring, "n2")
    result = run("preflight", "--waive", "tproxy-off", *WAIVE)
    assert result.exit_code == 0
    assert "waived by ann: see CHG-12" in result.stdout


def test_a_waiver_that_lifts_nothing_is_a_warning(run: Run) -> None:
    result = run("preflight", "--waive", "tproxy-off", *WAIVE)
    assert result.exit_code == 0
    assert "the waiver of tproxy-off by ann lifts nothing" in result.stdout


def test_what_cannot_be_waived_is_refused_with_the_reason(run: Run) -> None:
    result = run("preflight", "--waive", "kernel-netkit", *WAIVE)
    assert result.exit_code == 2
    assert "kernel-netkit cannot be waived: an agent without the driver exits" in result.stderr


def test_a_slow_agent_blocks(run: Run, wiring: SimulatedWiring) -> None:
    sound = wiring.model.observer.answer
    slow = agent_document("veth", state="slow", reason="no answer in 30 s")
    wiring.model.observer.answer = lambda node, probe: slow if (node, probe) == ("n1", "agent") else sound(node, probe)
    result = run("preflight")
    assert result.exit_code == 4
    assert "no answer in 30 s" in result.stdout
