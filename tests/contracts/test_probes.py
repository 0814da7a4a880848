"""The contract of `ProbePods` on the fake, on the API stand-in, and on a real cluster when one is named.

ROLLOUT_CONTRACT_KUBECONFIG=FILE (and ROLLOUT_CONTRACT_CONTEXT=NAME) runs it on that cluster, on two nodes that are
Ready, in a namespace of its own. ROLLOUT_CONTRACT_PROBE_IMAGE names another image than the policy's default.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rollout.adapters.kubernetes import ClusterSettings, KubernetesCluster
from rollout.adapters.kubernetes.connection import Connection
from rollout.adapters.kubernetes.request import NETWORKING, Request
from rollout.domain.policy import ProbeRules
from rollout.lab.apiserver import ApiServer
from rollout.lab.apiserver.threaded import ThreadedServer
from rollout.lab.pki import write_kubeconfig
from tests.adapters.kubernetes.conftest import node as node_document
from tests.builders import node
from tests.contracts.probes import ProbesContract, Scene
from tests.contracts.test_cluster import CONTEXT, KUBECONFIG, ManualClock, api_world
from tests.fakes.cluster import FakeCluster
from tests.fakes.probes import FakeProbes
from tests.lab.controllers.fake_kubelet import FakeKubelet

IMAGE = "ROLLOUT_CONTRACT_PROBE_IMAGE"


class TestFake(ProbesContract):
    @pytest.fixture
    def scene(self) -> Scene:
        cluster = FakeCluster(ManualClock())
        for name in ("n1", "n2", "n3"):
            cluster.add_node(node(name))
        probes = FakeProbes(cluster, namespaces={"netkit-rollout"}, stuck={"n3"})
        return Scene(probes, ProbeRules(), ("n1", "n2"), stuck="n3")


class PartialKubelet(FakeKubelet):
    """Runs nothing on the node n3."""

    def _run(self, pod: dict[str, object]) -> None:
        spec = pod["spec"]
        if isinstance(spec, dict) and spec.get("nodeName") != "n3":
            super()._run(pod)


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    server = ApiServer()
    path = tmp_path_factory.mktemp("standin") / "kubeconfig"
    with ThreadedServer(server, [PartialKubelet(server.store)]) as running:
        running.call(server.store.seed, [node_document(name) for name in ("n1", "n2", "n3")])
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "netkit-rollout"}}
        running.call(server.store.seed, [namespace])
        write_kubeconfig(path, running.url, "", None)
        yield path


class TestStandIn(ProbesContract):
    @pytest.fixture
    def scene(self, kubeconfig: Path) -> Iterator[Scene]:
        cluster = KubernetesCluster.connect(ClusterSettings(kubeconfig, qps=500.0, burst=500))
        yield Scene(cluster.probes(), ProbeRules(), ("n1", "n2"), stuck="n3")
        cluster.close()

    def test_few_requests(self, kubeconfig: Path) -> None:
        """One list, one policy, a request for each pod, one watch; taken up with one list; removed with two."""
        cluster = KubernetesCluster.connect(ClusterSettings(kubeconfig, qps=500.0, burst=500))
        scene = Scene(cluster.probes(), ProbeRules(), ("n1", "n2"))
        for _ in range(2):
            scene.probes.ensure(scene.rig(), self.wanted(scene), scene.rules, timeout_s=30)
        scene.probes.remove(scene.rules, scene.run)
        assert cluster.request_counts() == {
            "list pods": 2,
            "create networkpolicies": 1,
            "create pods": 3,
            "watch pods": 1,
            "deletecollection pods": 1,
            "deletecollection networkpolicies": 1,
        }
        cluster.close()

    def test_a_sweep_takes_policies_that_outlived_their_rig(self, kubeconfig: Path) -> None:
        settings = ClusterSettings(kubeconfig, qps=500.0, burst=500)
        connection = Connection(settings)
        late = KubernetesCluster(connection, settings, now=lambda: datetime.now(UTC) + timedelta(hours=2))
        now = KubernetesCluster(connection, settings)
        scene = Scene(now.probes(), ProbeRules(), ("n1", "n2"))
        scene.probes.ensure(scene.rig(), self.wanted(scene), scene.rules, timeout_s=30)
        request = Request("list", "networkpolicies", NETWORKING, "netkit-rollout")

        def policies() -> int:
            return connection.call(request).count(scene.run.encode())

        there = policies()
        assert there
        late.probes().sweep(scene.rules, "another")
        assert policies() == there, "its pods still live"
        pods = Request("deletecollection", "pods", namespace="netkit-rollout")
        connection.call(pods, query={"labelSelector": f"netkit-rollout.io/rollout={scene.run}"})
        while scene.probes.leftovers(scene.rules):
            time.sleep(0.05)
        now.probes().sweep(scene.rules, "another")
        assert policies() == there, "it is young, its pods may be on their way"
        late.probes().sweep(scene.rules, "another")
        assert policies() == 0
        connection.close()


if KUBECONFIG in os.environ:

    class TestRealCluster(ProbesContract):
        @pytest.fixture(scope="class")
        def scene(self) -> Iterator[Scene]:
            world = api_world(Path(os.environ[KUBECONFIG]), os.environ.get(CONTEXT))
            settings = ClusterSettings(Path(os.environ[KUBECONFIG]), os.environ.get(CONTEXT), qps=50.0, burst=50)
            cluster = KubernetesCluster(Connection(settings), settings)
            ready = [n.name for n in cluster.collect().nodes if n.ready and not n.unschedulable]
            rules = ProbeRules(namespace=world.namespace, image=os.environ.get(IMAGE, ProbeRules().image))
            yield Scene(cluster.probes(), rules, (ready[0], ready[-1]))
            cluster.close()
            world.close()

else:

    def test_real_cluster() -> None:
        pytest.skip(f"{KUBECONFIG} names no cluster")
