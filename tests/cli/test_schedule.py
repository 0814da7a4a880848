"""Calendars, spread rules, windows and sets as an operator meets them: in the plan, or refused with what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rollout.cli.wiring import Reach
from tests.cli.conftest import QUICK, Run
from tests.cli.simulated import SimulatedWiring

PEAK = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//test//
BEGIN:VEVENT
UID:1
DTSTART;TZID=Europe/Berlin:20261224T000000
DTEND;TZID=Europe/Berlin:20270102T000000
SUMMARY:<b>peak</b>
END:VEVENT
END:VCALENDAR
"""


def configured(folder: Path, policy: str) -> tuple[str, str]:
    file = folder / "rollout.yaml"
    file.write_text(f"policy:\n{policy}")
    return "--config", str(file)


def test_a_calendar_is_in_the_plan_as_times(run: Run, tmp_path: Path) -> None:
    file, out = tmp_path / "peak.ics", tmp_path / "plan.json"
    file.write_text(PEAK)
    made = run("plan", *QUICK, "--calendar", str(file), "--out", str(out))
    assert made.exit_code == 0, made.stderr
    policy = json.loads(out.read_text())["policy"]
    assert policy["freezes"] == [
        {
            "name": "<b>peak</b>",
            "start": "2026-12-23T23:00:00+00:00",
            "end": "2027-01-01T23:00:00+00:00",
            "calendar": str(file),
        }
    ]


def test_a_malformed_calendar_stops_before_anything_is_read(run: Run, wiring: SimulatedWiring, tmp_path: Path) -> None:
    file = tmp_path / "peak.ics"
    file.write_text(PEAK.replace("DTEND;TZID=Europe/Berlin:20270102T000000", "DTEND:whenever"))
    made = run("plan", *QUICK, "--calendar", str(file))
    assert made.exit_code == 2
    assert f"cannot use calendar {file}: line 7: property DTEND of VEVENT" in made.stderr
    assert Reach.ALL not in wiring.opened


@pytest.mark.parametrize(
    ("policy", "code", "said"),
    [
        ("  spread: [{key: kubernetes.io/hostnam}]\n", 2, "did you mean kubernetes.io/hostname?"),
        ("  keep: [{name: db, keep: quorum, pods: {app: nothing}}]\n", 2, "no pod has the labels app=nothing"),
        ("  keep: [{name: all, keep: 3, nodes: {kubernetes.io/os: linux}}]\n", 2, "no node has the labels"),
        ("  cohorts: [kernal]\n", 2, "cohorts: no node has a label kernal"),
        ("  windows: [{start: '01:00', end: '01:30'}]\n  soak_fenced_s: 1h\n", 2, "one node takes 1 h"),
        ("  windows: [{start: '01:00', timezone: Europe/Berlyn}]\n", 2, "did you mean Europe/Berlin?"),
    ],
)
def test_what_can_never_be_met_is_said_before_anything_is_planned(
    run: Run, tmp_path: Path, policy: str, code: int, said: str
) -> None:
    result = run("plan", "--target", "netkit", *configured(tmp_path, policy))
    assert result.exit_code == code
    assert said in result.stderr


def test_two_limits_that_fight_are_both_named(run: Run, tmp_path: Path) -> None:
    rule = "  keep: [{name: web, keep: 3, pods: {app: web}}]\n"
    result = run("plan", "--target", "netkit", *configured(tmp_path, rule))
    assert result.exit_code == 4
    assert "keep rule web: 3 of 3 pods stay, and moving node n1 takes it out: both cannot be met" in result.stderr
    assert "give the set one member more" in result.stderr
