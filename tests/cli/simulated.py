"""The wiring that puts a world in memory under the commands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import TextIO

from rollout.adapters.reporter import PlainReporter
from rollout.adapters.signatures import SignatureSettings, SshSignatures
from rollout.app.world import Who, World
from rollout.cli.config import Config
from rollout.cli.render.live import LiveRows
from rollout.cli.render.words import entry_line
from rollout.cli.wiring import ClosingReporter, Reach, StateCheck, StateUpgrade
from rollout.ports.reporter import Reporter
from tests.support.world import HandClock, Model


class SimulatedWiring:
    """`Wiring` over one model: three nodes with a web pod each, and a clock that only waiting moves."""

    def __init__(self) -> None:
        self.model = Model(("n1", "n2", "n3"), replicas=3, clock=HandClock(faster=0))
        self.cluster = self.model.cluster
        self.state = self.model.state
        self.dead: set[int] = set()
        self.opened: list[Reach] = []
        self.acting = Who("ann", "ops-1", 4242)

    @contextmanager
    def world(self, config: Config, reach: Reach, reporter: Reporter, *, create_state: bool = False) -> Iterator[World]:
        self.opened.append(reach)
        signing = SignatureSettings(config.approval.allowed_signers, config.approval.revoked_keys)
        yield self.model.world(
            reporter=reporter,
            who=replace(self.acting, name=config.operator or ""),
            approval=config.approval.rules(),
            signatures=SshSignatures(signing),
        )

    def reporter(self, stream: TextIO, rows: LiveRows | None) -> ClosingReporter:
        return PlainReporter(stream, entry_line)

    def now(self) -> datetime:
        return self.model.clock.now()

    def who(self) -> Who:
        return self.acting

    def alive(self, pid: int) -> bool:
        return pid not in self.dead

    def upgrade_state(self, config: Config) -> StateUpgrade:
        return StateUpgrade("", "0001", None)

    def check_state(self, config: Config) -> StateCheck:
        return StateCheck("0001", "0001", True, (), ())

    @contextmanager
    def export_state(self, config: Config) -> Iterator[Iterator[str]]:
        yield iter(('{"kind": "end", "lines": 0}',))
