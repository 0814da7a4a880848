"""The Node object and its Lease, as a kubelet keeps them."""

import os
import platform
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import labpaths
from kubeapi import Api, ApiError, ApiUnreachable, Json, attempt
from logline import timestamp
from nodeevents import EventWriter
from podstatus import now

_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_RENEW_SECONDS, _LEASE_SECONDS = 10.0, 40
_STATUS_EVERY = 30  # renewals
KUBELET_VERSION = "v1.36.2"
_NO_NETWORK = (
    "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
    "message:Network plugin returns error: cni plugin not initialized"
)
_PRESSURES = (
    ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
)


@dataclass(frozen=True)
class NodeSettings:
    """/etc/lab/node.json."""

    name: str
    address: str
    pod_cidr: str
    api: str
    time_scale: float
    labels: dict[str, str]
    pods: int

    @classmethod
    def parse(cls, held: dict[str, Any]) -> "NodeSettings":
        labels = {str(key): str(value) for key, value in (held.get("labels") or {}).items()}
        if held.get("zone"):
            labels.setdefault("topology.kubernetes.io/zone", str(held["zone"]))
        return cls(
            name=held["name"],
            address=str(held["address"]).partition("/")[0],
            pod_cidr=held["pod_cidr"],
            api=held.get("api") or "https://192.168.77.1:6443",
            time_scale=float(held.get("time_scale", 1.0)),
            labels=labels,
            pods=int(held.get("pods", 110)),
        )


def own_labels(name: str) -> dict[str, str]:
    labels = {"kubernetes.io/hostname": name}
    for prefix in ("kubernetes.io", "beta.kubernetes.io"):
        labels |= {f"{prefix}/arch": "amd64", f"{prefix}/os": "linux"}
    return labels


def node_info() -> Json:
    return {
        "architecture": "amd64",
        "bootID": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "containerRuntimeVersion": "lab://1",
        "kernelVersion": platform.release(),
        "kubeProxyVersion": "",
        "kubeletVersion": KUBELET_VERSION,
        "machineID": "",
        "operatingSystem": "linux",
        "osImage": _os_image(),
        "systemUUID": "",
    }


def _os_image() -> str:
    try:
        lines = Path("/etc/os-release").read_text().splitlines()
    except OSError:
        return "Linux"
    held = dict(line.split("=", 1) for line in lines if "=" in line)
    return held.get("PRETTY_NAME", "Linux").strip('"')


def _memory_kib() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024


def merge_conditions(previous: list[Json], wanted: list[Json]) -> list[Json]:
    """Ours by type, with the time of the last change kept; the others as they are."""
    earlier = {each["type"]: each for each in previous}
    ours = {each["type"] for each in wanted}
    merged = [each for each in previous if each["type"] not in ours]
    for each in wanted:
        old = earlier.get(each["type"], {})
        since = old.get("lastTransitionTime") if old.get("status") == each["status"] else now()
        merged.append(each | {"lastHeartbeatTime": now(), "lastTransitionTime": since})
    return merged


class NodeObject:
    def __init__(self, api: Api, settings: NodeSettings, events: EventWriter, stop: threading.Event) -> None:
        self._api = api
        self._settings = settings
        self._events = events
        self._stop = stop
        self._refresh = threading.Event()
        self._network_seen = False
        self._path = f"/api/v1/nodes/{quote(settings.name)}"

    def register(self) -> None:
        """Create the Node, or take over the one there is; waits for the API server as long as it takes."""
        while not self._stop.is_set():
            try:
                self._create()
                self._write_status()
                self._renew()
                return
            except (ApiError, ApiUnreachable) as error:
                self._events.report(f"cannot register node: {error}")
                self._stop.wait(2.0)

    def keep(self) -> None:
        """Renew the lease for ever; the status now and then, and at once after `network_changed`."""
        rounds = 0
        while not self._stop.is_set():
            changed = self._refresh.wait(_RENEW_SECONDS)
            self._refresh.clear()
            rounds += 1
            if changed or rounds % _STATUS_EVERY == 0:
                attempt(self._write_status, self._events.report)
            attempt(self._renew, self._events.report)

    def network_changed(self) -> None:
        """An agent became ready: the node's network may be configured now."""
        if not self._network_seen:
            self._refresh.set()

    def _create(self) -> None:
        settings = self._settings
        body: Json = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": settings.name,
                "labels": own_labels(settings.name) | settings.labels,
                "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
            },
            "spec": {"podCIDR": settings.pod_cidr, "podCIDRs": [settings.pod_cidr]},
        }
        try:
            self._api.create("/api/v1/nodes", body)
        except ApiError as error:
            if error.status != 409:
                raise
            # Only what is the kubelet's: others' labels and taints, and what they changed in ours, stay.
            self._api.patch(self._path, {"metadata": {"labels": own_labels(settings.name)}})
            if not self._api.get(self._path).get("spec", {}).get("podCIDR"):
                self._api.patch(self._path, {"spec": body["spec"]})

    def _write_status(self) -> None:
        held = self._api.get(self._path).get("status") or {}
        conditions = held.get("conditions") or []
        # A real node's CNI configuration outlives a reboot; this guest's disk does not, but the Node remembers.
        known = any(each["type"] == "NetworkUnavailable" and each["status"] == "False" for each in conditions)
        self._network_seen = known or labpaths.cni_config().exists()
        self._api.patch(f"{self._path}/status", {"status": self._status(conditions)})

    def _status(self, conditions: list[Json]) -> Json:
        capacity = {"cpu": str(os.cpu_count() or 1), "hugepages-1Gi": "0", "hugepages-2Mi": "0"}
        capacity |= {"ephemeral-storage": "1Gi", "memory": f"{_memory_kib()}Ki", "pods": str(self._settings.pods)}
        return {
            "addresses": [
                {"address": self._settings.address, "type": "InternalIP"},
                {"address": self._settings.name, "type": "Hostname"},
            ],
            "capacity": capacity,
            "allocatable": capacity,
            "conditions": merge_conditions(conditions, self._conditions()),
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": node_info(),
        }

    def _conditions(self) -> list[Json]:
        wanted = [{"type": kind, "status": "False", "reason": reason, "message": m} for kind, reason, m in _PRESSURES]
        if self._network_seen:
            up = {"type": "NetworkUnavailable", "status": "False", "reason": "CiliumIsUp"}
            wanted.insert(0, up | {"message": "Cilium is running on this node"})
            ready = {"status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"}
        else:
            ready = {"status": "False", "reason": "KubeletNotReady", "message": _NO_NETWORK}
        return [*wanted, {"type": "Ready"} | ready]

    def _renew(self) -> None:
        moment = timestamp()[:26].rstrip("Z") + "Z"
        spec = {"holderIdentity": self._settings.name, "leaseDurationSeconds": _LEASE_SECONDS, "renewTime": moment}
        try:
            self._api.patch(f"{_LEASES}/{quote(self._settings.name)}", {"spec": spec})
        except ApiError as error:
            if error.status != 404:
                raise
            meta = {"name": self._settings.name, "namespace": "kube-node-lease"}
            body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}
            self._api.create(_LEASES, body)
