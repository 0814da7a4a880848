"""ReplicaSets and Deployments."""

from typing import Any

from rollout.lab.apiserver.objects import (
    Obj,
    clone,
    content_hash,
    controller_of,
    dig,
    labels_of,
    name_of,
    namespace_of,
    set_condition,
    uid_of,
)
from rollout.lab.apiserver.storage import Change
from rollout.lab.apiserver.store import Store
from rollout.lab.controllers.base import Controller, ControllerSettings, NamedKey, named_key
from rollout.lab.controllers.pod_index import PodIndex, is_active, is_ready, node_of
from rollout.lab.controllers.quantities import scaled

_HASH_LABEL = "pod-template-hash"
_REVISION = "deployment.kubernetes.io/revision"


def owner_reference(owner: Obj) -> Obj:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def pod_from_template(owner: Obj, template: Obj, **metadata: Any) -> Obj:
    """A pod as its controller would post it."""
    copied = {
        key: clone(value) for key, value in (template.get("metadata") or {}).items() if key in ("labels", "annotations")
    }
    base: Obj = {"namespace": namespace_of(owner), "ownerReferences": [owner_reference(owner)], **copied, **metadata}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": base, "spec": clone(template["spec"])}


def is_available(pod: Obj) -> bool:
    """minReadySeconds is left out: ready is available."""
    return is_ready(pod)


def deletion_rank(pod: Obj) -> tuple[bool, bool, str]:
    """Sorts the pods that should go first to the front: unbound, then unready, then the youngest."""
    created = str(pod["metadata"].get("creationTimestamp") or "")
    return bool(node_of(pod)), is_ready(pod), "".join(chr(255 - ord(letter)) for letter in created)


class ReplicaSetController(Controller[NamedKey]):
    """Keeps the number of pods. A pod that is being deleted no longer counts, so its replacement starts at once."""

    def __init__(self, store: Store, settings: ControllerSettings, pods: PodIndex) -> None:
        super().__init__(store, settings)
        self._pods = pods

    def subscribe(self) -> None:
        self.watch("replicasets.apps", lambda change: self.enqueue(named_key(change.new)))
        self.watch("pods", self._on_pod)

    def _on_pod(self, change: Change) -> None:
        owner = controller_of(change.new)
        if owner and owner["kind"] == "ReplicaSet":
            self.enqueue((namespace_of(change.new), owner["name"]))

    def reconcile(self, key: NamedKey) -> None:
        owner = self.store.find("replicasets.apps", key[1], key[0])
        if owner is None:
            return
        active = [pod for pod in self._pods.owned_by(uid_of(owner)) if is_active(pod)]
        wanted = int(owner["spec"].get("replicas", 1))
        if not owner["metadata"].get("deletionTimestamp"):
            for _ in range(wanted - len(active)):
                template = owner["spec"]["template"]
                self.store.create(pod_from_template(owner, template, generateName=f"{name_of(owner)}-"))
            for pod in sorted(active, key=deletion_rank)[: max(len(active) - wanted, 0)]:
                self.store.delete("pods", name_of(pod), namespace_of(pod))
        self._write_status(owner)

    def _write_status(self, owner: Obj) -> None:
        active = [pod for pod in self._pods.owned_by(uid_of(owner)) if is_active(pod)]
        ready = sum(1 for pod in active if is_ready(pod))
        status: Obj = {"replicas": len(active), "observedGeneration": owner["metadata"]["generation"]}
        if active:
            status["fullyLabeledReplicas"] = len(active)
        if ready:
            status |= {"readyReplicas": ready, "availableReplicas": ready}
        going = sum(1 for p in self._pods.owned_by(uid_of(owner)) if p["metadata"].get("deletionTimestamp"))
        if going:
            status["terminatingReplicas"] = going
        if status != owner["status"]:
            self.store.mutate(
                "replicasets.apps", name_of(owner), lambda obj: obj.update(status=status), namespace_of(owner), "status"
            )


class DeploymentController(Controller[NamedKey]):
    """One ReplicaSet per template; a rolling update moves replicas from the old ones to the new one."""

    def subscribe(self) -> None:
        self.watch("deployments.apps", lambda change: self.enqueue(named_key(change.new)))
        self.watch("replicasets.apps", self._on_replica_set)

    def _on_replica_set(self, change: Change) -> None:
        owner = controller_of(change.new)
        if owner and owner["kind"] == "Deployment":
            self.enqueue((namespace_of(change.new), owner["name"]))

    def reconcile(self, key: NamedKey) -> None:
        deployment = self.store.find("deployments.apps", key[1], key[0])
        if deployment is None or deployment["metadata"].get("deletionTimestamp"):
            return
        owned = self._owned(deployment)
        current = self._current(deployment, owned)
        if current is None:
            current = self._create_current(deployment, owned)
            owned = self._owned(deployment)
        old = [rs for rs in owned if uid_of(rs) != uid_of(current) and rs["spec"]["replicas"] > 0]
        if not deployment["spec"].get("paused") or not old:
            self._move_replicas(deployment, current, old)
        self._write_status(deployment, uid_of(current))

    def _owned(self, deployment: Obj) -> list[Obj]:
        found = self.store.all("replicasets.apps", namespace_of(deployment))
        return [rs for rs in found if (controller_of(rs) or {}).get("uid") == uid_of(deployment)]

    def _current(self, deployment: Obj, owned: list[Obj]) -> Obj | None:
        template = deployment["spec"]["template"]
        return next((rs for rs in owned if _without_hash(rs["spec"]["template"]) == _without_hash(template)), None)

    def _create_current(self, deployment: Obj, owned: list[Obj]) -> Obj:
        digest = content_hash(deployment["spec"]["template"])
        template: Obj = clone(deployment["spec"]["template"])
        template.setdefault("metadata", {}).setdefault("labels", {})[_HASH_LABEL] = digest
        selector: Obj = clone(deployment["spec"]["selector"])
        selector.setdefault("matchLabels", {})[_HASH_LABEL] = digest
        revisions = [int(rs["metadata"].get("annotations", {}).get(_REVISION, 0)) for rs in owned]
        revision = str(max(revisions, default=0) + 1)
        # The first one starts whole; later ones grow as the old ones shrink.
        replicas = 0 if owned else deployment["spec"]["replicas"]
        metadata = {
            "name": f"{name_of(deployment)}-{digest}",
            "namespace": namespace_of(deployment),
            "labels": {**template["metadata"]["labels"]},
            "annotations": {_REVISION: revision},
            "ownerReferences": [owner_reference(deployment)],
        }
        spec = {"replicas": replicas, "selector": selector, "template": template}
        created = self.store.create({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata, "spec": spec})

        def annotate(obj: Obj) -> None:
            obj["metadata"].setdefault("annotations", {})[_REVISION] = revision

        self.store.mutate("deployments.apps", name_of(deployment), annotate, namespace_of(deployment))
        return created

    def _move_replicas(self, deployment: Obj, current: Obj, old: list[Obj]) -> None:
        wanted = int(deployment["spec"]["replicas"])
        if not old:
            self._scale(current, wanted)
            return
        strategy = deployment["spec"].get("strategy") or {}
        if strategy.get("type") == "Recreate":
            for replica_set in old:
                self._scale(replica_set, 0)
            if not any(dig(rs, "status", "replicas") for rs in old):
                self._scale(current, wanted)
            return
        rolling = strategy.get("rollingUpdate") or {}
        surge = scaled(rolling.get("maxSurge", "25%"), wanted, round_up=True)
        missing = scaled(rolling.get("maxUnavailable", "25%"), wanted, round_up=False) or (0 if surge else 1)
        total = current["spec"]["replicas"] + sum(rs["spec"]["replicas"] for rs in old)
        room = max(wanted + surge - total, 0)
        grown = min(current["spec"]["replicas"] + room, wanted)
        self._scale(current, grown)
        self._shrink(old, current, wanted - missing)

    def _shrink(self, old: list[Obj], current: Obj, least_available: int) -> None:
        """Old replicas go as far as the available ones stay enough; unavailable ones go first and for free."""
        available = sum(dig(rs, "status", "availableReplicas") or 0 for rs in [*old, current])
        spare = max(available - least_available, 0)
        for replica_set in old:
            count = replica_set["spec"]["replicas"]
            unavailable = max(count - (dig(replica_set, "status", "availableReplicas") or 0), 0)
            healthy_cut = min(spare, count - unavailable)
            spare -= healthy_cut
            self._scale(replica_set, count - unavailable - healthy_cut)

    def _scale(self, replica_set: Obj, replicas: int) -> None:
        if replica_set["spec"]["replicas"] != replicas:
            self.store.mutate(
                "replicasets.apps",
                name_of(replica_set),
                lambda obj: obj["spec"].update(replicas=replicas),
                namespace_of(replica_set),
            )

    def _write_status(self, deployment: Obj, current_uid: str) -> None:
        deployment = self.store.get("deployments.apps", name_of(deployment), namespace_of(deployment))
        owned = self._owned(deployment)
        totals = {key: sum(dig(rs, "status", key) or 0 for rs in owned) for key in _COUNTS}
        updated = sum(dig(rs, "status", "replicas") or 0 for rs in owned if uid_of(rs) == current_uid)
        wanted = int(deployment["spec"]["replicas"])
        status: Obj = {
            "observedGeneration": deployment["metadata"]["generation"],
            **{key: value for key, value in totals.items() if value},
            "conditions": clone(dig(deployment, "status", "conditions") or []),
        }
        if updated:
            status["updatedReplicas"] = updated
        missing = max(wanted - totals["availableReplicas"], 0)
        if missing:
            status["unavailableReplicas"] = missing
        self._set_conditions(status, deployment, enough=missing <= _most_missing(deployment), done=not missing)
        if status != deployment["status"]:
            self.store.mutate(
                "deployments.apps",
                name_of(deployment),
                lambda obj: obj.update(status=status),
                namespace_of(deployment),
                "status",
            )

    def _set_conditions(self, status: Obj, deployment: Obj, *, enough: bool, done: bool) -> None:
        available = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        lacking = ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
        state, reason, message = available if enough else lacking
        set_condition(status, {"type": "Available", "status": state, "reason": reason, "message": message})
        reason = "NewReplicaSetAvailable" if done else "ReplicaSetUpdated"
        text = f'Deployment "{name_of(deployment)}" ' + ("has successfully progressed." if done else "is progressing.")
        set_condition(status, {"type": "Progressing", "status": "True", "reason": reason, "message": text})


_COUNTS = ("replicas", "readyReplicas", "availableReplicas")


def _most_missing(deployment: Obj) -> int:
    rolling = dig(deployment, "spec", "strategy", "rollingUpdate") or {}
    return scaled(rolling.get("maxUnavailable", 0), int(deployment["spec"]["replicas"]), round_up=False)


def _without_hash(template: Obj) -> Obj:
    stripped: Obj = clone(template)
    labels_of(stripped if "metadata" in stripped else {"metadata": {}}).pop(_HASH_LABEL, None)
    return stripped
