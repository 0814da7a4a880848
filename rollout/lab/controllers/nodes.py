"""Node life: the taints that follow a node's state, and NoExecute taints that drive pods away."""

import datetime
import time

from rollout.lab.apiserver.objects import Obj, clone, dig, find_condition, name_of, now_text, utc_now
from rollout.lab.apiserver.storage import DELETED, Change
from rollout.lab.apiserver.store import Store
from rollout.lab.controllers import placement
from rollout.lab.controllers.base import Controller, ControllerSettings, NamedKey, named_key
from rollout.lab.controllers.pod_index import PodIndex, is_finished, node_of

_LEASES = "leases.coordination.k8s.io"
_LEASE_NAMESPACE = "kube-node-lease"
_PREFIX = "node.kubernetes.io/"
NOT_READY, UNREACHABLE = _PREFIX + "not-ready", _PREFIX + "unreachable"
_CONDITION_TAINTS = {
    "MemoryPressure": _PREFIX + "memory-pressure",
    "DiskPressure": _PREFIX + "disk-pressure",
    "PIDPressure": _PREFIX + "pid-pressure",
    "NetworkUnavailable": _PREFIX + "network-unavailable",
}
_MANAGED_KEYS = {NOT_READY, UNREACHABLE, _PREFIX + "unschedulable", *_CONDITION_TAINTS.values()}


class NodeLifecycleController(Controller[str]):
    """Marks nodes whose kubelet is silent, and keeps the condition taints in step with the conditions."""

    def __init__(self, store: Store, settings: ControllerSettings) -> None:
        super().__init__(store, settings)
        # When each lease was last seen to change, by our clock: the guests' clocks are not to be trusted.
        self._renewed: dict[str, float] = {}

    def subscribe(self) -> None:
        self.watch("nodes", lambda change: self.enqueue(name_of(change.new)))
        self.watch(_LEASES, self._on_lease)

    def _on_lease(self, change: Change) -> None:
        if change.new["metadata"]["namespace"] != _LEASE_NAMESPACE:
            return
        name = name_of(change.new)
        if change.action == DELETED:
            self._renewed.pop(name, None)
            return
        self._renewed[name] = time.monotonic()
        node = self.store.find("nodes", name)
        # A renewal of a healthy node only moves the alarm: no need to look at the node each time.
        ready = find_condition(node, "Ready") if node else None
        if ready is not None and ready["status"] == "Unknown":
            self.enqueue(name)
        elif node is not None:
            self._arm(name)

    def _arm(self, name: str) -> None:
        left = self._seconds_left(name)
        if left is not None and left > 0:
            self._cancel_timer(name)
            self.enqueue(name, left)

    def _seconds_left(self, name: str) -> float | None:
        """Until the node counts as silent; None for a node that has no lease."""
        renewed = self._renewed.get(name)
        if renewed is None:
            return None
        return renewed + self.settings.node_grace_seconds - time.monotonic()

    def reconcile(self, key: str) -> None:
        node = self.store.find("nodes", key)
        if node is None:
            return
        left = self._seconds_left(key)
        if left is not None and left <= 0:
            node = self._mark_unknown(node)
        elif left is not None:
            self.enqueue(key, left)
        self._sync_taints(node)

    def _mark_unknown(self, node: Obj) -> Obj:
        ready = find_condition(node, "Ready")
        if ready is not None and ready.get("status") == "Unknown":
            return node
        conditions = [clone(c) for c in dig(node, "status", "conditions") or ()]
        if ready is None:
            conditions.append({"type": "Ready"})
        for condition in conditions:
            if condition["type"] in ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure"):
                text = {"reason": "NodeStatusUnknown", "message": "Kubelet stopped posting node status."}
                condition |= {"status": "Unknown", "lastTransitionTime": now_text(), **text}
        marked = self.store.set_status("nodes", name_of(node), "", {"conditions": conditions})
        # The real controller also takes a silent node's pods out of service.
        for pod in self.store.all("pods"):
            if node_of(pod) == name_of(node):
                self._mark_unready(pod)
        return marked

    def _mark_unready(self, pod: Obj) -> None:
        ready = find_condition(pod, "Ready")
        if ready is None or ready.get("status") != "True":
            return
        changed = [
            {**c, "status": "False", "lastTransitionTime": now_text()} if c["type"] == "Ready" else c
            for c in pod["status"]["conditions"]
        ]
        self.store.set_status("pods", name_of(pod), pod["metadata"]["namespace"], {"conditions": changed})

    def _sync_taints(self, node: Obj) -> None:
        wanted = _wanted_taints(node)
        present = {(t["key"], t["effect"]) for t in placement.taints_of(node) if t["key"] in _MANAGED_KEYS}
        if present == wanted:
            return

        def change(obj: Obj) -> None:
            kept = [
                t
                for t in placement.taints_of(obj)
                if t["key"] not in _MANAGED_KEYS or (t["key"], t["effect"]) in wanted
            ]
            added = [
                {"key": taint, "effect": effect, "timeAdded": now_text()}
                for taint, effect in sorted(wanted - present, key=lambda item: item[1], reverse=True)
            ]
            obj["spec"]["taints"] = kept + added
            if not obj["spec"]["taints"]:
                del obj["spec"]["taints"]

        self.store.mutate("nodes", name_of(node), change)


def _wanted_taints(node: Obj) -> set[tuple[str, str]]:
    """Managed taints that a node's conditions and its cordon call for."""
    wanted: set[tuple[str, str]] = set()
    if node["spec"].get("unschedulable"):
        wanted.add((_PREFIX + "unschedulable", placement.NO_SCHEDULE))
    for kind, taint in _CONDITION_TAINTS.items():
        if (find_condition(node, kind) or {}).get("status") == "True":
            wanted.add((taint, placement.NO_SCHEDULE))
    ready = (find_condition(node, "Ready") or {}).get("status")
    key = {"False": NOT_READY, "Unknown": UNREACHABLE}.get(str(ready))
    if key:
        wanted |= {(key, placement.NO_SCHEDULE), (key, placement.NO_EXECUTE)}
    return wanted


class TaintEvictionController(Controller[NamedKey]):
    """Deletes pods from nodes with a NoExecute taint that they do not tolerate, or tolerate no longer."""

    def __init__(self, store: Store, settings: ControllerSettings, pods: PodIndex) -> None:
        super().__init__(store, settings)
        self._pods = pods
        # Tolerated for a time: when the pod must go. Kept, so that a second look does not start the clock anew.
        self._deadlines: dict[str, datetime.datetime] = {}

    def subscribe(self) -> None:
        self.watch("pods", self._on_pod)
        self.watch("nodes", self._on_node)

    def _on_pod(self, change: Change) -> None:
        if change.action == DELETED:
            self._deadlines.pop(change.new["metadata"]["uid"], None)
        elif node_of(change.new) and (change.old is None or not node_of(change.old)):
            self.enqueue(named_key(change.new))

    def _on_node(self, change: Change) -> None:
        if change.action == DELETED:
            return
        if change.old is None or _driving(change.old) != _driving(change.new):
            for pod in self._pods.on_node(name_of(change.new)):
                self.enqueue(named_key(pod))

    def reconcile(self, key: NamedKey) -> None:
        pod = self.store.find("pods", key[1], key[0])
        node = self.store.find("nodes", node_of(pod)) if pod else None
        if pod is None or node is None or is_finished(pod) or pod["metadata"].get("deletionTimestamp"):
            return
        uid = pod["metadata"]["uid"]
        seconds = _tolerated_seconds(pod, _driving(node))
        if seconds is None:
            self._deadlines.pop(uid, None)
            self._cancel_timer(key)
            return
        deadline = self._deadlines.setdefault(uid, utc_now() + datetime.timedelta(seconds=seconds))
        left = (deadline - utc_now()).total_seconds()
        if left > 0:
            self.enqueue(key, left)
            return
        self.store.delete("pods", key[1], key[0])


def _driving(node: Obj) -> list[Obj]:
    return [taint for taint in placement.taints_of(node) if taint.get("effect") == placement.NO_EXECUTE]


def _tolerated_seconds(pod: Obj, taints: list[Obj]) -> float | None:
    """How long a pod may stay: 0 to go now, None to stay for good."""
    shortest: float | None = None
    for taint in taints:
        matching = [t for t in pod["spec"].get("tolerations") or () if placement.toleration_matches(t, taint)]
        if not matching:
            return 0.0
        limits = [float(t["tolerationSeconds"]) for t in matching if t.get("tolerationSeconds") is not None]
        if limits:
            shortest = min(limits) if shortest is None else min(shortest, *limits)
    return shortest
