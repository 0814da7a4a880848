"""EndpointSlices and Endpoints of Services that have a selector."""

from rollout.lab.apiserver.objects import Obj, dig, key_of, labels_of, name_of, namespace_of
from rollout.lab.apiserver.selectors import selector_matches
from rollout.lab.apiserver.storage import Change
from rollout.lab.apiserver.store import Store
from rollout.lab.controllers.base import Controller, ControllerSettings, NamedKey, named_key
from rollout.lab.controllers.pod_index import PodIndex, is_finished, is_ready, node_of
from rollout.lab.controllers.replicas import owner_reference

_SLICES = "endpointslices.discovery.k8s.io"


class EndpointsController(Controller[NamedKey]):
    """Keeps one slice per service, named after it. A real cluster splits beyond 100 endpoints; a lab has fewer."""

    def __init__(self, store: Store, settings: ControllerSettings, pods: PodIndex) -> None:
        super().__init__(store, settings)
        self._pods = pods

    def subscribe(self) -> None:
        self.watch("services", lambda change: self.enqueue(named_key(change.new)))
        self.watch("pods", self._on_pod)

    def _on_pod(self, change: Change) -> None:
        for service in self.store.all("services", namespace_of(change.new)):
            wanted = service["spec"].get("selector")
            if wanted and any(_selects(wanted, pod) for pod in (change.old, change.new) if pod is not None):
                self.enqueue(named_key(service))

    def reconcile(self, key: NamedKey) -> None:
        service = self.store.find("services", key[1], key[0])
        if service is None or not service["spec"].get("selector"):
            return
        selector = service["spec"]["selector"]
        pods = [
            pod for pod in self._pods.in_namespace(key[0])
            if _selects(selector, pod) and dig(pod, "status", "podIP") and not is_finished(pod)
        ]  # fmt: skip
        pods.sort(key=key_of)
        self._write_slice(service, pods)
        self._write_endpoints(service, pods)

    def _write_slice(self, service: Obj, pods: list[Obj]) -> None:
        name = name_of(service)
        body: Obj = {
            "addressType": "IPv4",
            "endpoints": [_slice_endpoint(service, pod) for pod in pods],
            "ports": [_slice_port(port, pods) for port in service["spec"].get("ports") or ()],
        }
        metadata = {
            "name": f"{name}-lab",
            "namespace": namespace_of(service),
            "labels": {
                "kubernetes.io/service-name": name,
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            },
            "ownerReferences": [owner_reference(service)],
        }
        kind = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice"}
        self._put(_SLICES, {**kind, "metadata": metadata, **body}, body)

    def _write_endpoints(self, service: Obj, pods: list[Obj]) -> None:
        ready = [_address(pod) for pod in pods if _is_serving(service, pod) and not _is_going(pod)]
        waiting = [_address(pod) for pod in pods if not _is_serving(service, pod) and not _is_going(pod)]
        ports = [_slice_port(port, pods) for port in service["spec"].get("ports") or ()]
        subset: Obj = {"ports": ports}
        if ready:
            subset["addresses"] = ready
        if waiting:
            subset["notReadyAddresses"] = waiting
        body = {"subsets": [subset] if ready or waiting else []}
        metadata = {
            "name": name_of(service),
            "namespace": namespace_of(service),
            "ownerReferences": [owner_reference(service)],
        }
        self._put("endpoints", {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, **body}, body)

    def _put(self, resource_id: str, obj: Obj, body: Obj) -> None:
        present = self.store.find(resource_id, name_of(obj), namespace_of(obj))
        if present is None:
            self.store.create(obj)
        elif any(present.get(key) != value for key, value in body.items()):
            self.store.mutate(resource_id, name_of(obj), lambda old: old.update(body), namespace_of(obj))


def _selects(selector: dict[str, str], pod: Obj) -> bool:
    return selector_matches({"matchLabels": selector}, labels_of(pod))


def _is_going(pod: Obj) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))


def _is_serving(service: Obj, pod: Obj) -> bool:
    return is_ready(pod) or bool(service["spec"].get("publishNotReadyAddresses"))


def _target(pod: Obj) -> Obj:
    return {"kind": "Pod", "name": name_of(pod), "namespace": namespace_of(pod), "uid": pod["metadata"]["uid"]}


def _address(pod: Obj) -> Obj:
    return {"ip": pod["status"]["podIP"], "nodeName": node_of(pod), "targetRef": _target(pod)}


def _slice_endpoint(service: Obj, pod: Obj) -> Obj:
    serving, going = _is_serving(service, pod), _is_going(pod)
    return {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {"ready": serving and not going, "serving": serving, "terminating": going},
        "nodeName": node_of(pod),
        "targetRef": _target(pod),
    }


def _slice_port(port: Obj, pods: list[Obj]) -> Obj:
    target = port.get("targetPort", port["port"])
    if isinstance(target, str):
        containers = [c for pod in pods[:1] for c in pod["spec"]["containers"]]
        named = [p["containerPort"] for c in containers for p in c.get("ports") or () if p.get("name") == target]
        target = named[0] if named else port["port"]
    return {"name": port.get("name") or "", "port": target, "protocol": port.get("protocol", "TCP")}
