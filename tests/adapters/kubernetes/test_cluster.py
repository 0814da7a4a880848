"""What the contract cannot show: races, lost answers, rights, pages, other installs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rollout.adapters.kubernetes import ClusterSettings, KubernetesCluster
from rollout.domain.errors import Conflict, NotFound, NotPermitted, Refused, Unavailable
from rollout.domain.node import ANNOTATION_PRIOR, ANNOTATION_ROLLOUT, LABEL_MODE, TAINT_EVACUATE, OwnerMark, PodRef
from rollout.domain.plan import PlannedNodeConfig
from rollout.lab.apiserver import ApiServer
from rollout.lab.apiserver.server import ServerSettings
from rollout.lab.apiserver.threaded import ThreadedServer
from rollout.lab.pki import write_kubeconfig
from tests.adapters.kubernetes.conftest import StandIn, node, pod
from tests.adapters.kubernetes.scripted import Handler, scripted, status, write_config

MARK = OwnerMark("rollout-1", "0123456789ab")
Connect = Callable[..., KubernetesCluster]


def agent_objects(namespace: str = "kube-system", **template: Any) -> tuple[dict[str, Any], ...]:
    labels = {"k8s-app": "cilium"}
    containers = [{"name": "cilium-agent", "image": "cilium:v1.20.0", "args": ["--config-dir=/tmp"]}]
    pod_spec = {"containers": containers, "hostNetwork": True, **template}
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod_spec}}
    return (
        {"apiVersion": "apps/v1", "kind": "DaemonSet", "spec": spec,
         "metadata": {"name": "cilium", "namespace": namespace, "labels": labels}},
        {"apiVersion": "v1", "kind": "ConfigMap", "data": {"datapath-mode": "veth"},
         "metadata": {"name": "cilium-config", "namespace": namespace}},
    )  # fmt: skip


# -- races and lost answers ------------------------------------------------------------------------------------------


def test_a_race_is_decided_again(standin: StandIn, cluster: KubernetesCluster) -> None:
    standin.seed(node("n1"))
    conflict = standin.fault(method="PATCH", path="nodes/n1", status=409, times=2)
    assert cluster.cordon("n1", MARK).unschedulable
    assert conflict.hits == 2
    # Between our reading and our writing, another rollout marks the node: the second look sees it.
    standin.seed(node("n2"))
    api = standin.running

    def foreign_mark(changed: Any) -> None:
        changed["metadata"]["annotations"] = {ANNOTATION_ROLLOUT: "other"}

    original = cluster._connection.call

    def racing(request: Any, **more: Any) -> bytes:
        if request.verb == "patch" and api:
            cluster._connection.call = original  # type: ignore[method-assign]
            standin.patch_node("n2", foreign_mark)
        return original(request, **more)

    cluster._connection.call = racing  # type: ignore[method-assign]
    with pytest.raises(Refused) as caught:
        cluster.cordon("n2", MARK)
    assert caught.value.code == "not-ours"
    assert not cluster.read_node("n2").unschedulable


def test_races_without_end_are_given_up(standin: StandIn, cluster: KubernetesCluster) -> None:
    standin.seed(node("n1"))
    standin.fault(method="PATCH", path="nodes/n1", status=409, times=None)
    with pytest.raises(Conflict):
        cluster.cordon("n1", MARK)
    assert cluster.request_counts()["patch nodes"] == 5


@pytest.mark.parametrize("loss", [{"drop": True}, {"status": 504}])
def test_a_lost_answer_is_settled_by_doing_it_again(
    standin: StandIn, cluster: KubernetesCluster, loss: dict[str, Any]
) -> None:
    standin.seed(node("n1"))
    acts = (cluster.cordon, cluster.add_taint, cluster.remove_taint)
    for act in acts:
        standin.fault(method="PATCH", path="nodes/n1", after_effect=True, **loss)
        with pytest.raises(Unavailable):
            act("n1", MARK)
        act("n1", MARK)
    found = cluster.read_node("n1")
    assert found.unschedulable
    assert not [t for t in found.taints if t.key == TAINT_EVACUATE]
    assert cluster.request_counts()["patch nodes"] == len(acts)


def test_a_lost_answer_to_taking_the_lease(standin: StandIn, cluster: KubernetesCluster) -> None:
    standin.seed(*agent_objects())
    standin.fault(method="POST", path="leases", after_effect=True, drop=True)
    with pytest.raises(Unavailable):
        cluster.take_lease("a/1", 60, lambda _: False)
    held = cluster.take_lease("a/1", 60, lambda _: False)
    assert cluster.renew_lease("a/1", held.fencing).holder == "a/1"


# -- what people left on nodes ---------------------------------------------------------------------------------------


def test_taints_keep_fields_that_we_do_not_know(standin: StandIn, cluster: KubernetesCluster) -> None:
    odd = {"key": "x", "value": "y", "effect": "NoExecute", "timeAdded": "2026-11-23T00:00:00Z"}
    standin.seed(node("n1", taints=[odd, {"key": TAINT_EVACUATE, "effect": "PreferNoSchedule"}]))
    cluster.add_taint("n1", MARK)
    cluster.remove_taint("n1", MARK)
    stored = standin.running.call(standin.server.store.find, "nodes", "n1")
    assert stored is not None
    assert stored["spec"]["taints"][0] == odd
    assert stored["spec"]["taints"][1]["effect"] == "PreferNoSchedule"


@pytest.mark.parametrize("prior", ["", "null", "[]", '{"unschedulable": "yes"}', "{", '{"unschedulable": null}'])
def test_a_damaged_prior_falls_back_to_the_journals(standin: StandIn, cluster: KubernetesCluster, prior: str) -> None:
    marked = node("n1", unschedulable=True)
    marked["metadata"]["annotations"] = {ANNOTATION_ROLLOUT: MARK.rollout, ANNOTATION_PRIOR: prior}
    standin.seed(marked)
    assert cluster.uncordon("n1", OwnerMark(MARK.rollout, MARK.plan, prior_unschedulable=True)).unschedulable


# -- rights ----------------------------------------------------------------------------------------------------------


def test_a_viewer_reads_and_is_told_what_it_may_not(standin: StandIn, connect: Connect) -> None:
    standin.seed(node("n1"), pod("web-1", "n1"), *agent_objects())
    seen = connect(standin.kubeconfig("viewer-token"))
    snapshot = seen.collect()
    assert [n.name for n in snapshot.nodes] == ["n1"]
    assert seen.view("n1").node is not None
    (found,) = snapshot.pods
    wanted = PlannedNodeConfig("zz", "kube-system", "v2", "netkit", {"datapath-mode": "netkit"})
    acts: tuple[tuple[Callable[[], object], str, str], ...] = (
        (lambda: seen.cordon("n1", MARK), "patch", "nodes"),
        (lambda: seen.evict(found.ref), "create", "pods/eviction"),
        (lambda: seen.delete_pod(found.ref), "delete", "pods"),
        (lambda: seen.ensure_node_config(wanted), "create", "ciliumnodeconfigs"),
        (lambda: seen.take_lease("a", 60, lambda _: False), "create", "leases"),
    )
    for act, verb, resource in acts:
        with pytest.raises(NotPermitted, match=f"not permitted to {verb} {resource}") as caught:
            act()
        assert verb in caught.value.hint
        assert resource in caught.value.hint
    seen.record_event("n1", "Reason", "text")


def test_a_wrong_token(standin: StandIn, connect: Connect) -> None:
    with pytest.raises(NotPermitted) as caught:
        connect(standin.kubeconfig("wrong-token")).collect()
    assert caught.value.code == "not-authenticated"
    assert "wrong-token" not in caught.value.message + caught.value.hint


# -- lists -----------------------------------------------------------------------------------------------------------


def test_pages_and_an_expired_continuation(standin: StandIn, cluster: KubernetesCluster) -> None:
    standin.seed(node("n1"), *agent_objects(), *(pod(f"p{n:04}", "n1") for n in range(1201)))
    standin.fault(method="GET", path=r"/pods\?.*continue=", skip=1, status=410, reason="Expired")
    names = [p.ref.name for p in cluster.collect().pods]
    assert names == sorted(names)
    assert len(set(names)) == len(names) == 1201
    assert cluster.request_counts()["list pods"] == 6


def test_a_list_that_always_expires_is_unavailable(standin: StandIn, cluster: KubernetesCluster) -> None:
    standin.fault(method="GET", path="/nodes", status=410, times=None)
    with pytest.raises(Unavailable):
        cluster.collect()


def test_endpoint_owners_and_a_cluster_without_cilium(standin: StandIn, cluster: KubernetesCluster) -> None:
    bare = cluster.collect()
    assert (bare.agent, bare.node_configs, bare.endpoint_owners) == (None, (), {})
    with pytest.raises(NotFound) as caught:
        cluster.agent_install()
    assert caught.value.code == "no-agent"
    for number, address in enumerate(("10.0.0.1", "10.0.0.2", "10.0.0.1")):
        standin.seed(
            {"apiVersion": "cilium.io/v2", "kind": "CiliumEndpoint",
             "metadata": {"name": f"e{number}", "namespace": "default"},
             "status": {"networking": {"node": address, "addressing": []}}}
        )  # fmt: skip
    assert cluster.collect().endpoint_owners == {"10.0.0.1": 2, "10.0.0.2": 1}


def test_only_the_old_version_of_node_configs_is_served(tmp_path: Path) -> None:
    server = ApiServer(settings=ServerSettings(node_config_version="v2alpha1"))
    with ThreadedServer(server) as running:
        path = write_kubeconfig(tmp_path / "config", running.url, "")
        cluster = KubernetesCluster.connect(ClusterSettings(path))
        running.call(server.store.seed, list(agent_objects()))
        assert cluster.collect().node_config_version == "v2alpha1"
        wanted = PlannedNodeConfig("zz", "kube-system", "v2alpha1", "netkit", {"datapath-mode": "netkit"})
        cluster.ensure_node_config(wanted)
        assert [c.name for c in cluster.node_configs()] == ["zz"]
        cluster.close()


def test_node_configs_are_not_served_at_all(tmp_path: Path, connect: Connect) -> None:
    def answer(handler: Handler) -> None:
        if handler.path == "/apis/cilium.io":
            handler.reply(200, {"versions": [{"version": "v2"}, {"version": "v2alpha1"}, {"version": None}]})
        elif handler.path.startswith("/apis/cilium.io/"):
            handler.reply(200, {"resources": [{"name": "ciliumnodes"}, {"name": None}]})
        else:
            handler.reply(404, status(404, "NotFound", "no"))

    with scripted(answer) as server:
        assert connect(write_config(tmp_path / "config", server.url)).node_configs() == ()


# -- installs --------------------------------------------------------------------------------------------------------


def test_an_agent_elsewhere_with_guards(standin: StandIn, cluster: KubernetesCluster) -> None:
    init = {"name": "config", "image": "x", "command": ["cilium-dbg", "build-config"],
            "args": ["--allow-config-keys=debug,datapath-mode", "--deny-config-keys", "mtu"]}  # fmt: skip
    daemonset, config = agent_objects("cilium", initContainers=[init])
    daemonset["spec"]["template"]["metadata"]["annotations"] = {"cilium.io/cilium-configmap-checksum": "abc"}
    daemonset["spec"]["updateStrategy"] = {"type": "OnDelete"}
    decoy, _ = agent_objects("cilium")
    decoy["metadata"]["name"] = "a-cilium-helper"
    standin.seed({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "cilium"}}, decoy, daemonset, config)
    install = cluster.agent_install()
    assert (install.namespace, install.daemonset, install.update_strategy) == ("cilium", "cilium", "OnDelete")
    assert (install.merges_node_configs, install.checksum_annotation) == (True, True)
    assert (install.allow_keys, install.deny_keys) == (("debug", "datapath-mode"), ("mtu",))
    assert install.config_args == ("--config-dir=/tmp",)
    assert install.selector == {"k8s-app": "cilium"}
    assert install.config_resource_version


def test_an_agent_without_build_config(standin: StandIn, cluster: KubernetesCluster) -> None:
    standin.seed(*agent_objects())
    assert not cluster.agent_install().merges_node_configs


def test_the_newest_agent_pod(standin: StandIn, cluster: KubernetesCluster) -> None:
    labels = {"k8s-app": "cilium"}
    standin.seed(node("n1"), node("n2"), *agent_objects())
    standin.seed(*(pod(f"cilium-{name}", on, "kube-system", **labels) for name, on in (("a", "n1"), ("b", "n2"))))
    first = cluster.agent_pod("n1")
    assert first is not None
    assert first.ref.name == "cilium-a"
    # In the same second: the one that is leaving is the older.
    assert cluster.delete_pod(first.ref)
    standin.seed(pod("cilium-0", "n1", "kube-system", **labels))
    second = cluster.agent_pod("n1")
    assert second is not None
    assert second.ref.name == "cilium-0"


# -- logs, events, lease ---------------------------------------------------------------------------------------------


def test_a_log(tmp_path: Path) -> None:
    async def log(namespace: str, name: str, container: str, previous: bool) -> bytes:
        if not previous:
            raise KeyError(container)
        return b"".join(b"line %d \xff\n" % n for n in range(10))

    server = ApiServer(log_provider=log)
    with ThreadedServer(server) as running:
        running.call(server.store.seed, [node("n1"), pod("web-1", "n1")])
        cluster = KubernetesCluster.connect(ClusterSettings(write_kubeconfig(tmp_path / "config", running.url, "")))
        (found,) = cluster.collect().pods
        text = cluster.pod_log(found.ref, "main", previous=True, tail_lines=3)
        assert [line.split(" ")[1] for line in text.splitlines()] == ["7", "8", "9"]
        assert cluster.pod_log(found.ref, "main", previous=False) == ""
        assert cluster.pod_log(PodRef("default", "gone", "u"), "main", previous=False) == ""
        cluster.close()


def test_events_are_for_people(standin: StandIn, cluster: KubernetesCluster) -> None:
    cluster.record_event("n1", "NetkitRollout", "waiting")
    (event,) = standin.running.call(standin.server.store.all, "events", "default")
    assert event["involvedObject"]["name"] == "n1"
    assert event["message"] == "waiting"
    standin.fault(method="POST", path="events", drop=True, times=None)
    cluster.record_event("n1", "NetkitRollout", "lost")


def test_a_lease_expires_by_its_renewal(standin: StandIn) -> None:
    standin.seed(*agent_objects())
    moment = datetime(2026, 11, 23, tzinfo=UTC)
    settings = ClusterSettings(standin.kubeconfig("admin-token"))
    cluster = KubernetesCluster.connect(settings, now=lambda: moment)
    asked: list[str] = []

    def takeover(holder: str) -> bool:
        asked.append(holder)
        return False

    first = cluster.take_lease("a/1", 60, takeover)
    moment += timedelta(seconds=50)
    cluster.renew_lease("a/1", first.fencing)
    moment += timedelta(seconds=60)
    with pytest.raises(Refused, match=r"renewed 60 s ago"):
        cluster.take_lease("b/1", 60, takeover)
    moment += timedelta(seconds=1)
    second = cluster.take_lease("b/1", 60, takeover)
    assert (second.fencing, asked) == (first.fencing + 1, ["a/1"])
    find = standin.server.store.find
    stored = standin.running.call(find, "leases.coordination.k8s.io", "netkit-rollout", "kube-system")
    assert stored is not None
    assert stored["spec"]["renewTime"] == "2026-11-23T00:01:51.000000Z"
    cluster.close()


def test_a_lease_lost_under_way(standin: StandIn, cluster: KubernetesCluster, connect: Connect) -> None:
    standin.seed(*agent_objects())
    rival = connect(standin.kubeconfig("admin-token"))
    cluster.take_lease("dead/1", 60, lambda _: False)

    def takeover(holder: str) -> bool:
        if holder == "dead/1":
            rival.take_lease("rival/1", 60, lambda _: True)
        return holder == "dead/1"

    with pytest.raises(Refused, match="rival/1"):
        cluster.take_lease("us/1", 60, takeover)


def test_a_taint_of_our_key_without_a_value_is_not_ours(standin: StandIn, cluster: KubernetesCluster) -> None:
    for name, more in (("n1", {}), ("n2", {"value": ""})):
        standin.seed(node(name, taints=[{"key": TAINT_EVACUATE, "effect": "NoExecute", **more}]))
        for act in (cluster.add_taint, cluster.remove_taint):
            with pytest.raises(Refused):
                act(name, MARK)


def test_the_label_travels_as_a_merge_patch(standin: StandIn, cluster: KubernetesCluster) -> None:
    labelled = node("n1")
    labelled["metadata"]["labels"] = {LABEL_MODE: "veth", "other": "kept"}
    standin.seed(labelled)
    assert cluster.assign_mode("n1", "netkit").labels == {LABEL_MODE: "netkit", "other": "kept"}
    before = cluster.request_counts()["patch nodes"]
    cluster.assign_mode("n1", "netkit")
    assert cluster.request_counts()["patch nodes"] == before
