"""A cluster that really evicts: the API stand-in with its controllers, moved by hand, one round after another.

Pods are collected, evicted and looked at through the cluster adapter over HTTP. The scheduler and the kubelets wait
while evictions are asked for, and work until nothing changes afterwards: so a round here is a round of the proof, and
what differs between the two is a difference of rules, not of timing.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rollout.adapters.kubernetes import ClusterSettings, KubernetesCluster
from rollout.domain.inventory import ClusterSnapshot
from rollout.domain.limits import FLEET_LIMIT, LimitIndex
from rollout.domain.node import TAINT_WAITING, Pod
from rollout.domain.plan import Wave
from rollout.domain.policy import Policy
from rollout.lab.apiserver import ApiServer
from rollout.lab.apiserver.objects import Obj, is_condition_true, labels_of, name_of, namespace_of, set_condition
from rollout.lab.apiserver.selectors import selector_matches
from rollout.lab.apiserver.store import Store
from rollout.lab.apiserver.threaded import ThreadedServer
from rollout.lab.controllers import ControllerSettings
from rollout.lab.controllers.base import Controller, NamedKey
from rollout.lab.controllers.disruption import DisruptionController
from rollout.lab.controllers.nodes import NodeLifecycleController
from rollout.lab.controllers.pod_index import PodIndex
from rollout.lab.controllers.replicas import DeploymentController, ReplicaSetController
from rollout.lab.controllers.scheduler import Scheduler
from rollout.lab.controllers.statefulsets import StatefulSetController
from rollout.lab.pki import write_kubeconfig
from rollout.planning.drain import evictable
from rollout.ports.cluster import EvictionResult

BROKEN = "test/broken"
"""Label of workloads of which so many pods, whichever, never become Ready."""
_PDBS = "poddisruptionbudgets.policy"
_MOST_ROUNDS = 60
_TOO_OFTEN = 4
"""A node to which new pods came in so many rounds while it was being emptied is given up."""


class HeldScheduler(Scheduler):
    """Places pods only while it is let."""

    held = False

    def __init__(self, store: Store, settings: ControllerSettings, pods: PodIndex) -> None:
        super().__init__(store, settings, pods)
        self._kept: dict[NamedKey, None] = {}

    def reconcile(self, key: NamedKey) -> None:
        if self.held:
            self._kept[key] = None
        else:
            super().reconcile(key)

    def release(self) -> None:
        self.held = False
        for key in self._kept:
            self.enqueue(key)
        self._kept.clear()


class HandKubelet:
    """Every node's kubelet. Works only when told to."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def stop_pods(self) -> bool:
        """End what is terminating; whether there was any."""
        going = [pod for pod in self._store.all("pods") if pod["metadata"].get("deletionTimestamp")]
        for pod in going:
            self._store.remove_now("pods", name_of(pod), namespace_of(pod))
        return bool(going)

    def start_pods(self) -> bool:
        """Run what is bound; whether there was any."""
        pods = self._store.all("pods")
        fresh = [p for p in pods if p["spec"].get("nodeName") and p["status"]["phase"] == "Pending"]
        for pod in fresh:
            self._run(pod)
        return bool(fresh)

    def _run(self, pod: Obj) -> None:
        app, wanted = labels_of(pod).get("app"), int(labels_of(pod).get(BROKEN, "0"))
        alike = [p for p in self._store.all("pods") if labels_of(p).get("app") == app and app]
        broken = sum(1 for p in alike if p["status"]["phase"] == "Running" and not is_condition_true(p, "Ready"))
        ready = "False" if broken < wanted else "True"

        def change(obj: Obj) -> None:
            obj["status"] |= {"phase": "Running"}
            for kind in ("Initialized", "Ready", "ContainersReady"):
                set_condition(obj["status"], {"type": kind, "status": ready})

        self._store.mutate("pods", name_of(pod), change, namespace_of(pod), "status")


class _Manned:
    """The controllers that a drain meets, on the server's loop."""

    def __init__(self, store: Store) -> None:
        settings = ControllerSettings()
        self.pods = PodIndex(store)
        self.scheduler = HeldScheduler(store, settings, self.pods)
        self.controllers: list[Controller[Any]] = [
            NodeLifecycleController(store, settings),
            DeploymentController(store, settings),
            ReplicaSetController(store, settings, self.pods),
            StatefulSetController(store, settings, self.pods),
            DisruptionController(store, settings, self.pods),
            self.scheduler,
        ]

    async def start(self) -> None:
        self.pods.start()
        for controller in self.controllers:
            await controller.start()

    async def stop(self) -> None:
        for controller in reversed(self.controllers):
            await controller.stop()
        self.pods.stop()

    async def settle(self) -> None:
        """Until no controller has anything to look at."""
        deadline = time.monotonic() + 20
        while not all(controller.idle for controller in self.controllers):
            assert time.monotonic() < deadline, "controllers do not come to rest"
            await asyncio.sleep(0)


@dataclass
class Fact:
    """What really became of one pod."""

    pod: Pod
    refused_first: bool = False
    impossible: bool = False
    accepted: bool = False
    held_back: bool = False
    """Its node was given back before it could go, on another pod's account."""
    landed: str = ""
    at_once: bool = False
    came_back: bool = False
    """Its replacement came to a node that was being emptied."""

    def word(self) -> str:
        """The outcome as a column of the table."""
        if not self.accepted:
            return "held back" if self.held_back else "never accepted"
        first = "refused, then accepted" if self.refused_first else "accepted at first"
        if not self.pod.owner_kind:
            return f"{first}, no replacement"
        if not self.landed:
            return f"{first}, never placed"
        if self.came_back:
            return f"{first}, on a fenced node"
        return f"{first}, placed {'at once' if self.at_once else 'later'}"


class World(Protocol):
    """What a drain asks of a cluster that is moved by hand."""

    @property
    def cluster(self) -> KubernetesCluster: ...
    def hold(self) -> None: ...
    def come_to_rest(self) -> None: ...
    def snapshot(self) -> ClusterSnapshot: ...
    def pods(self) -> list[Obj]: ...
    def budgets(self) -> list[Obj]: ...
    def change_node(self, name: str, change: Callable[[Obj], None]) -> None: ...


@dataclass
class Reality:
    """The stand-in and what drives it. Use as a context."""

    directory: Path
    server: ApiServer = field(default_factory=ApiServer)

    def __enter__(self) -> Reality:
        self.store = self.server.store
        self._manned = _Manned(self.store)
        self._kubelet = HandKubelet(self.store)
        self._threaded = ThreadedServer(self.server, [self._manned])
        self._threaded.__enter__()
        kubeconfig = write_kubeconfig(self.directory / "kubeconfig", self._threaded.url, "", None)
        settings = ClusterSettings(kubeconfig, None, qps=100_000.0, burst=100_000)
        self.cluster = KubernetesCluster.connect(settings)
        return self

    def __exit__(self, *_: object) -> None:
        self.cluster.close()
        self._threaded.__exit__(None, None, None)

    def call(self, work: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        return self._threaded.call(work, *arguments, **named)

    def create(self, *objects: Obj) -> None:
        for obj in objects:
            self.call(self.store.create, obj)

    def come_to_rest(self) -> None:
        """Let controllers, scheduler and kubelets work until nothing changes."""
        while True:
            self._threaded.run(self._manned.settle())
            if not self.call(self._kubelet.stop_pods):
                break
        self.call(self._manned.scheduler.release)
        while True:
            self._threaded.run(self._manned.settle())
            if not self.call(self._kubelet.start_pods):
                return

    def hold(self) -> None:
        self.call(setattr, self._manned.scheduler, "held", True)

    def snapshot(self) -> ClusterSnapshot:
        return self.cluster.collect()

    def pods(self) -> list[Obj]:
        found: list[Obj] = self.call(self.store.all, "pods")
        return found

    def budgets(self) -> list[Obj]:
        found: list[Obj] = self.call(self.store.all, _PDBS)
        return found

    def change_node(self, name: str, change: Callable[[Obj], None]) -> None:
        self.call(self.store.mutate, "nodes", name, lambda obj: change(obj["spec"]))


class RealDrain:
    """Takes nodes through as the drain step does: every pod asked for, refused ones asked for again each round."""

    def __init__(self, reality: World, policy: Policy, waves: tuple[Wave, ...]) -> None:
        self._reality = reality
        self._policy = policy
        self._waves = waves
        before = reality.snapshot()
        names = {name for wave in waves for name in wave.nodes}
        self._cordoned = {node.name for node in before.nodes if node.unschedulable}
        foreign = {n.name for n in before.nodes if n.name not in names and (n.unschedulable or n.ready is not True)}
        self._limits = LimitIndex((), policy.max_unavailable, len(before.nodes))
        self._out = self._limits.tally(frozenset(foreign))
        self._flying: list[str] = []
        self._revisited: Counter[str] = Counter()
        self._before: set[str] = set()
        self._waiting_for: list[Fact] = []
        self._pods: dict[str, tuple[Pod, ...]] = {}
        self._placed = {pod["metadata"]["uid"] for pod in reality.pods() if pod["spec"].get("nodeName")}
        self.facts = {
            pod.ref.uid: Fact(pod)
            for name in sorted(names)
            for pod in evictable(before.pods_by_node.get(name, ()), policy.drain)
        }

    def run(self) -> dict[str, Fact]:
        """What became of every pod that was on the waves' nodes, by UID."""
        if self._policy.soft_taint:
            soft = {"key": TAINT_WAITING, "value": "test", "effect": "PreferNoSchedule"}
            for wave in self._waves:
                for name in wave.nodes:
                    self._reality.change_node(name, lambda s: s.update(taints=[*(s.get("taints") or []), soft]))
        for wave in self._waves:
            todo = list(wave.nodes)
            for _ in range(_MOST_ROUNDS):
                todo = self._start(todo)
                if not self._flying and not todo:
                    break
                if not self._round():
                    self._give_back()
        return self.facts

    def _start(self, todo: list[str]) -> list[str]:
        left: list[str] = []
        for place, name in enumerate(todo):
            limit = self._out.blocks(name)
            if limit == FLEET_LIMIT:
                left += todo[place:]
                break
            self._cordon(name)
        if not self._flying and left:
            self._cordon(left.pop(0))
        return left

    def _cordon(self, name: str) -> None:
        self._flying.append(name)
        self._before |= {p.ref.uid for p in self._by_node().get(name, ())}
        self._out.take(name)
        self._reality.change_node(name, lambda spec: spec.update(unschedulable=True))

    def _round(self) -> bool:
        self._reality.come_to_rest()
        self._reality.hold()
        waiting = len(self._waiting_for)
        accepted: list[Fact] = []
        for name in list(self._flying):
            accepted += self._sweep(name)
        self._reality.come_to_rest()
        self._follow(accepted)
        pods = self._by_node()
        for name in self._flying:
            comers = [p for p in evictable(pods.get(name, ()), self._policy.drain) if p.ref.uid not in self._before]
            self._revisited[name] += bool(comers)
        empty = [name for name in self._flying if not evictable(pods.get(name, ()), self._policy.drain)]
        for name in empty:
            self._flying.remove(name)
            self._uncordon(name, done=True)
            self._reality.come_to_rest()
        self._follow([])
        placed = waiting + len(accepted) - len(self._waiting_for)
        restless = any(self._revisited[name] >= _TOO_OFTEN for name in self._flying)
        return not restless and bool(accepted or empty or placed)

    def _by_node(self) -> dict[str, tuple[Pod, ...]]:
        return dict(self._reality.snapshot().pods_by_node)

    def _sweep(self, name: str) -> list[Fact]:
        """Facts of those that were accepted; of a pod that came here later, one that nobody asks about."""
        accepted: list[Fact] = []
        left = evictable(self._by_node().get(name, ()), self._policy.drain)
        for pod in sorted(left, key=lambda p: p.ref.uid not in self.facts):
            if pod.terminating:
                continue
            fact = self.facts.get(pod.ref.uid) or Fact(pod)
            answer = self._reality.cluster.evict(pod.ref)
            if answer.result is EvictionResult.ACCEPTED:
                accepted.append(fact)
                fact.accepted = True
            else:
                fact.refused_first = True
                fact.impossible = answer.result is EvictionResult.IMPOSSIBLE
        return accepted

    # -- replacements ------------------------------------------------------------------------------------------------

    def _follow(self, evicted: list[Fact]) -> None:
        """Join pods that got a place to those they replace: by name in a StatefulSet, else in the order of evictions.

        Pods of one owner are worth the same, so one that had waited before counts as a replacement too.
        """
        pods = self._reality.pods()
        self._waiting_for += [fact for fact in evicted if fact.pod.owner_kind]
        for pod in sorted(pods, key=lambda pod: int(pod["metadata"]["resourceVersion"])):
            if pod["metadata"]["uid"] in self._placed or not pod["spec"].get("nodeName"):
                continue
            self._placed.add(pod["metadata"]["uid"])
            fact = next((f for f in self._waiting_for if _replaces(pod, f.pod)), None)
            if fact is not None:
                fact.landed, fact.at_once = pod["spec"]["nodeName"], any(fact is one for one in evicted)
                fact.came_back = fact.landed in self._flying
                self._waiting_for.remove(fact)

    # -- nodes come back ---------------------------------------------------------------------------------------------

    def _uncordon(self, name: str, *, done: bool) -> None:
        self._out.give(name)
        if name in self._cordoned:
            return

        def change(spec: Obj) -> None:
            spec.pop("unschedulable", None)
            if done:
                spec["taints"] = [t for t in spec.get("taints") or [] if t["key"] != TAINT_WAITING]

        self._reality.change_node(name, change)

    def _give_back(self) -> None:
        """Nothing moves: nodes with a pod that is hopeless by the API's own numbers go back, else the last one."""
        pods = self._by_node()
        left = {name: evictable(pods.get(name, ()), self._policy.drain) for name in self._flying}
        hopeless = [name for name in self._flying if self._revisited[name] >= _TOO_OFTEN]
        hopeless = hopeless or [name for name in self._flying if any(self._is_hopeless(pod) for pod in left[name])]
        for name in hopeless or self._flying[-1:]:
            for pod in left[name]:
                fact = self.facts.get(pod.ref.uid)
                if fact is not None and name in hopeless and not self._is_hopeless(pod):
                    fact.held_back = True
            self._flying.remove(name)
            self._uncordon(name, done=False)
            self._reality.come_to_rest()
        self._follow([])

    def _is_hopeless(self, pod: Pod) -> bool:
        fact = self.facts.get(pod.ref.uid)
        if fact is not None and fact.impossible:
            return True
        budgets = [
            b for b in self._reality.budgets()
            if namespace_of(b) == pod.ref.namespace and selector_matches(b["spec"].get("selector"), pod.labels)
        ]  # fmt: skip
        if len(budgets) != 1:
            return bool(budgets)
        status, selector = budgets[0]["status"], budgets[0]["spec"].get("selector")
        if status.get("observedGeneration", 0) < budgets[0]["metadata"]["generation"]:
            return True
        if status.get("disruptionsAllowed"):
            return False
        coming = sum(1 for fact in self._waiting_for if fact.pod.ready and selector_matches(selector, fact.pod.labels))
        healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
        return bool(status.get("expectedPods", 0) <= 0 or healthy + coming <= desired)


def _replaces(pod: Obj, old: Pod) -> bool:
    owners = [owner["uid"] for owner in pod["metadata"].get("ownerReferences") or ()]
    return old.owner_uid in owners and (old.owner_kind != "StatefulSet" or old.ref.name == name_of(pod))
