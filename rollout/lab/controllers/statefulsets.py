"""StatefulSets: numbered pods, one after another, and never two with the same name."""

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
from rollout.lab.apiserver.storage import Change
from rollout.lab.apiserver.store import Store
from rollout.lab.controllers.base import Controller, ControllerSettings, NamedKey, named_key
from rollout.lab.controllers.pod_index import PodIndex, is_active, is_finished, is_ready
from rollout.lab.controllers.replicas import pod_from_template

_HASH_LABEL = "controller-revision-hash"


class StatefulSetController(Controller[NamedKey]):
    """A pod's successor waits until the pod itself is gone: that is what makes draining them slow."""

    def __init__(self, store: Store, settings: ControllerSettings, pods: PodIndex) -> None:
        super().__init__(store, settings)
        self._pods = pods

    def subscribe(self) -> None:
        self.watch("statefulsets.apps", lambda change: self.enqueue(named_key(change.new)))
        self.watch("pods", self._on_pod)

    def _on_pod(self, change: Change) -> None:
        owner = controller_of(change.new)
        if owner and owner["kind"] == "StatefulSet":
            self.enqueue((namespace_of(change.new), owner["name"]))

    def reconcile(self, key: NamedKey) -> None:
        owner = self.store.find("statefulsets.apps", key[1], key[0])
        if owner is None or owner["metadata"].get("deletionTimestamp"):
            return
        pods = {name_of(pod): pod for pod in self._pods.owned_by(uid_of(owner))}
        revision = f"{name_of(owner)}-{content_hash(owner['spec']['template'])}"
        if self._fill(owner, pods, revision):
            self._trim(owner, pods)
            self._roll(owner, pods, revision)
        self._write_status(owner, revision)

    def _fill(self, owner: Obj, pods: dict[str, Obj], revision: str) -> bool:
        """Create what is missing. False while an ordered set must wait for one of its pods."""
        ordered = owner["spec"].get("podManagementPolicy", "OrderedReady") == "OrderedReady"
        for number in range(int(owner["spec"]["replicas"])):
            name = f"{name_of(owner)}-{number}"
            pod = pods.get(name)
            if pod is not None and is_finished(pod):
                self.store.remove_now("pods", name, namespace_of(owner))
                pod = None
            if pod is None:
                self._create(owner, name, number, revision)
            if ordered and (pod is None or not is_ready(pod) or not is_active(pod)):
                return False
        return True

    def _create(self, owner: Obj, name: str, number: int, revision: str) -> None:
        pod = pod_from_template(owner, owner["spec"]["template"], name=name)
        labels = pod["metadata"].setdefault("labels", {})
        labels |= {
            "statefulset.kubernetes.io/pod-name": name,
            "apps.kubernetes.io/pod-index": str(number),
            _HASH_LABEL: revision,
        }
        pod["spec"] |= {"hostname": name, "subdomain": owner["spec"].get("serviceName") or ""}
        self.store.create(pod)

    def _trim(self, owner: Obj, pods: dict[str, Obj]) -> None:
        wanted = int(owner["spec"]["replicas"])
        surplus = sorted((p for p in pods.values() if _number(p) >= wanted), key=_number, reverse=True)
        for pod in surplus[:1]:
            if is_active(pod):
                self.store.delete("pods", name_of(pod), namespace_of(pod))

    def _roll(self, owner: Obj, pods: dict[str, Obj], revision: str) -> None:
        strategy = owner["spec"].get("updateStrategy") or {}
        if strategy.get("type", "RollingUpdate") != "RollingUpdate":
            return
        partition = int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
        for pod in sorted(pods.values(), key=_number, reverse=True):
            known = labels_of(pod).get(_HASH_LABEL)
            if known and known != revision and _number(pod) >= partition and is_active(pod):
                self.store.delete("pods", name_of(pod), namespace_of(pod))
                return

    def _write_status(self, owner: Obj, revision: str) -> None:
        pods = [pod for pod in self._pods.owned_by(uid_of(owner)) if not is_finished(pod)]
        ready = sum(1 for pod in pods if is_ready(pod) and is_active(pod))
        status: Obj = {
            **clone(owner["status"]),
            "availableReplicas": ready,
            "currentReplicas": len(pods),
            "observedGeneration": owner["metadata"]["generation"],
            "readyReplicas": ready,
            "replicas": len(pods),
            "updateRevision": revision,
            "updatedReplicas": sum(1 for pod in pods if labels_of(pod).get(_HASH_LABEL) == revision),
        }
        if status["updatedReplicas"] == len(pods):
            status["currentRevision"] = revision
        if status != owner["status"]:
            self.store.mutate(
                "statefulsets.apps",
                name_of(owner),
                lambda obj: obj.update(status=status),
                namespace_of(owner),
                "status",
            )


def _number(pod: Obj) -> int:
    return int(name_of(pod).rpartition("-")[2])
