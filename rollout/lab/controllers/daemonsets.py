"""DaemonSets: one pod on every node that may have one, and none on a node that drives it away."""

from rollout.lab.apiserver.objects import (
    Obj,
    clone,
    content_hash,
    controller_of,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)
from rollout.lab.apiserver.storage import DELETED, Change
from rollout.lab.apiserver.store import Store
from rollout.lab.controllers import placement
from rollout.lab.controllers.base import Controller, ControllerSettings, NamedKey, named_key
from rollout.lab.controllers.pod_index import PodIndex, is_active, is_finished, is_ready, node_of
from rollout.lab.controllers.quantities import scaled
from rollout.lab.controllers.replicas import owner_reference, pod_from_template

_HASH_LABEL = "controller-revision-hash"
_GENERATION_LABEL = "pod-template-generation"
_PREFIX = "node.kubernetes.io/"
# Added to every daemon pod, in the order of a real cluster.
_TOLERATIONS = (
    ("not-ready", "NoExecute"), ("unreachable", "NoExecute"), ("disk-pressure", "NoSchedule"),
    ("memory-pressure", "NoSchedule"), ("pid-pressure", "NoSchedule"), ("unschedulable", "NoSchedule"),
)  # fmt: skip


def daemon_tolerations(spec: Obj) -> list[Obj]:
    """The template's own tolerations and those that the controller adds."""
    wanted = [*_TOLERATIONS, ("network-unavailable", "NoSchedule")] if spec.get("hostNetwork") else list(_TOLERATIONS)
    tolerations: list[Obj] = clone(spec.get("tolerations") or [])
    for name, effect in wanted:
        added = {"effect": effect, "key": _PREFIX + name, "operator": "Exists"}
        tolerations = [t for t in tolerations if (t.get("key"), t.get("effect")) != (added["key"], effect)]
        tolerations.append(added)
    return tolerations


def pin_to_node(spec: Obj, node: str) -> None:
    """Required affinity to one node, in place of any the template has for metadata.name."""
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    affinity = spec.setdefault("affinity", {}).setdefault("nodeAffinity", {})
    terms = (affinity.get(required) or {}).get("nodeSelectorTerms") or []
    # As the real controller: matchFields replaces the terms' own, matchExpressions stay.
    affinity[required] = {
        "nodeSelectorTerms": [{**term, "matchFields": [field]} for term in terms] or [{"matchFields": [field]}]
    }


class DaemonSetController(Controller[NamedKey]):
    """Creates, removes and rolls daemon pods, and counts them."""

    def __init__(self, store: Store, settings: ControllerSettings, pods: PodIndex) -> None:
        super().__init__(store, settings)
        self._pods = pods

    def subscribe(self) -> None:
        self.watch("daemonsets.apps", lambda change: self.enqueue(named_key(change.new)))
        self.watch("pods", self._on_pod)
        self.watch("nodes", self._on_node)

    def _on_pod(self, change: Change) -> None:
        owner = controller_of(change.new)
        if owner and owner["kind"] == "DaemonSet":
            self.enqueue((namespace_of(change.new), owner["name"]))

    def _on_node(self, change: Change) -> None:
        if change.old is not None and change.action != DELETED and _placing(change.old) == _placing(change.new):
            return
        for daemon_set in self.store.storage.values("daemonsets.apps"):
            self.enqueue(named_key(daemon_set))

    def reconcile(self, key: NamedKey) -> None:
        daemon_set = self.store.find("daemonsets.apps", key[1], key[0])
        if daemon_set is None or daemon_set["metadata"].get("deletionTimestamp"):
            return
        revision = self._record_revision(daemon_set)
        spec = {**daemon_set["spec"]["template"]["spec"]}
        spec["tolerations"] = daemon_tolerations(spec)
        nodes = self.store.storage.values("nodes")
        by_node = self._by_node(daemon_set)
        wanted: set[str] = set()
        for node in nodes:
            should_run, may_stay = _verdict(spec, node)
            if should_run:
                wanted.add(name_of(node))
            self._settle_node(
                daemon_set, spec, revision, name_of(node), by_node.get(name_of(node), []), should_run, may_stay
            )
        self._roll(daemon_set, revision, wanted)
        self._write_status(daemon_set, revision, wanted)

    def _by_node(self, daemon_set: Obj) -> dict[str, list[Obj]]:
        """Pods by the node they are on or are meant for."""
        found: dict[str, list[Obj]] = {}
        for pod in self._pods.owned_by(uid_of(daemon_set)):
            found.setdefault(target_node(pod), []).append(pod)
        return found

    def _settle_node(
        self, daemon_set: Obj, spec: Obj, revision: str, node: str, pods: list[Obj], should_run: bool, may_stay: bool
    ) -> None:
        for pod in pods:
            if is_finished(pod):
                self.store.remove_now("pods", name_of(pod), namespace_of(pod))
        living = [pod for pod in pods if not is_finished(pod)]
        if should_run and not living:
            self._create(daemon_set, spec, revision, node)
        active = [pod for pod in living if is_active(pod)]
        surplus = active if not may_stay else sorted(active, key=lambda p: not is_ready(p))[1:]
        for pod in surplus:
            self.store.delete("pods", name_of(pod), namespace_of(pod))

    def _create(self, daemon_set: Obj, spec: Obj, revision: str, node: str) -> None:
        template = {**daemon_set["spec"]["template"], "spec": spec}
        pod = pod_from_template(daemon_set, template, generateName=f"{name_of(daemon_set)}-")
        labels = pod["metadata"].setdefault("labels", {})
        labels |= {_HASH_LABEL: revision, _GENERATION_LABEL: str(daemon_set["metadata"]["generation"])}
        pin_to_node(pod["spec"], node)
        self.store.create(pod)

    # -- rolling update ----------------------------------------------------------------------------------------------

    def _record_revision(self, daemon_set: Obj) -> str:
        """The hash of the template, kept as a ControllerRevision."""
        template = daemon_set["spec"]["template"]
        name_prefix, namespace = name_of(daemon_set), namespace_of(daemon_set)
        # Recorded pods carry a hash that another algorithm made: the one stored for this template wins.
        owned = [
            r for r in self.store.all("controllerrevisions.apps", namespace)
            if (controller_of(r) or {}).get("uid") == uid_of(daemon_set)
        ]  # fmt: skip
        for revision in owned:
            if revision["data"] == template:
                return str(labels_of(revision)[_HASH_LABEL])
        digest = self._adopted_hash(daemon_set) if not owned else content_hash(template)
        metadata: Obj = {
            "name": f"{name_prefix}-{digest}", "namespace": namespace, "labels": {_HASH_LABEL: digest},
            "ownerReferences": [owner_reference(daemon_set)],
        }  # fmt: skip
        if self.store.find("controllerrevisions.apps", metadata["name"], namespace) is None:
            kind = {"apiVersion": "apps/v1", "kind": "ControllerRevision"}
            self.store.create({**kind, "metadata": metadata, "data": clone(template), "revision": len(owned) + 1})
        return digest

    def _adopted_hash(self, daemon_set: Obj) -> str:
        """Pods seeded with their DaemonSet are of its present template; keep their hash instead of rolling them."""
        hashes = {labels_of(pod).get(_HASH_LABEL) for pod in self._pods.owned_by(uid_of(daemon_set))}
        known = [digest for digest in hashes if digest]
        return known[0] if len(known) == 1 else content_hash(daemon_set["spec"]["template"])

    def _roll(self, daemon_set: Obj, revision: str, wanted: set[str]) -> None:
        """Delete outdated pods, as many at a time as may be unavailable. OnDelete leaves it to whoever deletes."""
        strategy = daemon_set["spec"].get("updateStrategy") or {}
        if strategy.get("type", "RollingUpdate") != "RollingUpdate":
            return
        pods = [pod for pod in self._pods.owned_by(uid_of(daemon_set)) if target_node(pod) in wanted]
        active = [pod for pod in pods if is_active(pod)]
        outdated = [pod for pod in active if labels_of(pod).get(_HASH_LABEL) != revision]
        most = scaled((strategy.get("rollingUpdate") or {}).get("maxUnavailable", 1), len(wanted), round_up=True) or 1
        unavailable = len(wanted) - sum(1 for pod in active if is_ready(pod))
        for pod in [pod for pod in outdated if not is_ready(pod)]:
            self.store.delete("pods", name_of(pod), namespace_of(pod))
        for pod in [pod for pod in outdated if is_ready(pod)][: max(most - unavailable, 0)]:
            self.store.delete("pods", name_of(pod), namespace_of(pod))

    # -- status ------------------------------------------------------------------------------------------------------

    def _write_status(self, daemon_set: Obj, revision: str, wanted: set[str]) -> None:
        placed = [pod for pod in self._pods.owned_by(uid_of(daemon_set)) if not is_finished(pod) and node_of(pod)]
        on_wanted = {node_of(pod): pod for pod in placed if node_of(pod) in wanted and is_active(pod)}
        ready = sum(1 for pod in on_wanted.values() if is_ready(pod))
        updated = sum(1 for pod in on_wanted.values() if labels_of(pod).get(_HASH_LABEL) == revision)
        status: Obj = {
            "currentNumberScheduled": len(on_wanted),
            "desiredNumberScheduled": len(wanted),
            "numberMisscheduled": len({node_of(pod) for pod in placed} - wanted),
            "numberReady": ready,
            "observedGeneration": daemon_set["metadata"]["generation"],
        }
        optional = {
            "numberAvailable": ready,
            "numberUnavailable": len(wanted) - ready,
            "updatedNumberScheduled": updated,
        }
        status |= {key: value for key, value in optional.items() if value}
        if status != daemon_set["status"]:
            self.store.mutate(
                "daemonsets.apps",
                name_of(daemon_set),
                lambda obj: obj.update(status=status),
                namespace_of(daemon_set),
                "status",
            )


def target_node(pod: Obj) -> str:
    """The node a daemon pod is on, or the one its affinity names."""
    if node_of(pod):
        return node_of(pod)
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    affinity = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(required) or {}
    for term in affinity.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            if field.get("key") == "metadata.name" and field.get("values"):
                return str(field["values"][0])
    return ""


def _verdict(spec: Obj, node: Obj) -> tuple[bool, bool]:
    """Whether a daemon pod should run on a node, and whether one that is there may stay."""
    if not placement.matches_node_affinity(spec, node):
        return False, False
    taints = placement.scheduling_taints(node)
    refused = placement.untolerated(spec, taints, (placement.NO_SCHEDULE, placement.NO_EXECUTE))
    driven_out = placement.untolerated(spec, taints, (placement.NO_EXECUTE,))
    return refused is None, driven_out is None


def _placing(node: Obj) -> tuple[object, ...]:
    return labels_of(node), node["spec"].get("taints"), node["spec"].get("unschedulable")
