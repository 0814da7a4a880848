"""The fake's own rules: what the engine's tests rely on beyond the contract."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from threading import Event
from typing import Any

import pytest

from rollout.checks.refusal import parse_refusal
from rollout.domain.errors import Unavailable
from rollout.domain.node import LABEL_MODE, NODE_CONFIG_NAME, DaemonSet, OwnerMark, Pod
from rollout.domain.plan import PlannedNodeConfig
from rollout.ports.cluster import EvictionResult, NodeView
from tests import builders
from tests.builders import NOW
from tests.fakes.cluster import FakeCluster

MARK = OwnerMark("rollout-1", "0123456789ab")
CONFIG = PlannedNodeConfig(NODE_CONFIG_NAME, "kube-system", "v2", "netkit", {"datapath-mode": "netkit"})


class ManualClock:
    def __init__(self) -> None:
        self._now = NOW

    def now(self) -> datetime:
        return self._now

    def wait(self, seconds: float, cancel: Event | None = None) -> bool:
        self._now += timedelta(seconds=seconds)
        return False


@pytest.fixture
def cluster() -> FakeCluster:
    made = FakeCluster(ManualClock())
    for name in ("n1", "n2", "n3"):
        made.add_node(builders.node(name))
    made.install_agent(builders.agent_install())
    made.add_daemonset(DaemonSet("default", "logd", "ds-logd", pod_network=True, desired=3, ready=3))
    for number in range(4):
        made.add_pod(builders.pod(f"web-{number}", f"n{number % 2 + 1}"))
    settle(made)
    return made


def settle(cluster: FakeCluster, seconds: float = 30.0) -> None:
    """Let time pass."""
    deadline = cluster.clock.now() + timedelta(seconds=seconds)
    while cluster.clock.now() < deadline:
        version = cluster.view("n1").version
        cluster.wait_change("n1", version, (deadline - cluster.clock.now()).total_seconds())


def web(cluster: FakeCluster) -> list[Pod]:
    return [p for p in cluster.pods.values() if p.owner_name == "web-1"]


def agent(view: NodeView) -> Pod:
    return next(p for p in view.pods if p.owner_name == "cilium")


def test_an_evicted_pod_comes_back_elsewhere(cluster: FakeCluster) -> None:
    cluster.cordon("n1", MARK)
    first = next(p for p in web(cluster) if p.node == "n1")
    assert cluster.evict(first.ref).result is EvictionResult.ACCEPTED
    settle(cluster)
    assert cluster.evict(first.ref).result is EvictionResult.GONE
    assert len(web(cluster)) == 4
    (fresh,) = [p for p in web(cluster) if p.ref.uid.startswith("uid-web-1-")]
    assert fresh.node == "n3"
    assert fresh.ready


def test_without_a_node_it_waits(cluster: FakeCluster) -> None:
    for name in cluster.nodes:
        cluster.cordon(name, replace(MARK))
    cluster.evict(web(cluster)[0].ref)
    settle(cluster)
    assert sorted(p.phase for p in web(cluster)) == ["Pending", "Running", "Running", "Running"]
    cluster.uncordon("n2", MARK)
    settle(cluster)
    assert {p.phase for p in web(cluster)} == {"Running"}


def test_a_budget_lets_one_go_after_the_other(cluster: FakeCluster) -> None:
    cluster.add_budget(builders.budget("web"))
    first, second = web(cluster)[:2]
    assert cluster.evict(first.ref).result is EvictionResult.ACCEPTED
    refused = cluster.evict(second.ref)
    assert refused.result is EvictionResult.REFUSED
    assert "web needs 3 healthy pods and has 3 currently" in refused.message
    settle(cluster)
    assert cluster.evict(second.ref).result is EvictionResult.ACCEPTED


def test_our_taint_empties_a_node_and_its_end_fills_it(cluster: FakeCluster) -> None:
    cluster.add_taint("n1", MARK)
    settle(cluster)
    assert [p.owner_name for p in cluster.view("n1").pods] == ["cilium"]
    assert cluster.link_modes("n1") == {}
    cluster.remove_taint("n1", MARK)
    settle(cluster)
    assert sorted(p.owner_name for p in cluster.view("n1").pods)[:2] == ["cilium", "logd"]
    assert set(cluster.link_modes("n1").values()) == {"veth"}


def test_an_emptied_node_switches(cluster: FakeCluster) -> None:
    before = agent(cluster.view("n1"))
    cluster.cordon("n1", MARK)
    cluster.add_taint("n1", MARK)
    settle(cluster)
    cluster.ensure_node_config(CONFIG)
    cluster.assign_mode("n1", "netkit")
    settle(cluster)
    assert cluster.modes["n1"] == "veth"
    cluster.delete_pod(before.ref)
    settle(cluster)
    after = agent(cluster.view("n1"))
    assert after.ref.uid != before.ref.uid
    assert after.ready
    cluster.remove_taint("n1", MARK)
    settle(cluster)
    assert cluster.modes == {"n1": "netkit", "n2": "veth", "n3": "veth"}
    assert set(cluster.link_modes("n1").values()) == {"netkit"}


def test_an_agent_refuses_over_old_links_until_they_are_gone(cluster: FakeCluster) -> None:
    cluster.cordon("n1", MARK)
    cluster.ensure_node_config(CONFIG)
    cluster.assign_mode("n1", "netkit")
    cluster.delete_pod(agent(cluster.view("n1")).ref)
    settle(cluster, 120)
    refusing = agent(cluster.view("n1"))
    assert not refusing.ready
    assert refusing.restarts >= 2
    refusal = parse_refusal(cluster.pod_log(refusing.ref, "cilium-agent", previous=True))
    assert refusal is not None
    assert refusal.mode == "netkit"
    assert refusal.count == len(refusal.pods) == 3
    assert cluster.pod_log(refusing.ref, "cilium-agent", previous=False) == ""
    for pod in cluster.view("n1").pods:
        if str(pod.ref) in refusal.pods:
            cluster.delete_pod(pod.ref)
    settle(cluster, 60)
    assert agent(cluster.view("n1")).ready
    # The DaemonSet's pod waited for the agent, and got its link from it.
    assert set(cluster.link_modes("n1").values()) == {"netkit"}


def test_a_reboot_makes_all_links_anew(cluster: FakeCluster) -> None:
    cluster.ensure_node_config(CONFIG)
    cluster.assign_mode("n1", "netkit")
    cluster.reboot("n1", "boot-n1-2")
    settle(cluster)
    assert cluster.read_node("n1").boot_id == "boot-n1-2"
    assert set(cluster.link_modes("n1").values()) == {"netkit"}
    assert all(p.ready for p in cluster.view("n1").pods)


def test_the_hook_loses_requests_and_answers(cluster: FakeCluster) -> None:
    lose = {"when": "before"}

    def hook(when: str, method: str, args: tuple[Any, ...]) -> None:
        if method == "assign_mode" and when == lose["when"]:
            raise Unavailable("injected", f"cannot reach {args[0]}")

    cluster.hook = hook
    with pytest.raises(Unavailable):
        cluster.assign_mode("n1", "netkit")
    assert LABEL_MODE not in cluster.read_node("n1").labels
    lose["when"] = "after"
    with pytest.raises(Unavailable):
        cluster.assign_mode("n1", "netkit")
    assert cluster.read_node("n1").labels[LABEL_MODE] == "netkit"


def test_equal_calls_give_equal_worlds() -> None:
    def play() -> FakeCluster:
        made = FakeCluster(ManualClock())
        for name in ("n1", "n2"):
            made.add_node(builders.node(name))
        made.install_agent(builders.agent_install())
        made.add_pod(builders.pod("web-0", "n1"))
        made.cordon("n1", MARK)
        made.add_taint("n1", MARK)
        settle(made)
        return made

    first, second = play(), play()
    assert (first.nodes, first.pods, first.links) == (second.nodes, second.pods, second.links)
    assert first.clock.now() == second.clock.now()
