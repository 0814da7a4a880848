"""The program: its verbs, and what becomes of errors.

A `RolloutError` is said in three lines and has its exit code. A bug's traceback is kept in a private file, and one line
names it. Everything else here is click's.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from rollout import __version__
from rollout.domain.errors import ExitCode, RolloutError

COMMANDS: Mapping[str, tuple[str, str]] = {
    "preflight": ("preflight:preflight", "Judge whether nodes may move. Changes nothing."),
    "plan": ("plan:plan", "Make a plan and save it. Touches no node."),
    "show": ("show:show", "Show a plan for review."),
    "simulate": ("simulate:simulate", "Run a plan in thought: time, moves, what binds; what if."),
    "diff": ("diff:diff", "What changed from one plan to another, and why."),
    "approve": ("approve:approve", "Record a person's consent to one plan."),
    "apply": ("apply:apply", "Apply an approved plan."),
    "status": ("status:status", "Where a rollout stands."),
    "why": ("status:why", "Why a node is where it is, and what unblocks it."),
    "pause": ("control:pause", "Start no further node; go on later."),
    "resume": ("apply:resume", "Go on after a pause, a hold or a dead process."),
    "abort": ("control:abort", "End a rollout for good, leaving every node sound."),
    "rollback": ("rollback:rollback", "Make the plan that takes a rollout back."),
    "verify": ("verify:verify", "Look at nodes now and judge them."),
    "adopt": ("adopt:adopt", "Plan the labelling of newly joined nodes; show how much of the fleet is on target."),
    "report": ("report:report", "The change record's evidence, before and after, as HTML, Markdown or JSON."),
    "state": ("state:state", "The state database: upgrade, check, export."),
    "lab": ("lab:lab", "The embedded lab: up, status, down."),
    "config": ("config_command:config", "The configuration in force."),
    "completion": ("completion:completion", "Print a completion script for a shell."),
}
"""Verb to where it lives and its one line. Modules are loaded when called: `--help` reads this table only."""


class RolloutGroup(click.Group):
    """Loads verbs late, and turns errors into words and exit codes."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """In the order people use them."""
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one verb."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(f"rollout.cli.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Verbs with their one line, none of them loaded."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, naming the near miss."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            from rollout.cli.typed_yaml import near_miss

            raise click.UsageError(f"there is no command {args[0]!r}: {near_miss(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; its exit code is the answer."""
        try:
            return super().invoke(ctx)
        except RolloutError as error:
            return _say(error)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            return ExitCode.INTERRUPTED
        except Exception as error:  # a bug: kept in a file, named in one line
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise
            return _keep_bug(error, ctx.obj.crash_dir() if ctx.obj is not None else None)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """As click's, with our form of usage errors and our exit codes."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        try:
            code = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            code = ExitCode.USAGE
        except click.ClickException as error:
            code = _say_usage(error)
        except click.Abort:
            click.echo("interrupted", err=True)
            code = ExitCode.INTERRUPTED
        sys.exit(int(code or ExitCode.DONE))


def _say(error: RolloutError) -> ExitCode:
    from rollout.cli.render.words import failure

    click.echo(failure(error), err=True)
    return ExitCode(error.exit_code)


def _say_usage(error: click.ClickException) -> ExitCode:
    from rollout.cli.render.words import plain

    ctx = getattr(error, "ctx", None)
    path = ctx.command_path if ctx else "rollout"
    click.echo(f"error: cannot understand the command: {plain(error.format_message())}", err=True)
    click.echo(f"  next: {path} --help", err=True)
    return ExitCode.USAGE


def _keep_bug(error: Exception, folder: Path | None) -> ExitCode:
    words = f"error: this is a bug in rollout ({type(error).__name__})"
    try:
        if folder is None:
            from rollout.cli.config import state_dir

            folder = state_dir()
        path = _write_bug(folder, "".join(traceback.format_exception(error)))
        click.echo(f"{words}; please report it with the file {path}", err=True)
    except OSError:
        click.echo(f"{words}, and its traceback could not be kept in {folder}:", err=True)
        click.echo("".join(traceback.format_exception(error)), err=True)
    return ExitCode.INTERNAL


def _write_bug(folder: Path, text: str) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"bug-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}.txt"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(f"netkit-rollout {__version__}, Python {sys.version.split()[0]}\n{text}")
    return path


@click.group(cls=RolloutGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 118})
@click.version_option(__version__, prog_name="rollout", message="%(prog)s %(version)s")
def cli() -> None:
    """Move live Kubernetes nodes running Cilium from veth to netkit, and back: planned, approved, proven, reversible.

    \b
    Example:
      rollout preflight --target netkit
      rollout plan --target netkit --out plan.json
      rollout approve plan.json --by NAME --ticket ID
      rollout apply plan.json
    """


def main() -> None:
    """The console script."""
    cli.main(prog_name="rollout")


if __name__ == "__main__":
    main()
