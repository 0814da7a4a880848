"""Options that several commands share, and the types of their values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from rollout.cli.config import place_of
from rollout.cli.session import session_of
from rollout.cli.typed_yaml import parse_duration
from rollout.domain.node import DatapathMode
from rollout.domain.policy import MethodChoice, OnFailure

F = TypeVar("F", bound=Callable[..., Any])


class DurationType(click.ParamType[int]):
    """30s, 5m, 1h30m, or a number of seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Seconds."""
        if isinstance(value, int):
            return value
        try:
            return parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class LabelType(click.ParamType[tuple[str, str]]):
    """key=value."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """The two halves."""
        if isinstance(value, tuple):
            return value
        key, found, label = str(value).partition("=")
        if not found or not key:
            self.fail(f"{value!r} is not key=value", param, ctx)
        return key, label


DURATION = DurationType()
LABEL = LabelType()
MODES = {mode.value: mode for mode in DatapathMode if mode is not DatapathMode.AUTO}


def _keep(key: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def keep(ctx: click.Context, _param: click.Parameter, value: Any) -> None:
        if value is None:
            return
        session = session_of(ctx)
        if key == "config":
            session.config_file = value
        else:
            session.flags[key] = place_of(value) if key == "state" else value

    return keep


def journal_options(command: F) -> F:
    """--config and --state."""
    file = click.Path(path_type=Path)
    command = click.option(
        "--state", expose_value=False, callback=_keep("state"), metavar="PLACE", help="State file or database URL."
    )(command)
    return click.option(
        "--config", type=file, expose_value=False, callback=_keep("config"), help="Configuration file."
    )(command)


def cluster_options(command: F) -> F:
    """--config, --state, --kubeconfig and --context."""
    file = click.Path(path_type=Path)
    command = click.option(
        "--context", expose_value=False, callback=_keep("context"), help="Context of the kubeconfig."
    )(command)
    command = click.option(
        "--kubeconfig", type=file, expose_value=False, callback=_keep("kubeconfig"), help="The kubeconfig file."
    )(command)
    return journal_options(command)


def maker_option(command: F) -> F:
    """--by: who makes a plan."""
    return click.option(
        "--by",
        expose_value=False,
        callback=_keep("operator"),
        metavar="NAME",
        help="Who makes the plan; else the configuration's operator, else you@this-host.",
    )(command)


def output_option(*forms: str) -> Callable[[F], F]:
    """--output; the first form is the default."""
    return click.option(
        "--output", "-o", type=click.Choice(forms), default=forms[0], show_default=True, help="Form of what is printed."
    )


_POLICY_OPTIONS = (
    click.option("--target", type=click.Choice(sorted(MODES)), help="Mode to move to."),
    click.option("--node", "nodes", multiple=True, metavar="NAME", help="Plan only this node. May be repeated."),
    click.option("--selector", type=LABEL, multiple=True, help="Plan only nodes with this label. May be repeated."),
    click.option(
        "--method", type=click.Choice([m.value for m in MethodChoice]), help="How agents are brought up anew."
    ),
    click.option("--max-unavailable", metavar="N|N%", help="Most nodes out at once; foreign outages count."),
    click.option("--canary", type=int, help="Nodes in the first wave."),
    click.option("--growth", type=int, help="Each wave is at most so many times as large as the one before."),
    click.option(
        "--canary-per-cohort/--no-canary-per-cohort",
        default=None,
        help="Whether each kind of node has a canary of its own in the first wave.",
    ),
    click.option(
        "--headroom", "headroom_percent", type=int, metavar="PERCENT", help="CPU and memory left free at any time."
    ),
    click.option(
        "--calendar", "calendars", multiple=True, metavar="FILE", help="No node begins in this iCal file's events."
    ),
    click.option("--soak-fenced", "soak_fenced_s", type=DURATION, help="Watch a node so long before it takes pods."),
    click.option("--soak-loaded", "soak_loaded_s", type=DURATION, help="Watch a wave under load so long."),
    click.option(
        "--on-failure", type=click.Choice([f.value for f in OnFailure]), help="What happens to a failed node."
    ),
    click.option("--failure-budget", type=int, help="Failed nodes tolerated before the rollout holds."),
    click.option("--waive", multiple=True, metavar="RULE", help="Lift one blocking preflight rule. May be repeated."),
    click.option("--waive-by", metavar="NAME", help="Who asks for the waiver."),
    click.option("--waive-reason", metavar="TEXT", help="Why."),
)


def policy_options(command: F) -> F:
    """The options that mirror the policy."""
    for option in reversed(_POLICY_OPTIONS):
        command = option(command)
    return command


def policy_values(given: dict[str, Any]) -> dict[str, Any]:
    """The options' values as the policy's fields."""
    values = dict(given)
    values["selector"] = dict(values.get("selector") or ())
    for name, kind in (("target", DatapathMode), ("method", MethodChoice), ("on_failure", OnFailure)):
        if values.get(name) is not None:
            values[name] = kind(values[name])
    return values
