"""What a row of the catalogue is, and what it may look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rollout.domain.inventory import Inventory
from rollout.domain.node import DatapathMode, Node, Pod
from rollout.domain.observed import AgentState, Capability, HostState, LinkTable
from rollout.domain.policy import Policy
from rollout.planning.preflight.context import Context
from rollout.planning.versions import Version, parse_version, show

PASS, INFO, WARN, BLOCK, UNKNOWN = "pass", "info", "warn", "block", "unknown"
"""What a judge may say. Unknown counts like the row's severity: what could not be told is never fine."""

Judgement = tuple[str, str]
"""Status and one sentence."""

NETKIT = frozenset({DatapathMode.NETKIT, DatapathMode.NETKIT_L2})
ANY_TARGET = frozenset(DatapathMode)


@dataclass(frozen=True, slots=True)
class Span:
    """Versions from `since` on, `before` excluded; an open end is None."""

    since: Version | None = None
    before: Version | None = None

    def covers(self, version: Version | None) -> bool:
        """Whether a version lies within; one that is not known may, so it does."""
        if version is None:
            return True
        return (self.since is None or version >= self.since) and (self.before is None or version < self.before)

    def __str__(self) -> str:
        if self.since is None and self.before is None:
            return "every version"
        words = ([f"from {show(self.since)}"] if self.since else []) + (
            [f"before {show(self.before)}"] if self.before else []
        )
        return ", ".join(words)


EVERY = Span()


@dataclass(frozen=True, slots=True)
class Facts:
    """All a row may look at. For cluster rows `node` and what follows is None."""

    context: Context
    node: Node | None = None
    links: LinkTable | None = None
    agent: AgentState | None = None
    capability: Capability | None = None
    host: HostState | None = None
    unreadable: str = ""
    """Why observations are missing, for the message."""
    pods: tuple[Pod, ...] = ()
    """Pods of the node that are not finished."""

    @property
    def inventory(self) -> Inventory:
        """What was read."""
        return self.context.inventory

    @property
    def policy(self) -> Policy:
        """What the operator allows."""
        return self.context.policy

    @property
    def version(self) -> Version | None:
        """The agent's version."""
        return self.context.version

    @property
    def here(self) -> Node:
        """The node of a node row."""
        assert self.node is not None
        return self.node

    @property
    def kernel(self) -> Version | None:
        """The node's kernel version; None where it cannot be read."""
        return parse_version(self.here.kernel)

    def told(self, flag: str) -> Any:
        """An effective agent setting: as the agent tells it, else as ConfigMap and CiliumNodeConfigs make it."""
        value = self.agent.setting(flag) if self.agent else None
        if value is None and self.node is not None:
            value = self.context.effective(self.node).get(flag)
        return value

    def setting(self, flag: str) -> bool | None:
        """A setting that is on or off; None when nobody tells it."""
        value = self.told(flag)
        return None if value is None else value is True or str(value).lower() == "true"

    def words(self, flag: str) -> str:
        """A setting that is a word, in small letters; empty when nobody tells it."""
        value = self.told(flag)
        return "" if value is None else str(value).lower()


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the catalogue."""

    id: str
    claim: str
    judge: Callable[[Facts], Judgement]
    evidence: str
    """What it is judged from."""
    remedy: str
    reference: str = ""
    """Upstream issues, or where else it is known from."""
    table: tuple[int, ...] = ()
    """Numbers in the preflight table of the project's Cilium notes (section 9)."""
    rules: tuple[str, ...] = ()
    """Rules of the project's notes on other tools (section 6) that it covers."""
    severity: str = BLOCK
    """The worst a finding of this row may be."""
    per_node: bool = True
    targets: frozenset[DatapathMode] = NETKIT
    agents: Span = EVERY
    """Cilium versions to which it applies."""
    kernels: Span = EVERY
    fixed: str = ""
    """Why no waiver may lift it; empty: one may."""
    health: bool = False
    """Speaks of how well a node is now, which is no reason to forbid taking something back."""

    @property
    def waivable(self) -> bool:
        """Whether a waiver may lift it."""
        return not self.fixed

    @property
    def netkit_only(self) -> bool:
        """Whether it says nothing about the way to veth."""
        return DatapathMode.VETH not in self.targets

    @property
    def source(self) -> str:
        """Where it is known from: rows of the table, then the reference."""
        numbers = ", ".join(map(str, self.table))
        rows = f"row{'s' if len(self.table) > 1 else ''} {numbers}" if self.table else ""
        return ", ".join(filter(None, (rows, self.reference))) or "general"


def named(names: list[str] | tuple[str, ...], most: int = 3) -> str:
    """The first few of many names, and how many more there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
