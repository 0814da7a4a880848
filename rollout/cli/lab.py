"""lab up, status, down."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from rollout.cli.config import state_dir
from rollout.cli.render.blocks import Commands, Heading, Page, Pairs
from rollout.cli.session import emit, note
from rollout.domain.errors import ExitCode, RolloutError, StepFailed, UsageError

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
    info = _call("lab_up", _place(directory), note)
    next_steps = (f"export ROLLOUT_CONFIG={info.config}", "rollout preflight --target netkit")
    emit("text", [*_page("Lab: up", info), Heading("Next"), Commands(next_steps)], None)


@lab.command()
@_DIRECTORY
def status(directory: Path | None) -> ExitCode:
    """Say whether the lab runs. Exits 0 when it does, 3 when not.

    \b
    Example:
      rollout lab status
    """
    found = _call("lab_status", _place(directory))
    if found is None:
        click.echo("there is no lab here; start one with: rollout lab up")
        return ExitCode.HELD
    emit("text", _page(f"Lab: up, {found.rss_mib} MiB of memory", found.info), None)
    return ExitCode.DONE


@lab.command()
@_DIRECTORY
def down(directory: Path | None) -> None:
    """Stop the lab.

    \b
    Example:
      rollout lab down
    """
    stopped = _call("lab_down", _place(directory))
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


def _call(name: str, *args: Any) -> Any:
    """Call one of them; the lab's own errors are said in our form."""
    try:
        return getattr(_functions(), name)(*args)
    except RolloutError:
        raise
    except Exception as error:
        if not type(error).__module__.startswith("rollout.lab"):
            raise
        raise StepFailed(
            "lab", str(error), hint="rollout lab status; rollout lab down puts a half-started one away"
        ) from error


def _page(title: str, info: Any) -> Page:
    nodes = tuple(f"{node.name} (ssh port {node.ssh_port})" for node in info.nodes)
    names = ("kubeconfig", "config", "api", "service")
    rows = [(name, str(getattr(info, name))) for name in names if hasattr(info, name)]
    return [Heading(title, 1), Pairs((*rows, ("nodes", ", ".join(nodes))))]
