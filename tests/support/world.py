"""A whole world in memory: a cluster with two or more nodes, and everything a use case is given."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Event, RLock, current_thread
from typing import Any

from rollout.app.apply import Application
from rollout.app.approve import approve
from rollout.app.journal import load
from rollout.app.make_plan import PlanResult, plan_rollout
from rollout.app.world import Who, World
from rollout.domain.inventory import Observation
from rollout.domain.journal import Entry, RolloutState
from rollout.domain.lifecycle import NodePhase
from rollout.domain.node import TAINT_WAITING, DaemonSet, DatapathMode, Toleration
from rollout.domain.policy import Policy
from rollout.domain.step import StepKind
from rollout.ports.hosts import Host, HostResult, HostRun
from tests.builders import AGENT_UID, NOW, agent_install, budget, node, pod
from tests.fakes.cluster import FakeCluster
from tests.fakes.hosts import FakeHosts, succeeded
from tests.fakes.observer import (
    FakeObserver,
    agent_document,
    capability_document,
    counters_document,
    drops_document,
    host_document,
    links_document,
    path_document,
    policy_document,
    programs_document,
    reach_document,
    tcp_document,
)
from tests.fakes.probes import FakeProbes
from tests.fakes.signals import FakeSignals
from tests.fakes.signatures import FakeSignatures
from tests.fakes.store import MemoryJournalStore, MemoryState

KIND = {"veth": "veth", "netkit": "netkit/l3", "netkit-l2": "netkit/l2"}

BATCH = {"job": "batch"}
"""What the second budget matches: no pod, until one is made to stick."""

FASTER = 50
"""How much faster the clock runs than real time, where a program waits for something else than the clock."""


class HandClock:
    """Waiting moves the hands, and they run fast by themselves. Only the thread that keeps the lease really waits.

    With `faster` 0 nothing but waiting moves them: one node after the other, without soaks, takes equal times.
    """

    def __init__(self, faster: int = FASTER) -> None:
        self._faster = faster
        self._base = NOW
        self._began = time.monotonic()
        self._lock = RLock()

    def now(self) -> datetime:
        with self._lock:
            return self._base + timedelta(seconds=(time.monotonic() - self._began) * self._faster)

    def wait(self, seconds: float, cancel: Event | None = None) -> bool:
        if current_thread().name == "lease":
            assert cancel is not None
            return cancel.wait(0.01)
        with self._lock:
            self._base += timedelta(seconds=max(seconds, 0.001))
        return bool(cancel and cancel.is_set())


class QuietReporter:
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.seen: list[Entry] = []
        self.notes: list[str] = []

    def entries(self, entries: tuple[Entry, ...], state: RolloutState) -> None:
        self.seen += entries

    def note(self, message: str) -> None:
        self.notes.append(message)


class Model:
    """The world that outlives every process: cluster, machines, state file. Nodes in `blind` cannot be observed."""

    def __init__(
        self, names: tuple[str, ...] = ("n1", "n2"), replicas: int = 4, clock: HandClock | None = None
    ) -> None:
        self.clock = clock or HandClock()
        self.state = MemoryState()
        self.cluster = FakeCluster(clock=self.clock)
        self.cluster.agent = agent_install(desired=len(names), ready=len(names))
        self.cluster.add_daemonset(
            DaemonSet("kube-system", "cilium", AGENT_UID, False, len(names), len(names), (Toleration("", "Exists"),))
        )
        for name in names:
            self.cluster.add_node(node(name, internal_ip=f"10.0.0.{name[1:]}"))
        self.settle()
        self.cluster.add_daemonset(DaemonSet("default", "logd", "ds-logd", True, len(names), len(names)))
        for number in range(replicas):
            self.cluster.add_pod(pod(f"web-{number}", names[number % len(names)]))
        self.cluster.add_budget(budget("web", expected_pods=replicas))
        self.cluster.add_budget(budget("batch", match_labels=BATCH, expected_pods=0))
        self.settle()
        self.reboots: list[str] = []
        self.blind: set[str] = set()
        self.hosts = FakeHosts(
            playbooks={
                "reconfigure-agent.yml": self._prepare,
                "reboot-node.yml": self._reboot,
                "observe-node.yml": succeeded(),
            }
        )
        self.observer = FakeObserver(self.clock, self._document)
        self.probes = FakeProbes(self.cluster)
        self.signals = FakeSignals()
        self.signatures = FakeSignatures()

    def settle(self, seconds: float = 60) -> None:
        """Let everything that is under way come to its end."""
        for _ in range(60):
            self.clock.wait(seconds / 60)
            self.cluster.play()

    def stick(self, name: str) -> None:
        """A person labels a pod so that a second budget matches it, and it can never be evicted."""
        found = self.cluster.pods["default", name]
        self.cluster.add_pod(replace(found, labels={**found.labels, **BATCH}))

    def loosen(self) -> None:
        """The label is taken from all pods again."""
        for each in list(self.cluster.pods.values()):
            if BATCH.items() <= each.labels.items():
                labels = {key: value for key, value in each.labels.items() if key not in BATCH}
                self.cluster.add_pod(replace(each, labels=labels))

    def world(self, **more: Any) -> World:
        """What one process is given."""
        values: dict[str, Any] = {
            "cluster": self.cluster,
            "hosts": self.hosts,
            "observer": self.observer,
            "probes": self.probes,
            "signals": self.signals,
            "signatures": self.signatures,
            "store": MemoryJournalStore(self.state),
            "clock": self.clock,
            "reporter": QuietReporter(),
            "who": Who("ann", "bastion", 1),
        }
        return World(**(values | more))

    def planned(self, policy: Policy | None = None) -> PlanResult:
        """A saved and approved plan."""
        made = plan_rollout(self.world(), policy or quick())
        approve(self.world(), made.record.id, by="bob", ticket="T-1", valid=timedelta(days=30))
        return made

    def apply(self, policy: Policy | None = None) -> RolloutState:
        """Plan, approve and apply to the end."""
        return Application(self.world(), self.planned(policy).record.id).start()

    def kinds(self) -> dict[str, set[str]]:
        """Modes of the links on each node."""
        self.settle()
        found: dict[str, set[str]] = {name: set() for name in self.cluster.nodes}
        for each in self.cluster.pods.values():
            if each.ref.uid in self.cluster.links:
                found[each.node].add(self.cluster.links[each.ref.uid])
        return found

    def _waits(self, name: str, rollout: str) -> bool:
        """Whether a node was not cordoned yet in a rollout that has not ended: it waits for its turn, or was held."""
        state = load(MemoryJournalStore(self.state), rollout)[1]
        node = state.node(name)
        untouched = not any(step is StepKind.CORDON for _, step in node.befores)
        return state.ended is None and node.phase in (NodePhase.PENDING, NodePhase.HELD) and untouched

    def leftovers(self) -> list[str]:
        """What nodes still carry of ours, and should not."""
        found = []
        for each in self.cluster.nodes.values():
            found += [f"{each.name} is cordoned"] if each.unschedulable else []
            marks = [t for t in each.taints if t.key != TAINT_WAITING or not self._waits(each.name, t.value)]
            found += [f"{each.name} has {t.key}" for t in marks]
            found += [f"{each.name} has {key}" for key in each.annotations if key.startswith("netkit-rollout.io/")]
        self.settle()
        return found + [f"pod {each.ref} is left" for each in self.cluster.pods.values() if each.is_probe]

    # --- machines ----------------------------------------------------------------------------------------------

    def _links(self, name: str) -> list[tuple[str, str]]:
        mode = self.cluster.modes.get(name)
        links = [
            (f"lxc{each.ref.name}", KIND[self.cluster.links[each.ref.uid]])
            for each in self.cluster.pods.values()
            if each.node == name and each.ref.uid in self.cluster.links
        ]
        return [*links, ("lxc_health", KIND[mode])] if mode else links

    def _document(self, name: str, probe: str) -> Mapping[str, Any] | str:
        self.cluster.play()
        if name in self.blind:
            return "connection refused; is sshd running?"
        if probe == "links":
            return links_document(*self._links(name), boot_id=self.cluster.nodes[name].boot_id)
        if probe == "capability":
            return capability_document("netkit", "netkit-l2")
        if probe != "agent":
            return self._on_the_wire(name, probe)
        mode = self.cluster.modes.get(name)
        if mode is None:
            return {"schema": 1, "probe": "agent", "agent": "down", "reason": "no socket"}
        told: dict[str, Any] = {
            "masquerading-mode": "BPF",
            "kube-proxy-replacement-mode": "True",
            "encryption-mode": "Disabled",
            "cni-chaining-mode": "none",
            "settings": {"EnableBPFTProxy": False, "EnableEndpointRoutes": False, "DatapathMode": mode},
        }
        return agent_document(mode, **told)

    def _on_the_wire(self, name: str, probe: str) -> Mapping[str, Any]:
        links, inputs = self._links(name), self.observer.told.get(name, {})
        made: dict[str, Callable[[], Mapping[str, Any]]] = {
            "programs": lambda: programs_document(*links),
            "counters": lambda: counters_document(*links),
            "reach": lambda: reach_document(inputs),
            "policy": lambda: policy_document(inputs),
            "path": lambda: path_document(*links),
            "drops": drops_document,
            "host": host_document,
            "tcp": tcp_document,
        }
        return made[probe]()

    def _prepare(self, host: Host, variables: Mapping[str, Any]) -> HostRun:
        self.cluster.play()
        wanted = KIND[variables["target"]]
        left = [n for n, kind in self._links(host.node) if n != "lxc_health" and kind != wanted]
        if len(left) > variables["allowed_count"]:
            return HostRun(host.node, HostResult.FAILED, f"left: {left}", "", "node-not-empty")
        return HostRun(host.node, HostResult.SUCCEEDED)

    def _reboot(self, host: Host, variables: Mapping[str, Any]) -> HostRun:
        node_now = self.cluster.nodes[host.node]
        if node_now.boot_id == variables["boot_id"]:
            self.reboots.append(host.node)
            self.cluster.reboot(host.node, f"{node_now.boot_id}+")
        return HostRun(host.node, HostResult.SUCCEEDED)


def quick(target: DatapathMode = DatapathMode.NETKIT, **more: Any) -> Policy:
    """A policy without long waits."""
    return Policy(target=target, **({"soak_fenced_s": 2, "soak_loaded_s": 2} | more))


def observations(model: Model, name: str) -> dict[str, Observation]:
    """What the observer would return now."""
    seen = model.observer.observe([Host(name, "")], ("links", "agent"), wall_s=10)
    return dict(seen[name])
