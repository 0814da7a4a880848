"""The port `Cluster` in memory, over the rules of `tests.fakes.cluster_rules`.

Every method first plays what has come due. `wait_change` moves the clock to the next thing on the agenda, so a whole
rollout takes no real time with a clock whose `wait` only moves its hands. `hook` sees every call, before and after, and
may raise: after, the effect has happened and only its answer is lost.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from rollout.domain.errors import Conflict, Invalid, NotFound, Refused
from rollout.domain.fleet import OtherObject, VolumeClaim, Workload
from rollout.domain.inventory import AgentInstall, ClusterIdentity, ClusterSnapshot, NodeConfig
from rollout.domain.node import (
    ANNOTATION_PLAN,
    ANNOTATION_PRIOR,
    ANNOTATION_ROLLOUT,
    LABEL_MODE,
    TAINT_EVACUATE,
    TAINT_WAITING,
    Node,
    OwnerMark,
    Pod,
    PodDisruptionBudget,
    PodRef,
    Taint,
    is_object_name,
)
from rollout.domain.plan import PlannedNodeConfig
from rollout.ports.cluster import Eviction, EvictionResult, LeaseHeld, NodeView
from tests.fakes.cluster_rules import ClusterRules, Delays, Key

__all__ = ["Delays", "FakeCluster"]

P = ParamSpec("P")
R = TypeVar("R")
Hook = Callable[[str, str, tuple[Any, ...]], None]
"""Called with "before" or "after", the method's name and its positional arguments. What it raises is what the caller
gets; raised after, the effect has happened and only its answer is lost."""

AGENT_CONTAINER = "cilium-agent"
_LABEL_VALUE_END = 63


def _port(method: Callable[Concatenate[FakeCluster, P], R]) -> Callable[Concatenate[FakeCluster, P], R]:
    """A method of the port: counted, hooked, and played in a world that is up to date."""

    @functools.wraps(method)
    def played(self: FakeCluster, *args: P.args, **kwargs: P.kwargs) -> R:
        name = method.__name__
        with self._lock:
            self._counts[name] += 1
            self.hook("before", name, args)
            self.play()
            result = method(self, *args, **kwargs)
            self.hook("after", name, args)
            return result

    return cast("Callable[Concatenate[FakeCluster, P], R]", played)


@dataclass(frozen=True)
class Lease:
    """The cluster's lease."""

    holder: str = ""
    fencing: int = 0
    renewed: datetime | None = None
    duration_s: int = 0


@dataclass
class FakeCluster(ClusterRules):
    """See the module."""

    hook: Hook = lambda _when, _method, _args: None
    events: list[tuple[str, str, str]] = field(default_factory=list)
    workloads: tuple[Workload, ...] = ()
    claims: tuple[VolumeClaim, ...] = ()
    namespaces: dict[str, Mapping[str, str]] = field(default_factory=dict)
    other: tuple[OtherObject, ...] = ()
    api_groups: frozenset[str] = frozenset({"apps", "batch", "cilium.io", "policy"})
    unreadable: dict[str, str] = field(default_factory=dict)
    """Kinds that this caller may not list, with why: a snapshot has none of them, and says so."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._counts: Counter[str] = Counter()
        self._lease = Lease()
        self._ours: set[Key] = set()

    # -- the port: reading -------------------------------------------------------------------------------------------

    @_port
    def identity(self) -> ClusterIdentity:
        """Which cluster this is."""
        return ClusterIdentity(self.uid, "fake", "https://fake.invalid", "v1.36.2")

    @_port
    def collect(self) -> ClusterSnapshot:
        """Everything planning needs."""
        owners = Counter(self.nodes[p.node].internal_ip for p in self.pods.values() if p.ref.uid in self.links)
        return ClusterSnapshot(
            identity=ClusterIdentity(self.uid, "fake", "https://fake.invalid", "v1.36.2"),
            taken_at=self.clock.now(),
            nodes=tuple(self.nodes.values()),
            pods=tuple(self.pods.values()),
            daemonsets=tuple(self._counted(d) for d in self.daemonsets.values()),
            budgets=self._current_budgets(),
            agent=self.agent,
            node_configs=self._node_configs() if self.agent else (),
            node_config_version="v2",
            endpoint_owners=dict(sorted(owners.items())) if self._readable("CiliumEndpoint") else {},
            workloads=tuple(w for w in self.workloads if self._readable(w.kind)),
            claims=self.claims if self._readable("PersistentVolumeClaim") else (),
            namespaces=dict(sorted(self.namespaces.items())) if self._readable("Namespace") else {},
            other=tuple(o for o in self.other if self._readable(o.kind)),
            api_groups=self.api_groups,
            unreadable=dict(sorted(self.unreadable.items())),
            requests={"list nodes": 1, "list pods": 1},
        )

    def _readable(self, kind: str) -> bool:
        return kind not in self.unreadable

    @_port
    def agent_install(self) -> AgentInstall:
        """How the agent is installed."""
        return self._install()

    def _install(self) -> AgentInstall:
        if self.agent is None:
            raise NotFound("no-agent", "cannot find Cilium: no DaemonSet is labelled k8s-app=cilium")
        return self.agent

    @_port
    def node_configs(self) -> tuple[NodeConfig, ...]:
        """All CiliumNodeConfigs in the agent's namespace."""
        return self._node_configs()

    def _node_configs(self) -> tuple[NodeConfig, ...]:
        namespace = self._install().namespace
        return tuple(c for _, c in sorted(self.configs.items()) if c.namespace == namespace)

    @_port
    def budgets(self) -> tuple[PodDisruptionBudget, ...]:
        """All budgets, as their controller sees them now."""
        return self._current_budgets()

    def _current_budgets(self) -> tuple[PodDisruptionBudget, ...]:
        return tuple(self._judge_budget(b) for b in self._budgets.values())

    @_port
    def read_node(self, name: str) -> Node:
        """A fresh read."""
        return self._node(name)

    def _node(self, name: str) -> Node:
        if not is_object_name(name):
            raise Invalid("bad-name", f"cannot address nodes {name!r}: that is not a Kubernetes object name")
        if name not in self.nodes:
            raise NotFound("not-found", f"cannot get nodes {name}: it does not exist")
        return self.nodes[name]

    @_port
    def view(self, node: str) -> NodeView:
        """The present: this fake's watch never lags."""
        return self._view(node)

    def _view(self, node: str) -> NodeView:
        return NodeView(self._versions.get(node, 0), self.nodes.get(node), self.pods_on(node))

    def wait_change(self, node: str, version: int, timeout_s: float) -> NodeView:
        """Move the clock from one thing on the agenda to the next until the view is newer."""
        args = (node, version, timeout_s)
        self.hook("before", "wait_change", args)
        until = self.clock.now() + timedelta(seconds=timeout_s)
        while True:
            with self._lock:
                self.play()
                view, now = self._view(node), self.clock.now()
                due = min(self._agenda[0][0], until) if self._agenda else until
            if view.version > version or now >= until:
                break
            self.clock.wait((due - now).total_seconds())
            if self.clock.now() == now:
                # A clock that stands still: others move it.
                break
        self.hook("after", "wait_change", args)
        return view

    @_port
    def out_of_service(self) -> frozenset[str]:
        """Nodes that are unschedulable or not Ready."""
        return frozenset(n.name for n in self.nodes.values() if n.unschedulable or n.ready is not True)

    @_port
    def in_service(self) -> tuple[Node, ...]:
        """Nodes that are Ready and schedulable."""
        fit = (n for n in self.nodes.values() if not n.unschedulable and n.ready is True)
        return tuple(sorted(fit, key=lambda n: n.name))

    # -- the port: nodes ---------------------------------------------------------------------------------------------

    @_port
    def cordon(self, node: str, mark: OwnerMark) -> Node:
        """Unschedulable, with our mark."""
        found = self._node(node)
        owner = found.annotations.get(ANNOTATION_ROLLOUT, "")
        if owner == mark.rollout:
            return found
        if owner and owner != mark.supersedes:
            raise _not_ours(f"cannot cordon node {node}: rollout {owner} has marked it")
        prior = found.annotations.get(ANNOTATION_PRIOR) or json.dumps(
            {"unschedulable": found.unschedulable or mark.prior_unschedulable}
        )
        ours = {ANNOTATION_ROLLOUT: mark.rollout, ANNOTATION_PLAN: mark.plan, ANNOTATION_PRIOR: prior}
        own = (mark.rollout, mark.supersedes or mark.rollout)
        taints = tuple(t for t in found.taints if t.key != TAINT_WAITING or t.value not in own)
        return self.change_node(node, unschedulable=True, annotations={**found.annotations, **ours}, taints=taints)

    @_port
    def uncordon(self, node: str, mark: OwnerMark) -> Node:
        """Our cordon away."""
        found = self._node(node)
        owner = found.annotations.get(ANNOTATION_ROLLOUT, "")
        if not owner or owner not in (mark.rollout, mark.supersedes):
            raise _not_ours(f"cannot uncordon node {node}: it does not carry our mark")
        prior = json.loads(found.annotations[ANNOTATION_PRIOR])["unschedulable"]
        ours = (ANNOTATION_ROLLOUT, ANNOTATION_PLAN, ANNOTATION_PRIOR)
        rest = {key: value for key, value in found.annotations.items() if key not in ours}
        return self.change_node(node, unschedulable=found.unschedulable and prior, annotations=rest)

    @_port
    def add_taint(self, node: str, mark: OwnerMark) -> Node:
        """Our NoExecute taint."""
        found, rest = self._without_our_taint(node, mark)
        ours = Taint(TAINT_EVACUATE, mark.rollout, "NoExecute")
        return found if ours in found.taints else self.change_node(node, taints=(*rest, ours))

    @_port
    def remove_taint(self, node: str, mark: OwnerMark) -> Node:
        """Our taint away; DaemonSet pods come back."""
        found, rest = self._without_our_taint(node, mark)
        return found if rest == found.taints else self.change_node(node, taints=rest)

    @_port
    def waiting(self) -> Mapping[str, str]:
        """Nodes that carry our PreferNoSchedule taint."""
        found = ((n.name, t.value) for n in self.nodes.values() for t in n.taints if t.key == TAINT_WAITING)
        return dict(sorted(found))

    @_port
    def add_waiting(self, node: str, mark: OwnerMark) -> Node:
        """Our PreferNoSchedule taint."""
        found, rest = self._without_our_taint(node, mark, TAINT_WAITING)
        ours = Taint(TAINT_WAITING, mark.rollout, "PreferNoSchedule")
        return found if ours in found.taints else self.change_node(node, taints=(*rest, ours))

    @_port
    def remove_waiting(self, node: str, mark: OwnerMark) -> Node:
        """That taint away."""
        found, rest = self._without_our_taint(node, mark, TAINT_WAITING)
        return found if rest == found.taints else self.change_node(node, taints=rest)

    def _without_our_taint(
        self, name: str, mark: OwnerMark, key: str = TAINT_EVACUATE
    ) -> tuple[Node, tuple[Taint, ...]]:
        node = self._node(name)
        for taint in node.taints:
            if taint.key == key and taint.value not in (mark.rollout, mark.supersedes or mark.rollout):
                raise _not_ours(f"cannot change the taint of node {name}: it is rollout {taint.value}'s")
        return node, tuple(t for t in node.taints if t.key != key)

    @_port
    def assign_mode(self, node: str, value: str) -> Node:
        """Our label."""
        found = self._node(node)
        if value and (not value.replace("-", "").replace(".", "").isalnum() or len(value) > _LABEL_VALUE_END):
            raise Invalid("invalid", f"cannot patch nodes {node}: {value!r} is no label value")
        if found.labels.get(LABEL_MODE, "") == value:
            return found
        rest = {key: old for key, old in found.labels.items() if key != LABEL_MODE}
        return self.change_node(node, labels=rest | ({LABEL_MODE: value} if value else {}))

    # -- the port: CiliumNodeConfigs ---------------------------------------------------------------------------------

    @_port
    def ensure_node_config(self, wanted: PlannedNodeConfig) -> None:
        """Ours exists."""
        if not wanted.label_value:
            raise Invalid("empty-selector", f"cannot create CiliumNodeConfig {wanted.name}: it would select every node")
        key = (wanted.namespace, wanted.name)
        fresh = NodeConfig(
            *key,
            uid=f"uid-config-{self._next_number()}",
            has_selector=True,
            match_expressions=(),
            match_labels={LABEL_MODE: wanted.label_value},
            defaults=dict(wanted.defaults),
        )
        found = self.configs.get(key)
        if found is None:
            self.configs[key] = fresh
            self._ours.add(key)
        elif replace(found, uid=fresh.uid) != fresh:
            raise Conflict("node-config-differs", f"cannot use CiliumNodeConfig {wanted.name}: it says something else")

    @_port
    def delete_node_config(self, wanted: PlannedNodeConfig) -> None:
        """Ours is gone."""
        key = (wanted.namespace, wanted.name)
        if key not in self.configs:
            return
        if key not in self._ours or self.configs[key].match_labels != {LABEL_MODE: wanted.label_value}:
            raise _not_ours(f"cannot delete CiliumNodeConfig {wanted.name}: we did not create this one")
        users = sorted(n.name for n in self.nodes.values() if n.labels.get(LABEL_MODE) == wanted.label_value)
        if users:
            text = f"cannot delete CiliumNodeConfig {wanted.name}: nodes carry its label value: {', '.join(users)}"
            raise Refused("node-config-in-use", text)
        del self.configs[key]
        self._ours.discard(key)

    # -- the port: pods ----------------------------------------------------------------------------------------------

    @_port
    def evict(self, pod: PodRef, grace_s: int | None = None) -> Eviction:
        """As the eviction API decides it."""
        found = self._incarnation(pod)
        if found is None:
            return Eviction(EvictionResult.GONE, f'pods "{pod.name}" not found')
        refusal = None if found.terminating or found.finished or found.phase == "Pending" else self._refusal(found)
        if refusal is None:
            self._end(found, grace_s)
        return refusal or Eviction(EvictionResult.ACCEPTED)

    @_port
    def delete_pod(self, pod: PodRef, grace_s: int | None = None) -> bool:
        """Delete this incarnation."""
        found = self._incarnation(pod)
        if found is not None:
            self._end(found, grace_s)
        return found is not None

    @_port
    def agent_pod(self, node: str) -> Pod | None:
        """The newest agent pod on a node."""
        self._install()
        own = [pod for pod in self.pods_on(node) if self._is_agent(pod)]
        return own[-1] if own else None

    @_port
    def pod_log(self, pod: PodRef, container: str, *, previous: bool, tail_lines: int = 200) -> str:
        """What an agent's last incarnation said when it refused."""
        text = self._logs.get(pod.uid, "") if previous and container == AGENT_CONTAINER else ""
        return "\n".join(text.splitlines()[-tail_lines:])

    # -- the port: lease ---------------------------------------------------------------------------------------------

    @_port
    def take_lease(self, holder: str, duration_s: int, takeover: Callable[[str], bool]) -> LeaseHeld:
        """Take the lease."""
        now, found = self.clock.now(), self._lease
        if found.holder and found.holder != holder and found.renewed is not None:
            age = now - found.renewed
            if age <= timedelta(seconds=found.duration_s) and not takeover(found.holder):
                seconds = int(age.total_seconds())
                text = f"cannot start: {found.holder} holds this cluster's lease, renewed {seconds} s ago"
                raise Refused("lease-held", text)
        return self._hold(Lease(holder, found.fencing + 1, now, duration_s))

    @_port
    def renew_lease(self, holder: str, fencing: int) -> LeaseHeld:
        """Renew it."""
        if (self._lease.holder, self._lease.fencing) != (holder, fencing):
            raise Refused("lease-lost", f"cannot go on: this cluster's lease is {self._lease.holder or 'nobody'}'s")
        return self._hold(replace(self._lease, renewed=self.clock.now()))

    @_port
    def release_lease(self, holder: str, fencing: int) -> None:
        """Give it up."""
        if (self._lease.holder, self._lease.fencing) == (holder, fencing):
            self._lease = Lease(fencing=fencing)

    def _hold(self, lease: Lease) -> LeaseHeld:
        self._lease = lease
        assert lease.renewed is not None
        return LeaseHeld(lease.holder, lease.fencing, lease.renewed, lease.duration_s)

    # -- the port: the rest ------------------------------------------------------------------------------------------

    @_port
    def record_event(self, node: str, reason: str, message: str) -> None:
        """Kept for tests to read."""
        self.events.append((node, reason, message))

    def request_counts(self) -> Mapping[str, int]:
        """Calls by method."""
        with self._lock:
            return dict(self._counts)

    def close(self) -> None:
        """Nothing to close."""


def _not_ours(message: str) -> Refused:
    return Refused("not-ours", message)
