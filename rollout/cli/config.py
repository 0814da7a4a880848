"""The configuration: its keys, where it is looked for, and what is in force after environment and flags.

Order, the later wins: default, file, environment, flag. There is no key for a secret: SSH logs in by key, the cluster
by kubeconfig, a database password belongs in ~/.pgpass or PGPASSWORD, and the external gates' token in a file.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs

from rollout.app.world import Address
from rollout.cli.typed_yaml import Place, Seconds, YamlReader
from rollout.domain.codec import to_plain
from rollout.domain.errors import UsageError
from rollout.domain.node import DatapathMode
from rollout.domain.policy import ApprovalRules, Policy

APP = "netkit-rollout"
FILE_NAME = "rollout.yaml"
ENV_CONFIG = "ROLLOUT_CONFIG"
ENV_STATE = "ROLLOUT_STATE"

_15_S, _30_S, _300_S = Seconds(15), Seconds(30), Seconds(300)


@dataclass(frozen=True, slots=True)
class SshConfig:
    """How nodes are reached."""

    user: str = "root"
    port: int = 22
    private_key: Path | None = None
    known_hosts: Path = field(default_factory=lambda: Path.home() / ".ssh" / "known_hosts")
    become: bool = True
    python: str = "/usr/bin/python3"
    connect_timeout: Seconds = _15_S
    extra_args: tuple[str, ...] = ()


class ObserverKind(Enum):
    """The way on which observers reach nodes."""

    SSH = "ssh"
    TOOLBOX = "toolbox"


@dataclass(frozen=True, slots=True)
class ToolboxConfig:
    """Pods that observe nodes without SSH."""

    namespace: str | None = None
    image: str | None = None
    pull_secret: str | None = None


@dataclass(frozen=True, slots=True)
class HooksConfig:
    """The operator's playbooks around each node."""

    before_node: Path | None = None
    after_node: Path | None = None


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """How hard the Kubernetes API may be asked."""

    qps: int = 20
    burst: int = 40
    timeout: Seconds = _30_S


@dataclass(frozen=True, slots=True)
class ApprovalConfig:
    """The site's rules for approvals; a plan's own can only ask for more. And the files that signatures need."""

    count: int = 1
    signed: bool = False
    own_plans: bool = True
    approvers: tuple[str, ...] = ()
    allowed_signers: Path | None = None
    revoked_keys: Path | None = None

    def rules(self) -> ApprovalRules:
        """The rules alone."""
        return ApprovalRules(self.count, self.signed, self.own_plans, self.approvers)


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that can be configured. Names are the keys of the file."""

    kubeconfig: Path | None = None
    context: str | None = None
    agent_namespace: str | None = None
    state: Place = field(default_factory=lambda: Place(str(state_dir() / "state.db")))
    run_dir: Path = field(default_factory=lambda: state_dir() / "runs")
    lease_seconds: Seconds = _30_S
    observe_timeout: Seconds = _300_S
    ssh: SshConfig = field(default_factory=SshConfig)
    hosts: Mapping[str, Address] = field(default_factory=dict)
    observer: ObserverKind = ObserverKind.SSH
    toolbox: ToolboxConfig = field(default_factory=ToolboxConfig)
    hooks: HooksConfig = field(default_factory=HooksConfig)
    api: ApiConfig = field(default_factory=ApiConfig)
    gates_token_file: Path | None = None
    operator: str | None = None
    approval: ApprovalConfig = field(default_factory=ApprovalConfig)
    policy: Policy = field(default_factory=lambda: Policy(target=DatapathMode.NETKIT))


KEYS: Mapping[str, str] = {
    "kubeconfig": "the kubeconfig file; without it the client's own rule: $KUBECONFIG, else ~/.kube/config",
    "context": "the kubeconfig's context; without it its current one",
    "agent_namespace": "the namespace Cilium is installed in; without it, it is looked for",
    "state": "the state: a file, or postgresql+psycopg://user@host/database (no password: use ~/.pgpass)",
    "run_dir": "where Ansible's runs are kept, private and pruned",
    "lease_seconds": "how long the cluster's lease lasts; it is renewed three times in it",
    "observe_timeout": "longest time for observing all nodes once",
    "ssh.user": "the user to log in as",
    "ssh.port": "the port of the SSH server",
    "ssh.private_key": "the private key file; without it the SSH agent's keys",
    "ssh.known_hosts": "the nodes' host keys; they are always checked",
    "ssh.become": "use sudo (it must not ask for a password)",
    "ssh.python": "Python on the nodes, 3.9 or newer",
    "ssh.connect_timeout": "longest time for a connection to come up",
    "ssh.extra_args": 'more arguments for ssh, e.g. ["-o", "ProxyJump=bastion"]',
    "hosts": "node name to address[:port], or to {address, port}, where the InternalIP is not what to connect to",
    "observer": "ssh or toolbox: how nodes are observed; what changes a node goes over SSH always",
    "toolbox.namespace": (
        "where toolbox pods are made; it must admit privileged pods. Without it `agent_namespace`, else kube-system"
    ),
    "toolbox.image": "image of a toolbox pod, built from toolbox/Dockerfile; there is no default",
    "toolbox.pull_secret": "the Secret in toolbox.namespace with which the image is pulled; none: a public image",
    "hooks.before_node": "your playbook to run before each node; its digest is part of the plan",
    "hooks.after_node": "your playbook to run after each node",
    "api.qps": "most requests per second to the Kubernetes API, in the long run",
    "api.burst": "most requests at once",
    "api.timeout": "longest time for one request",
    "gates_token_file": "a file with the bearer token for external gates; it is sent over https only, and kept nowhere",
    "operator": "who you are where plans are made and approved; without it user@host",
    "approval.count": "how many different people have to approve any plan; a plan's own policy can only ask for more",
    "approval.signed": "whether each approval must carry an SSH signature",
    "approval.own_plans": "whether who made a plan may approve it",
    "approval.approvers": "who may approve; none: anybody",
    "approval.allowed_signers": "whose SSH keys may sign as whom: a file as ssh-keygen(1) says under ALLOWED SIGNERS",
    "approval.revoked_keys": "keys that count no more: a list made by ssh-keygen -k, or public keys, one a line",
    "policy.target": "the mode to move to: veth, netkit or netkit-l2",
    "policy.method": "auto, restart, reboot, or replace: new nodes of a pool take the place of old ones",
    "policy.replace.hand_over": (
        "operator or hook: who deletes an emptied node of method replace, a person or your hooks.after_node"
    ),
    "policy.replace.slack": (
        "so many nodes a pool may be short of its size when planned; 0: a new node comes before an old one goes"
    ),
    "policy.most_watched": "most nodes and pods of the cluster together that may be watched, 1.3 KB of memory each",
    "policy.nodes": "names to plan; none: every node the selector matches",
    "policy.selector": "labels a node must have",
    "policy.max_unavailable": "most nodes out at once, a count or a percentage; foreign outages count",
    "policy.canary": "nodes in the first wave",
    "policy.growth": "each wave is at most so many times as large as the one before",
    "policy.on_failure": (
        "hold, hold-rollout, roll-back or roll-back-wave: what happens when a node failed after its mode was assigned"
    ),
    "policy.failure_budget": "failed, unreachable, lost, quarantined and undecided nodes tolerated before a hold",
    "policy.checks": "levels by check name (required, advisory, off), where the catalogue's do not fit",
    "policy.on_check_failure": "as on_failure, by the name of the check that failed",
    "policy.probes.namespace": "where our probe pods live; it must exist",
    "policy.probes.image": "image of a probe pod: anything with Python 3.9 or newer as python3",
    "policy.probes.packets": "packets in one burst, by which loss and latency are judged",
    "policy.probes.window_s": "shortest time that eBPF probes watch",
    "policy.probes.peers": "other nodes to reach from a node that is probed",
    "policy.probes.controls": (
        "nodes not yet migrated that are looked at in the same minutes (0 to 3); "
        "harm that they show as well is not held against the node"
    ),
    "policy.probes.policies": "network policies of the cluster of which a copy is tried on our own probe pods",
    "policy.probes.without_bpf": "hold or accept: what to do with a node where no eBPF probe can run",
    "policy.tolerances.latency_us": "rise of a latency quantile that is still fine, in microseconds",
    "policy.tolerances.latency_percent": "or this many percent of the baseline, whichever is more",
    "policy.tolerances.loss_ppm": "rise of the share of lost packets that is still fine, in parts per million",
    "policy.tolerances.error_ppm": "chance that a verification without any fault fails, in parts per million",
    "policy.gates": (
        "external gates: a list of {name, source, url, scope, query, proceed_when, roll_back_when, timeout_s}"
    ),
    "policy.soak_fenced_s": "how long a node is watched before it takes pods again",
    "policy.soak_loaded_s": "how long a wave is watched under load before the next one begins",
    "policy.drain.delete_empty_dir": "evict pods with emptyDir volumes; their scratch data ends with them",
    "policy.drain.evict_unowned": "evict pods that no controller will replace",
    "policy.drain.retry_s": "seconds between two tries of an eviction that a budget refused",
    "policy.deadlines_s": "deadlines by step name, where the step table's do not fit",
    "policy.approval.count": "how many different people have to approve the plan",
    "policy.approval.signed": "whether each approval must carry an SSH signature",
    "policy.approval.own_plans": "whether who made the plan may approve it",
    "policy.approval.approvers": "who may approve; none: anybody",
    "policy.waivers": "lifted preflight rules: a list of {rule, by, reason, nodes}",
}
"""What each key says. The README's reference is made from it."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The configuration in force. `origins`: by dotted key, where a value that is not the default came from."""

    config: Config
    origins: Mapping[str, str]
    file: Path | None


def state_dir() -> Path:
    """Where state lives by default."""
    return Path(platformdirs.user_state_path(APP))


def find_file(flag: Path | None, env: Mapping[str, str]) -> Path | None:
    """The configuration file: flag, $ROLLOUT_CONFIG, ./rollout.yaml, XDG. A file that was named must exist."""
    named = flag or (Path(env[ENV_CONFIG]) if env.get(ENV_CONFIG) else None)
    if named is not None:
        return named
    fallbacks = (Path(FILE_NAME), Path(platformdirs.user_config_path(APP)) / FILE_NAME)
    return next((path for path in fallbacks if path.is_file()), None)


def load(flag: Path | None, env: Mapping[str, str], flags: Mapping[str, Any]) -> Loaded:
    """Read and lay over each other. `flags`: values by dotted key, None where not given. Raises `UsageError`."""
    file = find_file(flag, env)
    config, origins = Config(), dict[str, str]()
    if file is not None:
        reader = YamlReader(file)
        config = reader.read(Config, config)
        origins = reader.origins
    if env.get(ENV_STATE):
        config = dataclasses.replace(config, state=place_of(env[ENV_STATE]))
        origins["state"] = f"${ENV_STATE}"
    for key, value in flags.items():
        if value is not None:
            config = dataclasses.replace(config, **{key: value})
            origins[key] = f"--{key.replace('_', '-')}"
    _require_sane(config)
    return Loaded(config, origins, file)


def place_of(text: str) -> Place:
    """A state given on the command line or in the environment."""
    return Place(text if "://" in text else str(Path(text).expanduser().absolute()))


def _require_sane(config: Config) -> None:
    if config.observer is ObserverKind.TOOLBOX and not config.toolbox.image:
        raise UsageError(
            "config-wrong",
            "cannot use the configuration: observer: toolbox needs toolbox.image, which has no default",
            hint="build toolbox/Dockerfile, push it where the nodes can pull it, and name it in toolbox.image",
        )
    for key, value, least in (
        ("lease_seconds", config.lease_seconds, 6),
        ("observe_timeout", config.observe_timeout, 1),
        ("api.qps", config.api.qps, 1),
        ("api.burst", config.api.burst, 1),
        ("api.timeout", config.api.timeout, 1),
        ("ssh.port", config.ssh.port, 1),
        ("ssh.connect_timeout", config.ssh.connect_timeout, 1),
        ("approval.count", config.approval.count, 1),
    ):
        if value < least:
            raise UsageError(
                "config-wrong",
                f"cannot use the configuration: {key}: {value} is too small, the least is {least}",
                hint="where it is set: rollout config show",
            )


def shown(loaded: Loaded) -> tuple[tuple[str, Any, str], ...]:
    """Every key with the plain value in force and its origin, in the order of `KEYS`."""
    found = dict(_leaves(loaded.config, ""))
    return tuple((key, found[key], _origin(loaded.origins, key)) for key in KEYS)


def _leaves(record: Any, path: str) -> Iterator[tuple[str, Any]]:
    for spec in dataclasses.fields(record):
        where, value = f"{path}{spec.name}", getattr(record, spec.name)
        if dataclasses.is_dataclass(value):
            yield from _leaves(value, f"{where}.")
        elif where == "state":
            yield where, without_password(str(value))
        else:
            yield where, str(value) if isinstance(value, Path) else to_plain(value)


def _origin(origins: Mapping[str, str], key: str) -> str:
    return origins.get(key, "default")


def without_password(place: str) -> str:
    """A state's URL as people may see it."""
    parts = urlsplit(place)
    if "://" not in place or parts.password is None:
        return place
    return re.sub(r"(://[^:@/]*):[^@]*@", r"\1:***@", place, count=1)
