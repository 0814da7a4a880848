"""A cluster in memory whose controllers are simple rules. `tests.fakes.cluster` puts the port `Cluster` in front.

Time is the injected clock's: what takes its time (a pod's end, an agent's start) is put on an agenda, and `play` lets
happen what has come due. Equal calls at equal times give equal worlds: names and UIDs are counted, never drawn.

The rules, as seen on a real cluster:
- a pod that is evicted or deleted ends after `Delays.end`. A ReplicaSet replaces it at once under a new name where the
  scheduler puts it; a StatefulSet when it has ended, under its own; a DaemonSet on the same node, unless a taint keeps
  it away; a pod without controller never comes back;
- a NoExecute taint makes the pods go that do not tolerate it;
- a pod's link has the mode in which the agent of its node runs when the link is made; while no agent is up, it waits;
- an agent pod starts in the mode that ConfigMap, CiliumNodeConfigs and labels give at its creation, but refuses and
  crashes again and again while a pod of another mode is left on its node.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from threading import RLock
from typing import Any

from rollout.domain.inventory import AgentInstall, NodeConfig, effective_config
from rollout.domain.node import DaemonSet, Node, Pod, PodDisruptionBudget, PodRef, Toleration
from rollout.ports.clock import Clock
from rollout.ports.cluster import Eviction, EvictionResult

EVERYTHING = Toleration("", "Exists")
Key = tuple[str, str]


@dataclass(frozen=True)
class Delays:
    """How long things take, in seconds."""

    end: float = 2.0
    start: float = 1.0
    agent_start: float = 5.0
    refusal: float = 20.0
    """From an agent's start to its fatal line, and again before the next try."""
    kubelet: float = 0.0
    """From a node's new boot to the kubelet's word about the agent's pod: until then it looks as before."""


@dataclass
class ClusterRules:
    """See the module."""

    clock: Clock
    delays: Delays = field(default_factory=Delays)
    uid: str = "cluster-1"
    nodes: dict[str, Node] = field(default_factory=dict)
    pods: dict[Key, Pod] = field(default_factory=dict)
    daemonsets: dict[Key, DaemonSet] = field(default_factory=dict)
    configs: dict[Key, NodeConfig] = field(default_factory=dict)
    agent: AgentInstall | None = None
    links: dict[str, str] = field(default_factory=dict)
    """Mode of each pod's link, by the pod's UID; missing while it has none."""
    modes: dict[str, str] = field(default_factory=dict)
    """Mode in which the agent of each node runs; missing while none does."""

    def __post_init__(self) -> None:
        self._lock = RLock()
        self._budgets: dict[Key, PodDisruptionBudget] = {}
        self._logs: dict[str, str] = {}
        self._told: dict[str, str] = {}
        self._agenda: list[tuple[datetime, int, Callable[[], None]]] = []
        self._number = 0
        self._versions: dict[str, int] = {}

    # -- making the world --------------------------------------------------------------------------------------------

    def add_node(self, node: Node) -> Node:
        """A node joins; DaemonSets, the agent's included, put their pods on it."""
        with self._lock:
            self._put_node(node)
            self._fill_daemons()
            self._place_pending()
            return node

    def remove_node(self, name: str) -> None:
        """A machine is taken away, with its pods."""
        with self._lock:
            self.nodes.pop(name)
            for pod in self.pods_on(name):
                self._drop(pod, back=True)
            self.modes.pop(name, None)
            self._touch(name)

    def change_node(self, name: str, **values: Any) -> Node:
        """A person or the kubelet writes to the node."""
        with self._lock:
            self._put_node(replace(self.nodes[name], **values))
            self._act_on_taints(name)
            self._fill_daemons()
            self._place_pending()
            return self.nodes[name]

    def annotate(self, name: str, key: str, value: str) -> Node:
        """A person annotates."""
        with self._lock:
            return self.change_node(name, annotations={**self.nodes[name].annotations, key: value})

    def reboot(self, name: str, boot_id: str) -> None:
        """The machine restarts: same pods, new sandboxes and links, and an agent that reads its settings again."""
        with self._lock:
            self.play()
            self.modes.pop(name, None)
            for pod in self.pods_on(name):
                self.links.pop(pod.ref.uid, None)
                if self._is_agent(pod):
                    self._later(self.delays.kubelet, lambda ref=pod.ref: self._tell_restart(ref))  # type: ignore[misc]
                else:
                    self._put_pod(replace(pod, ready=pod.host_network))
            self.change_node(name, boot_id=boot_id, ready=True)
            self.play()

    def _tell_restart(self, ref: PodRef) -> None:
        """The kubelet gets round to the agent's pod after a boot: until then its status is that of before."""
        pod = self._incarnation(ref)
        if pod is not None:
            self._put_pod(replace(pod, ready=False, waiting="", restarts=pod.restarts + 1))
            self._start_agent(ref)

    def add_pod(self, pod: Pod) -> Pod:
        """A pod that runs already, its link in the mode of its node's agent."""
        with self._lock:
            self._put_pod(pod)
            if pod.on_pod_network and pod.node in self.modes:
                self.links[pod.ref.uid] = self.modes[pod.node]
            return pod

    def remove_pod(self, ref: PodRef) -> None:
        """A pod ends now, and its controller acts."""
        with self._lock:
            pod = self._incarnation(ref)
            if pod is not None:
                self._drop(pod, back=True)

    def add_daemonset(self, daemonset: DaemonSet) -> None:
        """A DaemonSet; its pods start at once where no taint keeps them away."""
        with self._lock:
            self.daemonsets[daemonset.namespace, daemonset.name] = daemonset
            self._fill_daemons()

    def add_budget(self, budget: PodDisruptionBudget) -> None:
        """A budget; its numbers follow the pods from now on."""
        with self._lock:
            self._budgets[budget.namespace, budget.name] = budget

    def add_node_config(self, config: NodeConfig) -> None:
        """A person's CiliumNodeConfig."""
        with self._lock:
            self.configs[config.namespace, config.name] = config

    def install_agent(self, install: AgentInstall, mode: str = "") -> None:
        """Cilium, up on every node in `mode` (the ConfigMap's when empty)."""
        with self._lock:
            self.agent = install
            self.daemonsets[install.namespace, install.daemonset] = DaemonSet(
                install.namespace,
                install.daemonset,
                install.daemonset_uid,
                pod_network=False,
                desired=0,
                ready=0,
                tolerations=(EVERYTHING,),
            )
            self._fill_daemons()
            for name in self.nodes:
                self.modes[name] = mode or install.config.get("datapath-mode", "veth")
            for pod in list(self.pods.values()):
                if self._is_agent(pod):
                    self._put_pod(replace(pod, ready=True))
                elif pod.on_pod_network and pod.node in self.modes:
                    self.links[pod.ref.uid] = self.modes[pod.node]

    def pods_on(self, node: str) -> tuple[Pod, ...]:
        """Pods bound to a node, oldest first."""
        return tuple(pod for pod in self.pods.values() if pod.node == node)

    def link_modes(self, node: str) -> dict[str, str]:
        """The mode of each pod link of a node, by namespace/name."""
        with self._lock:
            return {str(p.ref): self.links[p.ref.uid] for p in self.pods_on(node) if p.ref.uid in self.links}

    # -- time --------------------------------------------------------------------------------------------------------

    def play(self) -> None:
        """Let happen what has come due."""
        while self._agenda and self._agenda[0][0] <= self.clock.now():
            heapq.heappop(self._agenda)[2]()

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._agenda, (self.clock.now() + timedelta(seconds=seconds), self._number, act))

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    # -- storing -----------------------------------------------------------------------------------------------------

    def _touch(self, node: str) -> None:
        if node:
            self._versions[node] = self._next_number()

    def _put_node(self, node: Node) -> None:
        self.nodes[node.name] = replace(node, resource_version=str(self._next_number()))
        self._touch(node.name)

    def _put_pod(self, pod: Pod) -> None:
        self.pods[pod.ref.namespace, pod.ref.name] = pod
        self._touch(pod.node)

    def _incarnation(self, ref: PodRef) -> Pod | None:
        pod = self.pods.get((ref.namespace, ref.name))
        return pod if pod is not None and pod.ref.uid == ref.uid else None

    # -- controllers -------------------------------------------------------------------------------------------------

    def _end(self, pod: Pod, grace_s: float | None = None) -> None:
        """Begin a pod's end; nothing when it is ending already."""
        if pod.terminating:
            return
        seconds = self.delays.end if grace_s is None else min(grace_s, self.delays.end)
        self._put_pod(replace(pod, terminating=True, deletion_at=self.clock.now() + timedelta(seconds=seconds)))
        self._later(seconds, lambda: self.remove_pod(pod.ref))
        if pod.owner_kind == "ReplicaSet":
            self._come_back(pod)
            self._place_pending()

    def _drop(self, pod: Pod, *, back: bool) -> None:
        del self.pods[pod.ref.namespace, pod.ref.name]
        self.links.pop(pod.ref.uid, None)
        if self._is_agent(pod):
            self.modes.pop(pod.node, None)
        self._touch(pod.node)
        if back and pod.owner_kind == "DaemonSet":
            self._fill_daemons()
        elif back and (pod.owner_kind == "StatefulSet" or (pod.owner_kind == "ReplicaSet" and not pod.terminating)):
            self._come_back(pod)
        self._place_pending()

    def _come_back(self, pod: Pod) -> None:
        number = self._next_number()
        name = pod.ref.name if pod.owner_kind == "StatefulSet" else f"{pod.owner_name}-{number}"
        ref = PodRef(pod.ref.namespace, name, f"uid-{name}-{number}")
        fresh = replace(pod, ref=ref, node="", phase="Pending", ready=False, terminating=False, deletion_at=None)
        self._put_pod(replace(fresh, restarts=0, waiting=""))

    def _place_pending(self) -> None:
        """The scheduler: the schedulable node with the fewest pods, by name when equal; what is preferred not, last."""
        for pod in [p for p in self.pods.values() if not p.node and not p.terminating]:
            fits = [node for node in self.nodes.values() if _may_run(node, pod)]
            if not fits:
                continue
            best = min(fits, key=lambda node: (_put_off(node, pod), len(self.pods_on(node.name)), node.name))
            self._put_pod(replace(pod, node=best.name))
            self._start_later(pod.ref)

    def _fill_daemons(self) -> None:
        for daemonset in self.daemonsets.values():
            for node in self.nodes.values():
                has = any(p.owner_uid == daemonset.uid for p in self.pods_on(node.name))
                kept_away = any(
                    taint.effect != "PreferNoSchedule" and not any(t.tolerates(taint) for t in daemonset.tolerations)
                    for taint in node.taints
                )
                if not has and not kept_away:
                    self._add_daemon_pod(daemonset, node)

    def _add_daemon_pod(self, daemonset: DaemonSet, node: Node) -> None:
        number = self._next_number()
        name = f"{daemonset.name}-{number}"
        is_agent = self.agent is not None and daemonset.uid == self.agent.daemonset_uid
        labels = {"k8s-app": "cilium"} if is_agent else {"app": daemonset.name}
        ref = PodRef(daemonset.namespace, name, f"uid-{name}")
        self._put_pod(
            Pod(
                ref,
                node.name,
                "Pending",
                ready=False,
                terminating=False,
                host_network=not daemonset.pod_network,
                owner_kind="DaemonSet",
                owner_name=daemonset.name,
                owner_uid=daemonset.uid,
                labels=labels,
                tolerations=daemonset.tolerations,
            )
        )
        if is_agent:
            self._start_agent(ref)
        else:
            self._start_later(ref)

    def _start_later(self, ref: PodRef) -> None:
        self._later(self.delays.start, lambda: self._start(ref))

    def _start(self, ref: PodRef) -> None:
        pod = self._incarnation(ref)
        if pod is None or pod.terminating or not pod.node:
            return
        if pod.host_network:
            self._put_pod(replace(pod, phase="Running", ready=True))
        elif pod.node in self.modes or self.agent is None:
            if self.agent is not None:
                self.links[ref.uid] = self.modes[pod.node]
            self._put_pod(replace(pod, phase="Running", ready=True, waiting=""))
        else:
            # CNI ADD waits for the agent; its start will wake this pod.
            self._put_pod(replace(pod, waiting="ContainerCreating"))

    def _act_on_taints(self, name: str) -> None:
        for taint in self.nodes[name].taints:
            if taint.effect == "NoExecute":
                for pod in self.pods_on(name):
                    if not pod.tolerates(taint):
                        self._end(pod)

    # -- the agent ---------------------------------------------------------------------------------------------------

    def _is_agent(self, pod: Pod) -> bool:
        return self.agent is not None and pod.owner_uid == self.agent.daemonset_uid

    def _start_agent(self, ref: PodRef) -> None:
        """The config init container reads the settings now, once for the pod's life (until a reboot)."""
        pod = self._incarnation(ref)
        assert pod is not None
        assert self.agent is not None
        configs = tuple(self.configs.values())
        settings = effective_config(self.agent, configs, self.nodes[pod.node].labels)
        self._told[ref.uid] = settings.get("datapath-mode", "veth")
        self._later(self.delays.agent_start, lambda: self._try_agent(ref))

    def _try_agent(self, ref: PodRef) -> None:
        pod = self._incarnation(ref)
        if pod is None or pod.terminating:
            return
        mode = self._told[ref.uid]
        old = [p for p in self.pods_on(pod.node) if self.links.get(p.ref.uid, mode) != mode]
        if old:
            self._put_pod(replace(pod, phase="Running", ready=False, waiting=""))
            self._later(self.delays.refusal, lambda: self._refuse(ref))
            return
        self.modes[pod.node] = mode
        self._put_pod(replace(pod, phase="Running", ready=True, waiting=""))
        for waiting in self.pods_on(pod.node):
            if waiting.on_pod_network and waiting.ref.uid not in self.links:
                self._start(waiting.ref)

    def _refuse(self, ref: PodRef) -> None:
        pod = self._incarnation(ref)
        if pod is None or pod.terminating:
            return
        mode = self._told[ref.uid]
        old = [p for p in self.pods_on(pod.node) if self.links.get(p.ref.uid, mode) != mode]
        if old:
            self._logs[ref.uid] = refusal_text(mode, {str(p.ref): self.links[p.ref.uid] for p in old})
            self._put_pod(replace(pod, restarts=pod.restarts + 1, waiting="CrashLoopBackOff"))
        self._later(self.delays.refusal, lambda: self._try_agent(ref))

    # -- budgets ----------------------------------------------------------------------------------------------------

    def _judge_budget(self, budget: PodDisruptionBudget) -> PodDisruptionBudget:
        own = [p for p in self.pods.values() if budget.matches(p) and not p.finished]
        healthy = sum(p.ready and not p.terminating for p in own)
        # A controller's pods that are just being replaced still count as expected.
        expected = max(sum(not p.terminating for p in own), budget.expected_pods if budget.max_unavailable else 0)
        if budget.max_unavailable:
            desired = max(0, expected - _share(budget.max_unavailable, expected))
        else:
            desired = _share(budget.min_available or "0", expected)
        return replace(
            budget,
            current_healthy=healthy,
            desired_healthy=desired,
            expected_pods=expected,
            disruptions_allowed=max(0, healthy - desired) if budget.observed else 0,
        )

    def _refusal(self, pod: Pod) -> Eviction | None:
        budgets = [self._judge_budget(b) for b in self._budgets.values() if b.matches(pod)]
        if len(budgets) > 1:
            text = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
            return Eviction(EvictionResult.IMPOSSIBLE, text)
        for budget in budgets:
            begin = "Cannot evict pod as it would violate the pod's disruption budget. The disruption budget"
            if not budget.observed:
                text = f"{begin} {budget.name} is still being processed by the server."
                return Eviction(EvictionResult.REFUSED, text, 10)
            if budget.disruptions_allowed <= 0:
                needs, has = budget.desired_healthy, budget.current_healthy
                text = f"{begin} {budget.name} needs {needs} healthy pods and has {has} currently"
                return Eviction(EvictionResult.REFUSED, text)
        return None

    def _counted(self, daemonset: DaemonSet) -> DaemonSet:
        own = [p for p in self.pods.values() if p.owner_uid == daemonset.uid]
        return replace(daemonset, desired=len(own), ready=sum(p.ready for p in own))


def refusal_text(mode: str, pods: Mapping[str, str]) -> str:
    """The agent's last line when pods of another mode are left: names and modes differ, the words are recorded."""
    named = ", ".join(f"{pod} (endpoint-{number})" for number, pod in enumerate(sorted(pods), start=1))
    found = ", ".join(sorted(set(pods.values())))
    return (
        'time=2026-11-23T01:15:43.929313113Z level=fatal msg="unable to run agent: failed to start: daemon'
        f" configuration failed: Cannot start cilium-agent with datapath-mode={mode}: detected {len(pods)} existing"
        f" endpoint(s) using incompatible datapath-modes. Affected endpoints: {named}. Detected incompatible"
        f' datapath-modes: {found}. Please delete these pods or correct the cilium-agent operational datapath-mode."'
        " subsys=daemon"
    )


def _may_run(node: Node, pod: Pod) -> bool:
    blocked = any(t.effect in ("NoSchedule", "NoExecute") and not pod.tolerates(t) for t in node.taints)
    return node.ready is True and not node.unschedulable and not blocked


def _put_off(node: Node, pod: Pod) -> bool:
    return any(t.effect == "PreferNoSchedule" and not pod.tolerates(t) for t in node.taints)


def _share(text: str, whole: int) -> int:
    """A count, or a percentage of `whole` rounded up as Kubernetes does."""
    return -(-whole * int(text[:-1]) // 100) if text.endswith("%") else int(text)
