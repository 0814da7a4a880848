"""What a use case is given: the ports, and how nodes are reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rollout.domain.node import Node
from rollout.domain.policy import ApprovalRules
from rollout.ports.clock import Clock
from rollout.ports.cluster import Cluster
from rollout.ports.hosts import Host, Hosts
from rollout.ports.observer import Observer
from rollout.ports.probes import ProbePods
from rollout.ports.reporter import Reporter
from rollout.ports.signals import Signals
from rollout.ports.signatures import Signatures
from rollout.ports.store import JournalStore


@dataclass(frozen=True, slots=True)
class Address:
    """Where a node is reached instead of its InternalIP."""

    host: str
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Who:
    """The person and process acting, for the journal and the lease."""

    operator: str
    host: str
    pid: int
    name: str = ""
    """What the person is called where approvals are given; empty: not told."""

    @property
    def account(self) -> str:
        """The account that acts, as user@host."""
        return f"{self.operator}@{self.host}"


@dataclass(frozen=True, slots=True)
class World:
    """The ports of one command."""

    cluster: Cluster
    hosts: Hosts
    observer: Observer
    probes: ProbePods
    signals: Signals
    signatures: Signatures
    store: JournalStore
    clock: Clock
    reporter: Reporter
    who: Who
    addresses: Mapping[str, Address] = field(default_factory=dict)
    lease_s: int = 30
    """Duration of the cluster's lease in seconds; renewed three times in it."""
    observe_s: int = 300
    """Wall time-out of one observation run in seconds."""
    approval: ApprovalRules = field(default_factory=ApprovalRules)
    """The site's rules: a plan's own can only ask for more."""

    def host(self, name: str, internal_ip: str) -> Host:
        """How a node is reached: the configuration's mapping first, else its InternalIP."""
        address = self.addresses.get(name)
        return Host(name, address.host, address.port) if address else Host(name, internal_ip)

    def host_of(self, node: Node) -> Host:
        """How a node of the inventory is reached."""
        return self.host(node.name, node.internal_ip)
