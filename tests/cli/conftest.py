"""The commands over a simulated cluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rollout.cli.main import cli
from rollout.cli.session import Session
from tests.cli.simulated import SimulatedWiring

Run = Callable[..., Result]

QUICK = ("--soak-fenced", "0", "--soak-loaded", "0")


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROLLOUT_CONFIG", "ROLLOUT_STATE", "NO_COLOR", "SUDO_USER"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def wiring() -> SimulatedWiring:
    return SimulatedWiring()


@pytest.fixture
def run(wiring: SimulatedWiring) -> Run:
    """Run a command; stdout and stderr are kept apart."""

    def invoke(*args: str) -> Result:
        return CliRunner().invoke(cli, args, obj=Session(wiring), prog_name="rollout", catch_exceptions=False)

    return invoke


def planned(run: Run, *more: str) -> str:
    """A plan's id."""
    result = run("plan", *QUICK, "--output", "text", *more)
    assert result.exit_code == 0, result.stderr
    return next(line.split()[1] for line in result.stdout.splitlines() if line.split()[:1] == ["id"])


def approved(run: Run, *more: str) -> str:
    """The id of an approved plan."""
    rollout = planned(run, *more)
    assert run("approve", rollout, "--by", "bob", "--ticket", "CHG-7").exit_code == 0
    return rollout
