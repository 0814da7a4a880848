"""Every fault is caught by the check named for it, with words that name it; what is sound passes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rollout.checks.catalog import CHECKS, NEEDS_BPF, decide, levels
from rollout.domain.codec import canonical
from rollout.domain.node import DatapathMode
from rollout.domain.verdict import Status
from tests.checks.documents import DATA, POLICY, baseline, edited, judge, observed, sound, with_status

FAULTS: list[dict[str, Any]] = json.loads((DATA / "faults.json").read_text())


def test_a_sound_node_passes_every_check() -> None:
    verdicts = judge(sound())
    assert list(verdicts) == list(CHECKS)
    assert with_status(verdicts, Status.PASS) == set(CHECKS), {c: v.message for c, v in verdicts.items()}
    counted = levels(DatapathMode.NETKIT, POLICY, baseline=observed(baseline()))
    assert decide(verdicts.values(), counted) is Status.PASS


def test_a_node_at_its_baseline_passes_as_one_that_went_back() -> None:
    from dataclasses import replace

    verdicts = judge(baseline(), policy=replace(POLICY, target=DatapathMode.VETH))
    assert with_status(verdicts, Status.PASS) == set(CHECKS) - {"host-routing"}


@pytest.mark.parametrize("row", FAULTS, ids=[row["fault"] for row in FAULTS])
def test_a_fault_fails_exactly_its_checks_and_is_named(row: dict[str, Any]) -> None:
    verdicts = judge(edited(sound(), row["edits"]))
    told = {check: verdict.message for check, verdict in verdicts.items()}
    assert with_status(verdicts, Status.FAIL) == set(row["fails"]), told
    assert row["words"] in told[row["first"]], told[row["first"]]
    worst = Status.FAIL if row["fails"] else Status.INCONCLUSIVE
    assert next(c for c, v in verdicts.items() if v.status is worst) == row["first"]
    if not row["fails"]:
        assert with_status(verdicts, Status.INCONCLUSIVE) == set(row["unsure"])


@pytest.mark.parametrize("row", FAULTS, ids=[row["fault"] for row in FAULTS])
def test_a_fault_stops_the_node_and_its_evidence_can_be_stored(row: dict[str, Any]) -> None:
    verdicts = judge(edited(sound(), row["edits"]))
    counted = levels(DatapathMode.NETKIT, POLICY, baseline=observed(baseline()))
    expected = Status.PASS if row["first"] == "tcp" else Status.FAIL if row["fails"] else Status.INCONCLUSIVE
    assert decide(verdicts.values(), counted) is expected
    canonical(list(verdicts.values()))


def test_the_fast_look_asks_nothing_that_needs_ebpf() -> None:
    seen = {probe: document for probe, document in sound().items() if probe not in ("path", "drops", "tcp")}
    verdicts = judge(seen, quick=True)
    assert set(verdicts) == set(CHECKS) - NEEDS_BPF
    counted = levels(DatapathMode.NETKIT, POLICY, quick=True, baseline=observed(baseline()))
    assert decide(verdicts.values(), counted) is Status.PASS
