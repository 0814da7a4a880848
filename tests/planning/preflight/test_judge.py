"""How findings are made: waivers, counts, what a rollback may overlook, version ranges, remedies."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rollout.domain.node import DatapathMode
from rollout.domain.plan import Finding
from rollout.domain.policy import Policy, Waiver
from rollout.planning.preflight import CATALOGUE, Span, by_remedy, explain, judge_preflight, stopping
from tests.builders import inventory, node
from tests.planning.preflight.scene import Scene

NETKIT = Policy(target=DatapathMode.NETKIT)


def of(findings: tuple[Finding, ...], rule: str) -> list[Finding]:
    return [one for one in findings if one.rule == rule]


def tproxy(*waivers: Waiver) -> tuple[Finding, ...]:
    scene = Scene()
    scene.setting("EnableBPFTProxy", True)
    scene.policy = replace(NETKIT, waivers=waivers)
    return scene.findings()


def test_a_waiver_lifts_one_rule_on_its_nodes() -> None:
    found = tproxy(Waiver("tproxy-off", "ann", "tested", ("n1",)))
    assert [(f.status, f.node) for f in of(found, "tproxy-off")] == [("pass", ""), ("waived", "n1")]
    assert "waived by ann: tested" in of(found, "tproxy-off")[1].message
    assert not of(found, "waiver-used")


@pytest.mark.parametrize(
    "waiver",
    [
        Waiver("tproxy-off", "ann", "tested", ("n2",)),
        Waiver("scrub", "ann", "tested"),
        Waiver("no-global-roll", "ann", "it only warns"),
    ],
)
def test_a_waiver_that_lifts_nothing_is_named(waiver: Waiver) -> None:
    found = tproxy(waiver)
    assert [f.status for f in of(found, "tproxy-off")] == ["pass", "block"]
    assert [f.message for f in of(found, "waiver-used")] == [f"the waiver of {waiver.rule} by ann lifts nothing"]


def test_what_cannot_be_waived_is_not() -> None:
    scene = Scene()
    scene.daemon("calico-node", "docker.io/calico/node:v3")
    scene.policy = replace(NETKIT, waivers=(Waiver("other-datapath", "ann", "please"),))
    found = scene.findings()
    assert [f.status for f in of(found, "other-datapath")] == ["pass", "block"]
    assert of(found, "waiver-used")
    assert {row.id for row in CATALOGUE if not row.waivable} >= {
        "kernel-netkit", "other-datapath", "cni-config", "version-netkit", "node-config-merged", "no-chaining",
    }  # fmt: skip


def test_a_row_that_holds_is_told_once_for_all_nodes() -> None:
    nodes = tuple(node(f"n{i}") for i in range(7))
    found = of(judge_preflight(inventory(nodes), NETKIT, nodes), "node-ready")
    assert [(f.status, f.node, f.count) for f in found] == [("pass", "", 7)]
    assert found[0].message == "on all 7 nodes: the node is Ready"
    nodes = (*nodes[:-1], node("n6", ready=False))
    found = of(judge_preflight(inventory(nodes), NETKIT, nodes), "node-ready")
    assert [(f.status, f.node, f.count) for f in found] == [("pass", "", 6), ("block", "n6", 0)]
    assert found[0].message.startswith("on the other 6 nodes")


def test_stopping_findings_are_by_node() -> None:
    scene = Scene()
    scene.setting("EnableBPFTProxy", True)
    scene.daemonset["status"].update(numberReady=1)
    found = stopping(scene.findings())
    assert {name: [f.rule for f in rows] for name, rows in found.items()} == {
        "": ["agents-ready"],
        "n1": ["tproxy-off"],
    }


def test_a_rollback_may_touch_an_ill_node() -> None:
    scene = Scene()
    scene.policy = Policy(target=DatapathMode.VETH)
    scene.unseen = {"agent": "no socket"}
    scene.status("datapath-mode", "netkit")
    read = scene.inventory()
    strict = judge_preflight(read, scene.policy, read.cluster.nodes)
    mending = judge_preflight(read, scene.policy, read.cluster.nodes, mending=True)
    ill = {f.rule for f in strict if f.status in ("block", "unknown")}
    assert ill == {"node-observed", "agent-answers", "node-not-mixed"}
    assert not stopping(mending)
    assert all(explain(rule).health for rule in ill)


def test_rows_apply_to_a_range_of_versions() -> None:
    since = Span((1, 20, 0))
    assert (since.covers((1, 20, 0)), since.covers((1, 19, 9)), since.covers(None)) == (True, False, True)
    assert str(Span((1, 20, 0), (1, 21, 0))) == "from 1.20.0, before 1.21.0"
    scene = Scene()
    scene.image("quay.io/cilium/cilium:v1.19.7")
    assert not of(scene.findings(), "socket-termination")
    assert of(Scene().findings(), "socket-termination")


def test_a_version_is_told_by_agents_where_no_tag_does() -> None:
    scene = Scene()
    scene.image("registry.internal/cilium@sha256:0123")
    scene.status("cilium/msg", "1.18.4 (v1.18.4-abc)")
    assert "Cilium 1.18.4" in of(scene.findings(), "version-guard")[0].message


def test_remedies_gather_what_they_mend() -> None:
    scene = Scene()
    scene.setting("EnableEndpointRoutes", True)
    scene.setting("BPFSocketLBHostnsOnly", True)
    scene.daemonset["status"].update(numberReady=1)
    found = by_remedy(scene.findings())
    assert [(r.status, r.rules, r.nodes) for r in found if r.status == "block"] == [
        ("block", ("endpoint-routes-socketlb", "endpoint-routes"), ("n1",)),
        ("block", ("agents-ready",), ()),
    ]
    assert [r.status for r in found] == sorted(
        (r.status for r in found), key=["block", "unknown", "warn", "info"].index
    )
    assert found[0].text == "turn endpoint routes off"
    assert {s.rule for s in found[0].said} == {"endpoint-routes-socketlb", "endpoint-routes"}


def test_the_same_cluster_gives_the_same_findings() -> None:
    assert Scene().findings() == Scene().findings()


def test_an_older_document_without_the_host_probe_only_warns() -> None:
    scene = Scene()
    found = scene.inventory()
    for seen in found.observations.values():
        del seen["host"]  # type: ignore[attr-defined]
    findings = judge_preflight(found, NETKIT, found.cluster.nodes)
    assert not stopping(findings)
    warned = {f.rule for f in findings if f.status == "warn"}
    assert warned == {"cni-config", "ebpf-programs", "xdp-foreign", "extra-routing"}
