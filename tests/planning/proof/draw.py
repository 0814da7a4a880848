"""Random clusters that a scheduler and a drain find hard, as Kubernetes objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.planning.proof.reality import BROKEN

Obj = dict[str, Any]
HOST, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
NAMESPACE = "shop"
_DEDICATED = {"key": "dedicated", "value": "db", "effect": "NoSchedule"}
_SOFT = {"key": "crowded", "effect": "PreferNoSchedule"}
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


@dataclass(frozen=True)
class Drawn:
    """A cluster, in the order its objects are made, and how it is to be taken through."""

    objects: tuple[Obj, ...]
    cordoned: tuple[str, ...]
    """Nodes cordoned by somebody once their pods are there."""
    max_unavailable: int
    canary: int
    soft_taint: bool


@st.composite
def clusters(draw: st.DrawFn) -> Drawn:
    """A few nodes, a few workloads with hard rules, budgets of all forms."""
    count = draw(st.integers(2, 6))
    roomy = draw(st.booleans())
    nodes = [draw(_node(number, roomy)) for number in range(count)]
    workloads = [draw(_workload(number, count, roomy)) for number in range(draw(st.integers(1, 4)))]
    budgets = [draw(_budget(number, workloads)) for number in range(draw(st.integers(0, 3)))]
    bare = [_bare(number) for number in range(draw(st.sampled_from((0, 0, 1))))]
    static = [_static(f"n{number}") for number in range(draw(st.sampled_from((0, 0, 1))))]
    volumes = [part for name, place in draw(_volumes(count)).items() for part in _volume(name, place)]
    cordoned = draw(st.sampled_from(((), (), (), ("n1",))))
    objects = [*nodes, *volumes, *bare, *static, *(made for made, _ in workloads), *budgets]
    return Drawn(
        tuple(objects), cordoned, draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.booleans())
    )  # fmt: skip


@st.composite
def _node(draw: st.DrawFn, number: int, roomy: bool) -> Obj:
    name = f"n{number}"
    labels = {HOST: name, ZONE: draw(st.sampled_from("ab"))}
    taints = draw(st.sampled_from(([], [], [], [_DEDICATED], [_SOFT])))
    cpu, pods = draw(st.sampled_from(("1", "2", "4"))), draw(st.sampled_from(("3", "6", "20")))
    if roomy:
        cpu, pods = "16", "60"
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": taints} if taints else {},
        "status": {
            "allocatable": {"cpu": cpu, "memory": "8Gi", "pods": pods},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


@st.composite
def _workload(draw: st.DrawFn, number: int, nodes: int, roomy: bool) -> tuple[Obj, int]:
    """A workload and its replicas."""
    app, replicas = f"w{number}", draw(st.integers(nodes, nodes + 4) if roomy else st.integers(1, min(6, nodes + 2)))
    kind = draw(st.sampled_from(("Deployment", "Deployment", "Deployment", "StatefulSet")))
    labels = {"app": app, "tier": draw(st.sampled_from(("front", "back")))}
    if draw(st.sampled_from((False, False, False, True))):
        labels[BROKEN] = str(draw(st.integers(1, replicas)))
    spec = draw(_pod_spec(app, labels["tier"], 1 if roomy else 2))
    body: Obj = {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": app}},
        "template": {"metadata": {"labels": labels}, "spec": spec},
    }
    metadata = {"name": app, "namespace": NAMESPACE}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": body}, replicas


@st.composite
def _pod_spec(draw: st.DrawFn, app: str, tier: str, most_rules: int) -> Obj:
    requests = draw(st.sampled_from(({}, {"cpu": "500m"}, {"cpu": "900m"}, {"cpu": "100m", "memory": "3Gi"})))
    container: Obj = {"name": "c", "image": "x:1", "resources": {"requests": requests}}
    spec: Obj = {"containers": [container]}
    for rule in draw(st.lists(st.sampled_from(sorted(_RULES)), max_size=most_rules, unique=True)):
        _RULES[rule](spec, app, tier)
    return spec


def _affinity(spec: Obj, sort: str, key: str, labels: Obj) -> None:
    term = {"topologyKey": key, "labelSelector": {"matchLabels": labels}}
    spec.setdefault("affinity", {}).setdefault(sort, {}).setdefault(_REQUIRED, []).append(term)


def _spread(spec: Obj, app: str, key: str, **more: Any) -> None:
    constraint = {
        "maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": app}}, **more,
    }  # fmt: skip
    spec.setdefault("topologySpreadConstraints", []).append(constraint)


def _node_affinity(spec: Obj, key: str, operator: str, values: list[str]) -> None:
    term = {"matchExpressions": [{"key": key, "operator": operator, "values": values}]}
    spec.setdefault("affinity", {})["nodeAffinity"] = {_REQUIRED: {"nodeSelectorTerms": [term]}}


def _port(spec: Obj, app: str, tier: str) -> None:
    del app, tier
    spec["containers"][0]["ports"] = [{"containerPort": 80, "hostPort": 8080}]


def _claim(name: str) -> Any:
    def add(spec: Obj, app: str, tier: str) -> None:
        del app, tier
        spec["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": name}}]

    return add


_RULES: dict[str, Any] = {
    "alone-on-host": lambda s, app, _: _affinity(s, "podAntiAffinity", HOST, {"app": app}),
    "alone-in-zone": lambda s, app, _: _affinity(s, "podAntiAffinity", ZONE, {"app": app}),
    "away-from-others": lambda s, _, tier: _affinity(
        s, "podAntiAffinity", HOST, {"tier": "back" if tier == "front" else "front"}
    ),
    "near-own": lambda s, app, _: _affinity(s, "podAffinity", ZONE, {"app": app}),
    "near-first": lambda s, _, __: _affinity(s, "podAffinity", ZONE, {"app": "w0"}),
    "spread-hosts": lambda s, app, _: _spread(s, app, HOST),
    "spread-zones": lambda s, app, _: _spread(s, app, ZONE, minDomains=2),
    "spread-open-hosts": lambda s, app, _: _spread(s, app, HOST, nodeTaintsPolicy="Honor"),
    "spread-version": lambda s, app, _: _spread(s, app, HOST, matchLabelKeys=["tier"]),
    "zone-a": lambda s, _, __: s.update(nodeSelector={ZONE: "a"}),
    "not-first-node": lambda s, _, __: _node_affinity(s, HOST, "NotIn", ["n0"]),
    "tolerates-all": lambda s, _, __: s.update(tolerations=[{"operator": "Exists"}]),
    "tolerates-dedicated": lambda s, _, __: s.update(
        tolerations=[{"key": "dedicated", "operator": "Equal", "value": "db", "effect": "NoSchedule"}]
    ),
    "host-port": _port,
    "zonal-data": _claim("zonal"),
    "local-data": _claim("local"),
}


@st.composite
def _budget(draw: st.DrawFn, number: int, workloads: list[tuple[Obj, int]]) -> Obj:
    made, replicas = draw(st.sampled_from(workloads))
    app = made["metadata"]["name"]
    own: Obj = {"matchLabels": {"app": app}}
    among: Obj = {"matchExpressions": [{"key": "app", "operator": "In", "values": [app, "none"]}]}
    front: Obj = {"matchLabels": {"tier": "front"}}
    selector = draw(st.sampled_from((own, own, own, own, among, front, {})))
    forms: tuple[Obj, ...] = (
        {"maxUnavailable": 1}, {"maxUnavailable": 1}, {"maxUnavailable": 1}, {"maxUnavailable": 2},
        {"maxUnavailable": "30%"}, {"minAvailable": max(replicas - 1, 0)}, {"minAvailable": max(replicas - 1, 0)},
        {"minAvailable": "50%"}, {"maxUnavailable": 0}, {"minAvailable": replicas}, {"minAvailable": "100%"},
    )  # fmt: skip
    form = draw(st.sampled_from(forms))
    policy: Obj = draw(st.sampled_from(({}, {}, {"unhealthyPodEvictionPolicy": "AlwaysAllow"})))
    metadata = {"name": f"b{number}", "namespace": NAMESPACE}
    spec = {"selector": selector, **form, **policy}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": spec}


def _bare(number: int) -> Obj:
    metadata = {"name": f"bare-{number}", "namespace": NAMESPACE, "labels": {"app": "bare", "tier": "front"}}
    spec = {"containers": [{"name": "c", "image": "x"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _static(node: str) -> Obj:
    mirror = {"kubernetes.io/config.mirror": "x", "kubernetes.io/config.source": "file"}
    metadata = {"name": f"static-{node}", "namespace": "kube-system", "annotations": mirror}
    container = {"name": "c", "image": "x", "resources": {"requests": {"cpu": "100m"}}}
    spec: Obj = {"nodeName": node, "hostNetwork": True, "containers": [container]}
    spec["tolerations"] = [{"operator": "Exists"}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@st.composite
def _volumes(draw: st.DrawFn, nodes: int) -> dict[str, tuple[str, str]]:
    """Where two volumes can be reached: a label and its value."""
    local = draw(st.integers(0, nodes - 1))
    return {"zonal": (ZONE, draw(st.sampled_from("ab"))), "local": (HOST, f"n{local}")}


def _volume(name: str, place: tuple[str, str]) -> list[Obj]:
    key, value = place
    term = {"matchExpressions": [{"key": key, "operator": "In", "values": [value]}]}
    asked = {"accessModes": ["ReadWriteMany"], "storageClassName": "", "capacity": {"storage": "1Gi"}}
    kind: Obj = {"local": {"path": "/data"}} if key == HOST else {"nfs": {"server": "nfs.invalid", "path": "/"}}
    volume = {
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"pv-{name}"},
        "spec": {**asked, **kind, "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}}},
    }  # fmt: skip
    claim = {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "accessModes": ["ReadWriteMany"], "storageClassName": "", "volumeName": f"pv-{name}",
            "resources": {"requests": {"storage": "1Gi"}},
        },
        "status": {"phase": "Bound"},
    }  # fmt: skip
    return [volume, claim]
