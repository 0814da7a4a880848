"""Whether a pod may run on a node: taints, selectors, affinity, spread. Pure functions over objects."""

from collections.abc import Iterable, Mapping
from typing import Any

from rollout.lab.apiserver.objects import Obj, dig, labels_of, name_of, namespace_of
from rollout.lab.apiserver.selectors import expression_requirements, selector_matches

_ALL_ADDRESSES = ("0.0.0.0", "::")
NO_SCHEDULE, NO_EXECUTE, PREFER_NO_SCHEDULE = "NoSchedule", "NoExecute", "PreferNoSchedule"
UNSCHEDULABLE_TAINT = {"key": "node.kubernetes.io/unschedulable", "effect": NO_SCHEDULE}


def tolerates(tolerations: Iterable[Obj], taint: Obj) -> bool:
    return any(toleration_matches(toleration, taint) for toleration in tolerations)


def toleration_matches(toleration: Obj, taint: Obj) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint.get("key"):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return (toleration.get("value") or "") == (taint.get("value") or "") and bool(toleration.get("key"))


def taints_of(node: Obj) -> list[Obj]:
    taints: list[Obj] = node["spec"].get("taints") or []
    return taints


def untolerated(pod_spec: Obj, taints: Iterable[Obj], effects: tuple[str, ...]) -> Obj | None:
    """The first taint of one of the effects that a pod does not tolerate."""
    tolerations = pod_spec.get("tolerations") or ()
    return next((t for t in taints if t.get("effect") in effects and not tolerates(tolerations, t)), None)


def scheduling_taints(node: Obj) -> list[Obj]:
    """Taints as the scheduler sees them: a cordon counts before its taint has been written."""
    taints = taints_of(node)
    return [*taints, UNSCHEDULABLE_TAINT] if node["spec"].get("unschedulable") else taints


def _term_matches(term: Obj, node: Obj) -> bool:
    expressions, fields = term.get("matchExpressions") or [], term.get("matchFields") or []
    if not expressions and not fields:
        return False
    labels = labels_of(node)
    by_field = {"metadata.name": name_of(node)}
    return all(r.matches(labels) for r in expression_requirements(expressions)) and all(
        r.matches(by_field) for r in expression_requirements(fields)
    )


def matches_node_affinity(pod_spec: Obj, node: Obj) -> bool:
    """nodeSelector and required node affinity."""
    wanted = pod_spec.get("nodeSelector") or {}
    labels = labels_of(node)
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    required = dig(pod_spec, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    if not required:
        return True
    return any(_term_matches(term, node) for term in required.get("nodeSelectorTerms") or ())


def affinity_terms(pod: Obj, sort: str) -> list[Obj]:
    """Required terms of podAffinity or podAntiAffinity."""
    terms: list[Obj] | None = dig(pod["spec"], "affinity", sort, "requiredDuringSchedulingIgnoredDuringExecution")
    return terms or []


def term_selects(term: Obj, owner: Obj, other: Obj, namespaces: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether an affinity term of one pod means another pod. `namespaces` are the labels of all namespaces."""
    named, wanted = term.get("namespaces") or [], term.get("namespaceSelector")
    where = namespace_of(other)
    if wanted is None:
        if where not in (named or [namespace_of(owner)]):
            return False
    elif where not in named and not selector_matches(wanted, namespaces.get(where, {})):
        return False
    return selector_matches(term.get("labelSelector"), labels_of(other)) and _alike(term, owner, other)


def _alike(term: Obj, owner: Obj, other: Obj) -> bool:
    """matchLabelKeys: the same values as the pod that has the term; keys which that pod lacks are ignored."""
    mine, theirs = labels_of(owner), labels_of(other)
    return all(mine[key] == theirs.get(key) for key in term.get("matchLabelKeys") or () if key in mine)


def counts_for_spread(constraint: Obj, owner: Obj, other: Obj) -> bool:
    """Whether a spread constraint of one pod counts another: of its namespace, and not about to go."""
    if namespace_of(other) != namespace_of(owner) or other["metadata"].get("deletionTimestamp"):
        return False
    return selector_matches(constraint.get("labelSelector"), labels_of(other)) and _alike(constraint, owner, other)


def spread_constraints(pod: Obj) -> list[Obj]:
    """Hard ones only: the soft ones are no reason to wait."""
    constraints: list[Obj] = pod["spec"].get("topologySpreadConstraints") or []
    return [c for c in constraints if c.get("whenUnsatisfiable", "DoNotSchedule") == "DoNotSchedule"]


HostPort = tuple[str, int, str]
"""Protocol, number and address; an empty address is all of them."""


def ports_clash(one: set[HostPort], other: set[HostPort]) -> bool:
    """Whether two pods want the same port of a node."""
    return any(
        (p, number) == (q, taken) and (mine == theirs or not mine or not theirs)
        for p, number, mine in one
        for q, taken, theirs in other
    )


def host_ports(pod: Obj) -> set[HostPort]:
    ports: set[HostPort] = set()
    host_network = bool(pod["spec"].get("hostNetwork"))
    for container in pod["spec"].get("containers") or ():
        for port in container.get("ports") or ():
            number: Any = port.get("hostPort") or (port.get("containerPort") if host_network else None)
            if number:
                address = port.get("hostIP") or ""
                ports.add((port.get("protocol", "TCP"), int(number), "" if address in _ALL_ADDRESSES else address))
    return ports


def volume_admits(volume: Obj, node: Obj) -> bool:
    """Whether a PersistentVolume can be reached from a node."""
    required = dig(volume, "spec", "nodeAffinity", "required")
    return not required or any(_term_matches(term, node) for term in required.get("nodeSelectorTerms") or ())


def claim_names(pod: Obj) -> list[str]:
    """Claims that a pod mounts; an ephemeral volume's is named after the pod."""
    names = []
    for volume in pod["spec"].get("volumes") or ():
        if volume.get("persistentVolumeClaim"):
            names.append(str(volume["persistentVolumeClaim"]["claimName"]))
        elif volume.get("ephemeral"):
            names.append(f"{name_of(pod)}-{volume['name']}")
    return names
