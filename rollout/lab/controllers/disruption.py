"""The disruption controller: what each PodDisruptionBudget still allows."""

import datetime

from rollout.lab.apiserver.eviction import PDB_ID
from rollout.lab.apiserver.objects import (
    Obj,
    clone,
    controller_of,
    labels_of,
    name_of,
    namespace_of,
    parse_time,
    set_condition,
    uid_of,
    utc_now,
)
from rollout.lab.apiserver.selectors import selector_matches
from rollout.lab.apiserver.storage import Change
from rollout.lab.apiserver.store import Store
from rollout.lab.controllers.base import Controller, ControllerSettings, NamedKey, named_key
from rollout.lab.controllers.pod_index import PodIndex, is_ready

_OWNERS = {"ReplicaSet": "replicasets.apps", "StatefulSet": "statefulsets.apps"}


class _CannotSync(Exception):
    """The scale of a pod's owner is unknown, so the budget fails safe: it allows nothing."""


class DisruptionController(Controller[NamedKey]):
    """Writes the status of budgets, as the real one counts it."""

    def __init__(self, store: Store, settings: ControllerSettings, pods: PodIndex) -> None:
        super().__init__(store, settings)
        self._pods = pods

    def subscribe(self) -> None:
        self.watch(PDB_ID, lambda change: self.enqueue(named_key(change.new)))
        self.watch("pods", self._on_pod)
        for owners in ("replicasets.apps", "statefulsets.apps", "deployments.apps"):
            self.watch(owners, self._on_owner)

    def _on_pod(self, change: Change) -> None:
        for budget in self.store.all(PDB_ID, namespace_of(change.new)):
            selector = budget["spec"].get("selector")
            before = change.old is not None and selector_matches(selector, labels_of(change.old))
            if before or selector_matches(selector, labels_of(change.new)):
                self.enqueue(named_key(budget))

    def _on_owner(self, change: Change) -> None:
        if change.old is not None and change.old["spec"].get("replicas") == change.new["spec"].get("replicas"):
            return
        for budget in self.store.all(PDB_ID, namespace_of(change.new)):
            self.enqueue(named_key(budget))

    def reconcile(self, key: NamedKey) -> None:
        budget = self.store.find(PDB_ID, key[1], key[0])
        if budget is None:
            return
        selector = budget["spec"].get("selector")
        pods = [pod for pod in self._pods.in_namespace(key[0]) if selector_matches(selector, labels_of(pod))]
        disrupted, recheck = self._confirmed(budget, pods)
        if recheck is not None:
            self.enqueue(key, recheck)
        try:
            expected, desired = self._counts(budget, pods)
        except _CannotSync as error:
            self._fail_safe(budget, str(error))
            return
        healthy = sum(1 for pod in pods if self._is_healthy(pod, disrupted))
        allowed = max(healthy - desired, 0) if expected > 0 else 0
        status: Obj = {
            "conditions": clone(budget["status"].get("conditions") or []),
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "disruptionsAllowed": allowed,
            "expectedPods": expected,
            "observedGeneration": budget["metadata"]["generation"],
        }
        if disrupted:
            status["disruptedPods"] = disrupted
        state, reason = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
        self._set_condition(status, state, reason, "", budget["metadata"]["generation"])
        self._write(budget, status)

    @staticmethod
    def _is_healthy(pod: Obj, disrupted: dict[str, str]) -> bool:
        return not pod["metadata"].get("deletionTimestamp") and name_of(pod) not in disrupted and is_ready(pod)

    def _confirmed(self, budget: Obj, pods: list[Obj]) -> tuple[dict[str, str], float | None]:
        """Evictions not yet seen as deletions, without those that took too long; and when to look again."""
        pending: dict[str, str] = {}
        recheck: float | None = None
        living = {name_of(pod): pod for pod in pods}
        for name, text in (budget["status"].get("disruptedPods") or {}).items():
            began = parse_time(text)
            pod = living.get(name)
            if began is None or pod is None or pod["metadata"].get("deletionTimestamp"):
                continue
            left = (began + datetime.timedelta(seconds=self.settings.disrupted_pod_seconds) - utc_now()).total_seconds()
            if left > 0:
                pending[name] = text
                recheck = left if recheck is None else min(recheck, left)
        return pending, recheck

    # -- how many there should be ------------------------------------------------------------------------------------

    def _counts(self, budget: Obj, pods: list[Obj]) -> tuple[int, int]:
        """Expected pods and desired healthy ones."""
        spec = budget["spec"]
        if spec.get("maxUnavailable") is not None:
            expected = self._expected_scale(pods)
            return expected, max(expected - _round_up(spec["maxUnavailable"], expected), 0)
        least = spec.get("minAvailable", 1)
        if isinstance(least, int):
            return len(pods), least
        expected = self._expected_scale(pods)
        return expected, _round_up(least, expected)

    def _expected_scale(self, pods: list[Obj]) -> int:
        """The sum of the scales of the pods' controllers. Pods without one are not counted."""
        scales: dict[str, int] = {}
        for pod in pods:
            owner = controller_of(pod)
            if owner is not None and owner["uid"] not in scales:
                self._add_scale(scales, pod, owner)
        return sum(scales.values())

    def _add_scale(self, scales: dict[str, int], pod: Obj, owner: Obj) -> None:
        resource_id = _OWNERS.get(owner["kind"])
        if resource_id is None:
            group = str(owner["apiVersion"]).partition("/")[0]
            raise _CannotSync(f"{owner['kind'].lower()}s.{group} does not implement the scale subresource")
        found = self.store.find(resource_id, owner["name"], namespace_of(pod))
        if found is None or uid_of(found) != owner["uid"]:
            raise _CannotSync(f'found no controllers for pod "{name_of(pod)}"')
        parent = controller_of(found)
        if parent is not None and parent["kind"] == "Deployment":
            deployment = self.store.find("deployments.apps", parent["name"], namespace_of(pod))
            if deployment is not None and uid_of(deployment) == parent["uid"]:
                found = deployment
        scales[uid_of(found)] = int(found["spec"].get("replicas", 1))
        scales[owner["uid"]] = scales[uid_of(found)] if uid_of(found) == owner["uid"] else 0

    def _fail_safe(self, budget: Obj, message: str) -> None:
        status: Obj = clone(budget["status"])
        status["disruptionsAllowed"] = 0
        self._set_condition(status, "False", "SyncFailed", message, status.get("observedGeneration", 0))
        self._write(budget, status)

    @staticmethod
    def _set_condition(status: Obj, state: str, reason: str, message: str, generation: int) -> None:
        condition = {"type": "DisruptionAllowed", "status": state, "reason": reason, "message": message}
        set_condition(status, {**condition, "observedGeneration": generation})

    def _write(self, budget: Obj, status: Obj) -> None:
        if status != budget["status"]:
            self.store.mutate(
                PDB_ID, name_of(budget), lambda obj: obj.update(status=status), namespace_of(budget), "status"
            )


def _round_up(value: int | str, total: int) -> int:
    if isinstance(value, int):
        return value
    return -(-int(value.rstrip("%")) * total // 100)
