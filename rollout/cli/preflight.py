"""preflight."""

from __future__ import annotations

from typing import Any

import click

from rollout.app import make_plan
from rollout.cli.options import cluster_options, output_option, policy_options, policy_values
from rollout.cli.policy import resolve_policy
from rollout.cli.render.json import findings_values
from rollout.cli.render.plan_page import findings_page
from rollout.cli.session import Session, emit, note, with_session
from rollout.cli.wiring import Reach
from rollout.domain.errors import ExitCode


@click.command()
@policy_options
@output_option("text", "json", "md")
@cluster_options
@with_session
def preflight(session: Session, /, output: str, **given: Any) -> ExitCode:
    """Judge every preflight rule on the nodes that the policy speaks of. Changes nothing.

    Exits 0 when nothing blocks, 4 when something does. What could not be told blocks.

    \b
    Example:
      rollout preflight --target netkit --selector pool=web
    """
    policy = resolve_policy(session.config.policy, policy_values(given))
    note("reading the cluster and observing its nodes ...")
    with session.world(Reach.NODES) as world:
        findings = make_plan.preflight(world, policy)
    emit(output, findings_page(findings), findings_values(findings))
    blocked = any(finding.status in ("block", "unknown") for finding in findings)
    return ExitCode.REFUSED if blocked else ExitCode.DONE
