"""What the agent keeps in the cluster: CiliumNode, CiliumEndpoints, and the routes to the other nodes' pods."""

import contextlib
import queue
import threading
from pathlib import Path
from urllib.parse import quote

import podlinks
from agentshapes import AgentFacts
from endpointstore import Endpoint
from kubeapi import Api, ApiError, ApiUnreachable, Change, Json, Watch
from logline import Log

_NODES = "/apis/cilium.io/v2/ciliumnodes"
_RETRY_SECONDS = 5.0
# The Node's labels that a CiliumNode carries as well are all of them.
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def endpoint_object(endpoint: Endpoint, node_address: str) -> Json:
    owner = {"apiVersion": "v1", "kind": "Pod", "name": endpoint.pod, "uid": endpoint.uid}
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumEndpoint",
        "metadata": {
            "name": endpoint.pod,
            "namespace": endpoint.namespace,
            "labels": endpoint.labels,
            "ownerReferences": [owner],
        },
        "status": {
            "encryption": {},
            "external-identifiers": {"cni-attachment-id": endpoint.attachment},
            "id": endpoint.id,
            "identity": {"id": endpoint.identity, "labels": endpoint.identity_labels},
            "networking": {"addressing": [{"ipv4": endpoint.address}], "node": node_address},
            "service-account": endpoint.service_account,
            "state": "ready",
        },
    }


def node_object(facts: AgentFacts, node: Json) -> Json:
    owner = {"apiVersion": "v1", "kind": "Node", "name": facts.node, "uid": node["metadata"].get("uid", "")}
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNode",
        "metadata": {
            "name": facts.node,
            "labels": node["metadata"].get("labels") or {},
            "ownerReferences": [owner],
        },
        "spec": {
            "addresses": [
                {"ip": facts.address, "type": "InternalIP"},
                {"ip": facts.router, "type": "CiliumInternalIP"},
            ],
            "alibaba-cloud": {},
            "azure": {},
            "bootid": _BOOT_ID.read_text().strip(),
            "encryption": {},
            "eni": {},
            "health": {"ipv4": facts.health_address},
            "ingress": {},
            "ipam": {"podCIDRs": [facts.pod_cidr], "pools": {}},
        },
    }


class ClusterSync:
    """Writes in the background, in order, again until the API server took them."""

    def __init__(self, api: Api, facts: AgentFacts, log: Log, stop: threading.Event) -> None:
        self._api = api
        self._facts = facts
        self._log = log
        self._stop = stop
        self._work: queue.Queue[tuple[str, Endpoint] | None] = queue.Queue()
        self._routes: dict[str, tuple[str, str]] = {}

    def start(self) -> None:
        threading.Thread(target=self._write, name="sync-to-k8s", daemon=True).start()
        threading.Thread(target=self._follow_nodes, name="ciliumnodes", daemon=True).start()

    def put(self, endpoint: Endpoint) -> None:
        self._work.put(("put", endpoint))

    def remove(self, endpoint: Endpoint) -> None:
        self._work.put(("remove", endpoint))

    def clean_stale(self, local: list[Endpoint]) -> None:
        """Delete this node's CiliumEndpoints that no local endpoint stands behind."""
        kept = {(each.namespace, each.pod): each.id for each in local}
        for item in self._api.get("/apis/cilium.io/v2/ciliumendpoints").get("items") or []:
            status, meta = item.get("status") or {}, item["metadata"]
            ours = (status.get("networking") or {}).get("node") == self._facts.address
            if ours and kept.get((meta["namespace"], meta["name"])) != status.get("id"):
                self._delete(meta["namespace"], meta["name"])

    def ensure_node(self) -> None:
        """Create our CiliumNode, or bring its spec up to date."""
        node = self._api.get(f"/api/v1/nodes/{quote(self._facts.node)}")
        wanted = node_object(self._facts, node)
        try:
            self._api.create(_NODES, wanted)
        except ApiError as error:
            if error.status != 409:
                raise
            self._api.patch(f"{_NODES}/{quote(self._facts.node)}", wanted)

    def _write(self) -> None:
        while (work := self._work.get()) is not None:
            act, endpoint = work
            while not self._stop.is_set():
                try:
                    self._put_now(endpoint) if act == "put" else self._remove_now(endpoint)
                    break
                except ApiError as error:
                    self._log.warning("Unable to sync CiliumEndpoint", error=error, endpointID=endpoint.id)
                    if not error.passing:
                        # A namespace on its way out, for one: trying again would not help.
                        break
                    self._stop.wait(_RETRY_SECONDS)
                except ApiUnreachable:
                    self._stop.wait(_RETRY_SECONDS)

    def _put_now(self, endpoint: Endpoint) -> None:
        folder = f"/apis/cilium.io/v2/namespaces/{quote(endpoint.namespace)}/ciliumendpoints"
        wanted = endpoint_object(endpoint, self._facts.address)
        try:
            self._api.create(folder, wanted)
        except ApiError as error:
            if error.status != 409:
                raise
            # Left by an earlier pod or boot of this name.
            self._delete(endpoint.namespace, endpoint.pod)
            self._api.create(folder, wanted)

    def _remove_now(self, endpoint: Endpoint) -> None:
        path = f"/apis/cilium.io/v2/namespaces/{quote(endpoint.namespace)}/ciliumendpoints/{quote(endpoint.pod)}"
        held = self._api.find(path)
        if held and (held.get("status") or {}).get("id") == endpoint.id:
            self._delete(endpoint.namespace, endpoint.pod)

    def _delete(self, namespace: str, name: str) -> None:
        with contextlib.suppress(ApiError):
            self._api.delete(f"/apis/cilium.io/v2/namespaces/{quote(namespace)}/ciliumendpoints/{quote(name)}")

    def _follow_nodes(self) -> None:
        for change in Watch(self._api, _NODES, self._stop).changes():
            self._apply(change)

    def _apply(self, change: Change) -> None:
        if change.kind == "SYNC":
            present = {item["metadata"]["name"] for item in change.objects}
            for name in self._routes.keys() - present:
                self._drop_route(name)
        for item in change.objects:
            if change.kind == "DELETED":
                self._drop_route(item["metadata"]["name"])
            else:
                self._route_to(item)

    def _route_to(self, node: Json) -> None:
        name, spec = node["metadata"]["name"], node.get("spec") or {}
        via = next((each["ip"] for each in spec.get("addresses") or [] if each.get("type") == "InternalIP"), "")
        cidrs = (spec.get("ipam") or {}).get("podCIDRs") or []
        if name == self._facts.node or not via or not cidrs or self._routes.get(name) == (cidrs[0], via):
            return
        try:
            podlinks.ensure_route(cidrs[0], via)
        except podlinks.LinkError as error:
            self._log.warning("Unable to install direct node route", nodeName=name, error=error)
            return
        self._routes[name] = (cidrs[0], via)
        self._log.info("Node updated", module="agent.controlplane.node-manager", clusterName="default", nodeName=name)

    def _drop_route(self, name: str) -> None:
        held = self._routes.pop(name, None)
        if held:
            podlinks.remove_route(held[0])
