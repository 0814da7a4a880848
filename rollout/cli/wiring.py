"""Where adapters are chosen: the only module that imports them.

Each is imported when it is needed: `rollout status` must answer while the cluster is down and must not pay for clients
that it does not use.
"""

from __future__ import annotations

import getpass
import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TextIO, cast

from rollout.app.world import Who, World
from rollout.cli.config import Config, ObserverKind, without_password
from rollout.cli.render.live import COLOURS, LiveRows
from rollout.cli.render.words import entry_line
from rollout.domain.errors import Refused
from rollout.domain.policy import Freeze
from rollout.ports.clock import Clock
from rollout.ports.cluster import Cluster
from rollout.ports.hosts import Hosts
from rollout.ports.observer import Observer
from rollout.ports.probes import ProbePods
from rollout.ports.reporter import Reporter
from rollout.ports.signals import Signals
from rollout.ports.signatures import Signatures
from rollout.ports.store import ChainFault, JournalStore

if TYPE_CHECKING:
    from rollout.adapters.kubernetes import KubernetesCluster

TOOLBOX_NAMESPACE = "kube-system"
"""Exists everywhere, and where Pod Security is enforced it is excepted, or holds the agent itself as privileged."""


class Reach(Enum):
    """What a command needs."""

    JOURNAL = "journal"
    """The state alone."""
    NODES = "nodes"
    """Cluster and nodes, no state."""
    ALL = "all"


class ClosingReporter(Reporter, Protocol):
    """A reporter that gives the terminal back at the end."""

    def close(self) -> None:
        """Stop drawing."""
        ...


@dataclass(frozen=True, slots=True)
class StateUpgrade:
    """What `state upgrade` did. `before` empty: the state was created."""

    before: str
    after: str
    backup: Path | None


@dataclass(frozen=True, slots=True)
class StateCheck:
    """What `state check` found."""

    schema: str
    head: str
    ok: bool
    chain: tuple[ChainFault, ...]
    integrity: tuple[str, ...]


class Wiring(Protocol):
    """What the commands ask for. Tests put fakes here."""

    def world(
        self, config: Config, reach: Reach, reporter: Reporter, *, create_state: bool = False
    ) -> AbstractContextManager[World]:
        """The ports of one command, closed at its end. `create_state`: make the state when there is none yet."""
        ...

    def reporter(self, stream: TextIO, rows: LiveRows | None) -> ClosingReporter:
        """Plain lines, or a live table when `rows` is given."""
        ...

    def now(self) -> datetime:
        """The present."""
        ...

    def who(self) -> Who:
        """The person and process acting."""
        ...

    def alive(self, pid: int) -> bool:
        """Whether a process of this machine runs."""
        ...

    def upgrade_state(self, config: Config) -> StateUpgrade:
        """Create the state or bring it to the current schema."""
        ...

    def check_state(self, config: Config) -> StateCheck:
        """Look at all of the state."""
        ...

    def export_state(self, config: Config) -> AbstractContextManager[Iterator[str]]:
        """The state's lines."""
        ...


class SystemWiring:
    """The real adapters."""

    def __init__(self) -> None:
        from rollout.adapters.clock import SystemClock

        self._clock = SystemClock()

    @contextmanager
    def world(self, config: Config, reach: Reach, reporter: Reporter, *, create_state: bool = False) -> Iterator[World]:
        """The ports of one command, closed at its end."""
        close: list[Callable[[], None]] = []
        try:
            store = cast(JournalStore, _Absent("state"))
            cluster, hosts, observer, probes = _absent_cluster()
            if reach is not Reach.NODES:
                store = self._store(config, reporter, create=create_state)
                close.append(store.close)
            if reach is not Reach.JOURNAL:
                cluster, hosts, observer, probes = _cluster(config, self._clock, self.who(), reporter)
                close.append(cluster.close)
            yield World(
                cluster=cluster,
                hosts=hosts,
                observer=observer,
                probes=probes,
                signals=_signals(config),
                signatures=_signatures(config),
                store=store,
                clock=self._clock,
                reporter=reporter,
                who=replace(self.who(), name=config.operator or ""),
                addresses=config.hosts,
                lease_s=config.lease_seconds,
                observe_s=config.observe_timeout,
                approval=config.approval.rules(),
            )
        finally:
            for end in reversed(close):
                end()

    def reporter(self, stream: TextIO, rows: LiveRows | None) -> ClosingReporter:
        """Plain lines, or a live table when `rows` is given."""
        from rollout.adapters.reporter import LiveReporter, PlainReporter

        return LiveReporter(stream, entry_line, rows, COLOURS) if rows else PlainReporter(stream, entry_line)

    def now(self) -> datetime:
        """The present."""
        return self._clock.now()

    def who(self) -> Who:
        """The person behind sudo, else the user of the process."""
        return Who(os.environ.get("SUDO_USER") or _user(), socket.gethostname(), os.getpid())

    def alive(self, pid: int) -> bool:
        """Whether a process of this machine runs."""
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    def upgrade_state(self, config: Config) -> StateUpgrade:
        """Create the state or bring it to the current schema."""
        from rollout.adapters.store import create_or_upgrade

        done = create_or_upgrade(config.state, self._clock.now())
        return StateUpgrade(done.before or "", done.after, done.backup)

    def check_state(self, config: Config) -> StateCheck:
        """Look at all of the state."""
        from rollout.adapters.store import check

        found = check(config.state)
        return StateCheck(found.current or "", found.head, found.ok, found.faults, found.integrity)

    @contextmanager
    def export_state(self, config: Config) -> Iterator[Iterator[str]]:
        """The state's lines."""
        from rollout.adapters.store import export, open_store

        store = open_store(config.state, self._clock.now)
        try:
            yield export(store)
        finally:
            store.close()

    def _store(self, config: Config, reporter: Reporter, *, create: bool) -> JournalStore:
        from rollout.adapters.store import create_or_upgrade, open_store

        try:
            return open_store(config.state, self._clock.now)
        except Refused as refused:
            if not create or refused.code not in ("state-missing", "state-empty"):
                raise
        create_or_upgrade(config.state, self._clock.now())
        reporter.note(f"there was no state yet: created {without_password(config.state)}")
        return open_store(config.state, self._clock.now)


def _cluster(config: Config, clock: Clock, who: Who, reporter: Reporter) -> tuple[Cluster, Hosts, Observer, ProbePods]:
    from rollout.adapters.ansible.hosts import AnsibleHosts
    from rollout.adapters.ansible.settings import HostsSettings
    from rollout.adapters.kubernetes import ClusterSettings, KubernetesCluster
    from rollout.adapters.observer import PlaybookObserver
    from rollout.adapters.packaged import packaged_dir

    ssh = config.ssh
    hosts = AnsibleHosts(
        HostsSettings(
            run_dir=config.run_dir,
            playbooks=packaged_dir("playbooks"),
            known_hosts=ssh.known_hosts,
            user=ssh.user,
            port=ssh.port,
            private_key=ssh.private_key,
            become=ssh.become,
            python=ssh.python,
            connect_timeout_s=ssh.connect_timeout,
            extra_ssh_args=ssh.extra_args,
            before_node=config.hooks.before_node,
            after_node=config.hooks.after_node,
        ),
        ssh_later=config.observer is ObserverKind.TOOLBOX,
    )
    cluster = KubernetesCluster.connect(
        ClusterSettings(
            kubeconfig=config.kubeconfig,
            context=config.context,
            agent_namespace=config.agent_namespace,
            qps=float(config.api.qps),
            burst=config.api.burst,
            request_timeout_s=float(config.api.timeout),
        )
    )
    if config.observer is ObserverKind.TOOLBOX:
        return cluster, hosts, _toolbox(config, cluster, clock, who, reporter), cluster.probes()
    return cluster, hosts, PlaybookObserver(hosts, clock), cluster.probes()


def _toolbox(config: Config, cluster: KubernetesCluster, clock: Clock, who: Who, reporter: Reporter) -> Observer:
    from rollout.adapters.toolbox.manifest import ToolboxSettings
    from rollout.adapters.toolbox.observer import ToolboxObserver

    wanted = config.toolbox
    toolbox = cluster.toolbox(wanted.namespace or config.agent_namespace or TOOLBOX_NAMESPACE)
    by = f"{who.operator} on {who.host}, process {who.pid}"
    settings = ToolboxSettings(wanted.image or "", wanted.pull_secret, by=by)
    return ToolboxObserver(toolbox, settings, clock, reporter.note)


def calendar_freezes(files: Sequence[str], since: datetime) -> tuple[Freeze, ...]:
    """Events of iCal files as freezes."""
    from rollout.adapters.calendar import read_freezes

    return read_freezes(files, since)


def _signals(config: Config) -> Signals:
    from rollout.adapters.signals import HttpSignals

    return HttpSignals(config.gates_token_file)


def _signatures(config: Config) -> Signatures:
    from rollout.adapters.signatures import SignatureSettings, SshSignatures

    rules = config.approval
    return SshSignatures(SignatureSettings(rules.allowed_signers, rules.revoked_keys, terminal=sys.stdin.isatty()))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in some containers
        return f"uid {os.getuid()}"


class _Absent:
    """A port that this command has no business with. Touching it is a bug."""

    def __init__(self, port: str) -> None:
        self._port = port

    def __getattr__(self, name: str) -> Any:
        self._refuse(name)

    def _refuse(self, name: str) -> NoReturn:
        raise AssertionError(f"this command was wired without the port {self._port}, but asked it for {name}")


def _absent_cluster() -> tuple[Cluster, Hosts, Observer, ProbePods]:
    return (
        cast(Cluster, _Absent("cluster")),
        cast(Hosts, _Absent("hosts")),
        cast(Observer, _Absent("observer")),
        cast(ProbePods, _Absent("probes")),
    )
