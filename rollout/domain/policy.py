"""What the operator allows for a rollout. Part of the plan, hence of the digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from rollout.domain.node import DatapathMode
from rollout.domain.step import STEPS, StepKind


class MethodChoice(Enum):
    """auto: restart when the agent has the start-up guard, else reboot. replace: new nodes come for old ones."""

    AUTO = "auto"
    RESTART = "restart"
    REBOOT = "reboot"
    REPLACE = "replace"


class HandOver(Enum):
    """How the owner of a pool is asked to replace a node that was emptied."""

    OPERATOR = "operator"
    """The node stays fenced until a person deletes it; the rollout says how and waits."""
    HOOK = "hook"
    """The operator's own after-node playbook deletes it; it must have tasks, and may run twice."""


@dataclass(frozen=True, slots=True)
class ReplaceRules:
    """How nodes of a pool are replaced by new ones; for method `replace` only."""

    hand_over: HandOver = HandOver.OPERATOR
    slack: int = 1
    """So many nodes a pool may be short of its size when planned; 0: a new node comes before an old one goes."""


class OnFailure(Enum):
    """What to do when a node failed after it was armed. The later, the wider."""

    HOLD = "hold"
    """Quarantine the node; the failure budget decides about the rollout."""
    HOLD_ROLLOUT = "hold-rollout"
    """Quarantine the node and hold the rollout, whatever the failure budget says."""
    ROLL_BACK = "roll-back"
    """Take the node back to the mode it came from."""
    ROLL_BACK_WAVE = "roll-back-wave"
    """Take the node and every finished node of its wave back, and hold the rollout."""


class CheckLevel(Enum):
    """How much a check's verdict counts."""

    REQUIRED = "required"
    """A fail fails the node; inconclusive, skipped or missing holds it."""
    ADVISORY = "advisory"
    """Recorded and shown; decides nothing."""
    OFF = "off"
    """Not asked."""


class WithoutBpf(Enum):
    """What to do with a node where no eBPF probe can run."""

    HOLD = "hold"
    ACCEPT = "accept"
    """The checks that need eBPF are skipped there; what can be read without still counts."""


@dataclass(frozen=True, slots=True)
class Tolerances:
    """How much worse than its own baseline a node may become. A check fails when the whole interval lies beyond."""

    latency_us: int = 5000
    """Rise of a latency quantile in microseconds that is still fine."""
    latency_percent: int = 150
    """Or this many percent of the baseline, whichever is more."""
    loss_ppm: int = 5000
    """Rise of the share of lost packets, and of retransmitted ones, that is still fine, in parts per million."""
    error_ppm: int = 1000
    """Chance that a verification without any fault fails, in parts per million, shared among all that is compared."""


@dataclass(frozen=True, slots=True)
class ProbeRules:
    """How nodes are probed on the wire."""

    namespace: str = "netkit-rollout"
    """Where our probe pods live; it must exist."""
    image: str = "python:3.13-alpine"
    """Image of a probe pod: anything with a Python 3.9 or newer as `python3`."""
    packets: int = 400
    """Packets in one burst, by which loss and latency are judged."""
    window_s: int = 4
    """Shortest time that eBPF probes watch, in seconds."""
    peers: int = 2
    """Other nodes to reach: at most one in the mode left and one in the mode moved to."""
    controls: int = 1
    """Nodes not yet migrated that are looked at in the same minutes; harm that they show as well is not held against
    the node. 0: none."""
    policies: int = 2
    """Network policies of the cluster of which a copy is tried on our own probe pods."""
    without_bpf: WithoutBpf = WithoutBpf.HOLD


class GateSource(Enum):
    """What an external gate asks."""

    PROMETHEUS = "prometheus"
    HTTP = "http"


class GateScope(Enum):
    """When an external gate is asked."""

    NODE = "node"
    """After each node's verification, before it takes pods again."""
    WAVE = "wave"
    """At the gate behind each wave."""


@dataclass(frozen=True, slots=True)
class ExternalGate:
    """A question to another system with three answers: proceed, hold, roll back. No answer holds."""

    name: str
    source: GateSource
    url: str
    scope: GateScope = GateScope.WAVE
    query: str = ""
    """PromQL, for Prometheus; `$node` and `$wave` are filled in as quoted strings."""
    proceed_when: str = ""
    """For Prometheus: a comparison such as `< 0.01` that every value of the answer must meet to proceed."""
    roll_back_when: str = ""
    """For Prometheus: one value that meets this rolls back. Neither: hold."""
    timeout_s: int = 10


@dataclass(frozen=True, slots=True)
class DrainRules:
    """What a drain may do to pods beyond evicting owned, movable ones."""

    delete_empty_dir: bool = True
    """Evict pods with emptyDir volumes: their scratch data ends with them."""
    evict_unowned: bool = False
    """Evict pods that no controller will replace."""
    retry_s: int = 5
    """Seconds between two tries of an eviction that a budget refused and gave no Retry-After for; kubectl waits 5."""


@dataclass(frozen=True, slots=True)
class Waiver:
    """Lifts one blocking preflight rule on the nodes named (all when empty); says who asked and why."""

    rule: str
    by: str
    reason: str
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SpreadRule:
    """Bounds nodes out at once by a node label, such as the zone."""

    key: str
    per_value: str = ""
    """Most nodes out at once with one value: a count, or a share of the nodes with that value. Empty: no such bound."""
    values_at_once: int = 1
    """Most different values with nodes out at the same time; 0: no such bound."""


@dataclass(frozen=True, slots=True)
class KeepRule:
    """A set of which a minimum stays in service: a quorum of pods, or the last nodes of a role."""

    name: str
    keep: str
    """So many of the set stay: a count, a share (50%), or `quorum`: more than half."""
    namespace: str = ""
    pods: Mapping[str, str] = field(default_factory=dict)
    """The set is these pods, hence the nodes they run on."""
    nodes: Mapping[str, str] = field(default_factory=dict)
    """The set is these nodes."""


@dataclass(frozen=True, slots=True)
class Window:
    """A recurring time in which nodes may begin. An end before the start is on the next day."""

    days: tuple[str, ...] = ()
    """mon to sun, by the day it starts; none: every day."""
    start: str = "00:00"
    end: str = "24:00"
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Freeze:
    """A time in which no node begins, taken from a calendar when the plan was made. ISO 8601, with offset."""

    name: str
    start: str
    end: str
    calendar: str = ""
    """The file it came from."""


class AtWindowEnd(Enum):
    """What nodes in flight do when a window ends or a freeze begins."""

    FINISH = "finish"
    """They go on to their end; none begins."""
    GIVE_BACK = "give-back"
    """Those that are not armed yet are given back as they were; armed ones finish."""


@dataclass(frozen=True, slots=True)
class ApprovalRules:
    """Whose consent a plan needs."""

    count: int = 1
    """Different people."""
    signed: bool = False
    """Each approval carries an SSH signature over the digest, by a key of the allowed-signers file."""
    own_plans: bool = True
    """Whether who made the plan may approve it."""
    approvers: tuple[str, ...] = ()
    """Who may approve; empty: anybody."""


@dataclass(frozen=True, slots=True)
class Policy:
    """All that steers planning and the engine. Durations in seconds."""

    target: DatapathMode
    method: MethodChoice = MethodChoice.AUTO
    nodes: tuple[str, ...] = ()
    """Names to plan; empty: every node the selector matches."""
    selector: Mapping[str, str] = field(default_factory=dict)
    max_unavailable: str = "1"
    """Most nodes out at once: a count, or a share of the fleet (rounded down, at least 1). Foreign outages count."""
    canary: int = 1
    growth: int = 2
    """Each wave is at most this many times as large as the one before."""
    on_failure: OnFailure = OnFailure.HOLD
    failure_budget: int = 0
    """Failed, unreachable, lost, quarantined and undecided nodes tolerated before the rollout holds."""
    checks: Mapping[str, CheckLevel] = field(default_factory=dict)
    """Levels by check name, where the catalogue's own do not fit."""
    on_check_failure: Mapping[str, OnFailure] = field(default_factory=dict)
    """What to do by the check that failed, where `on_failure` does not fit."""
    probes: ProbeRules = field(default_factory=ProbeRules)
    tolerances: Tolerances = field(default_factory=Tolerances)
    gates: tuple[ExternalGate, ...] = ()
    soak_fenced_s: int = 60
    soak_loaded_s: int = 300
    drain: DrainRules = field(default_factory=DrainRules)
    deadlines_s: Mapping[str, int] = field(default_factory=dict)
    """Overrides of the step table's deadlines, by step name."""
    waivers: tuple[Waiver, ...] = ()

    spread: tuple[SpreadRule, ...] = ()
    keep: tuple[KeepRule, ...] = ()
    known_sets: bool = True
    """Also keep the quorum of sets that are recognised: etcd, Ceph, Kafka, Cassandra, Postgres operators, ingress."""
    cohorts: tuple[str, ...] = ("kernel", "instance-type", "zone", "os-image", "routing")
    """What makes nodes alike: each combination has its own canary. Names of `planning.cohorts`, or node label keys."""
    canary_per_cohort: bool = True
    windows: tuple[Window, ...] = ()
    calendars: tuple[str, ...] = ()
    """iCal files with freezes; read when the plan is made, and kept in it as `freezes`."""
    freezes: tuple[Freeze, ...] = ()
    at_window_end: AtWindowEnd = AtWindowEnd.FINISH
    soft_taint: bool = True
    """Nodes still to do get our PreferNoSchedule taint, so that evicted pods land on finished ones."""
    capacity_growth: bool = True
    """Waves grow no faster than finished nodes can take their pods."""
    headroom_percent: int = 10
    """Share of allocatable CPU and memory that stays free on the nodes left while others are out."""
    approval: ApprovalRules = field(default_factory=ApprovalRules)
    replace: ReplaceRules = field(default_factory=ReplaceRules)
    most_watched: int = 400_000
    """Most nodes and pods of the cluster together that may be watched while a rollout runs: all are held in memory."""

    def action_on(self, check: str) -> OnFailure:
        """What to do when `check` failed; the empty name is a failure that no check found."""
        return self.on_check_failure.get(check, self.on_failure)

    def deadline_s(self, kind: StepKind) -> int:
        """Deadline of one step in seconds."""
        return self.deadlines_s.get(kind.value, STEPS[kind].deadline_s)

    def most_unavailable(self, fleet: int) -> int:
        """`max_unavailable` as a count for a fleet of `fleet` nodes; never less than one."""
        text = self.max_unavailable
        if text.endswith("%"):
            return max(1, fleet * int(text[:-1]) // 100)
        return int(text)
