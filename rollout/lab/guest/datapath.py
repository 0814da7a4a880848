"""The node's datapath as the agent keeps it: programs on links, service addresses, network policy, faults.

One thread brings the kernel in line whenever the cluster's objects or the flags of faults change. What it loads stays
when the agent ends.
"""

import json
import subprocess
import threading
import time
from dataclasses import dataclass

import labpaths
import linkfaults
import linkprogram
import packetfilter
import podlinks
from clusterview import ClusterView
from endpointstore import Endpoint, EndpointStore
from kubeapi import Api, Json
from logline import Log
from packetfilter import Peer

_LOOK_SECONDS = 0.3
# A change seldom comes alone: those of one moment are loaded together.
_GATHER_SECONDS = 0.03
_SYNC_SECONDS = 15.0
_DNS = frozenset({"kube-system/kube-dns"})
# The real agent counts every pod's IPv6 router solicitations where it runs without IPv6.
_QUIET_UNSUPPORTED, _UNSUPPORTED_PER_SECOND = 2, 5


@dataclass(frozen=True)
class DatapathSettings:
    mode: str
    configured_mode: str
    device: str


class Datapath:
    def __init__(self, api: Api, store: EndpointStore, settings: DatapathSettings, log: Log, stop: threading.Event):
        self._store = store
        self._settings = settings
        self._log = log
        self._stop = stop
        self._changed = threading.Event()
        self._lock = threading.Lock()
        self._faults: frozenset[str] = frozenset()
        self._links: dict[int, frozenset[str]] = {}
        self._loaded: dict[str, str] = {}
        self._view = ClusterView(api, stop, self._changed.set)

    def start(self) -> None:
        """Follow the cluster, make everything as it is wanted, and keep it so."""
        self._view.start()
        if not self._view.wait(_SYNC_SECONDS):
            self._log.warning("Timed out waiting for the cluster's objects; the datapath follows when they come")
        self.converge()
        threading.Thread(target=self._keep, name="datapath", daemon=True).start()

    def add(self, endpoint: Endpoint) -> None:
        """A new endpoint, already in the store: guarded and programmed when this returns."""
        with self._lock:
            self._make_link(endpoint, new=True)
            self._load_rules()

    def knows(self, endpoint: Endpoint) -> bool:
        """Whether the endpoint has its programs, as far as they are wanted."""
        return endpoint.id in self._links

    def removed(self, endpoint: Endpoint) -> None:
        """An endpoint that is no longer in the store."""
        with self._lock:
            self._links.pop(endpoint.id, None)
        self._changed.set()

    def converge(self) -> None:
        """Make links, host programs and packet filter as the cluster and the faults want them."""
        with self._lock:
            self._faults = linkfaults.active(labpaths.faults(), self._settings.configured_mode)
            for endpoint in self._store.all():
                self._make_link(endpoint)
            self._make_host_programs()
            linkfaults.play_leftover(linkfaults.LEFTOVER_VETH in self._faults)
            self._load_rules()

    def metrics(self) -> list[Json]:
        """GET /v1/metrics: the counters of drops, by reason and direction."""
        quiet = _QUIET_UNSUPPORTED + self._unsupported()
        return [_drops("Unsupported L3 protocol", "EGRESS", quiet), _drops("Policy denied", "INGRESS", _denied())]

    def _unsupported(self) -> int:
        flag = labpaths.faults() / linkfaults.UNSUPPORTED_L3
        if linkfaults.UNSUPPORTED_L3 not in self._faults or not flag.exists():
            return 0
        return int((time.time() - flag.stat().st_mtime) * _UNSUPPORTED_PER_SECOND)

    def _keep(self) -> None:
        while not self._stop.is_set():
            woken = self._changed.wait(_LOOK_SECONDS)
            if woken:
                self._stop.wait(_GATHER_SECONDS)
                self._changed.clear()
            if woken or linkfaults.active(labpaths.faults(), self._settings.configured_mode) != self._faults:
                try:
                    self.converge()
                except (OSError, podlinks.LinkError) as error:
                    self._log.warning("Unable to update the datapath", error=error)

    def _make_link(self, endpoint: Endpoint, new: bool = False) -> None:
        """Programs and faults of one pod's link, if they are not there yet."""
        now = self._faults
        # A link of an earlier agent may carry any fault.
        before = self._links.get(endpoint.id, frozenset() if new else linkfaults.ON_LINKS)
        if self._links.get(endpoint.id) == now:
            return
        found = podlinks.find(endpoint.link)
        if found is None:
            return
        folder = labpaths.pinned_links(endpoint.id)
        if linkfaults.PROGRAM_DETACHED in now:
            linkprogram.detach(folder)
        else:
            linkprogram.attach_all(found.index, linkprogram.pod_programs(found.mode), folder)
        linkfaults.apply_to_link(endpoint.link, found.index, endpoint.id, before, now)
        self._links[endpoint.id] = now

    def _make_host_programs(self) -> None:
        places = ((self._settings.device, linkprogram.DEVICE_PROGRAMS), ("cilium_host", linkprogram.HOST_PROGRAMS))
        for name, programs in places:
            folder, found = labpaths.pinned_device(name), podlinks.find(name)
            if linkfaults.HOST_PROGRAMS_MISSING in self._faults:
                linkprogram.detach(folder)
            elif found is not None:
                linkprogram.attach_all(found.index, programs, folder)

    # The packet filter.

    def _load_rules(self) -> None:
        self._load("faults", linkfaults.filter_rules(self._faults))
        unserved = _DNS if linkfaults.DNS_DEAD in self._faults else frozenset()
        services, slices = self._view.objects("services"), self._view.objects("slices")
        self._load("services", packetfilter.service_rules(services, slices, unserved))
        self._load("policy", self._policy())

    def _policy(self) -> str:
        policies = [] if linkfaults.POLICY_OPEN in self._faults else self._view.objects("policies")
        namespaces = {
            each["metadata"]["name"]: each["metadata"].get("labels") or {} for each in self._view.objects("namespaces")
        }
        local = [Peer(each.address, each.namespace, each.labels) for each in self._store.all()]
        remote = [peer for each in self._view.objects("endpoints") if (peer := _peer(each))]
        return packetfilter.policy_rules(policies, namespaces, local, [*local, *remote])

    def _load(self, name: str, text: str) -> None:
        if self._loaded.get(name) == text:
            return
        try:
            packetfilter.load(text)
        except OSError as error:
            self._log.warning("Unable to load the packet filter", rules=name, error=error)
        self._loaded[name] = text


def _peer(endpoint: Json) -> Peer | None:
    meta = endpoint["metadata"]
    addressing = ((endpoint.get("status") or {}).get("networking") or {}).get("addressing") or [{}]
    address = addressing[0].get("ipv4")
    return Peer(address, meta.get("namespace", ""), meta.get("labels") or {}) if address else None


def _drops(reason: str, direction: str, count: int) -> Json:
    labels = {"direction": direction, "reason": reason}
    return {"name": "cilium_drop_count_total", "value": float(count), "labels": labels}


def _denied() -> int:
    """Packets that a policy let not pass."""
    words = ["nft", "-j", "list", "counter", "ip", "lab_policy", packetfilter.DENIED]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        listed = json.loads(done.stdout)["nftables"]
    except (OSError, subprocess.CalledProcessError, ValueError):
        return 0
    return sum(int(each["counter"]["packets"]) for each in listed if "counter" in each)
