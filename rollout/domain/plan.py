"""The plan: an immutable, complete description of what will be done. Its digest is what gets approved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property

from rollout.domain.codec import DecodeError, canonical, from_plain, sha256
from rollout.domain.errors import Refused
from rollout.domain.limits import LimitIndex
from rollout.domain.node import DatapathMode, Method, PodRef
from rollout.domain.policy import Policy
from rollout.domain.step import StepKind, Track

SCHEMA = 3
"""Number of the plan document's schema; any other is refused, never half understood.

2: checks, probes and gates. 3: drain proof, limits, cohorts, blast radius, estimate, approval rules."""


ADOPT = "adopt"
"""Purpose of a plan for newly joined nodes."""


class Going(Enum):
    """What the drain proof says of a pod."""

    NOW = "now"
    """Its eviction is accepted at once, and its replacement has a place."""
    WAITS = "waits"
    """Its eviction is refused until something that will happen by itself has happened."""
    NEVER = "never"
    """No waiting helps: a person must change something."""


@dataclass(frozen=True, slots=True)
class PlannedPod:
    """A pod that will move or restart, and what bounds that."""

    ref: PodRef
    owner: str
    budgets: tuple[str, ...] = ()
    note: str = ""
    going: Going = Going.NOW
    why: str = ""
    """What it waits for, or why it never goes; empty for `now`."""
    remedy: str = ""
    """The one change that frees it, for `never`; what shortens the wait, for `waits`."""
    lands_on: str = ""
    """Where the proof placed its replacement: a node's name, this node's when it comes back here; empty: not told."""
    replicas: int = 0
    """Pods its ReplicaSet, StatefulSet or ReplicationController is to have; 0: not told, or it has another owner."""


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step on one node, with its deadline in seconds."""

    kind: StepKind
    deadline_s: int


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """Facts the node's part of the plan rests on; compared again just before acting."""

    uid: str
    boot_id: str
    kernel: str
    internal_ip: str
    unschedulable: bool
    label: str
    """Value of our mode label when planned; empty when absent."""
    effective: Mapping[str, str] = field(default_factory=dict)
    """Effective agent settings that matter to the switch, from ConfigMap and CiliumNodeConfigs."""
    links: Mapping[str, int] = field(default_factory=dict)
    """Endpoint host links by kind, when planned. Information: pods come and go."""
    ready: bool = True
    taints: tuple[str, ...] = ()
    """Other people's NoSchedule and NoExecute taints, as `key=value:effect`; conditions of the node left out."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels that limits rest on: zone, roles, and what the policy selects and spreads by."""


@dataclass(frozen=True, slots=True)
class NodePlan:
    """All that will be done to one node."""

    name: str
    method: Method
    source: DatapathMode
    target: DatapathMode
    assign: str
    """Value our label gets; empty: the label is removed, and the cluster's own setting rules."""
    assign_back: str
    facts: NodeFacts
    steps: tuple[PlannedStep, ...]
    returning: tuple[PlannedStep, ...]
    backing: tuple[PlannedStep, ...]
    evictions: tuple[PlannedPod, ...] = ()
    daemon_pods: tuple[PlannedPod, ...] = ()
    stragglers: tuple[PlannedPod, ...] = ()
    """Pods on the pod network that tolerate our taint: deleted in the gap when the agent names them."""
    config_change: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Effective settings that change: key to (before, after)."""
    pool: str = ""
    """The pool that will replace it, for method `replace`."""
    config_sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Objects those settings come from: key to (before, after); empty text where the key is not set."""
    risks: tuple[str, ...] = ()
    cohort: str = ""
    """Nodes with equal text are alike (policy `cohorts`)."""
    zone: str = ""
    """Where it stands, for the map of nodes; empty: not told."""

    @property
    def has_baseline(self) -> bool:
        """Whether the node is observed before any change; without it nothing is compared with what was before."""
        return any(step.kind is StepKind.BASELINE for step in self.steps)

    def track(self, track: Track) -> tuple[PlannedStep, ...]:
        """The steps of one of the node's ways."""
        return {Track.FORWARD: self.steps, Track.RETURN: self.returning, Track.BACK: self.backing}[track]


@dataclass(frozen=True, slots=True)
class PlannedPool:
    """A pool whose nodes are replaced, as it was when planned."""

    name: str
    in_service: int
    """Its Ready and schedulable nodes."""
    uids: tuple[str, ...]
    """All its nodes; any other node of it is new."""


@dataclass(frozen=True, slots=True)
class Wave:
    """Nodes that may be in progress together and share one gate."""

    number: int
    name: str
    nodes: tuple[str, ...]
    why: str = ""
    """What bounded its size, in a sentence."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `most_out` of `nodes` are out at once, whoever's doing it is. The engine obeys every one."""

    name: str
    """E.g. `zone a`, `quorum etcd`, `budget shop/web`."""
    nodes: tuple[str, ...]
    most_out: int
    why: str
    """Where the number comes from."""
    group: str = ""
    """Limits of one group with `groups_at_once` > 0: at most so many of them have nodes out at the same time."""
    groups_at_once: int = 0


@dataclass(frozen=True, slots=True)
class SelectionChange:
    """An object that, through a label or taint of ours, selects other nodes or pods than before."""

    kind: str
    namespace: str
    name: str
    cause: str
    """Our label, taint or object that does it."""
    gains: tuple[str, ...] = ()
    """Nodes it selects from then on."""
    loses: tuple[str, ...] = ()
    consequence: str = ""
    cut: int = 0
    """Nodes beyond those named: `gains` and `loses` name at most 50 each."""


@dataclass(frozen=True, slots=True)
class ConfigOwner:
    """Who owns the agent's DaemonSet or ConfigMap and may change it under the rollout."""

    kind: str
    """helm, argo-cd, flux, addon-manager, kops, operator, or nobody."""
    name: str
    evidence: str
    rolls_agents: bool
    """Whether it would restart agents by itself."""
    advice: str = ""


@dataclass(frozen=True, slots=True)
class BlastRadius:
    """What else changes, or may, because of what the plan writes."""

    changes: tuple[SelectionChange, ...] = ()
    looked_at: Mapping[str, int] = field(default_factory=dict)
    """Objects by kind that were compared; what could not be listed is in `unseen`."""
    unseen: Mapping[str, str] = field(default_factory=dict)
    owners: tuple[ConfigOwner, ...] = ()
    api_requests: Mapping[str, int] = field(default_factory=dict)
    """Requests the whole rollout will make, by purpose (e.g. `evictions`, `watches`, `node patches`)."""


@dataclass(frozen=True, slots=True)
class WaveEstimate:
    """What the simulation says of one wave."""

    wave: int
    low_s: int
    high_s: int
    evictions: int
    moved_again: int
    """Evictions of pods that had been evicted before in this rollout."""
    refusals: int
    """Evictions that a budget is expected to refuse at first."""
    most_out: int
    headroom_cpu_percent: int
    """Least share of allocatable CPU left free by requests while it runs; -1: not told."""
    headroom_memory_percent: int
    binding: str
    """The limit that holds this wave back."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long it takes, as a range, and what would have to give for it to be shorter."""

    low_s: int
    high_s: int
    binding: str
    basis: str
    """Where step times came from: history of how many nodes, or stated defaults."""
    waves: tuple[WaveEstimate, ...] = ()
    evictions: int = 0
    pods: int = 0
    """Different pods evicted; evictions by pods is how often a pod moves."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One preflight row as it stood: pass, info, warn, block, waived or unknown, with the words shown to people."""

    rule: str
    node: str
    """Empty for a claim about the whole cluster."""
    status: str
    message: str
    remedy: str = ""
    source: str = ""
    count: int = 0
    """Nodes on which a node's row passed, told in one finding for all of them; 0: one node, or the cluster."""


@dataclass(frozen=True, slots=True)
class Excluded:
    """A node left out, and why."""

    node: str
    reasons: tuple[str, ...]
    zone: str = ""


@dataclass(frozen=True, slots=True)
class PlannedNodeConfig:
    """A CiliumNodeConfig of ours that apply creates; it selects `label_value` of our label and nothing else."""

    name: str
    namespace: str
    version: str
    label_value: str
    defaults: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """Cluster-wide facts the plan rests on."""

    uid: str
    agent_daemonset: str
    agent_daemonset_uid: str
    agent_image: str
    config_digest: str
    """SHA-256 of the agent's ConfigMap data."""
    node_config_digest: str
    """SHA-256 of all foreign CiliumNodeConfigs' names, selectors and defaults."""
    budgets: Mapping[str, str]
    """PodDisruptionBudgets that bound planned evictions: namespace/name to uid, limits and selector."""
    fleet: int
    agent_generation: int = 0
    """Generation of the agent's DaemonSet: it grows with every change of its pod template."""
    config: Mapping[str, str] = field(default_factory=dict)
    """Keys of the agent's ConfigMap, each with the start of its value's SHA-256: tells which key changed."""
    node_configs: Mapping[str, str] = field(default_factory=dict)
    """Foreign CiliumNodeConfigs by name, each with the start of its content's SHA-256."""


@dataclass(frozen=True, slots=True)
class Hook:
    """An operator's playbook run around each node; `sha256` of its content, empty flag when it has no tasks."""

    name: str
    sha256: str
    empty: bool


@dataclass(frozen=True)  # no slots: what is derived is kept, since it is asked for in every decision
class Plan:
    """The whole contract. Equal inventory, policy and serial give equal bytes."""

    schema: int
    serial: int
    """How many rollouts this state file had started on this cluster, plus one: a used plan never comes back."""
    program: str
    purpose: str
    """rollout, adopt, or rollback of which rollout."""
    supersedes: str
    """Id of the rollout this one takes back; its marks on nodes may be replaced by ours. Empty otherwise."""
    policy: Policy
    cluster: ClusterFacts
    inventory_digest: str
    node_configs: tuple[PlannedNodeConfig, ...]
    hooks: tuple[Hook, ...]
    playbooks: Mapping[str, str]
    """SHA-256 of each playbook that may run."""
    waves: tuple[Wave, ...]
    nodes: tuple[NodePlan, ...]
    excluded: tuple[Excluded, ...]
    findings: tuple[Finding, ...]
    rollback: str
    limits: tuple[Limit, ...] = ()
    blast: BlastRadius = field(default_factory=BlastRadius)
    estimate: Estimate | None = None
    pools: tuple[PlannedPool, ...] = ()
    """Pools whose nodes are replaced, for method `replace`."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Where the numbers of the plan came from, by name."""

    def encode(self) -> bytes:
        """The canonical bytes that the digest is taken over."""
        return canonical(self)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the canonical bytes."""
        return sha256(self.encode())

    @cached_property
    def _by_name(self) -> Mapping[str, NodePlan]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def _waves_by_node(self) -> Mapping[str, Wave]:
        return {name: wave for wave in self.waves for name in wave.nodes}

    @cached_property
    def eviction_namespaces(self) -> frozenset[str]:
        """Namespaces of the pods that will be evicted: their PodDisruptionBudgets are facts of the plan."""
        return eviction_namespaces(self.nodes)

    def pool(self, name: str) -> PlannedPool:
        """A pool whose nodes are replaced. Raises KeyError."""
        return {pool.name: pool for pool in self.pools}[name]

    @property
    def adopts(self) -> bool:
        """Whether this plan labels newly joined nodes that have no endpoint of the old kind."""
        return self.purpose == ADOPT

    @cached_property
    def limit_index(self) -> LimitIndex:
        """Answers which limit keeps a node in service while others are out."""
        return LimitIndex(self.limits, self.policy.max_unavailable, self.cluster.fleet)

    @property
    def takes_back(self) -> bool:
        """Whether this plan takes another rollout back."""
        return bool(self.supersedes)

    def has(self, name: str) -> bool:
        """Whether a node is in the plan."""
        return name in self._by_name

    def node(self, name: str) -> NodePlan:
        """The part of one node. Raises KeyError."""
        return self._by_name[name]

    def wave_of(self, name: str) -> Wave:
        """The wave a node is in. Raises KeyError."""
        return self._waves_by_node[name]


def eviction_namespaces(nodes: tuple[NodePlan, ...]) -> frozenset[str]:
    """Namespaces of the pods that will be evicted from `nodes`."""
    return frozenset(pod.ref.namespace for node in nodes for pod in node.evictions)


def decode_plan(text: bytes) -> Plan:
    """Read a plan document. Raises `Refused` for another schema, a damaged document or one that is not canonical."""
    try:
        plain = json.loads(text)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise Refused(
            "plan-unreadable",
            f"cannot read the plan: it is not JSON ({error})",
            hint="make it again: rollout plan",
        ) from error
    schema = plain.get("schema") if isinstance(plain, dict) else None
    if not isinstance(schema, int) or schema != SCHEMA:
        newer = isinstance(schema, int) and schema > SCHEMA
        raise Refused(
            "plan-schema",
            f"cannot read the plan: its schema is {schema}, this program reads {SCHEMA}",
            hint="use the newer program that wrote it"
            if newer
            else "an older program wrote it; make the plan again: rollout plan",
        )
    try:
        plan = from_plain(Plan, plain)
    except (DecodeError, TypeError) as error:
        raise Refused("plan-damaged", f"cannot read the plan: {error}", hint="make it again: rollout plan") from error
    if plan.encode() != text.strip(b"\n"):
        raise Refused(
            "plan-edited",
            "cannot use the plan: its text is not what rollout wrote",
            hint="a plan is never edited; change the policy and make a new one: rollout plan",
        )
    return plan
