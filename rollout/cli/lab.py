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

_CLUSTER, _FAULTS = "rollout.lab.cluster", "rollout.lab.faults"
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


@lab.command()
@click.argument("name")
@click.argument("node")
@click.option("--clear", is_flag=True, help="Take the fault out again.")
@click.option("--always", is_flag=True, help="In force on veth too, not only once the node runs netkit.")
@_DIRECTORY
def fault(name: str, node: str, clear: bool, always: bool, directory: Path | None) -> None:
    """Put a fault into a node's datapath, to see it caught. It comes into force when the node runs netkit.

    \b
    Example:
      rollout lab fault loss n1
      rollout lab fault loss n1 --clear
    """
    if clear and always:
        raise UsageError("clear-and-always", "--clear takes a fault out: --always says nothing then", hint="leave one")
    info, known = _running(directory), _functions(_FAULTS).FAULTS
    if name not in known:
        raise UsageError("unknown-fault", f"there is no fault {name}", hint="rollout lab faults")
    if node not in {each.name for each in info.nodes}:
        raise UsageError("unknown-node", f"the lab has no node {node}", hint="rollout lab status")
    if clear:
        _call("clear_fault", info, node, name, module=_FAULTS)
        click.echo(f"{node}: {name} is cleared")
        return
    _call("set_fault", info, node, name, always=always, module=_FAULTS)
    click.echo(f"{node}: {name} is set: {known[name]}")


@lab.command()
@_DIRECTORY
def faults(directory: Path | None) -> None:
    """List the faults that a lab can play, and where they are set.

    \b
    Example:
      rollout lab faults
    """
    info = _running(directory)
    known = _functions(_FAULTS).FAULTS
    where = {node.name: _call("faults_of", info, node.name, module=_FAULTS) for node in info.nodes}
    rows = []
    for name, words in known.items():
        nodes = [node for node, found in where.items() if name in found]
        rows.append((name, f"{words} (set on {', '.join(nodes)})" if nodes else words))
    emit("text", [Heading("Faults of the lab", 1), Pairs(tuple(rows))], None)


def _running(directory: Path | None) -> Any:
    """The lab that runs. Raises `UsageError` when there is none."""
    found = _call("lab_status", _place(directory))
    if found is None:
        raise UsageError("no-lab", f"there is no lab in {_place(directory)}", hint="rollout lab up")
    return found.info


def _place(directory: Path | None) -> Path:
    return (directory or state_dir() / "lab").absolute()


def _functions(module: str) -> ModuleType:
    """The lab's functions. Loaded here: they need packages that only the lab needs."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("rollout"):
            raise
        raise UsageError(
            "lab-not-installed",
            f"cannot use the lab: the package {error.name} is not installed",
            hint="pip install 'netkit-rollout[lab]'",
        ) from error


def _call(name: str, *args: Any, module: str = _CLUSTER, **named: Any) -> Any:
    """Call one of them; the lab's own errors are said in our form."""
    try:
        return getattr(_functions(module), name)(*args, **named)
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
