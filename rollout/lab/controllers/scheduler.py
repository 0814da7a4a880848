"""The scheduler: filters and scores of the default profile, as far as a drain depends on them.

Left out: preemption, binding of claims to volumes, preferred affinities, image locality, several profiles.
"""

from rollout.lab.apiserver.objects import Obj, controller_of, dig, find_condition, labels_of, name_of, now_text
from rollout.lab.apiserver.storage import DELETED, Change
from rollout.lab.apiserver.store import Store
from rollout.lab.apiserver.subresources import bind_pod
from rollout.lab.controllers import placement
from rollout.lab.controllers.base import Controller, ControllerSettings, NamedKey, named_key
from rollout.lab.controllers.pod_index import PodIndex, is_finished, node_of
from rollout.lab.controllers.quantities import allocatable, pod_requests

# Score weights. Soft taints outweigh balance, as in the default profile (TaintToleration weight 3 against 1).
_TAINT_WEIGHT = 3.0
_SPREAD_WEIGHT = 2.0
_BALANCE_WEIGHT = 1.0
# In thousandths, as all amounts: the kubelet's default for the most pods on a node.
_USUAL_PODS = 110_000


class Scheduler(Controller[NamedKey]):
    """Binds pods that have no node. Pods that fit nowhere wait for something to change."""

    def __init__(self, store: Store, settings: ControllerSettings, pods: PodIndex) -> None:
        super().__init__(store, settings)
        self._pods = pods
        self._waiting: set[NamedKey] = set()
        # Requests of the pods of a node, until one of them changes.
        self._usage: dict[str, dict[str, int]] = {}

    def subscribe(self) -> None:
        self.watch("pods", self._on_pod)
        self.watch("nodes", self._on_node)

    def _on_pod(self, change: Change) -> None:
        key = named_key(change.new)
        self._usage.pop(node_of(change.new), None)
        if change.action == DELETED or is_finished(change.new):
            self._waiting.discard(key)
            if node_of(change.new):
                self._retry_waiting()
        elif not node_of(change.new) and key not in self._waiting:
            self.enqueue(key)
        elif change.old is not None and node_of(change.new) and not node_of(change.old):
            # A bound pod may be the one that another wants to be near.
            self._retry_waiting()

    def _on_node(self, change: Change) -> None:
        old = change.old
        if old is None or change.action == DELETED or _schedulability(old) != _schedulability(change.new):
            self._retry_waiting()

    def _retry_waiting(self) -> None:
        for key in sorted(self._waiting):
            self.enqueue(key)
        self._waiting.clear()

    def reconcile(self, key: NamedKey) -> None:
        pod = self.store.find("pods", key[1], key[0])
        if pod is None or node_of(pod) or is_finished(pod) or pod["metadata"].get("deletionTimestamp"):
            return
        if pod["spec"].get("schedulerName") != "default-scheduler" or pod["spec"].get("schedulingGates"):
            return
        nodes = self.store.storage.values("nodes")
        view = _View(self.store, nodes, self._pods, pod, self._usage)
        reasons: dict[str, int] = {}
        fitting: list[Obj] = []
        for node in nodes:
            reason = view.refusal(node)
            if reason is None:
                fitting.append(node)
            else:
                reasons[reason] = reasons.get(reason, 0) + 1
        if not fitting:
            self._report_unschedulable(pod, len(nodes), reasons)
            return
        best = min(fitting, key=lambda node: (-view.score(node), name_of(node)))
        bind_pod(self.store, key[0], key[1], name_of(best))

    def _report_unschedulable(self, pod: Obj, count: int, reasons: dict[str, int]) -> None:
        key = named_key(pod)
        self._waiting.add(key)
        listed = ", ".join(f"{number} {reason}" for reason, number in sorted(reasons.items()))
        message = f"0/{count} nodes are available: {listed}." if reasons else "no nodes available to schedule pods"
        condition = {
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
            "lastProbeTime": None,
        }  # fmt: skip
        present = find_condition(pod, "PodScheduled") or {}
        if present.get("message") != message:
            others = [c for c in dig(pod, "status", "conditions") or () if c["type"] != "PodScheduled"]
            stamped = {**condition, "lastTransitionTime": present.get("lastTransitionTime") or now_text()}
            self.store.set_status("pods", key[1], key[0], {"conditions": [*others, stamped]})


def _schedulability(node: Obj) -> tuple[object, ...]:
    """What of a node can make a waiting pod fit."""
    return labels_of(node), node["spec"].get("taints"), node["spec"].get("unschedulable"), allocatable(node)


class _View:
    """One pod's view of all nodes. Built per decision: right first, and fast enough for a lab."""

    def __init__(
        self, store: Store, nodes: list[Obj], pods: PodIndex, pod: Obj, usage: dict[str, dict[str, int]]
    ) -> None:
        self._nodes = nodes
        self._pods = pods
        self._pod = pod
        self._spec = pod["spec"]
        self._requests = pod_requests(pod)
        self._ports = placement.host_ports(pod)
        self._anti_terms = placement.affinity_terms(pod, "podAntiAffinity")
        self._affinity_terms = placement.affinity_terms(pod, "podAffinity")
        self._used = usage
        self._namespaces = {name_of(each): labels_of(each) for each in store.storage.values("namespaces")}
        self._volumes = self._bound_volumes(store)
        self._forbidden = self._forbidden_domains()
        self._company = self._company_domains()
        constraints = placement.spread_constraints(pod)
        keys = {constraint["topologyKey"] for constraint in constraints}
        self._spread = [(c, *self._spread_counts(c, keys)) for c in constraints]
        owner = controller_of(pod)
        self._owner_uid = owner["uid"] if owner else ""

    def refusal(self, node: Obj) -> str | None:
        """Why the pod may not go to a node, in the scheduler's words; None if it may."""
        taint = placement.untolerated(
            self._spec, placement.scheduling_taints(node), (placement.NO_SCHEDULE, placement.NO_EXECUTE)
        )
        if taint is not None:
            if taint["key"] == placement.UNSCHEDULABLE_TAINT["key"]:
                return "node(s) were unschedulable"
            return f"node(s) had untolerated taint(s) {{{taint['key']}: {taint.get('value') or ''}}}"
        if not placement.matches_node_affinity(self._spec, node):
            return "node(s) didn't match Pod's node affinity/selector"
        if self._volumes is None:
            return "persistentvolumeclaim not found"
        if not all(placement.volume_admits(volume, node) for volume in self._volumes):
            return "node(s) had volume node affinity conflict"
        if self._has_port_conflict(node):
            return "node(s) didn't have free ports for the requested pod ports"
        short = self._short_of(node)
        if short:
            return f"Insufficient {short}" if short != "pods" else "Too many pods"
        if any((key, labels_of(node).get(key)) in self._forbidden for key in labels_of(node)):
            return "node(s) didn't match pod anti-affinity rules"
        if not self._affinity_holds(node):
            return "node(s) didn't match pod affinity rules"
        if not all(self._spread_holds(c, counts, low, node) for c, counts, low in self._spread):
            return "node(s) didn't match pod topology spread constraints"
        return None

    # -- resources ---------------------------------------------------------------------------------------------------

    def _running(self, node: Obj) -> list[Obj]:
        return [pod for pod in self._pods.on_node(name_of(node)) if not is_finished(pod)]

    def _usage(self, node: Obj) -> dict[str, int]:
        name = name_of(node)
        if name not in self._used:
            total: dict[str, int] = {}
            for pod in self._running(node):
                for resource, amount in pod_requests(pod).items():
                    total[resource] = total.get(resource, 0) + amount
            self._used[name] = total
        return self._used[name]

    def _short_of(self, node: Obj) -> str:
        room, used = allocatable(node), self._usage(node)
        for resource, amount in self._requests.items():
            if amount and used.get(resource, 0) + amount > room.get(resource, _USUAL_PODS if resource == "pods" else 0):
                return resource
        return ""

    def _has_port_conflict(self, node: Obj) -> bool:
        return bool(self._ports) and any(
            placement.ports_clash(self._ports, placement.host_ports(pod)) for pod in self._running(node)
        )

    def _bound_volumes(self, store: Store) -> list[Obj] | None:
        """Volumes of the pod's claims that are bound; None when a claim is missing or has lost its volume."""
        found = []
        for name in placement.claim_names(self._pod):
            claim = store.find("persistentvolumeclaims", name, self._pod["metadata"]["namespace"])
            if claim is None or dig(claim, "status", "phase") == "Lost":
                return None
            volume = store.find("persistentvolumes", dig(claim, "spec", "volumeName") or "")
            found += [volume] if volume is not None else []
        return found

    # -- affinity and spread -----------------------------------------------------------------------------------------

    def _domain(self, node: Obj, key: str) -> str | None:
        return labels_of(node).get(key)

    def _forbidden_domains(self) -> set[tuple[str, str | None]]:
        """Topology domains closed by anti-affinity: ours against pods there, and theirs against us."""
        closed: set[tuple[str, str | None]] = set()
        for node in self._nodes:
            for other in self._running(node):
                for term in self._anti_terms:
                    if placement.term_selects(term, self._pod, other, self._namespaces):
                        closed.add((term["topologyKey"], self._domain(node, term["topologyKey"])))
                for term in placement.affinity_terms(other, "podAntiAffinity"):
                    if placement.term_selects(term, other, self._pod, self._namespaces):
                        closed.add((term["topologyKey"], self._domain(node, term["topologyKey"])))
        return {(key, value) for key, value in closed if value is not None}

    def _company_domains(self) -> set[tuple[str, str]]:
        """Topology domains that have a pod which all of the pod's affinity terms mean together."""
        found: set[tuple[str, str]] = set()
        if not self._affinity_terms:
            return found
        for node in self._nodes:
            if any(self._is_wanted_company(other) for other in self._running(node)):
                keys = (term["topologyKey"] for term in self._affinity_terms)
                found |= {(key, labels_of(node)[key]) for key in keys if key in labels_of(node)}
        return found

    def _is_wanted_company(self, other: Obj) -> bool:
        return all(placement.term_selects(t, self._pod, other, self._namespaces) for t in self._affinity_terms)

    def _affinity_holds(self, node: Obj) -> bool:
        domains = [(term["topologyKey"], self._domain(node, term["topologyKey"])) for term in self._affinity_terms]
        if any(value is None for _, value in domains):
            return False
        # The first pod of a group that wants to be together may start anywhere.
        return all(d in self._company for d in domains) or (not self._company and self._is_wanted_company(self._pod))

    def _spread_counts(self, constraint: Obj, keys: set[str]) -> tuple[dict[str, int], int]:
        """Pods by domain over the nodes that count, and the least of them; 0 while there are too few domains."""
        counts: dict[str, int] = {}
        for node in self._nodes:
            if not self._counts_node(constraint, keys, node):
                continue
            alike = sum(1 for pod in self._running(node) if placement.counts_for_spread(constraint, self._pod, pod))
            domain = labels_of(node)[constraint["topologyKey"]]
            counts[domain] = counts.get(domain, 0) + alike
        enough = len(counts) >= int(constraint.get("minDomains") or 1)
        return counts, min(counts.values(), default=0) if enough else 0

    def _counts_node(self, constraint: Obj, keys: set[str], node: Obj) -> bool:
        if not keys <= labels_of(node).keys():
            return False
        honor = constraint.get("nodeAffinityPolicy", "Honor") == "Honor"
        if honor and not placement.matches_node_affinity(self._spec, node):
            return False
        if constraint.get("nodeTaintsPolicy", "Ignore") != "Honor":
            return True
        effects = (placement.NO_SCHEDULE, placement.NO_EXECUTE)
        return placement.untolerated(self._spec, placement.scheduling_taints(node), effects) is None

    def _spread_holds(self, constraint: Obj, counts: dict[str, int], low: int, node: Obj) -> bool:
        domain = self._domain(node, constraint["topologyKey"])
        if domain not in counts:
            return False
        itself = int(placement.counts_for_spread(constraint, self._pod, self._pod))
        return counts[domain] + itself - low <= int(constraint.get("maxSkew", 1))

    # -- score -------------------------------------------------------------------------------------------------------

    def score(self, node: Obj) -> float:
        """Higher is better; each part lies between 0 and 1."""
        tolerations = self._spec.get("tolerations") or ()
        soft = [t for t in placement.taints_of(node) if t.get("effect") == placement.PREFER_NO_SCHEDULE]
        repelling = sum(1 for taint in soft if not placement.tolerates(tolerations, taint))
        running = self._running(node)
        siblings = sum(
            1 for pod in running if self._owner_uid and (controller_of(pod) or {}).get("uid") == self._owner_uid
        )
        return (
            _TAINT_WEIGHT / (1 + repelling) + _SPREAD_WEIGHT / (1 + siblings) + _BALANCE_WEIGHT * self._free_share(node)
        )

    def _free_share(self, node: Obj) -> float:
        room, used = allocatable(node), self._usage(node)
        shares = [1 - used.get(name, 0) / room[name] for name in ("cpu", "memory", "pods") if room.get(name)]
        return sum(shares) / len(shares) if shares else 0.0
