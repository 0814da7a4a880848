"""What binds a pod to some nodes and not to others: the hard rules of the scheduler, as hashable values.

Preferences are left out on purpose: they never keep a pod from a node. Pods of one template share one value, so that
planning can treat them as a class. Rules as in the Kubernetes API reference, core/v1 PodSpec.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Labels = tuple[tuple[str, str], ...]
"""Label pairs in key order: a mapping that can be hashed."""


@dataclass(frozen=True, slots=True)
class LabelRequirement:
    """One matchExpressions row: In, NotIn, Exists, DoesNotExist, and for node affinity Gt and Lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Kubernetes' rule; NotIn also holds when the key is absent. Gt and Lt compare whole numbers."""
        if self.operator == "Exists":
            return self.key in labels
        if self.operator == "DoesNotExist":
            return self.key not in labels
        if self.operator == "NotIn":
            return labels.get(self.key) not in self.values
        if self.operator in ("Gt", "Lt"):
            return self._compares(labels.get(self.key, ""))
        return self.key in labels and labels[self.key] in self.values

    def _compares(self, text: str) -> bool:
        try:
            found, bound = int(text), int(self.values[0])
        except (ValueError, IndexError):
            return False
        return found > bound if self.operator == "Gt" else found < bound


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """A label selector that is there; with nothing in it, it matches everything. A missing one is None."""

    labels: Labels = ()
    expressions: tuple[LabelRequirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether both halves hold."""
        return all(labels.get(k) == v for k, v in self.labels) and all(e.matches(labels) for e in self.expressions)

    def keys(self) -> frozenset[str]:
        """The label keys it looks at."""
        return frozenset([k for k, _ in self.labels] + [e.key for e in self.expressions])


@dataclass(frozen=True, slots=True)
class NodeTerm:
    """One term of a node selector: all its rows must hold. A term without rows matches nothing."""

    expressions: tuple[LabelRequirement, ...] = ()
    fields: tuple[LabelRequirement, ...] = ()
    """On `metadata.name` only."""

    def matches(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether the node `name` with `labels` fits."""
        if not self.expressions and not self.fields:
            return False
        return all(e.matches(labels) for e in self.expressions) and all(
            f.matches({"metadata.name": name}) for f in self.fields
        )


@dataclass(frozen=True, slots=True)
class PodTerm:
    """One required pod affinity or anti-affinity term."""

    topology_key: str
    selector: LabelSelector | None
    namespaces: tuple[str, ...] = ()
    namespace_selector: LabelSelector | None = None
    """With neither namespaces nor this: the pod's own namespace."""
    match_label_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SpreadTerm:
    """A topologySpreadConstraint with whenUnsatisfiable DoNotSchedule."""

    max_skew: int
    topology_key: str
    selector: LabelSelector | None
    min_domains: int = 1
    honor_affinity: bool = True
    """nodeAffinityPolicy Honor, the API's default."""
    honor_taints: bool = False
    """nodeTaintsPolicy Honor; the API's default is Ignore."""
    match_label_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HostPort:
    """A port of the node that a pod holds. An empty address or 0.0.0.0 holds it on all."""

    protocol: str
    port: int
    address: str = ""


@dataclass(frozen=True, slots=True)
class Scheduling:
    """A pod's hard rules. Equal for all pods of one template."""

    node_selector: Labels = ()
    node_terms: tuple[NodeTerm, ...] = ()
    """Required node affinity: any one term must match; none: no such rule."""
    affinity: tuple[PodTerm, ...] = ()
    anti_affinity: tuple[PodTerm, ...] = ()
    spread: tuple[SpreadTerm, ...] = ()
    host_ports: tuple[HostPort, ...] = ()
    scheduler: str = "default-scheduler"
    priority: int = 0

    def admits(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether node selector and required node affinity hold for a node; nothing else is looked at."""
        if not all(labels.get(k) == v for k, v in self.node_selector):
            return False
        return not self.node_terms or any(term.matches(name, labels) for term in self.node_terms)


ANYWHERE = Scheduling()
"""No hard rule at all."""


def as_labels(labels: Mapping[str, str]) -> Labels:
    """A mapping as sorted pairs."""
    return tuple(sorted(labels.items()))


def selector_matches(
    match_labels: Mapping[str, str], expressions: tuple[LabelRequirement, ...], labels: Mapping[str, str]
) -> bool:
    """Whether a label selector's two halves both hold for `labels`."""
    return all(labels.get(k) == v for k, v in match_labels.items()) and all(e.matches(labels) for e in expressions)
