"""The program around the verbs: help, completion, errors, bugs, signals, reporters, wiring."""

from __future__ import annotations

import io
import stat
import subprocess
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from rollout import __version__
from rollout.adapters.reporter import LiveReporter, PlainReporter
from rollout.cli.main import COMMANDS, cli
from rollout.cli.render.live import COLOURS, LiveRows
from rollout.cli.render.words import entry_line
from rollout.cli.session import Session
from rollout.cli.wiring import Reach, SystemWiring
from rollout.domain.errors import ExitCode
from rollout.domain.journal import Entry, NodeDecided, RolloutState, Waiting, fold
from rollout.domain.lifecycle import NodeEvent
from rollout.domain.node import DatapathMode
from rollout.domain.policy import Policy
from rollout.domain.step import StepKind
from tests import builders
from tests.cli.conftest import Run
from tests.cli.simulated import SimulatedWiring


def every_command() -> Iterator[tuple[str, ...]]:
    ctx = click.Context(cli)
    for name in cli.list_commands(ctx):
        command = cli.get_command(ctx, name)
        yield (name,)
        if isinstance(command, click.Group):
            yield from ((name, inner) for inner in command.list_commands(ctx))


@pytest.mark.parametrize("command", list(every_command()), ids=" ".join)
def test_every_help_has_an_example(run: Run, command: tuple[str, ...]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Example:\n    rollout " + command[0] in result.stdout


def test_help_loads_no_command_and_no_client() -> None:
    script = (
        "import sys; from rollout.cli.main import cli; cli.main(['--help'], 'rollout', standalone_mode=False);"
        "bad = [m for m in sys.modules if m.startswith(('rollout.app', 'rollout.adapters', 'kubernetes', 'ansible',"
        " 'sqlalchemy', 'rich', 'yaml'))]; assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


def test_journal_commands_import_no_cluster_client(tmp_path: Path) -> None:
    script = (
        "import sys; from rollout.cli.main import cli\n"
        "for args in (['state', 'upgrade'], ['status'], ['status', '--all'], ['why', 'n1'], ['pause']):\n"
        f"    cli.main([*args, '--state', {str(tmp_path / 's.db')!r}], 'rollout', standalone_mode=False)\n"
        "bad = [m for m in sys.modules if m.startswith(('kubernetes', 'ansible', 'rollout.adapters.kubernetes',"
        " 'rollout.adapters.ansible', 'rich'))]; assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_version_and_unknown_words(run: Run) -> None:
    assert run("--version").stdout == f"rollout {__version__}\n"
    wrong = run("stauts")
    assert wrong.exit_code == ExitCode.USAGE
    assert "did you mean status?" in wrong.stderr and "next: rollout --help" in wrong.stderr
    wrong = run("plan", "--targte", "netkit")
    assert wrong.exit_code == ExitCode.USAGE
    assert wrong.stderr.startswith("error: cannot understand the command: ") and "--target" in wrong.stderr
    assert run().exit_code == ExitCode.USAGE
    assert run("rollback", "x", "--wave", "1", "--node", "n1").exit_code == ExitCode.USAGE
    assert run("approve", "x", "--by", "b", "--ticket", "t", "--valid", "soon").exit_code == ExitCode.USAGE
    assert run("plan", "--selector", "web").exit_code == ExitCode.USAGE


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(run: Run, shell: str) -> None:
    assert "_ROLLOUT_COMPLETE" in run("completion", shell).stdout
    words = {"COMP_WORDS": "rollout st", "COMP_CWORD": "1", "_ROLLOUT_COMPLETE": "bash_complete"}
    done = CliRunner(env=words).invoke(cli, [], prog_name="rollout")
    assert "status" in done.output and "state" in done.output


def test_a_misspelt_configuration_key_is_said_in_three_lines(run: Run, tmp_path: Path) -> None:
    (tmp_path / "rollout.yaml").write_text("kubeconfig: a\napi:\n  bursts: 4\n")
    result = run("status")
    assert result.exit_code == ExitCode.USAGE
    assert result.stderr == (
        "error: cannot use the configuration: api.bursts: there is no such key\n"
        "  rollout.yaml, line 3\n"
        "  next: did you mean burst?\n"
    )


def test_a_bug_is_kept_in_a_private_file(run: Run, wiring: SimulatedWiring, tmp_path: Path) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("inner words")

    wiring.world = broken  # type: ignore[method-assign, assignment]
    result = run("status", "--state", str(tmp_path / "there" / "state.db"))
    assert result.exit_code == ExitCode.INTERNAL
    assert result.stderr.count("\n") == 1
    (kept,) = (tmp_path / "there").glob("bug-*.txt")
    assert str(kept) in result.stderr
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert "inner words" in kept.read_text()


def test_a_port_that_was_not_wired_says_so(tmp_path: Path) -> None:
    session = Session(SystemWiring())
    session.flags["state"] = str(tmp_path / "s.db")
    with session.world(Reach.JOURNAL, create_state=True) as world, pytest.raises(AssertionError, match="port cluster"):
        world.cluster.identity()


@dataclass
class Machine:
    name: str
    ssh_port: int


@dataclass
class Info:
    kubeconfig: Path
    config: Path
    nodes: tuple[Machine, ...]


class LabTrouble(Exception):
    """As the lab raises them."""


LabTrouble.__module__ = "rollout.lab.cluster"


def test_lab_commands_call_the_lab(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    info = Info(tmp_path / "kube", tmp_path / "c.yaml", (Machine("n1", 2201), Machine("n2", 2202)))
    lab = types.SimpleNamespace(lab_up=lambda _d, _r: info, lab_status=lambda _d: None, lab_down=lambda _d: True)
    monkeypatch.setattr("rollout.cli.lab._functions", lambda _module: lab)
    result = run("lab", "up")
    assert result.exit_code == 0 and "n2 (ssh port 2202)" in result.stdout and "ROLLOUT_CONFIG=" in result.stdout
    assert run("lab", "status").exit_code == ExitCode.HELD
    assert "is stopped" in run("lab", "down").stdout
    lab.lab_status = lambda _d: types.SimpleNamespace(info=info, rss_mib=900)
    assert "900 MiB" in run("lab", "status").stdout

    def trouble(_directory: Path, _report: object) -> Info:
        raise LabTrouble("cannot start the lab: run it as root")

    lab.lab_up = trouble
    result = run("lab", "up")
    assert result.exit_code == ExitCode.STEP_FAILED
    assert result.stderr.startswith("error: cannot start the lab: run it as root\n  next: ")


def test_lab_faults_are_set_cleared_and_listed(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    info = Info(tmp_path / "kube", tmp_path / "c.yaml", (Machine("n1", 2201), Machine("n2", 2202)))
    held: dict[tuple[str, str], bool] = {}
    modules = {
        "rollout.lab.cluster": types.SimpleNamespace(lab_status=lambda _d: types.SimpleNamespace(info=info)),
        "rollout.lab.faults": types.SimpleNamespace(
            FAULTS={"loss": "packets are lost", "delay": "packets are late"},
            set_fault=lambda _i, node, name, always: held.update({(node, name): always}),
            clear_fault=lambda _i, node, name: held.pop((node, name)),
            faults_of=lambda _i, node: tuple(name for place, name in held if place == node),
        ),
    }
    monkeypatch.setattr("rollout.cli.lab._functions", modules.__getitem__)
    assert run("lab", "fault", "loss", "n1").stdout == "n1: loss is set: packets are lost\n"
    run("lab", "fault", "delay", "n2", "--always")
    assert held == {("n1", "loss"): False, ("n2", "delay"): True}
    assert "packets are lost (set on n1)" in run("lab", "faults").stdout
    assert run("lab", "fault", "loss", "n1", "--clear").stdout == "n1: loss is cleared\n"
    assert held == {("n2", "delay"): True}
    for words in (("nope", "n1"), ("loss", "n9"), ("loss", "n1", "--clear", "--always")):
        assert run("lab", "fault", *words).exit_code == ExitCode.USAGE
    modules["rollout.lab.cluster"].lab_status = lambda _d: None
    assert "there is no lab in" in run("lab", "faults").stderr


def test_a_lab_without_its_packages_names_the_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: str) -> None:
        raise ModuleNotFoundError("No module named 'aiohttp'", name="aiohttp")

    monkeypatch.setattr("rollout.cli.lab.importlib", types.SimpleNamespace(import_module=missing))
    result = run("lab", "up")
    assert result.exit_code == ExitCode.USAGE
    assert "pip install 'netkit-rollout[lab]'" in result.stderr


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Closed(io.StringIO):
    def write(self, _text: str) -> int:
        raise BrokenPipeError


def _entries() -> tuple[tuple[Entry, ...], RolloutState]:
    entries = (
        Entry(1, builders.NOW, NodeDecided("n1", NodeEvent.START)),
        Entry(2, builders.NOW, Waiting("n1", StepKind.DRAIN, "a budget\x1b[2J refuses", "look")),
    )
    return entries, fold(entries)


def test_the_live_table_draws_and_the_lines_stay() -> None:
    rows, stream = LiveRows(), Terminal()
    reporter = LiveReporter(stream, entry_line, rows, COLOURS)
    reporter.note("first")
    reporter.entries(*_entries())
    rows.plan = builders.plan_of(("n1", "n2"), Policy(target=DatapathMode.NETKIT))
    reporter.entries(*_entries())
    reporter.note("second")
    reporter.close()
    text = stream.getvalue()
    assert "n1: drain waits: a budget\\x1b[2J refuses" in text
    assert "1 pending" in text and "running" in text and "first" in text and "second" in text


def test_a_report_never_fails_a_rollout() -> None:
    plain = PlainReporter(Closed(), entry_line)
    plain.entries(*_entries())
    plain.note("x")
    live = LiveReporter(Closed(), entry_line, LiveRows(), COLOURS)
    live.entries(*_entries())
    live.entries(*_entries())
    live.note("x")
    live.close()

    def broken(_state: RolloutState) -> tuple[tuple[str, str, str, str, str], ...]:
        raise RuntimeError

    terminal = Terminal()
    live = LiveReporter(terminal, entry_line, broken, COLOURS)
    live.entries(*_entries())
    live.entries(*_entries())
    live.close()
    assert "drain waits" in terminal.getvalue()


def test_every_command_has_its_line() -> None:
    assert all(line.endswith(".") for _, line in COMMANDS.values())
