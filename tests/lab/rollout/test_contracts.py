"""The ports' contracts on the lab: real SSH into real machines with netkit, and the lab's API with its controllers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from rollout.adapters.ansible.hosts import AnsibleHosts
from rollout.adapters.ansible.settings import HostsSettings
from rollout.adapters.clock import SystemClock
from rollout.adapters.kubernetes import ClusterSettings, KubernetesCluster
from rollout.adapters.observer import PlaybookObserver
from rollout.adapters.packaged import packaged_dir
from rollout.adapters.toolbox.manifest import ToolboxSettings
from rollout.adapters.toolbox.observer import ToolboxObserver
from rollout.domain.node import DatapathMode
from rollout.domain.observed import parse_agent, parse_capability, parse_links
from rollout.domain.policy import ProbeRules
from rollout.lab.layout import LabInfo
from rollout.lab.network import free_port
from rollout.ports.hosts import Host
from tests.adapters.kubernetes.world import ApiWorld
from tests.contracts.cluster import ClusterContract
from tests.contracts.hosts import HostsContract
from tests.contracts.hosts import Scene as HostsScene
from tests.contracts.observer import ObserverContract
from tests.contracts.observer import Scene as ObserverScene
from tests.contracts.probes import ProbesContract
from tests.contracts.probes import Scene as ProbesScene
from tests.contracts.test_cluster import api_world
from tests.support import playbooks

pytestmark = pytest.mark.lab


def settings(lab: LabInfo, run_dir: Path, folder: Path) -> HostsSettings:
    ssh = yaml.safe_load(lab.config.read_text())["ssh"]
    return HostsSettings(
        run_dir=run_dir,
        playbooks=folder,
        known_hosts=Path(ssh["known_hosts"]),
        user=ssh["user"],
        private_key=Path(ssh["private_key"]),
        python=ssh["python"],
    )


def well(lab: LabInfo) -> tuple[Host, Host]:
    first, second = (Host(n.name, "127.0.0.1", n.ssh_port) for n in lab.nodes)
    return first, second


class TestHosts(HostsContract):
    @pytest.fixture
    def scene(self, lab: LabInfo, tmp_path: Path) -> HostsScene:
        hosts = AnsibleHosts(settings(lab, tmp_path / "runs", playbooks.write(tmp_path / "playbooks")))
        return HostsScene(hosts, well(lab), Host("n3", "127.0.0.1", free_port()))


def observer_scene(lab: LabInfo, tmp_path: Path) -> ObserverScene:
    hosts = AnsibleHosts(settings(lab, tmp_path / "runs", packaged_dir("playbooks")))
    observer = PlaybookObserver(hosts, SystemClock())
    return ObserverScene(observer, well(lab)[0], Host("n3", "127.0.0.1", free_port()))


class TestObserver(ObserverContract):
    @pytest.fixture
    def scene(self, lab: LabInfo, tmp_path: Path) -> ObserverScene:
        return observer_scene(lab, tmp_path)


class TestToolbox(ObserverContract):
    """The lab's kubelets run the pod's program as a process of the machine, as a privileged pod of the host's is."""

    @pytest.fixture
    def scene(self, lab: LabInfo) -> Iterator[ObserverScene]:
        cluster = KubernetesCluster.connect(ClusterSettings(lab.kubeconfig))
        notes: list[str] = []
        toolbox = cluster.toolbox("kube-system")
        observer = ToolboxObserver(toolbox, ToolboxSettings("lab/toolbox:1"), SystemClock(), notes.append)
        yield ObserverScene(observer, well(lab)[0], Host("n3", "127.0.0.1"))
        with toolbox.session() as session:
            assert [pod for pod in session.pods() if not pod.leaving] == []
        assert notes == []
        cluster.close()


def test_a_real_netkit_kernel_is_seen_as_it_is(lab: LabInfo, tmp_path: Path) -> None:
    scene = observer_scene(lab, tmp_path)
    seen = scene.observer.observe((scene.well,), ("links", "agent", "capability"), wall_s=120)[scene.well.node]
    capability, links, agent = (
        parse_capability(seen["capability"]),
        parse_links(seen["links"]),
        parse_agent(seen["agent"]),
    )
    assert capability is not None
    assert capability.modes == (DatapathMode.NETKIT, DatapathMode.NETKIT_L2)
    assert capability.scrub
    assert links is not None
    assert agent is not None
    assert agent.state == "up"
    assert {link.name for link in links.links if not link.health} <= set(agent.endpoint_links) | {"lxc_health"}
    assert any(link.health for link in links.links)
    assert not {"cilium_host", "cilium_net"} & {link.name for link in links.links}


class TestProbes(ProbesContract):
    @pytest.fixture
    def scene(self, lab: LabInfo) -> Iterator[ProbesScene]:
        cluster = KubernetesCluster.connect(ClusterSettings(lab.kubeconfig, "lab", qps=200.0, burst=200))
        first, second = (node.name for node in lab.nodes)
        yield ProbesScene(cluster.probes(), ProbeRules(), (first, second))
        cluster.close()


class TestCluster(ClusterContract):
    @pytest.fixture
    def world(self, lab: LabInfo) -> Iterator[ApiWorld]:
        made = api_world(lab.kubeconfig, "lab")
        yield made
        made.close()
