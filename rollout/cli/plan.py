"""plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from rollout.app.make_plan import PlanResult, plan_rollout
from rollout.cli.calendars import with_freezes
from rollout.cli.options import cluster_options, maker_option, output_option, policy_options, policy_values
from rollout.cli.policy import resolve_policy
from rollout.cli.render.json import planned_values
from rollout.cli.render.plan_page import planned_page
from rollout.cli.session import Session, emit, note, with_session
from rollout.cli.wiring import Reach
from rollout.domain.errors import UsageError

OUT_OPTION = click.option("--out", type=click.Path(path_type=Path), help="Also write the plan's document to this file.")


@click.command()
@policy_options
@maker_option
@OUT_OPTION
@output_option("text", "json", "md")
@cluster_options
@with_session
def plan(session: Session, /, out: Path | None, output: str, **given: Any) -> None:
    """Make a plan and save it. Touches no node.

    Options override the policy of the configuration. The same cluster and policy give the same plan, byte for byte.

    \b
    Example:
      rollout plan --target netkit --max-unavailable 10% --soak-loaded 10m --out plan.json
      rollout plan --node worker-7 --waive host-routing-bpf --waive-by ann --waive-reason "see CHG-12"
    """
    policy = with_freezes(resolve_policy(session.config.policy, policy_values(given)), session.now())
    require_writable(out)
    note("reading the cluster and observing its nodes ...")
    with session.world(Reach.ALL, create_state=True) as world:
        result = plan_rollout(world, policy)
    finish_plan(result, out, output)


def finish_plan(result: PlanResult, out: Path | None, output: str) -> None:
    """Write and show a fresh plan."""
    if out is not None:
        _write(out, result.document)
        note(f"wrote {out}")
    emit(output, planned_page(result.plan, result.record.digest), planned_values(result))


def require_writable(out: Path | None) -> None:
    """Raises `UsageError` before the work when the file has no folder to be in."""
    if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
        raise UsageError(
            "plan-out", f"cannot write the plan to {out}: no such folder, or it is one", hint="name a file"
        )


def _write(out: Path, document: bytes) -> None:
    try:
        out.write_bytes(document + b"\n")
    except OSError as error:
        raise UsageError(
            "plan-out",
            f"cannot write the plan to {out}: {error.strerror}",
            hint="it is saved in the state all the same; see: rollout status --all",
        ) from error
