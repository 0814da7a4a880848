"""completion."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that makes a shell complete rollout's commands and options.

    \b
    Example:
      rollout completion bash > ~/.local/share/bash-completion/completions/rollout
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, "rollout", "_ROLLOUT_COMPLETE").source(), nl=False)
