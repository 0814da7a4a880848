"""preflight."""

from __future__ import annotations

from typing import Any

import click

from rollout.app import make_plan
from rollout.cli.options import cluster_options, output_option, policy_options, policy_values
from rollout.cli.policy import resolve_policy
from rollout.cli.render.preflight_page import (
    STOPS,
    catalogue_page,
    catalogue_values,
    preflight_page,
    preflight_values,
    rule_page,
    rule_values,
)
from rollout.cli.session import Session, emit, note, with_session
from rollout.cli.typed_yaml import near_miss
from rollout.cli.wiring import Reach
from rollout.domain.errors import ExitCode, UsageError
from rollout.planning.preflight import CATALOGUE, Row, explain


@click.command()
@policy_options
@click.option("--strict", is_flag=True, help="Warnings count like what blocks: exit 4.")
@click.option("--rule", metavar="RULE", help="Explain one rule instead; reads no cluster.")
@click.option("--list", "listed", is_flag=True, help="Print the catalogue of rules instead; reads no cluster.")
@output_option("text", "json", "md")
@cluster_options
@with_session
def preflight(session: Session, /, output: str, strict: bool, rule: str | None, listed: bool, **given: Any) -> ExitCode:
    """Judge every preflight rule on the nodes that the policy speaks of. Changes nothing.

    Findings are grouped by remedy, what blocks first. Exits 0 when nothing blocks, 4 when something does. What could
    not be told blocks.

    \b
    Example:
      rollout preflight --target netkit --selector pool=web
      rollout preflight --rule endpoint-routes-socketlb
    """
    if rule is not None:
        row = _row(rule)
        emit(output, rule_page(row), rule_values(row))
        return ExitCode.DONE
    if listed:
        emit(output, catalogue_page(CATALOGUE), catalogue_values(CATALOGUE))
        return ExitCode.DONE
    policy = resolve_policy(session.config.policy, policy_values(given))
    note("reading the cluster and observing its nodes ...")
    with session.world(Reach.NODES) as world:
        findings = make_plan.preflight(world, policy)
    emit(output, preflight_page(findings), preflight_values(findings))
    stops = (*STOPS, "warn") if strict else STOPS
    return ExitCode.REFUSED if any(one.status in stops for one in findings) else ExitCode.DONE


def _row(rule: str) -> Row:
    try:
        return explain(rule)
    except KeyError:
        known = [row.id for row in CATALOGUE]
        raise UsageError(
            "unknown-rule",
            f"cannot explain {rule}: there is no such preflight rule",
            hint=near_miss(rule, known) or "all of them: rollout preflight --list",
        ) from None
