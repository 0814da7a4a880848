"""The Cilium agent stand-in: starts, refuses and ends as the recorded one does.

Start-up: read the merged configuration, restore endpoints from disk, refuse if a pod's link is of another mode, else
take over the node: host links, health endpoint, queued deletions, cluster objects; then open the socket. While the
agent is down there is no socket. Ending leaves the pods' links and the pinned programs in place.
"""

import contextlib
import json
import os
import random
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import agentconfig
import agentserver
import agentshapes
import labpaths
import linkfaults
import linkprogram
import namespaces
import podlinks
from agentcluster import ClusterSync
from agentconfig import AgentConfig, BadConfig
from agentserver import Answer
from agentshapes import AgentFacts
from datapath import Datapath, DatapathSettings
from endpointstore import AddressPool, Endpoint, EndpointStore
from kubeapi import Api, ApiError, ApiUnreachable, Json, server_from
from logline import Log, timestamp
from startguard import REFUSED_EXIT_CODE, refusal

# Recorded under emulation: 20 to 30 s from start to refusal, about half of it before the endpoints are looked at.
_START_SECONDS = (20.0, 30.0)
HEALTH_PORT = 9879
_HEALTH_LINK, _HEALTH_NETNS = "lxc_health", "cilium-health"
LOG = Log()


@dataclass(frozen=True)
class Settings:
    node: str
    address: str
    pod_cidr: str
    api: str
    time_scale: float
    config_dir: Path

    @classmethod
    def parse(cls, environment: Mapping[str, str]) -> "Settings":
        return cls(
            node=environment["K8S_NODE_NAME"],
            address=environment["LAB_NODE_ADDRESS"],
            pod_cidr=environment["LAB_POD_CIDR"],
            api=environment["LAB_API"],
            time_scale=float(environment.get("LAB_TIME_SCALE", "1")),
            config_dir=Path(environment["LAB_POD_DIR"]) / "config-map",
        )


class Refused(Exception):
    """The agent must not start; the message is its last line."""


class Stopped(Exception):
    """SIGTERM came."""


class Agent:
    def __init__(self, settings: Settings, config: AgentConfig) -> None:
        self._settings = settings
        self._config = config
        self._stop = threading.Event()
        self._ending = threading.Event()
        self._store = EndpointStore(labpaths.endpoint_state())
        self._pool = AddressPool(settings.pod_cidr)
        self._api = Api(server_from(labpaths.etc(), settings.api), "cilium-agent")
        # The plugin may ask for the same attachment twice; two threads must not make two of it.
        self._changes = threading.Lock()
        self._health_mac = ""

    def run(self) -> None:
        """Until SIGTERM. Raises Refused or BadConfig."""
        signal.signal(signal.SIGTERM, lambda *_: self._stop.set())
        labpaths.agent_socket().unlink(missing_ok=True)
        with contextlib.suppress(Stopped):
            self._start()
            self._stop.wait()
        LOG.info("Stopping hive")
        self._ending.set()
        labpaths.agent_socket().unlink(missing_ok=True)
        LOG.info("Stopped hive")

    def _start(self) -> None:
        LOG.info("Cilium 1.21.0-dev (stand-in of netkit-rollout's lab)")
        mode, warning = agentconfig.operational_mode(self._config, podlinks.probe_netkit)
        if warning:
            LOG.warning(warning, module="agent.datapath.connector")
        mode = self._play_wrong_mode(mode)
        LOG.info("Datapath connector ready", module="agent.datapath.connector", datapathMode=mode)
        seconds = random.uniform(*_START_SECONDS) * self._settings.time_scale
        LOG.info("Starting hive")
        self._pause(seconds * 0.6)
        self._restore(mode, seconds * 0.4)
        facts = self._take_over(mode)
        self._serve(facts)
        LOG.info("Daemon initialization completed", bootstrapTime=f"{seconds:.3f}s")

    def _play_wrong_mode(self, mode: str) -> str:
        faults = linkfaults.active(labpaths.faults(), self._config.configured_mode)
        return "veth" if linkfaults.WRONG_MODE in faults else mode

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise Stopped

    def _restore(self, mode: str, seconds: float) -> None:
        LOG.info("Restoring endpoints...", module="agent.controlplane.endpoint-restore")
        endpoints = self._store.load()
        guarded = self._config.flag("lab-start-guard", True)
        words = refusal(mode, endpoints, _link_mode) if guarded else None
        if words:
            function = "cmd.daemonLegacyInitialization.func1 (cmd/daemon_main.go:1284) (agent.controlplane.daemon)"
            LOG.error("Start hook failed", function=function, error=f"daemon configuration failed: {words}")
            LOG.error("Failed to start hive", error=f"daemon configuration failed: {words}")
            LOG.info("Stopping hive")
            self._pause(seconds)
            LOG.info("Stopped hive")
            raise Refused(f"unable to run agent: failed to start: daemon configuration failed: {words}")
        self._pause(seconds)

    def _take_over(self, mode: str) -> AgentFacts:
        """From here on the node is this agent's."""
        self._mount_bpf()
        podlinks.ensure_host_pair(self._pool.router)
        live = self._drop_gone()
        taken = {each.id for each in live}
        host_id, health_id = random.sample([each for each in range(1, 4095) if each not in taken], 2)
        facts = self._facts(mode, host_id, health_id)
        self._reserved = {host_id, health_id}
        self._cluster = ClusterSync(self._api, facts, LOG, self._ending)
        settings = DatapathSettings(mode, self._config.configured_mode, facts.device)
        self._datapath = Datapath(self._api, self._store, settings, LOG, self._ending)
        for each in live:
            self._pool.reserve(each.address)
        self._make_health(mode)
        self._replay_deletions()
        self._announce()
        self._datapath.start()
        return facts

    def _facts(self, mode: str, host_id: int, health_id: int) -> AgentFacts:
        return AgentFacts(
            node=self._settings.node,
            address=self._settings.address,
            device=podlinks.device_of(self._settings.address),
            pod_cidr=self._settings.pod_cidr,
            router=self._pool.router,
            health_address=self._pool.health,
            host_id=host_id,
            health_id=health_id,
            pool_size=self._pool.size,
            config=self._config,
            mode=mode,
            started=timestamp(),
        )

    def _mount_bpf(self) -> None:
        if not os.path.ismount(labpaths.bpf()):
            namespaces.mount("bpf", labpaths.bpf())

    def _drop_gone(self) -> list[Endpoint]:
        """Forget endpoints whose link went while no agent ran; returns the others."""
        live = []
        for each in self._store.all():
            if podlinks.find(each.link) is None:
                LOG.info("Unable to restore endpoint: interface not found", endpointID=each.id, interface=each.link)
                self._forget(each)
            else:
                live.append(each)
        return live

    def _forget(self, endpoint: Endpoint) -> None:
        for folder in (labpaths.pinned_faults(endpoint.id), labpaths.pinned_links(endpoint.id)):
            linkprogram.detach(folder)
        self._store.remove(endpoint)
        self._pool.release(endpoint.address)

    def _make_health(self, mode: str) -> None:
        """Always anew, so that it is in the mode of this agent."""
        podlinks.delete(_HEALTH_LINK)
        namespace = labpaths.netns() / _HEALTH_NETNS
        namespaces.remove(namespace)
        namespaces.create(namespace)
        link, mac = podlinks.create_pair(mode, _HEALTH_LINK, namespace, "cilium")
        self._health_mac = mac
        podlinks.configure_pod(namespace, self._pool.health, self._pool.router, link.mac if mac else "", "cilium")
        podlinks.expose_pod(_HEALTH_LINK, self._pool.health, mac)
        folder = labpaths.pinned_links(0)
        linkprogram.detach(folder)
        linkprogram.attach_all(link.index, linkprogram.pod_programs(mode), folder)

    def _replay_deletions(self) -> None:
        """What the plugin queued while there was no agent."""
        folder = labpaths.delete_queue()
        folder.mkdir(parents=True, exist_ok=True)
        for file in sorted(folder.glob("*.delete")):
            self._remove_attachment(json.loads(file.read_text())["attachment"])
            file.unlink()

    def _announce(self) -> None:
        """Tell the cluster; without an API server the agent serves its node all the same."""
        try:
            self._cluster.ensure_node()
            self._cluster.clean_stale(self._store.all())
        except (ApiError, ApiUnreachable) as error:
            LOG.warning("Unable to update CiliumNode", error=error)
        for each in self._store.all():
            self._cluster.put(each)
        self._cluster.start()

    def _serve(self, facts: AgentFacts) -> None:
        labpaths.cni_config().parent.mkdir(parents=True, exist_ok=True)
        labpaths.cni_config().write_text(
            json.dumps({"cniVersion": "0.3.1", "name": "cilium", "plugins": [{"type": "cilium-cni"}]})
        )
        healthz = ("GET", "/healthz")
        agentserver.serve_socket(
            labpaths.agent_socket(),
            {
                ("GET", "/v1/healthz"): lambda *_: (200, agentshapes.status_document(facts, self._store.all())),
                ("GET", "/v1/config"): lambda *_: (200, agentshapes.config_document(facts)),
                ("GET", "/v1/metrics"): lambda *_: (200, self._datapath.metrics()),
                ("GET", "/v1/endpoint"): lambda wanted, _: self._list(facts, wanted),
                ("PUT", "/v1/endpoint"): self._put,
                ("DELETE", "/v1/endpoint"): lambda wanted, _: self._delete(wanted),
                ("POST", "/v1/ipam"): lambda *_: (201, {"ipv4": self._pool.allocate(), "router": self._pool.router}),
                ("DELETE", "/v1/ipam"): lambda wanted, _: self._release(wanted),
            },
        )
        agentserver.serve_port(HEALTH_PORT, {healthz: lambda *_: (200, {"state": "Ok"})})

    def _release(self, address: str) -> Answer:
        self._pool.release(address)
        return 200, None

    def _list(self, facts: AgentFacts, wanted: str) -> Answer:
        documents = [
            agentshapes.pod_document(each, facts.started, settled=self._datapath.knows(each))
            for each in self._store.all()
        ]
        documents.append(agentshapes.host_document(facts, podlinks.find("cilium_host")))
        documents.append(agentshapes.health_document(facts, podlinks.find(_HEALTH_LINK), self._health_mac))
        documents.sort(key=lambda each: int(each["id"]))
        if not wanted:
            return 200, documents
        found = [each for each in documents if wanted in (str(each["id"]), f"cilium-local:{each['id']}")]
        return (200, found[0]) if found else (404, None)

    def _put(self, wanted: str, body: Json) -> Answer:
        """A new attachment: program on its link, state on disk, object in the cluster."""
        attachment = wanted.removeprefix("cni-attachment-id:")
        with self._changes:
            known = self._store.find(attachment)
            if known is not None:
                return 409, {"id": known.id}
            endpoint = Endpoint(id=self._store.free_id(self._reserved), attachment=attachment, **body)
            self._pool.reserve(endpoint.address)
            self._store.put(endpoint)
            self._datapath.add(endpoint)
        self._cluster.put(endpoint)
        pod = f"{endpoint.namespace}/{endpoint.pod}"
        LOG.info("Successful endpoint creation", endpointID=endpoint.id, k8sPodName=pod)
        return 201, {"id": endpoint.id}

    def _delete(self, wanted: str) -> Answer:
        removed = self._remove_attachment(wanted.removeprefix("cni-attachment-id:"))
        return (200 if removed else 404), None

    def _remove_attachment(self, attachment: str) -> bool:
        with self._changes:
            endpoint = self._store.find(attachment)
            if endpoint is None:
                return False
            self._forget(endpoint)
        self._datapath.removed(endpoint)
        self._cluster.remove(endpoint)
        LOG.info("Delete endpoint", endpointID=endpoint.id, containerID=attachment[:10])
        return True


def _link_mode(name: str) -> str | None:
    found = podlinks.find(name)
    return found.mode if found else None


def main(_argv: list[str], environment: Mapping[str, str]) -> int:
    settings = Settings.parse(environment)
    try:
        Agent(settings, agentconfig.read(settings.config_dir)).run()
    except Refused as words:
        LOG.fatal(str(words), subsys="daemon")
        return REFUSED_EXIT_CODE
    except BadConfig as words:
        LOG.fatal(f"unable to run agent: failed to start: {words}", subsys="daemon")
        return REFUSED_EXIT_CODE
    return 0
