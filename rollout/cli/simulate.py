"""simulate."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from typing import Any

import click

from rollout.app.journal import load_plan
from rollout.app.simulate import simulate_plan
from rollout.cli.options import cluster_options, output_option
from rollout.cli.policy import require_sane
from rollout.cli.render.simulate_page import simulate_page, simulated_values
from rollout.cli.session import Session, as_file, emit, latest_id, note, read_document, with_session
from rollout.cli.wiring import Reach
from rollout.domain.errors import UsageError
from rollout.domain.plan import Plan, decode_plan
from rollout.domain.policy import Policy, Window

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WINDOW = re.compile(r"(?:(?P<days>[a-z,-]+) )?(?P<start>\d\d:\d\d)-(?P<end>\d\d:\d\d)(?: (?P<zone>\S+))?")


class MomentType(click.ParamType[datetime]):
    """ISO 8601 with an offset."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """An aware datetime."""
        if isinstance(value, datetime):
            return value
        try:
            found = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no time such as 2026-12-05T22:00+01:00", param, ctx)
        if found.tzinfo is None:
            self.fail(f"{value!r} has no offset; write 2026-12-05T22:00+01:00, or Z for UTC", param, ctx)
        return found


class WindowType(click.ParamType[Window]):
    """Days, times and a time zone: `sat,sun 22:00-04:00 Europe/Berlin`."""

    name = "window"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Window:
        """A window; days and zone may be left out."""
        if isinstance(value, Window):
            return value
        match = _WINDOW.fullmatch(str(value).strip())
        if match is None:
            self.fail(f"{value!r} is no window such as 'mon-fri 22:00-04:00 Europe/Berlin'", param, ctx)
        try:
            days = _days(match["days"] or "")
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return Window(days, match["start"], match["end"], match["zone"] or "UTC")


def _days(text: str) -> tuple[str, ...]:
    """`mon-wed,sat` as days. Raises ValueError for what is no day."""
    found: list[str] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        for day in (first, last or first):
            if day not in _DAYS:
                raise ValueError(f"{day!r} is no day; days are {', '.join(_DAYS)}")
        start, count = _DAYS.index(first), (_DAYS.index(last or first) - _DAYS.index(first)) % 7 + 1
        found += [_DAYS[(start + n) % 7] for n in range(count)]
    return tuple(dict.fromkeys(found))


@click.command()
@click.argument("plan", required=False)
@click.option("--start", type=MomentType(), help="When the rollout would start; now, when left out.")
@click.option("--max-unavailable", metavar="N|N%", help="What if so many nodes were out at once?")
@click.option("--canary", type=int, help="What if the first wave had so many nodes?")
@click.option("--growth", type=int, help="What if each wave were at most so many times as large as the one before?")
@click.option(
    "--window", "windows", type=WindowType(), multiple=True, help="What if nodes began only then? Repeatable."
)
@click.option("--soft-taint/--no-soft-taint", default=None, help="What if nodes still to do (do not) carry our taint?")
@output_option("text", "json", "md")
@cluster_options
@with_session
def simulate(session: Session, /, plan: str | None, start: datetime | None, output: str, **asked: Any) -> None:
    """Run a plan in thought on the cluster as it is now: a file, an id or a digest's prefix; else the latest.

    Says for each wave how long it takes, what binds it, how often pods move and what stays free. Options that change
    the policy show that other policy beside the plan, which itself stays as it is. Writes nothing.

    \b
    Example:
      rollout simulate plan.json --start 2026-12-05T22:00+01:00
      rollout simulate --max-unavailable 3 --window "mon-fri 22:00-04:00 Europe/Berlin"
    """
    with session.world(Reach.ALL) as world:
        file = as_file(plan) if plan else None
        shown = decode_plan(read_document(file)) if file else load_plan(world.store, plan or latest_id(world))
        other = _other(shown, asked)
        note("reading the cluster ...")
        found = simulate_plan(world, shown, other, start)
    emit(output, simulate_page(found), simulated_values(found))


def _other(plan: Plan, asked: dict[str, Any]) -> Policy | None:
    """The plan's policy with what was asked for; None when nothing was. Raises `UsageError`."""
    given = {name: value for name, value in asked.items() if value is not None and value != ()}
    if not given:
        return None
    policy = replace(plan.policy, **given)
    require_sane(policy)
    if policy == plan.policy:
        raise UsageError(
            "same-policy", "cannot compare: the plan has this very policy", hint="leave the options out, or change them"
        )
    return policy
