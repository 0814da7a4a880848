"""Pods as classes: pods of one template are alike for the scheduler, so what holds for one is worked out once.

Also who a pod (anti-)affinity or spread term means, resolved so that equal meanings are equal values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rollout.domain.inventory import ClusterSnapshot
from rollout.domain.node import Pod
from rollout.domain.scheduling import LabelSelector, PodTerm, Scheduling, SpreadTerm


@dataclass(frozen=True, slots=True)
class Group:
    """The pods a term means. `namespaces` None: all of them."""

    selector: LabelSelector | None
    namespaces: tuple[str, ...] | None

    def has(self, kind: Kind) -> bool:
        """Whether pods of a class are among them. A missing selector means nobody."""
        if self.selector is None or (self.namespaces is not None and kind.namespace not in self.namespaces):
            return False
        return self.selector.matches(kind.pod.labels)


class Kind:
    """A class of pods. `pod` is one of them; `at` counts them by number of the node they are on."""

    __slots__ = ("at", "cpu", "extra", "memory", "namespace", "number", "pod", "scheduling")

    def __init__(self, number: int, pod: Pod) -> None:
        self.number = number
        self.pod = pod
        self.namespace = pod.ref.namespace
        self.scheduling: Scheduling = pod.scheduling
        self.cpu = pod.cpu_millis
        self.memory = pod.memory_bytes
        self.extra = tuple((name, int(amount)) for name, amount in pod.extra)
        self.at: dict[int, int] = {}


class KindBook:
    """Sorts pods into classes. Equal labels count only as far as some rule of the cluster looks at them."""

    def __init__(self, cluster: ClusterSnapshot) -> None:
        self.kinds: list[Kind] = []
        self._keys = _keys_looked_at(cluster)
        # Pods of one template share their parts, so identity settles nearly every question; pods outlive this book.
        self._quick: dict[tuple[object, ...], Kind] = {}
        self._exact: dict[tuple[object, ...], Kind] = {}

    def kind_of(self, pod: Pod) -> Kind:
        """The class of a pod of the snapshot this book was made for."""
        rules = id(pod.scheduling)
        if pod.owner_kind == "DaemonSet":
            # Each is bound to its node by a rule of its own, but nobody ever looks for a place for it.
            rules = 0
        sizes = (pod.cpu_millis, pod.memory_bytes)
        quick = (pod.owner_uid, pod.ref.namespace, id(pod.labels), rules, id(pod.tolerations), sizes, pod.claims)
        found = self._quick.get(quick)
        if found is None or found.pod.extra != pod.extra:
            found = self._quick[quick] = self._exactly(pod)
        return found

    def _exactly(self, pod: Pod) -> Kind:
        labels = tuple([pod.labels.get(key) for key in self._keys])
        rules = (pod.scheduling, pod.tolerations, pod.cpu_millis, pod.memory_bytes, pod.extra, pod.claims)
        key = (pod.owner_uid, pod.ref.namespace, labels, rules)
        found = self._exact.get(key)
        if found is None:
            found = self._exact[key] = Kind(len(self.kinds), pod)
            self.kinds.append(found)
        return found


def _keys_looked_at(cluster: ClusterSnapshot) -> tuple[str, ...]:
    keys: set[str] = set()
    for budget in cluster.budgets:
        keys.update(budget.match_labels)
        keys.update(row.key for row in budget.match_expressions)
    for rules in {id(pod.scheduling): pod.scheduling for pod in cluster.pods}.values():
        terms: tuple[PodTerm | SpreadTerm, ...] = (*rules.affinity, *rules.anti_affinity, *rules.spread)
        for term in terms:
            keys.update(term.match_label_keys)
            keys.update(term.selector.keys() if term.selector else ())
    return tuple(sorted(keys))


class Members:
    """Finds the classes a group means without asking every class."""

    def __init__(self, kinds: Iterable[Kind]) -> None:
        self._kinds = list(kinds)
        self._by_pair: dict[tuple[str, str], list[Kind]] = {}
        for kind in self._kinds:
            for pair in kind.pod.labels.items():
                self._by_pair.setdefault(pair, []).append(kind)

    def of(self, group: Group) -> list[Kind]:
        """The classes a group means, in the order they were found."""
        selector = group.selector
        if selector is None:
            return []
        pool = self._kinds
        if selector.labels:
            pool = self._by_pair.get(selector.labels[0], [])
        else:
            for row in selector.expressions:
                if row.operator == "In":
                    pairs = [(row.key, value) for value in sorted(set(row.values))]
                    pool = [kind for pair in pairs for kind in self._by_pair.get(pair, ())]
                    break
        return [kind for kind in pool if group.has(kind)]


def group_of_term(term: PodTerm, pod: Pod, namespaces: Mapping[str, Mapping[str, str]]) -> Group:
    """Who a required (anti-)affinity term of a pod means. `namespaces` are the labels of all namespaces."""
    selector = _with_own_labels(term.selector, term.match_label_keys, pod)
    wanted = term.namespace_selector
    if wanted is None:
        return Group(selector, tuple(sorted(set(term.namespaces))) or (pod.ref.namespace,))
    if not wanted.labels and not wanted.expressions:
        return Group(selector, None)
    chosen = {name for name, labels in namespaces.items() if wanted.matches(labels)}
    return Group(selector, tuple(sorted(chosen | set(term.namespaces))))


def group_of_spread(term: SpreadTerm, pod: Pod) -> Group:
    """Who a spread constraint of a pod counts: pods of its own namespace."""
    return Group(_with_own_labels(term.selector, term.match_label_keys, pod), (pod.ref.namespace,))


def _with_own_labels(selector: LabelSelector | None, keys: tuple[str, ...], pod: Pod) -> LabelSelector | None:
    """matchLabelKeys: only pods with the same values as the pod itself; keys it does not have are ignored."""
    own = {key: pod.labels[key] for key in keys if key in pod.labels}
    if selector is None or not own:
        return selector
    return LabelSelector(tuple(sorted((dict(selector.labels) | own).items())), selector.expressions)
