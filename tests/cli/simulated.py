"""A small cluster that answers to a rollout as a real one would, and the wiring that puts it under the commands.

Enough for the command line's tests: pods that are evicted come up elsewhere, an agent that is deleted comes back in the
mode its node's label gives, DaemonSet pods come back when our taint goes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Condition, Event
from typing import Any, TextIO

from rollout.adapters.clock import SystemClock
from rollout.adapters.reporter import PlainReporter
from rollout.app.world import Who, World
from rollout.cli.config import Config
from rollout.cli.render.live import LiveRows
from rollout.cli.render.words import entry_line
from rollout.cli.wiring import ClosingReporter, Reach, StateCheck, StateUpgrade
from rollout.domain.errors import NotFound, Refused
from rollout.domain.inventory import AgentInstall, ClusterIdentity, ClusterSnapshot, NodeConfig, Observation
from rollout.domain.node import (
    ANNOTATION_PLAN,
    ANNOTATION_PRIOR,
    ANNOTATION_ROLLOUT,
    LABEL_MODE,
    TAINT_EVACUATE,
    Node,
    OwnerMark,
    Pod,
    PodDisruptionBudget,
    PodRef,
    Taint,
)
from rollout.domain.plan import PlannedNodeConfig
from rollout.ports.cluster import Eviction, EvictionResult, LeaseHeld, NodeView
from rollout.ports.hosts import Host, HostResult, HostRun
from rollout.ports.reporter import Reporter
from tests import builders
from tests.fakes.store import MemoryJournalStore, MemoryState

CLUSTER = "cluster-1"


class SimulatedCluster:
    """Port `Cluster`. Fields are the world's; `stuck` pods can never be evicted."""

    def __init__(self, names: Sequence[str]) -> None:
        self.uid = CLUSTER
        self.nodes = {n: builders.node(n, labels={"pool": "web"}) for n in names}
        self.pods: dict[str, Pod] = {}
        self.modes = dict.fromkeys(names, "veth")
        self.configs: dict[str, NodeConfig] = {}
        self.stuck: set[str] = set()
        self.pod_budgets: tuple[PodDisruptionBudget, ...] = (builders.budget("web"),)
        self.lease: LeaseHeld | None = None
        self.on_evict: Callable[[], None] = lambda: None
        self._version, self._serial = 1, 1
        self._changed = Condition()
        for name in names:
            self._add(builders.agent_pod(name))
            self._add(builders.pod(f"web-{name}", name))
            self._add(builders.daemon_pod(f"logd-{name}", name))

    def _add(self, pod: Pod) -> None:
        self.pods[pod.ref.uid] = pod

    def _bump(self) -> None:
        with self._changed:
            self._version += 1
            self._changed.notify_all()

    def identity(self) -> ClusterIdentity:
        return ClusterIdentity(self.uid, "lab", "https://127.0.0.1:6443", "v1.36.2")

    def collect(self) -> ClusterSnapshot:
        return builders.snapshot(
            tuple(self.nodes.values()),
            tuple(self.pods.values()),
            identity=self.identity(),
            budgets=self.pod_budgets,
            node_configs=self.node_configs(),
        )

    def agent_install(self) -> AgentInstall:
        return builders.agent_install(desired=len(self.nodes), ready=len(self.nodes))

    def node_configs(self) -> tuple[NodeConfig, ...]:
        return tuple(self.configs.values())

    def budgets(self) -> tuple[PodDisruptionBudget, ...]:
        return self.pod_budgets

    def read_node(self, name: str) -> Node:
        if name not in self.nodes:
            raise NotFound("node-not-found", f"cannot read node {name}: there is none")
        return self.nodes[name]

    def view(self, node: str) -> NodeView:
        pods = tuple(p for p in list(self.pods.values()) if p.node == node)
        return NodeView(self._version, self.nodes.get(node), pods)

    def wait_change(self, node: str, version: int, timeout_s: float) -> NodeView:
        with self._changed:
            self._changed.wait_for(lambda: self._version > version, timeout=min(timeout_s, 0.2))
        return self.view(node)

    def out_of_service(self) -> frozenset[str]:
        return frozenset(n.name for n in list(self.nodes.values()) if n.unschedulable or not n.ready)

    def cordon(self, node: str, mark: OwnerMark) -> Node:
        found = self.nodes[node]
        theirs = found.annotations.get(ANNOTATION_ROLLOUT)
        if theirs not in (None, mark.rollout, mark.supersedes):
            raise Refused("not-ours", f"cannot cordon {node}: rollout {theirs} has it")
        prior = json.dumps({"unschedulable": mark.prior_unschedulable})
        notes = {ANNOTATION_ROLLOUT: mark.rollout, ANNOTATION_PLAN: mark.plan, ANNOTATION_PRIOR: prior}
        return self._put(replace(found, unschedulable=True, annotations={**found.annotations, **notes}))

    def uncordon(self, node: str, mark: OwnerMark) -> Node:
        found = self.nodes[node]
        if found.annotations.get(ANNOTATION_ROLLOUT) != mark.rollout:
            raise Refused("not-ours", f"cannot uncordon {node}: the cordon is not ours")
        return self._put(replace(found, unschedulable=mark.prior_unschedulable, annotations={}))

    def add_taint(self, node: str, mark: OwnerMark) -> Node:
        for pod in [p for p in list(self.pods.values()) if p.node == node and p.owner_name == "logd"]:
            del self.pods[pod.ref.uid]
        return self._put(replace(self.nodes[node], taints=(Taint(TAINT_EVACUATE, mark.rollout, "NoExecute"),)))

    def remove_taint(self, node: str, mark: OwnerMark) -> Node:
        if not any(p.node == node and p.owner_name == "logd" for p in list(self.pods.values())):
            self._add(builders.daemon_pod(f"logd-{node}", node, uid=self._uid()))
        return self._put(replace(self.nodes[node], taints=()))

    def assign_mode(self, node: str, value: str) -> Node:
        found = self.nodes[node]
        labels = {k: v for k, v in found.labels.items() if k != LABEL_MODE} | ({LABEL_MODE: value} if value else {})
        return self._put(replace(found, labels=labels))

    def _put(self, node: Node) -> Node:
        self.nodes[node.name] = node
        self._bump()
        return node

    def _uid(self) -> str:
        self._serial += 1
        return f"uid-{self._serial}"

    def ensure_node_config(self, wanted: PlannedNodeConfig) -> None:
        labels = {LABEL_MODE: wanted.label_value}
        self.configs[wanted.name] = builders.node_config(wanted.name, wanted.defaults, match_labels=labels)

    def delete_node_config(self, wanted: PlannedNodeConfig) -> None:
        self.configs.pop(wanted.name, None)

    def evict(self, pod: PodRef, grace_s: int | None = None) -> Eviction:
        self.on_evict()
        if str(pod) in self.stuck:
            return Eviction(EvictionResult.IMPOSSIBLE, "This pod has more than one PodDisruptionBudget")
        found = self.pods.pop(pod.uid, None)
        if found is None:
            return Eviction(EvictionResult.GONE)
        goes_to = next(n.name for n in self.nodes.values() if not n.unschedulable)
        self._add(replace(found, ref=replace(found.ref, uid=self._uid()), node=goes_to))
        self._bump()
        return Eviction(EvictionResult.ACCEPTED)

    def delete_pod(self, pod: PodRef, grace_s: int | None = None) -> bool:
        found = self.pods.pop(pod.uid, None)
        if found is None:
            return False
        if found.owner_name == "cilium":
            self.modes[found.node] = self.nodes[found.node].labels.get(LABEL_MODE) or "veth"
            self._add(builders.agent_pod(found.node, uid=self._uid()))
        self._bump()
        return True

    def agent_pod(self, node: str) -> Pod | None:
        return next((p for p in self.pods.values() if p.node == node and p.owner_name == "cilium"), None)

    def pod_log(self, pod: PodRef, container: str, *, previous: bool, tail_lines: int = 200) -> str:
        return ""

    def take_lease(self, holder: str, duration_s: int, takeover: Callable[[str], bool]) -> LeaseHeld:
        fencing = self.lease.fencing + 1 if self.lease else 1
        self.lease = LeaseHeld(holder, fencing, SystemClock().now(), duration_s)
        return self.lease

    def renew_lease(self, holder: str, fencing: int) -> LeaseHeld:
        assert self.lease is not None
        self.lease = replace(self.lease, renewed=SystemClock().now())
        return self.lease

    def release_lease(self, holder: str, fencing: int) -> None:
        pass

    def record_event(self, node: str, reason: str, message: str) -> None:
        pass

    def request_counts(self) -> Mapping[str, int]:
        return {}

    def close(self) -> None:
        pass


class WillingHosts:
    """Port `Hosts`: every playbook succeeds."""

    def act(
        self, playbook: str, host: Host, variables: Mapping[str, Any], *, wall_s: int, cancel: Event | None = None
    ) -> HostRun:
        return HostRun(host.node, HostResult.SUCCEEDED)

    def read(
        self,
        playbook: str,
        hosts: tuple[Host, ...],
        variables: Mapping[str, Any],
        *,
        wall_s: int,
        cancel: Event | None = None,
    ) -> Mapping[str, HostRun]:
        return {host.node: HostRun(host.node, HostResult.SUCCEEDED) for host in hosts}

    def playbook_digests(self) -> Mapping[str, str]:
        return {"reconfigure-agent.yml": "a" * 64}

    def hooks(self) -> Mapping[str, tuple[str, bool]]:
        return {"after-node": ("b" * 64, True), "before-node": ("c" * 64, True)}


@dataclass
class SimulatedObserver:
    """Port `Observer`: sees the mode that the simulated agent runs in. Nodes in `blind` cannot be read."""

    cluster: SimulatedCluster
    blind: set[str] = field(default_factory=set)

    def observe(
        self, hosts: Sequence[Host], probes: Sequence[str], *, wall_s: int, cancel: Event | None = None
    ) -> Mapping[str, Mapping[str, Observation]]:
        return {host.node: self._one(host.node, probes) for host in hosts}

    def _one(self, node: str, probes: Sequence[str]) -> dict[str, Observation]:
        now = SystemClock().now()
        if node in self.blind:
            return {p: Observation(node, p, now, error="connection refused; is sshd running?") for p in probes}
        found = builders.seen(node, self.cluster.modes[node])
        return {p: replace(found[p], at=now) for p in probes}


class SimulatedWiring:
    """`Wiring` over one simulated cluster and one state in memory."""

    def __init__(self, names: Sequence[str] = ("n1", "n2", "n3")) -> None:
        self.cluster = SimulatedCluster(names)
        self.observer = SimulatedObserver(self.cluster)
        self.state = MemoryState()
        self.clock = SystemClock()
        self.dead: set[int] = set()
        self.opened: list[Reach] = []
        self.acting = Who("ann", "ops-1", 4242)
        self.later: datetime | None = None

    @contextmanager
    def world(self, config: Config, reach: Reach, reporter: Reporter, *, create_state: bool = False) -> Iterator[World]:
        self.opened.append(reach)
        yield World(
            cluster=self.cluster,
            hosts=WillingHosts(),
            observer=self.observer,
            store=MemoryJournalStore(self.state),
            clock=_Clock(self.later) if self.later else self.clock,
            reporter=reporter,
            who=self.acting,
        )

    def reporter(self, stream: TextIO, rows: LiveRows | None) -> ClosingReporter:
        return PlainReporter(stream, entry_line)

    def now(self) -> datetime:
        return self.later or self.clock.now()

    def who(self) -> Who:
        return self.acting

    def alive(self, pid: int) -> bool:
        return pid not in self.dead

    def upgrade_state(self, config: Config) -> StateUpgrade:
        return StateUpgrade("", "0001", None)

    def check_state(self, config: Config) -> StateCheck:
        return StateCheck("0001", "0001", True, (), ())

    @contextmanager
    def export_state(self, config: Config) -> Iterator[Iterator[str]]:
        yield iter(('{"kind": "end", "lines": 0}',))


@dataclass(frozen=True)
class _Clock:
    """A clock that stands still, for what happens after an approval has expired."""

    at: datetime

    def now(self) -> datetime:
        return self.at

    def wait(self, seconds: float, cancel: Event | None = None) -> bool:
        return (cancel or Event()).wait(min(seconds, 0.01))
