"""The port `ProbePods` in memory: its pods are pods of the fake cluster, so that drains and nodes see them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from threading import Event

from rollout.domain.errors import Cancelled, NotFound, NotPermitted, Unavailable
from rollout.domain.node import LABEL_MANAGED_BY, LABEL_PROBE, MANAGER, Pod, PodRef
from rollout.domain.policy import ProbeRules
from rollout.ports.probes import PolicyCopy, PolicySample, ProbePod, Rig, ServiceTarget, Targets, WantedPod
from tests.fakes.cluster import FakeCluster
from tests.fakes.cluster_rules import EVERYTHING

LIFETIME_S = 1800
_STEP_S = 0.5
TARGETS = Targets(
    services=(ServiceTarget("default/web", ("10.96.0.20",), 80),),
    dns_servers=("10.96.0.10",),
    api=ServiceTarget("default/kubernetes", ("10.96.0.1",), 443),
)


@dataclass
class FakeProbes:
    """Nodes in `stuck` never make a probe pod Ready; those in `mute` give it an address all the same."""

    cluster: FakeCluster
    namespaces: set[str] = field(default_factory=lambda: {ProbeRules().namespace})
    """Those that exist."""
    forbidden: bool = False
    stuck: set[str] = field(default_factory=set)
    mute: set[str] = field(default_factory=set)
    found: Targets = field(default_factory=lambda: TARGETS)
    sample: PolicySample = field(default_factory=PolicySample)

    def __post_init__(self) -> None:
        self.tokens: dict[str, str] = {}
        """By the pod's UID."""
        self.policies: dict[tuple[str, str], tuple[PolicyCopy, ...]] = {}
        """Copies made with `nkr-guard`, by (rollout, node under test)."""
        self.made: list[WantedPod] = []
        self._born: dict[str, datetime] = {}

    def check(self, rules: ProbeRules) -> None:
        """As the API would refuse."""
        if rules.namespace not in self.namespaces:
            raise NotFound(
                "probe-namespace-missing",
                f"cannot create pods: namespace {rules.namespace} for probe pods does not exist",
                hint=f"kubectl create namespace {rules.namespace}",
            )
        if self.forbidden:
            raise NotPermitted("not-permitted", "cannot create pods: not permitted to create pods", hint="bind a role")

    def ensure(
        self,
        rig: Rig,
        wanted: Sequence[WantedPod],
        rules: ProbeRules,
        copies: Sequence[PolicyCopy] = (),
        *,
        timeout_s: float,
        settle_s: float | None = None,
        cancel: Event | None = None,
    ) -> tuple[ProbePod, ...]:
        """Make and wait, in the cluster's own time."""
        self.cluster.hook("before", "ensure_probes", (rig, wanted))
        self.check(rules)
        self.policies.setdefault((rig.rollout, rig.node), tuple(copies))
        keys = [(rules.namespace, _name(rig, one)) for one in wanted]
        for key, one in zip(keys, wanted, strict=True):
            self._ensure_one(rig, one, key)
        self.cluster.hook("after", "ensure_probes", (rig, wanted))
        if timeout_s > 0:
            self._wait(keys, timeout_s, settle_s, cancel)
        return tuple(self._value(self.cluster.pods[key]) for key in keys if key in self.cluster.pods)

    def _ensure_one(self, rig: Rig, one: WantedPod, key: tuple[str, str]) -> None:
        with self.cluster._lock:
            found = self.cluster.pods.get(key)
            if found is not None and self._usable(found, rig):
                return
            if found is not None:
                self.cluster.remove_pod(found.ref)
            self._make(rig, one, key)

    def _usable(self, pod: Pod, rig: Rig) -> bool:
        age = self.cluster.clock.now() - self._born[pod.ref.uid]
        young = age < timedelta(seconds=LIFETIME_S - 300)
        return young and not pod.finished and not pod.terminating and self.tokens[pod.ref.uid] == rig.token

    def _make(self, rig: Rig, one: WantedPod, key: tuple[str, str]) -> None:
        number = self.cluster._next_number()
        ref = PodRef(*key, f"uid-{key[1]}-{number}")
        labels = {LABEL_MANAGED_BY: MANAGER, LABEL_PROBE: one.role, "rollout": rig.rollout, "rig": rig.node}
        pod = Pod(ref, one.node, "Pending", False, False, False, labels=labels, tolerations=(EVERYTHING,))
        self.cluster._put_pod(replace(pod, ip=f"10.244.{number // 250}.{number % 250}"))
        self.made.append(one)
        self.tokens[ref.uid] = rig.token
        self._born[ref.uid] = self.cluster.clock.now()
        if one.node not in self.stuck:
            self.cluster._start_later(ref)
        self.cluster._later(LIFETIME_S, lambda: self._expire(ref))

    def _expire(self, ref: PodRef) -> None:
        pod = self.cluster.pods.get((ref.namespace, ref.name))
        if pod is not None and pod.ref.uid == ref.uid:
            self.cluster.links.pop(ref.uid, None)
            self.cluster._put_pod(replace(pod, phase="Failed", ready=False))

    def _wait(
        self, keys: list[tuple[str, str]], timeout_s: float, settle_s: float | None, cancel: Event | None
    ) -> None:
        clock = self.cluster.clock
        until, addressed = clock.now() + timedelta(seconds=timeout_s), None
        while True:
            self.cluster.play()
            own = [self.cluster.pods.get(key) for key in keys]
            if all(pod is not None and self._value(pod).ready for pod in own):
                return
            if addressed is None and all(pod is not None and pod.phase == "Running" for pod in own):
                addressed = clock.now()
            if settle_s is not None and addressed and clock.now() >= addressed + timedelta(seconds=settle_s):
                return
            if clock.now() >= until:
                raise Unavailable("probe-pod-not-ready", f"cannot use probe pod {keys[0][1]}: ContainerCreating")
            if clock.wait(_STEP_S, cancel):
                raise Cancelled("cancelled", "cannot wait for probe pods: it was stopped")

    def remove(self, rules: ProbeRules, rollout: str, node: str = "", *, wait_s: float = 0) -> None:
        """One rig, or all of a rollout."""
        self._delete("remove_probes", rules, lambda p: p.rollout == rollout and node in ("", p.rig_node))
        for key in [key for key in self.policies if key[0] == rollout and node in ("", key[1])]:
            del self.policies[key]
        if wait_s > 0:
            self.cluster.clock.wait(self.cluster.delays.end)
            self.cluster.play()

    def clear_node(self, rules: ProbeRules, node: str) -> None:
        """Whatever runs there."""
        self._delete("clear_node", rules, lambda p: p.node == node)

    def sweep(self, rules: ProbeRules, rollout: str) -> None:
        """Dead runs' pods."""
        self.remove(rules, rollout)
        self._delete("sweep", rules, lambda p: p.finished)

    def _delete(self, name: str, rules: ProbeRules, which: Callable[[ProbePod], bool]) -> None:
        self.cluster.hook("before", name, ())
        with self.cluster._lock:
            for pod in self.leftovers(rules):
                if which(pod):
                    self._end(pod)
        self.cluster.hook("after", name, ())

    def _end(self, pod: ProbePod) -> None:
        if pod.finished:
            self.cluster.remove_pod(pod.ref)
        else:
            self.cluster._end(self.cluster.pods[pod.ref.namespace, pod.ref.name], 1)

    def leftovers(self, rules: ProbeRules) -> tuple[ProbePod, ...]:
        """All there are."""
        with self.cluster._lock:
            self.cluster.play()
            own = [pod for pod in self.cluster.pods.values() if pod.is_probe and pod.ref.namespace == rules.namespace]
            return tuple(sorted((self._value(pod) for pod in own), key=lambda pod: pod.ref))

    def targets(self) -> Targets:
        """As set."""
        return self.found

    def sample_policies(self, count: int) -> PolicySample:
        """As set."""
        return replace(self.sample, copies=self.sample.copies[:count])

    def _value(self, pod: Pod) -> ProbePod:
        running = pod.phase == "Running"
        return ProbePod(
            ref=pod.ref,
            node=pod.node,
            role=pod.labels[LABEL_PROBE],
            rollout=pod.labels["rollout"],
            rig_node=pod.labels["rig"],
            addresses=(pod.ip,) if running else (),
            ready=pod.ready and pod.node not in self.mute,
            finished=pod.finished,
            terminating=pod.terminating,
        )


def _name(rig: Rig, wanted: WantedPod) -> str:
    return f"nkr-{rig.rollout}-{rig.node}-{wanted.node}-{wanted.role}"
