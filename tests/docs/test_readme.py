"""The README is fresh, and leaves out no command, step, check, rule, key, phase or exit code."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from rollout.checks.catalog import CHECKS
from rollout.cli import readme
from rollout.cli.config import KEYS
from rollout.cli.main import COMMANDS, cli
from rollout.domain.errors import ExitCode
from rollout.domain.lifecycle import NodePhase, RolloutPhase
from rollout.domain.step import StepKind
from rollout.planning.preflight import CATALOGUE

PATH = Path(__file__).parents[2] / "README.md"
TEXT = PATH.read_text(encoding="utf-8")


def test_nothing_generated_is_stale_or_missing() -> None:
    assert readme.faults(TEXT) == []


def test_everything_is_named() -> None:
    wanted = [f"`{kind.value}`" for kind in StepKind] + [f"`{name}`" for name in CHECKS]
    wanted += [f"`{row.id}`" for row in CATALOGUE] + [f"`{key}`" for key in KEYS]
    wanted += [f"`{phase.value}`" for phase in (*NodePhase, *RolloutPhase)]
    wanted += [f"| {int(code)} |" for code in ExitCode] + [f"`rollout {name}" for name in COMMANDS]
    assert [words for words in wanted if words not in TEXT] == []


def test_every_command_the_readme_names_exists() -> None:
    ctx = click.Context(cli)
    blocks = "\n".join(re.findall(r"`rollout [^`]+`|^rollout .*$", TEXT, re.M))
    for name in re.findall(r"(?:^|`)rollout ([a-z]+)", blocks, re.M):
        assert cli.get_command(ctx, name) is not None, name


def test_its_targets_exist() -> None:
    makefile = (PATH.parent / "Makefile").read_text()
    for target in set(re.findall(r"(?:^|`)make ([a-z-]+)", TEXT, re.M)):
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_check_and_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "README.md"
    file.write_text("".join(f"<!-- generated:{name} -->\nold\n<!-- end -->\n" for name in readme.SECTIONS))
    assert readme.main(["check", str(file)]) == ExitCode.REFUSED
    assert "the part steps is stale" in capsys.readouterr().err
    assert readme.main(["write", str(file)]) == ExitCode.DONE
    assert readme.main(["check", str(file)]) == ExitCode.DONE
    assert readme.main(["mend"]) == ExitCode.USAGE


def test_the_example_configuration_is_read(tmp_path: Path) -> None:
    from rollout.cli.config import load
    from rollout.cli.policy import require_sane

    example = re.search(r"```yaml\n(.*?)```", TEXT, re.S)
    assert example is not None
    file = tmp_path / "rollout.yaml"
    file.write_text(example[1])
    require_sane(load(file, {}, {}).config.policy)
