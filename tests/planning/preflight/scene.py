"""A recorded cluster, to be changed in one place at a time: its API objects, what its nodes answer, the policy.

Objects are those of `tests/adapters/kubernetes/data` and pass through the adapter's own reading; what the agent answers
is in `tests/onnode/data` and passes through the probe's own reduction. Not recorded, and written by hand after the API
reference: the ConfigMap, the ReplicaSet, the operator's Deployment, and what the probes `host` and `capability` say.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from rollout.adapters.kubernetes.collect import collect_snapshot
from rollout.adapters.kubernetes.connection import Connection
from rollout.adapters.kubernetes.kinds import OTHER_KINDS
from rollout.domain.inventory import Inventory, Observation
from rollout.domain.node import DatapathMode
from rollout.domain.plan import Finding
from rollout.domain.policy import Policy
from rollout.onnode import agent, links, rtnetlink
from rollout.planning.preflight import judge_preflight
from tests.builders import NOW
from tests.fakes.observer import host_document
from tests.onnode.test_links import message
from tests.support.fleet.shelf import Rows, Shelf, ShelfConnection

Doc = dict[str, Any]
Change = Callable[["Scene"], None]

_TESTS = Path(__file__).parents[2]
_CONFIG = {
    "datapath-mode": "veth", "kube-proxy-replacement": "true", "enable-bpf-masquerade": "true", "ipam": "kubernetes",
    "routing-mode": "native", "set-cilium-node-taints": "true",
}  # fmt: skip
IMAGE = "quay.io/cilium/cilium:v1.21.0"
REPLICA_SET = "web-56fdd75fb8"


def _recorded(name: str) -> Any:
    return json.loads((_TESTS / "adapters" / "kubernetes" / "data" / f"{name}.json").read_text())


def _answers() -> Doc:
    found: Doc = json.loads((_TESTS / "onnode" / "data" / "veth.json").read_text())
    return found


def _workload(kind: str, namespace: str, name: str, replicas: int) -> Doc:
    owner = next(p for p in _recorded("pods")["items"] if p["metadata"]["name"].startswith(REPLICA_SET))
    uid = owner["metadata"]["ownerReferences"][0]["uid"] if kind == "ReplicaSet" else f"uid-{name}"
    return {
        "metadata": {"namespace": namespace, "name": name, "uid": uid},
        "spec": {"replicas": replicas},
        "status": {"readyReplicas": replicas},
    }


@dataclass
class Scene:
    """Both recorded nodes are judged; `n1` has the pods, and is the one whose answers are changed."""

    nodes: list[Doc] = field(default_factory=lambda: _recorded("nodes")["items"])
    pods: list[Doc] = field(default_factory=lambda: _recorded("pods")["items"])
    budgets: list[Doc] = field(default_factory=lambda: _recorded("pdbs")["items"])
    daemonset: Doc = field(default_factory=lambda: _recorded("daemonset-cilium"))
    daemonsets: list[Doc] = field(default_factory=list)
    config: Doc = field(default_factory=lambda: {"metadata": {"resourceVersion": "7"}, "data": dict(_CONFIG)})
    node_configs: list[Doc] = field(default_factory=list)
    node_config_versions: tuple[str, ...] = ("v2",)
    namespaces: list[Doc] = field(default_factory=lambda: [{"metadata": {"name": "default"}}])
    replica_sets: list[Doc] = field(default_factory=lambda: [_workload("ReplicaSet", "default", REPLICA_SET, 4)])
    deployments: list[Doc] = field(
        default_factory=lambda: [_workload("Deployment", "kube-system", "cilium-operator", 1)]
    )
    claims: list[Doc] = field(default_factory=list)
    volumes: list[Doc] = field(default_factory=list)
    others: dict[str, list[Doc]] = field(default_factory=dict)
    """Objects of further kinds, by kind."""
    answers: Doc = field(default_factory=_answers)
    """What n1's agent answers, by resource."""
    agent_changes: Doc = field(default_factory=dict)
    """Over the reduced document of n1's agent."""
    host: Doc = field(default_factory=lambda: dict(host_document()))
    capability: Doc = field(
        default_factory=lambda: {
            "schema": 1, "modes": ["netkit", "netkit-l2"], "scrub": True, "mac": True, "headroom": False, "error": "",
        }
    )  # fmt: skip
    unseen: dict[str, str] = field(default_factory=dict)
    """Probes that n1 has no document of, with the reason."""
    unreadable: dict[str, str] = field(default_factory=dict)
    read: dict[str, Any] = field(default_factory=dict)
    """What was read in another way than the objects tell, by field of the snapshot."""
    policy: Policy = field(default_factory=lambda: Policy(target=DatapathMode.NETKIT))

    def __post_init__(self) -> None:
        self.image(IMAGE)
        for one in self.nodes:
            one["status"]["conditions"] = [c for c in one["status"]["conditions"] if c["type"] == "Ready"]

    # -- single changes ----------------------------------------------------------------------------------------------

    def image(self, image: str) -> None:
        """The agent's image."""
        for one in self.daemonset["spec"]["template"]["spec"]["containers"]:
            one["image"] = image

    def node(self) -> Doc:
        """The Node n1."""
        return next(one for one in self.nodes if one["metadata"]["name"] == "n1")

    def pod(self) -> Doc:
        """One of the web pods on n1."""
        return next(p for p in self.pods if p["metadata"]["name"].startswith(REPLICA_SET))

    def status(self, path: str, value: Any) -> None:
        """Set what n1's agent answers to GET /v1/healthz, at a path with slashes."""
        _set(self.answers["/v1/healthz"], path, value)

    def setting(self, name: str, value: Any) -> None:
        """Set an effective setting of n1's agent, wherever it keeps it; None takes it away."""
        effective = self.answers["/v1/config"]["status"]["daemonConfigurationMap"]
        nested = effective.get("UnsafeDaemonConfigOption") or {}
        place = nested if name in nested else effective
        if value is None:
            place.pop(name, None)
        else:
            place[name] = value

    def daemon(self, name: str, image: str = "", containers: tuple[str, ...] = ("main",), **spec: Any) -> None:
        """Another DaemonSet with a pod on n1: the recorded agent's, with another name."""
        made = copy.deepcopy(self.daemonset)
        made["metadata"].update(name=name, uid=f"uid-{name}", namespace="kube-system", annotations={}, labels={})
        inner = made["spec"]["template"]["spec"]
        inner["containers"] = [{"name": c, "image": image or f"example.com/{name}:v1"} for c in containers]
        inner["initContainers"] = []
        inner.update(spec)
        self.daemonsets.append(made)
        pod = copy.deepcopy(next(p for p in self.pods if p["spec"].get("hostNetwork")))
        pod["metadata"].update(name=f"{name}-x", uid=f"uid-{name}-x")
        pod["metadata"]["ownerReferences"][0].update(name=name, uid=f"uid-{name}")
        pod["spec"].update(nodeName="n1", containers=copy.deepcopy(inner["containers"]), initContainers=[], **spec)
        self.pods.append(pod)

    def node_config(self, name: str, defaults: dict[str, str], labels: dict[str, str] | None = None) -> None:
        """A CiliumNodeConfig for nodes with `labels`."""
        self.node_configs.append(
            {
                "metadata": {"namespace": "kube-system", "name": name, "uid": f"uid-{name}"},
                "spec": {"nodeSelector": {"matchLabels": labels or {}}, "defaults": defaults},
            }
        )

    def other(self, kind: str, name: str, namespace: str = "", **parts: Any) -> None:
        """An object of a further kind."""
        meta = {"name": name, "namespace": namespace, **parts.pop("metadata", {})}
        self.others.setdefault(kind, []).append({"metadata": meta, **parts})

    # -- judged ------------------------------------------------------------------------------------------------------

    def inventory(self) -> Inventory:
        """What collecting would give."""
        snapshot = collect_snapshot(cast(Connection, ShelfConnection(self._shelf())), None, NOW)
        snapshot = replace(snapshot, unreadable={**snapshot.unreadable, **self.unreadable}, **self.read)
        well = _seen("n2", Scene._documents(Scene()), {})
        return Inventory(snapshot, {"n1": _seen("n1", self._documents(), self.unseen), "n2": well})

    def findings(self) -> tuple[Finding, ...]:
        """The catalogue judged on both nodes."""
        inventory = self.inventory()
        return judge_preflight(inventory, self.policy, inventory.cluster.nodes)

    def _documents(self) -> dict[str, Doc]:
        document: Doc = {"schema": 1, "agent": "up"}
        document.update(agent.reduce_endpoints(self.answers["/v1/endpoint"]))
        document.update(agent.reduce_config(self.answers["/v1/config"]))
        document.update(agent.reduce_status(self.answers["/v1/healthz"]))
        table = links.describe([rtnetlink.decode_link(message(link)) for link in self.answers["links"]])
        return {
            "agent": document | self.agent_changes,
            "links": {"schema": 1, "boot_id": "b", "kernel": "k", **table},
            "host": self.host,
            "capability": self.capability,
        }

    def _shelf(self) -> Shelf:
        lists = {
            "/api/v1/nodes": self.nodes,
            "/api/v1/pods": self.pods,
            "/api/v1/namespaces": self.namespaces,
            "/api/v1/persistentvolumeclaims": self.claims,
            "/api/v1/persistentvolumes": self.volumes,
            "/apis/apps/v1/daemonsets": [self.daemonset, *self.daemonsets],
            "/apis/apps/v1/namespaces/kube-system/daemonsets": [self.daemonset],
            "/apis/apps/v1/deployments": self.deployments,
            "/apis/apps/v1/replicasets": self.replica_sets,
            "/apis/apps/v1/statefulsets": [],
            "/api/v1/replicationcontrollers": [],
            "/apis/batch/v1/jobs": [],
            "/apis/policy/v1/poddisruptionbudgets": self.budgets,
            "/apis/cilium.io/v2/ciliumendpoints": [],
        }
        for version in self.node_config_versions:
            lists[f"/apis/cilium.io/{version}/namespaces/kube-system/ciliumnodeconfigs"] = self.node_configs
        resources = {f"cilium.io/{version}": ["ciliumnodeconfigs"] for version in self.node_config_versions}
        resources.setdefault("cilium.io/v2", [])
        for kind in OTHER_KINDS:
            if kind.name in self.others:
                place = f"{kind.group}/{kind.versions[0]}" if kind.group else kind.versions[0]
                resources.setdefault(place, []).append(kind.plural)
                lists[f"/{'apis' if kind.group else 'api'}/{place}/{kind.plural}"] = self.others[kind.name]
        single = {
            "/api/v1/namespaces/kube-system": _text({"metadata": {"name": "kube-system", "uid": "cluster-1"}}),
            "/api/v1/namespaces/kube-system/configmaps/cilium-config": _text(self.config),
            "/version": b'{"gitVersion":"v1.36.2"}',
            **_discovery(resources),
        }
        return Shelf({path: Rows.of([_text(one) for one in found]) for path, found in lists.items()}, single)


def _seen(name: str, documents: dict[str, Doc], unseen: dict[str, str]) -> dict[str, Observation]:
    found = {probe: Observation(name, probe, NOW, document) for probe, document in documents.items()}
    return found | {probe: Observation(name, probe, NOW, error=why) for probe, why in unseen.items()}


def _text(document: object) -> bytes:
    return json.dumps(document).encode()


def _set(document: Doc, path: str, value: Any) -> None:
    *way, last = path.split("/")
    for key in way:
        document = document.setdefault(key, {})
    document[last] = value


def _discovery(resources: dict[str, list[str]]) -> dict[str, bytes]:
    found, groups = {}, []
    for place, names in resources.items():
        rows = [{"name": name, "verbs": ["get", "list", "watch"]} for name in names]
        root = "apis" if "/" in place else "api"
        found[f"/{root}/{place}"] = _text({"kind": "APIResourceList", "groupVersion": place, "resources": rows})
    for group in sorted({place.partition("/")[0] for place in resources if "/" in place}):
        places = [place for place in resources if place.startswith(f"{group}/")]
        versions = [{"groupVersion": place, "version": place.partition("/")[2]} for place in places]
        groups.append({"name": group, "versions": versions, "preferredVersion": versions[0]})
        found[f"/apis/{group}"] = _text({"kind": "APIGroup", **groups[-1]})
    found["/apis"] = _text({"kind": "APIGroupList", "groups": groups})
    return found
