"""A whole made-up cluster: its lists for an API, and the inventory that the adapter's own decoders make of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TypeVar, cast

from rollout.adapters.kubernetes.collect import collect_snapshot
from rollout.adapters.kubernetes.connection import Connection
from rollout.domain.inventory import ClusterSnapshot, Inventory, Observation
from rollout.domain.node import Node
from tests.builders import NOW, capability_document, seen
from tests.support.fleet import documents, workloads
from tests.support.fleet.placement import DAEMONS, SENSOR, Placed, Placement, daemon_pods
from tests.support.fleet.shape import OLD_KERNEL, Shape, apps, machines, word
from tests.support.fleet.shelf import Rows, Shelf, ShelfConnection

GROUPS = {
    "apps/v1": ("deployments", "replicasets", "statefulsets", "daemonsets"),
    "batch/v1": ("jobs",),
    "policy/v1": ("poddisruptionbudgets",),
    "storage.k8s.io/v1": ("storageclasses",),
    "cilium.io/v2": ("ciliumnodeconfigs", "ciliumendpoints"),
}
CORE = ("namespaces", "nodes", "pods", "persistentvolumeclaims", "persistentvolumes", "services", "configmaps")

T = TypeVar("T")


def _text(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


class Fleet:
    """The cluster of a `Shape`. Everything is made on first use and is the same every time."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.machines = machines(shape)
        daemons = list(daemon_pods(self.machines))
        left = shape.pods - len(daemons) - shape.bare - shape.finished_jobs
        self.apps = apps(shape, left)
        placement = Placement(self.machines)
        self._placed = [placed for app in self.apps for placed in placement.place(app)]
        self._daemons = daemons
        budgets = sum(bool(app.budget) for app in self.apps)
        if left < 0 or budgets < shape.budgets:
            raise AssertionError(f"{shape.pods} pods are too few for {shape.budgets} budgets on {shape.nodes} nodes")

    # -- for an API --------------------------------------------------------------------------------------------------

    @cached_property
    def shelf(self) -> Shelf:
        """Every list and object that a snapshot is read from."""
        lists = self._lists()
        single = {
            "/api/v1/namespaces/kube-system": _text(workloads.namespace(0, "kube-system")),
            "/api/v1/namespaces/kube-system/configmaps/cilium-config": _text(workloads.agent_config()),
            "/version": b'{"gitVersion":"v1.36.2"}',
            **_discovery(),
        }
        return Shelf(lists, single)

    def _lists(self) -> dict[str, Rows]:
        deployments = [app for app in self.apps if app.kind == "Deployment"]
        stateful = [app for app in self.apps if app.kind == "StatefulSet"]
        daemons = [_text(workloads.daemon_set(name, self._desired(name))) for name in (*DAEMONS, SENSOR)]
        claims, volumes = self._volumes()
        budgeted = [app for app in self.apps if app.budget]
        names = sorted({app.namespace for app in self.apps} | {"kube-system", "default", "observability", "batch"})
        return {
            "/api/v1/nodes": _lazily(self.machines, documents.node),
            "/api/v1/pods": self._pods(),
            "/api/v1/namespaces": Rows.of([_text(workloads.namespace(i, name)) for i, name in enumerate(names)]),
            "/api/v1/persistentvolumeclaims": Rows.of(claims),
            "/api/v1/persistentvolumes": Rows.of(volumes),
            "/api/v1/services": Rows.of([]),
            "/apis/apps/v1/daemonsets": Rows.of(daemons),
            "/apis/apps/v1/namespaces/kube-system/daemonsets": Rows.of(daemons[:1]),
            "/apis/apps/v1/deployments": _lazily(deployments, workloads.deployment),
            "/apis/apps/v1/replicasets": _lazily(deployments, workloads.replica_set),
            "/apis/apps/v1/statefulsets": _lazily(stateful, workloads.stateful_set),
            "/apis/batch/v1/jobs": _lazily(range(self.shape.finished_jobs), workloads.job),
            "/apis/policy/v1/poddisruptionbudgets": _lazily(budgeted, workloads.budget),
            "/apis/storage.k8s.io/v1/storageclasses": Rows.of([_text(c) for c in workloads.storage_classes()]),
            "/apis/cilium.io/v2/namespaces/kube-system/ciliumnodeconfigs": Rows.of([]),
            "/apis/cilium.io/v2/ciliumendpoints": self._endpoints(),
        }

    def _desired(self, daemon: str) -> int:
        return sum(m.ingress for m in self.machines) if daemon == SENSOR else len(self.machines)

    def _volumes(self) -> tuple[list[bytes], list[bytes]]:
        bound = [p for p in self._placed if self.apps[p.app].trait in workloads.STORAGE]
        made = [
            workloads.volumes(self.apps[p.app], p.ordinal, self.machines[p.node], number)
            for number, p in enumerate(bound)
        ]
        return [_text(claim) for claim, _ in made], [_text(volume) for _, volume in made]

    # -- pods --------------------------------------------------------------------------------------------------------

    def _pods(self) -> Rows:
        texts: dict[tuple[int, str], tuple[list[str], list[str]]] = {}
        extra = self._extra_pods()
        order = self._daemons + self._placed

        def render(number: int) -> bytes:
            if number >= len(order):
                return extra[number - len(order)]
            placed = order[number]
            key = placed.app, placed.daemon
            if key not in texts:
                daemon, app = placed.daemon, self.apps[placed.app]
                texts[key] = documents.pod_text(documents.daemon_pod(daemon) if daemon else documents.app_pod(app))
            return self._fill(texts[key], number, self._name(placed), placed.node)

        return Rows(len(order) + len(extra), render)

    def _name(self, placed: Placed) -> str:
        if placed.daemon:
            return f"{placed.daemon}-{word(placed.ordinal, 5)}{placed.ordinal:x}"
        app = self.apps[placed.app]
        if app.kind == "StatefulSet":
            return f"{app.name}-{placed.ordinal}"
        return f"{documents.replica_set_name(app)}-{word(app.index * 37 + placed.ordinal, 5)}"

    def _fill(self, text: tuple[list[str], list[str]], number: int, name: str, node: int) -> bytes:
        machine = self.machines[node]
        values = {
            "NAME": name,
            "UID": documents.uid_of("Pod", number),
            "NODE": machine.name,
            "IP": f"100.{64 + (number >> 16)}.{(number >> 8) & 255}.{number & 255}",
            "HOSTIP": machine.ip,
        }
        pieces, marks = text
        out = [pieces[0]]
        for mark, piece in zip(marks, pieces[1:], strict=True):
            out += (values[mark], piece)
        return "".join(out).encode()

    def _extra_pods(self) -> list[bytes]:
        """Bare pods and those of finished Jobs, on nodes in the middle."""
        first, many = len(self._daemons) + len(self._placed), len(self.machines)
        bare = documents.pod_text(documents.bare_pod())
        made = [self._fill(bare, first + i, f"debug-{i}", (many // 2 + 7 * i) % many) for i in range(self.shape.bare)]
        for i in range(self.shape.finished_jobs):
            text = documents.pod_text(documents.job_pod(i))
            node = (many // 3 + 11 * i) % many
            made.append(self._fill(text, first + self.shape.bare + i, f"report-{29000000 + i}-{i:05}", node))
        return made

    def _endpoints(self) -> Rows:
        """One CiliumEndpoint for each pod on the pod network."""
        nodes = [p.node for p in (*self._daemons, *self._placed) if p.daemon != "cilium"]

        def render(number: int) -> bytes:
            ip = self.machines[nodes[number]].ip
            return b'{"metadata":{"name":"e%d"},"status":{"networking":{"node":"%s"}}}' % (number, ip.encode())

        return Rows(len(nodes), render)

    # -- as values ---------------------------------------------------------------------------------------------------

    def snapshot(self) -> ClusterSnapshot:
        """As the adapter reads it, without a socket."""
        return collect_snapshot(cast(Connection, ShelfConnection(self.shelf)), None, NOW)

    def inventory(self) -> Inventory:
        """The snapshot with what probes say of such nodes."""
        snapshot = self.snapshot()
        return Inventory(snapshot, observations(snapshot.nodes))


def observations(nodes: Iterable[Node]) -> dict[str, dict[str, Observation]]:
    """What probes say of sound nodes; those with an old kernel have no netkit."""
    found = {node.name: seen(node.name) for node in nodes}
    for node in nodes:
        if node.kernel == OLD_KERNEL:
            bare = Observation(node.name, "capability", NOW, capability_document(()))
            found[node.name]["capability"] = bare
    return found


def _lazily(things: Sequence[T], make: Callable[[T], documents.Doc]) -> Rows:
    """A list whose objects are made when a page is asked for."""
    return Rows(len(things), lambda number: _text(make(things[number])))


def _discovery() -> dict[str, bytes]:
    """What `/api`, `/apis` and their groups answer."""
    found = {f"/apis/{version}": _resources(version, names) for version, names in GROUPS.items()}
    found["/api/v1"] = _resources("v1", CORE)
    groups = []
    for version in GROUPS:
        name, number = version.split("/")
        one = {"groupVersion": version, "version": number}
        groups.append({"name": name, "versions": [one], "preferredVersion": one})
        found[f"/apis/{name}"] = _text({"kind": "APIGroup", **groups[-1]})
    found["/apis"] = _text({"kind": "APIGroupList", "groups": groups})
    return found


def _resources(version: str, names: Iterable[str]) -> bytes:
    rows = [{"name": name, "verbs": ["get", "list", "watch"]} for name in names]
    return _text({"kind": "APIResourceList", "groupVersion": version, "resources": rows})
