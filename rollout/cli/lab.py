"""lab up, status, down."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from rollout.cli.config import state_dir
from rollout.cli.render.blocks import Commands, Heading, Page, Pairs
from rollout.cli.session import emit, note
from rollout.domain.errors import ExitCode, UsageError

_DIRECTORY = click.option(
    "--dir", "directory", type=click.Path(path_type=Path), help="Where the lab lives; beside the state when not given."
)


@click.group()
def lab() -> None:
    """The embedded lab: machines with a netkit kernel behind a Kubernetes API stand-in, to learn and rehearse on.

    \b
    Example:
      rollout lab up
    """


@lab.command()
@_DIRECTORY
def up(directory: Path | None) -> None:
    """Start the lab, building what is missing. Needs root and QEMU.

    \b
    Example:
      rollout lab up --dir ./lab
    """
    info = _functions().lab_up(_place(directory), note)
    emit("text", _page("Lab: up", info), None)
    next_steps = (f"export ROLLOUT_CONFIG={info.config}", "rollout preflight --target netkit")
    emit("text", [Heading("Next"), Commands(next_steps)], None)


@lab.command()
@_DIRECTORY
def status(directory: Path | None) -> ExitCode:
    """Say whether the lab runs. Exits 0 when it does, 3 when not.

    \b
    Example:
      rollout lab status
    """
    found = _functions().lab_status(_place(directory))
    if found is None:
        click.echo("there is no lab here; start one with: rollout lab up")
        return ExitCode.HELD
    emit("text", _page("Lab", found), None)
    return ExitCode.DONE


@lab.command()
@_DIRECTORY
def down(directory: Path | None) -> None:
    """Stop the lab.

    \b
    Example:
      rollout lab down
    """
    stopped = _functions().lab_down(_place(directory))
    click.echo("the lab is stopped" if stopped else "there was no lab to stop")


def _place(directory: Path | None) -> Path:
    return (directory or state_dir() / "lab").absolute()


def _functions() -> ModuleType:
    """The lab's functions. Loaded here: they need packages that only the lab needs."""
    try:
        return importlib.import_module("rollout.lab.cluster")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("rollout"):
            raise
        raise UsageError(
            "lab-not-installed",
            f"cannot use the lab: the package {error.name} is not installed",
            hint="pip install 'netkit-rollout[lab]'",
        ) from error


def _page(title: str, values: Any) -> Page:
    fields = [(f.name, getattr(values, f.name)) for f in dataclasses.fields(values)]
    return [Heading(title, 1), Pairs(tuple((name, _words(value)) for name, value in fields))]


def _words(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key}: {item}" for key, item in value.items())
    return str(value)
