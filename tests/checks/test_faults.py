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


_NAKED = {"probe": "programs", "rows": "devices", "where": {"name": "lxc67d48fa832e8"}, "set": {"attached": []}}
_HOST_NAKED = {
    "probe": "programs",
    "rows": "devices",
    "where": {"name": ["eth0", "cilium_host"]},
    "set": {"attached": []},
}


def _endpoint(link: str, state: str) -> dict[str, Any]:
    return {"probe": "agent", "rows": "endpoints", "where": {"interface-name": link}, "set": {"state": state}}


@pytest.mark.parametrize("state", ["waiting-to-regenerate", "regenerating", "restoring"])
def test_a_link_whose_endpoint_is_not_done_is_no_blackhole_yet(state: str) -> None:
    """As recorded after a mode change: the first endpoints wait for the compiler, their links are there already."""
    told = judge(edited(sound(), [_NAKED, _endpoint("lxc67d48fa832e8", state)]))["programs"]
    assert told.status is Status.INCONCLUSIVE
    assert "lxc67d48fa832e8" in told.message
    assert "not done" in told.message
    assert judge(edited(sound(), [_NAKED]))["programs"].status is Status.FAIL


def test_a_link_that_the_agent_does_not_know_yet_is_no_blackhole_yet() -> None:
    documents = edited(sound(), [_NAKED])
    rows = documents["agent"]["endpoints"]
    documents["agent"]["endpoints"] = [row for row in rows if row["interface-name"] != "lxc67d48fa832e8"]
    assert judge(documents)["programs"].status is Status.INCONCLUSIVE


def test_host_programs_are_waited_for_while_the_host_endpoint_is_not_done() -> None:
    assert judge(edited(sound(), [_HOST_NAKED]))["programs"].status is Status.FAIL
    busy = [_HOST_NAKED, _endpoint("cilium_host", "regenerating")]
    assert judge(edited(sound(), busy))["programs"].status is Status.INCONCLUSIVE


def test_an_agent_that_is_not_up_has_attached_nothing_yet() -> None:
    down = {"probe": "agent", "rows": "", "set": {"agent": "down", "reason": "no socket"}}
    assert judge(edited(sound(), [_NAKED, down]))["programs"].status is Status.INCONCLUSIVE


def test_an_agent_that_tells_no_links_is_believed_to_be_done() -> None:
    documents = edited(sound(), [_NAKED])
    documents["agent"]["endpoints"] = [
        {"id": row["id"], "state": row["state"]} for row in sound()["agent"]["endpoints"]
    ]
    assert judge(documents)["programs"].status is Status.FAIL
