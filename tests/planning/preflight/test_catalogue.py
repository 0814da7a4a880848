"""The catalogue: that it is complete, and that each row passes on a recorded cluster and fails for its own reason."""

from __future__ import annotations

import pytest

from rollout.checks.catalog import CHECKS
from rollout.domain.node import DatapathMode
from rollout.planning.preflight import AFTER_SWITCH, CATALOGUE, NOTED_RULES, TABLE_ROWS, Row, explain, judge_preflight
from tests.planning.preflight.cases import CASES, Case
from tests.planning.preflight.scene import Scene

INFORMS_ALWAYS = {"daemon-pods"}
"""The recorded cluster has a DaemonSet on the pod network."""
OBSERVED = ("probe", "agent's settings", "mode each agent tells", "the agent's own settings")
NOT_NEEDED = {
    "default-settled", "selector-safe", "xdp-acceleration", "socket-termination", "network-cards", "iproute2",
    "tproxy-users", "kernel-good", "l2-mac",
}  # fmt: skip
"""Rows that observations only sharpen: without one they say what is known without."""


@pytest.fixture(scope="module")
def sound() -> dict[str, set[str]]:
    """Statuses of each row on the recorded cluster, for both targets."""
    found: dict[str, set[str]] = {}
    for target in (DatapathMode.NETKIT, DatapathMode.NETKIT_L2):
        scene = Scene()
        scene.policy = type(scene.policy)(target=target)
        for finding in scene.findings():
            found.setdefault(finding.rule, set()).add(finding.status)
    return found


@pytest.mark.parametrize("row", [row for row in CATALOGUE if row.id != "waiver-used"], ids=lambda row: row.id)
def test_every_row_passes_on_the_recorded_cluster(row: Row, sound: dict[str, set[str]]) -> None:
    assert sound[row.id] == ({"info"} if row.id in INFORMS_ALWAYS else {"pass"})


def test_no_waiver_is_missed_where_there_is_none(sound: dict[str, set[str]]) -> None:
    assert "waiver-used" not in sound


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_change_is_found(case: Case) -> None:
    scene = Scene()
    case.change(scene)
    telling = [f for f in scene.findings() if f.rule == case.rule and f.status != "pass"]
    assert [f.status for f in telling if f.node in ("n1", "")][:1] == [case.status], telling
    assert case.words in telling[0].message
    assert telling[0].remedy == explain(case.rule).remedy
    if explain(case.rule).per_node:
        assert telling[0].node == "n1"


def test_every_row_has_a_case() -> None:
    assert {row.id for row in CATALOGUE} == {case.rule for case in CASES}


def test_rows_that_rest_on_observations_say_when_they_cannot_tell() -> None:
    blind = Scene()
    blind.unseen = dict.fromkeys(("links", "agent", "capability", "host"), "ssh: connection refused")
    blind.config["data"] = {}
    own = {f.rule for f in blind.findings() if f.node == "n1" and f.status in ("unknown", "warn")}
    resting = {row.id for row in CATALOGUE if any(word in row.evidence for word in OBSERVED)}
    assert resting - own == NOT_NEEDED


def test_every_number_of_the_table_and_every_noted_rule_is_covered() -> None:
    assert {number for row in CATALOGUE for number in row.table} == set(TABLE_ROWS)
    assert {rule for row in CATALOGUE for rule in row.rules} - {"daemon-pods", "silent-mix"} == set(NOTED_RULES)


def test_ids_are_unique_and_rows_are_whole() -> None:
    assert len({row.id for row in CATALOGUE}) == len(CATALOGUE)
    for row in CATALOGUE:
        assert row.claim and row.evidence and row.remedy and row.source and row.targets
        assert row.severity in ("block", "warn", "info")


def test_what_is_judged_after_the_switch_points_to_checks_there_are() -> None:
    assert {check for checks in AFTER_SWITCH.values() for check in checks} <= set(CHECKS)
    assert len(AFTER_SWITCH) == 8


def test_the_way_to_veth_asks_nothing_of_netkit() -> None:
    scene = Scene()
    scene.policy = type(scene.policy)(target=DatapathMode.VETH)
    scene.capability.update(modes=[], scrub=False)
    scene.setting("EnableBPFTProxy", True)
    findings = scene.findings()
    assert not {f.rule for f in findings} & {row.id for row in CATALOGUE if row.netkit_only}
    assert {f.status for f in findings} == {"pass"}


def test_kata_that_is_kept_to_other_nodes_is_no_trouble() -> None:
    scene = Scene()
    scene.other("RuntimeClass", "vm", handler="kata", scheduling={"nodeSelector": {"pool": "kata"}})
    scene.nodes[1]["metadata"]["labels"]["pool"] = "kata"
    scene.policy = type(scene.policy)(target=DatapathMode.NETKIT, nodes=("n1",))
    scene.pods[0]["spec"]["runtimeClassName"] = "vm"
    read = scene.inventory()
    chosen = tuple(node for node in read.cluster.nodes if node.name == "n1")
    found = [f for f in judge_preflight(read, scene.policy, chosen) if f.rule in ("kata-stays-away", "no-kata")]
    assert [f.status for f in found] == ["pass", "pass"]
