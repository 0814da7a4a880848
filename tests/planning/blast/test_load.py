"""The API's load in the plan, and clusters too large to be watched."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rollout.domain.errors import Refused
from rollout.domain.node import DatapathMode, Toleration
from rollout.domain.policy import CheckLevel, MethodChoice, Policy
from rollout.planning.blast import require_watchable
from rollout.planning.planner import PlanRequest, make_plan
from tests.builders import budget, daemon_pod, inventory, node, pod, snapshot

NETKIT = Policy(target=DatapathMode.NETKIT)
SILENT = dict.fromkeys(("reach", "dns", "loss", "latency", "policy-opened", "policy-closed"), CheckLevel.OFF)


def load(policy: Policy, evicted: int = 3) -> dict[str, int]:
    pods = [pod(f"web-{i}", "n1") for i in range(evicted)]
    pods.append(daemon_pod("every", "n1", tolerations=(Toleration("", "Exists"),)))
    made = make_plan(
        inventory(
            (node("n1"), node("n2")), tuple(pods), budgets=(budget("web", allowed=9),), requests={"list pods": 7}
        ),
        policy,
        PlanRequest(serial=1, program="test"),
    )
    return dict(made.blast.api_requests)


def test_numbers_come_from_the_plan() -> None:
    found = load(NETKIT)
    assert found["evictions"] == 3
    assert found["straggler deletions"] == 1
    assert found["node patches"] == 2 * 5 * 2
    assert found["rechecks of facts"] == 2 * 5
    assert found["reading the cluster for the plan"] == 7
    assert found["agent restarts"] == 2
    assert "reads of rebooted nodes" not in found


def test_a_reboot_restarts_no_agent() -> None:
    found = load(replace(NETKIT, method=MethodChoice.REBOOT))
    assert found["reads of rebooted nodes"] == 4
    assert "agent restarts" not in found


def test_rigs_are_counted_only_when_they_are_made() -> None:
    assert load(NETKIT)["probe rigs"] > 0
    assert "probe rigs" not in load(replace(NETKIT, checks=SILENT))
    more = replace(NETKIT, probes=replace(NETKIT.probes, controls=3))
    assert load(more)["probe rigs"] > load(NETKIT)["probe rigs"]


def test_no_soft_taint_no_patch_for_it() -> None:
    assert load(NETKIT)["waiting taints"] == 2
    assert "waiting taints" not in load(replace(NETKIT, soft_taint=False))


def test_load_beside_evictions_is_bounded_per_node() -> None:
    """The budget of a node: O(pods evicted) + 20, its probe rigs and what is told per hour apart."""
    found = load(replace(NETKIT, checks=SILENT), evicted=0)
    del found["straggler deletions"]
    per_node = sum(
        n for name, n in found.items() if "per hour" not in name and not name.startswith(("reading", "first"))
    )
    assert per_node <= 2 * 20


def test_a_cluster_too_large_to_watch_is_refused_before_anything_else() -> None:
    large = snapshot(tuple(node(f"n{i}") for i in range(4)), tuple(pod(f"p{i}", "n1") for i in range(7)))
    require_watchable(large, replace(NETKIT, most_watched=11))
    with pytest.raises(Refused, match="4 nodes and 7 pods would have to be watched") as refused:
        require_watchable(large, replace(NETKIT, most_watched=10))
    assert "most_watched: 11" in refused.value.hint
    with pytest.raises(Refused, match="cannot plan"):
        make_plan(inventory((node("n1"),)), replace(NETKIT, most_watched=0), PlanRequest(serial=1, program="test"))
