"""Our own pods, between which traffic is tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event
from typing import Protocol

from rollout.domain.node import PodRef
from rollout.domain.policy import ProbeRules

PROBE_PORT = 8791
"""Open to everybody by `nkr-guard`."""
GUARDED_PORT = 8792
"""Open to role `a` only."""
CLOSED_PORT = 8793
"""Closed to everybody."""

ROLE_A = "a"
ROLE_B = "b"
ROLE_PEER = "peer"


@dataclass(frozen=True, slots=True)
class Rig:
    """The probe pods for one node under test in one run. Nothing of it is shared with another node's rig.

    `token` lets only us use the pods' control line; with the same rig it is the same, so that a rig may be taken up.
    """

    rollout: str
    node: str
    token: str


@dataclass(frozen=True, slots=True, order=True)
class WantedPod:
    """One pod of a rig: the node it runs on, and its role there."""

    node: str
    role: str


@dataclass(frozen=True, slots=True)
class ProbePod:
    """A probe pod as the API tells it. `rig_node` is the node it was made to test."""

    ref: PodRef
    node: str
    role: str
    rollout: str
    rig_node: str
    addresses: tuple[str, ...] = ()
    ready: bool = False
    finished: bool = False
    terminating: bool = False


@dataclass(frozen=True, slots=True)
class ServiceTarget:
    """A TCP port of a Service that has endpoints. `name` is namespace/name."""

    name: str
    addresses: tuple[str, ...]
    port: int


@dataclass(frozen=True, slots=True)
class Targets:
    """What else pods reach in this cluster. Missing parts are empty: what is not there is not tried."""

    services: tuple[ServiceTarget, ...] = ()
    dns_servers: tuple[str, ...] = ()
    api: ServiceTarget | None = None


@dataclass(frozen=True, slots=True)
class PolicyCopy:
    """An ingress rule of a NetworkPolicy of the cluster, to be said again about our own pods.

    A copy selects role `b` and lets role `a` in on `ports` (TCP). `policy` is the original's namespace/name.
    """

    policy: str
    ports: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PolicySample:
    """Which policies are copied, and why others are not: (namespace/name, reason)."""

    copies: tuple[PolicyCopy, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()


class ProbePods(Protocol):
    """Makes, finds and removes probe pods and the NetworkPolicies about them.

    Duties: everything made carries our labels (manager, role, rollout, node under test) and a deadline of its own, so
    that it ends even when nobody removes it; pods satisfy the `restricted` Pod Security level; every call is
    repeat-safe. Raises only `rollout.domain.errors`. Usable from several threads.
    """

    def check(self, rules: ProbeRules) -> None:
        """Whether pods may be made, by a dry run. Raises `NotFound` (`probe-namespace-missing`), `NotPermitted`."""
        ...

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
        """Make what is missing, finished or about to end, policies first; wait until all are Ready and have addresses.

        `settle_s`: go on without readiness so many seconds after all have addresses, since a broken datapath may be
        the very reason why a pod is not Ready. A `timeout_s` of 0 does not wait: what is there is returned.
        Raises `NotFound` (`probe-namespace-missing`), `Unavailable` (`probe-pod-not-ready`, naming the pod and the
        kubelet's words), `Cancelled`.
        """
        ...

    def remove(self, rules: ProbeRules, rollout: str, node: str = "", *, wait_s: float = 0) -> None:
        """Delete one rig, or all rigs of a rollout; up to `wait_s` seconds until they are gone.

        Raises `Unavailable` when they are not gone by then.
        """
        ...

    def clear_node(self, rules: ProbeRules, node: str) -> None:
        """Delete every probe pod that runs on a node, whichever rig it is of. Does not wait."""
        ...

    def sweep(self, rules: ProbeRules, rollout: str) -> None:
        """Delete what dead runs of this rollout left, and finished pods of any."""
        ...

    def leftovers(self, rules: ProbeRules) -> tuple[ProbePod, ...]:
        """All probe pods there are, of any run, past their deadline or not, in name order."""
        ...

    def targets(self) -> Targets:
        """What to reach besides our own pods. Read once, then remembered for some minutes."""
        ...

    def sample_policies(self, count: int) -> PolicySample:
        """Up to `count` of the cluster's NetworkPolicies whose shape can be copied. Remembered for some minutes."""
        ...
