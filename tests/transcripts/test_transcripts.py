"""A rollout as an operator sees it, over a simulated cluster, compared with what is stored beside this file.

Times, ids and digests are replaced by words that stay. To store anew what is printed: ROLLOUT_TRANSCRIPTS=write.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from rollout import __version__
from rollout.cli.main import cli
from rollout.cli.session import Session
from tests.cli.simulated import SimulatedWiring

HERE = Path(__file__).parent
QUICK = ("--soak-fenced", "0", "--soak-loaded", "0")


class Terminal:
    """Runs commands and writes down what was seen."""

    def __init__(self) -> None:
        self.wiring = SimulatedWiring()
        self.seen: list[str] = []
        self._ids: dict[str, str] = {}

    def type(self, *args: str) -> None:
        """One command."""
        args = tuple(next((i for i, name in self._ids.items() if name == a), a) for a in args)
        result = CliRunner().invoke(cli, args, obj=Session(self.wiring), prog_name="rollout", catch_exceptions=False)
        found = re.search(r"^  id +(\w{12})$", result.stdout, re.M)
        if found and args[0] in ("plan", "rollback"):
            self._ids[found[1]] = f"PLAN-{len(self._ids) + 1}"
        shown = " ".join(f"'{a}'" if " " in a else a for a in args)
        self.seen.append(f"$ rollout {shown}\n{result.stdout}")
        if result.stderr:
            self.seen.append("".join(f"| {line}\n" for line in result.stderr.splitlines()))
        self.seen.append(f"exit {result.exit_code}\n\n")

    def text(self) -> str:
        """What was seen, with what differs from run to run replaced."""
        text = "".join(self.seen)
        for rollout, name in self._ids.items():
            text = text.replace(rollout, name)
        text = re.sub(r"PLAN-(\d)[0-9a-f]{52}", r"DIGEST-\1", text)
        text = re.sub(r"\b[0-9a-f]{64}\b", "DIGEST", text)
        text = re.sub(r"digest [0-9a-f]{12}\b", "digest OTHER", text)
        text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "TIME", text)
        text = re.sub(r"^\| \d\d:\d\d:\d\d ", "| ", text, flags=re.M)
        text = re.sub(r"\b\d+ (?:s|m|h)\b(?: \d+ s)?(?=  )", "AGO", text)
        text = re.sub(r"for \d+ s:", "for AGO:", text)
        text = re.sub(r"^\| n\d: \S+ waits: .*\n", "", text, flags=re.M)
        return text.replace(__version__, "VERSION")


def compare(name: str, terminal: Terminal) -> None:
    stored, now = HERE / f"{name}.txt", terminal.text()
    if os.environ.get("ROLLOUT_TRANSCRIPTS") == "write":
        stored.write_text(now)
    assert now == stored.read_text()


@pytest.fixture(autouse=True)
def _quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROLLOUT_CONFIG", "ROLLOUT_STATE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def test_a_rollout_that_holds_goes_on_and_is_taken_back() -> None:
    terminal = Terminal()
    terminal.type("preflight")
    terminal.type("plan", *QUICK, "--out", "plan.json")
    terminal.type("show", "plan.json")
    terminal.type("apply", "plan.json")
    terminal.type("approve", "plan.json", "--by", "bob", "--ticket", "CHG-7", "--valid", "8h")
    terminal.wiring.model.stick("web-1")
    terminal.type("apply", "plan.json")
    terminal.type("why", "n2")
    terminal.wiring.model.loosen()
    terminal.type("resume")
    terminal.type("verify", "--expect", "netkit")
    terminal.type("rollback", "PLAN-1", "--node", "n1")
    terminal.type("approve", "PLAN-2", "--by", "bob", "--ticket", "CHG-8")
    terminal.type("apply", "PLAN-2")
    terminal.type("status", "--all")
    compare("hold-resume-rollback", terminal)


def test_what_is_refused() -> None:
    terminal = Terminal()
    terminal.type("status")
    terminal.type("plan", "--node", "n11")
    terminal.type("plan", "--max-unavailable", "0%")
    terminal.type("plan", *QUICK, "--out", "plan.json")
    terminal.type("approve", "PLAN-1", "--by", "bob", "--ticket", "CHG-7")
    terminal.type("approve", "PLAN-1", "--by", "bob", "--ticket", "CHG-7")
    terminal.wiring.cluster.uid = "cluster-2"
    terminal.type("apply", "PLAN-1")
    terminal.wiring.cluster.uid = "cluster-1"
    terminal.type("abort")
    terminal.type("apply", "PLAN-1")
    Path("plan.json").write_text(Path("plan.json").read_text().replace('"canary":1', '"canary":2'))
    terminal.type("apply", "plan.json")
    terminal.type("why", "n9")
    compare("refusals", terminal)
