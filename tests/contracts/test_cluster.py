"""The contract of `Cluster` on the fake, on the API stand-in, and on a real cluster when one is named.

ROLLOUT_CONTRACT_KUBECONFIG=FILE (and ROLLOUT_CONTRACT_CONTEXT=NAME) runs the suite on that cluster: see
`tests.adapters.kubernetes.world` for what it makes there and removes again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from rollout.adapters.kubernetes import ClusterSettings, KubernetesCluster
from rollout.adapters.kubernetes.connection import Connection
from rollout.domain.fleet import VolumeClaim
from rollout.domain.inventory import NodeConfig
from rollout.domain.node import PodRef, Taint
from rollout.domain.scheduling import ANYWHERE, LabelRequirement, NodeTerm, Scheduling
from rollout.lab.apiserver import ApiServer, Fault
from rollout.lab.apiserver.threaded import ThreadedServer
from rollout.lab.controllers import Controllers
from rollout.lab.pki import write_kubeconfig
from tests import builders
from tests.adapters.kubernetes.world import ApiWorld
from tests.builders import NOW
from tests.contracts.cluster import ZONE, ClusterContract
from tests.fakes.cluster import FakeCluster

KUBECONFIG = "ROLLOUT_CONTRACT_KUBECONFIG"
CONTEXT = "ROLLOUT_CONTRACT_CONTEXT"


def api_world(
    kubeconfig: Path, context: str | None = None, forbid: Callable[[str], Callable[[], None]] | None = None
) -> ApiWorld:
    def connect(namespace: str) -> KubernetesCluster:
        settings = ClusterSettings(
            kubeconfig, context, agent_namespace=namespace, qps=200.0, burst=400, lease_namespace=namespace
        )
        return KubernetesCluster.connect(settings)

    return ApiWorld(Connection(ClusterSettings(kubeconfig, context, qps=1000.0, burst=1000)), connect, forbid)


@dataclass(frozen=True)
class StandIn:
    """The API stand-in, and the way to it."""

    kubeconfig: Path
    running: ThreadedServer

    def forbid(self, plural: str) -> Callable[[], None]:
        """Refuse lists of a kind, as for a caller without the right; what is returned ends that."""
        faults = self.running.server.faults
        fault = Fault(method="GET", path=rf"/{plural}\?", status=403, reason="Forbidden", times=None)
        self.running.call(faults.add, fault)
        return lambda: self.running.call(faults.rules.remove, fault)


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    server = ApiServer()
    path = tmp_path_factory.mktemp("standin") / "kubeconfig"
    with ThreadedServer(server, [Controllers(server.store)]) as running:
        write_kubeconfig(path, running.url, "", None)
        yield StandIn(path, running)


class TestStandIn(ClusterContract):
    @pytest.fixture
    def world(self, standin: StandIn) -> Iterator[ApiWorld]:
        made = api_world(standin.kubeconfig, forbid=standin.forbid)
        yield made
        made.close()


class ManualClock:
    """Its hands move only by waiting."""

    def __init__(self) -> None:
        self._now = NOW

    def now(self) -> datetime:
        return self._now

    def wait(self, seconds: float, cancel: Event | None = None) -> bool:
        self._now += timedelta(seconds=seconds)
        return cancel is not None and cancel.is_set()


class FakeWorld:
    """People and controllers beside the fake."""

    namespace = "contract"

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.cluster = FakeCluster(self.clock)
        self._made = 0

    def _number(self) -> int:
        self._made += 1
        return self._made

    def add_node(self, *, unschedulable: bool = False) -> str:
        return self.cluster.add_node(builders.node(f"n{self._number()}", unschedulable=unschedulable)).name

    def remove_node(self, name: str) -> None:
        self.cluster.remove_node(name)

    def set_unschedulable(self, name: str, value: bool) -> None:
        self.cluster.change_node(name, unschedulable=value)

    def add_taint(self, name: str, taint: Taint) -> None:
        self.cluster.change_node(name, taints=(*self.cluster.nodes[name].taints, taint))

    def annotate(self, name: str, key: str, value: str) -> None:
        self.cluster.annotate(name, key, value)

    def add_pod(
        self,
        node: str,
        *,
        labels: Mapping[str, str] | None = None,
        rules: Scheduling = ANYWHERE,
        claims: tuple[str, ...] = (),
    ) -> PodRef:
        # No controller, as in the other worlds.
        bare: dict[str, Any] = {"owner_kind": "", "owner_name": "", "owner_uid": "", "labels": dict(labels or {})}
        bare |= {"scheduling": rules, "claims": claims, "containers": ("main",)}
        return self.cluster.add_pod(builders.pod(f"p{self._number()}", node, namespace=self.namespace, **bare)).ref

    def add_claim(self, name: str, zone: str) -> None:
        terms = (NodeTerm((LabelRequirement(ZONE, "In", (zone,)),)),)
        claim = VolumeClaim(
            self.namespace, name, "Bound", f"pv-{self._number()}", access_modes=("ReadWriteOnce",), node_terms=terms
        )
        self.cluster.claims = (*self.cluster.claims, claim)

    def forbid(self, kind: str, plural: str) -> None:
        self.cluster.unreadable[kind] = f"cannot list {plural}: not permitted"

    def remove_pod(self, pod: PodRef) -> None:
        self.cluster.remove_pod(pod)

    def add_budget(self, name: str, labels: Mapping[str, str], min_available: int) -> None:
        budget = builders.budget(name, namespace=self.namespace, match_labels=dict(labels), max_unavailable="")
        self.cluster.add_budget(replace(budget, min_available=str(min_available)))

    def add_node_config(self, name: str, match_labels: Mapping[str, str], defaults: Mapping[str, str]) -> None:
        config = NodeConfig(self.namespace, name, "theirs", True, dict(match_labels), (), dict(defaults))
        self.cluster.add_node_config(config)

    def install_agent(self) -> None:
        self.cluster.install_agent(builders.agent_install(namespace=self.namespace, daemonset_uid="none-yet"))
        # As in the other worlds, the DaemonSet fits no node.
        self.cluster.daemonsets.clear()

    def add_agent_pod(self, node: str) -> PodRef:
        made = builders.agent_pod(node, f"agent-{self._number()}")
        return self.cluster.add_pod(replace(made, owner_uid="none-yet")).ref

    def wait_until_lease_expires(self, seconds: float) -> None:
        self.clock.wait(seconds)


class TestFake(ClusterContract):
    @pytest.fixture
    def world(self) -> FakeWorld:
        return FakeWorld()


if KUBECONFIG in os.environ:

    class TestRealCluster(ClusterContract):
        @pytest.fixture
        def world(self) -> Iterator[ApiWorld]:
            made = api_world(Path(os.environ[KUBECONFIG]), os.environ.get(CONTEXT))
            yield made
            made.close()

else:

    def test_real_cluster() -> None:
        pytest.skip(f"{KUBECONFIG} names no cluster")
