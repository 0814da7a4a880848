"""The switch from veth to netkit in real guests: the way that works, and the mistake. The tests build on each other."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest
from kubeapi import Json
from small_cluster import SmallCluster, Traffic, small_cluster, until

from rollout.lab.image import Image, ensure_image

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]
CACHE = Path(os.environ.get("NETKIT_ROLLOUT_LAB_CACHE") or platformdirs.user_cache_path("netkit-rollout") / "lab")
MODE_LABEL = "netkit-rollout.io/datapath-mode"
TAINT = {"key": "netkit-rollout.io/evacuate", "effect": "NoExecute"}
PATIENCE = 180.0


@pytest.fixture(scope="module")
def image() -> Image:
    return ensure_image(CACHE, print)


@pytest.fixture(scope="module")
def cluster(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallCluster]:
    with small_cluster(image, tmp_path_factory.mktemp("guests")) as running:
        yield running


def assign_netkit(cluster: SmallCluster, node: str) -> str:
    """Label the node and delete its agent; returns the old agent's uid."""
    cluster.patch_node(node, {"metadata": {"labels": {MODE_LABEL: "netkit"}}})
    agent = cluster.pods("cilium", node)[0]
    cluster.delete_pod(agent)
    return str(agent["metadata"]["uid"])


def new_agent(cluster: SmallCluster, node: str, old: str) -> Json | None:
    return next((pod for pod in cluster.pods("cilium", node) if pod["metadata"]["uid"] != old), None)


def container(pod: Json | None) -> Json:
    statuses = (pod or {}).get("status", {}).get("containerStatuses") or [{}]
    return dict(statuses[0])


def test_workload_comes_up_on_veth(cluster: SmallCluster) -> None:
    until(lambda: len(cluster.ready_nodes()) == 2, PATIENCE, "nodes not ready")
    cluster.apply("web")
    cluster.apply("logd")
    until(lambda: len(cluster.ready("web")) == 4 and len(cluster.ready("logd")) == 2, PATIENCE, "workload not ready")
    assert {pod["spec"]["nodeName"] for pod in cluster.pods("web")} == {"n1", "n2"}
    for pod in cluster.pods("web"):
        assert pod["metadata"]["name"] in cluster.fetch(pod["status"]["podIP"])
    assert set(cluster.links("n1").values()) == {"veth"}


def test_the_way_that_works(cluster: SmallCluster) -> None:
    selector = {"matchLabels": {MODE_LABEL: "netkit"}}
    body = {"apiVersion": "cilium.io/v2", "kind": "CiliumNodeConfig", "metadata": {"name": "zz-netkit-rollout"}}
    spec = {"nodeSelector": selector, "defaults": {"datapath-mode": "netkit"}}
    cluster.api.create("/apis/cilium.io/v2/namespaces/kube-system/ciliumnodeconfigs", body | {"spec": spec})
    cluster.patch_node("n2", {"spec": {"unschedulable": True}})
    with Traffic(cluster, "web") as traffic:
        cluster.drain("n2", "web", PATIENCE)
        until(lambda: len(cluster.ready("web", "n1")) == 4, PATIENCE, "workload not back")
    assert traffic.lost == []
    assert traffic.answered > 20
    cluster.patch_node("n2", {"spec": {"taints": [TAINT]}})
    until(lambda: not cluster.on_node("n2"), PATIENCE, "pods stay on n2")
    assert cluster.links("n2") == {}
    old = assign_netkit(cluster, "n2")
    until(lambda: container(new_agent(cluster, "n2", old)).get("ready"), PATIENCE, "agent not ready")
    assert container(new_agent(cluster, "n2", old))["restartCount"] == 0
    assert not cluster.on_node("n2")
    cluster.patch_node("n2", {"spec": {"taints": None, "unschedulable": None}})
    until(lambda: cluster.ready("logd", "n2"), PATIENCE, "logd does not return")
    assert set(cluster.links("n2").values()) == {"netkit"}


def test_the_mistake_is_refused_and_cleared(cluster: SmallCluster) -> None:
    old = assign_netkit(cluster, "n1")
    waiting = until(lambda: _crash_looping(new_agent(cluster, "n1", old)), PATIENCE, "agent does not crash-loop")
    assert waiting["lastState"]["terminated"]["exitCode"] == 255
    agent = new_agent(cluster, "n1", old)
    assert agent is not None
    path = f"/containerLogs/kube-system/{agent['metadata']['name']}/cilium-agent?previous=true&tailLines=1"
    words = cluster.fetch("192.168.77.11", path, 10250)
    stragglers = cluster.on_node("n1")
    assert f"detected {len(stragglers)} existing endpoint(s) using incompatible datapath-modes" in words
    for pod in stragglers:
        assert f"default/{pod['metadata']['name']} (endpoint-" in words
    web = next(pod for pod in stragglers if pod["metadata"]["labels"]["app"] == "web")
    assert web["metadata"]["name"] in cluster.fetch(web["status"]["podIP"])
    begin = time.monotonic()
    for pod in stragglers:
        cluster.delete_pod(pod)
    gone = {pod["metadata"]["uid"] for pod in stragglers}
    until(lambda: not gone & {pod["metadata"]["uid"] for pod in cluster.on_node("n1")}, PATIENCE, "stragglers stay")
    assert time.monotonic() - begin > 4.0
    until(lambda: container(new_agent(cluster, "n1", old)).get("ready"), PATIENCE, "agent does not recover")
    until(lambda: len(cluster.ready("web")) == 4 and len(cluster.ready("logd")) == 2, PATIENCE, "workload not back")
    assert set(cluster.links("n1").values()) == {"netkit"}
    for pod in cluster.pods("web"):
        assert pod["metadata"]["name"] in cluster.fetch(pod["status"]["podIP"])


def test_layer_two_is_another_mode(cluster: SmallCluster) -> None:
    path = "/apis/cilium.io/v2/namespaces/kube-system/ciliumnodeconfigs/zz-netkit-rollout"
    cluster.api.patch(path, {"spec": {"defaults": {"datapath-mode": "netkit-l2"}}})
    cluster.patch_node("n2", {"spec": {"unschedulable": True, "taints": [TAINT]}})
    until(lambda: not cluster.on_node("n2"), PATIENCE, "pods stay on n2")
    old = assign_netkit(cluster, "n2")
    until(lambda: container(new_agent(cluster, "n2", old)).get("ready"), PATIENCE, "agent not ready")
    cluster.patch_node("n2", {"spec": {"unschedulable": None, "taints": None}})
    cluster.patch_node("n1", {"spec": {"unschedulable": True}})
    cluster.drain("n1", "web", PATIENCE)
    until(lambda: len(cluster.ready("web", "n2")) == 4, PATIENCE, "workload not back")
    assert '"mode":"l2"' in cluster.machines["n2"].ssh(["ip", "-d", "-j", "link", "show", "type", "netkit"]).stdout
    for pod in cluster.pods("web"):
        assert pod["metadata"]["name"] in cluster.fetch(pod["status"]["podIP"])
    old = assign_netkit(cluster, "n1")
    until(lambda: _crash_looping(new_agent(cluster, "n1", old)), PATIENCE, "agent does not crash-loop")


def _crash_looping(pod: Json | None) -> Json | None:
    shown = container(pod)
    return shown if shown.get("state", {}).get("waiting", {}).get("reason") == "CrashLoopBackOff" else None
