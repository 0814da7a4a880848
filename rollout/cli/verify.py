"""verify."""

from __future__ import annotations

import click

from rollout.app import verify as use_case
from rollout.cli.options import MODES, cluster_options, output_option
from rollout.cli.render.json import proofs_values
from rollout.cli.render.proof_page import proofs_page
from rollout.cli.session import Session, emit, note, with_session
from rollout.cli.wiring import Reach
from rollout.domain.errors import ExitCode
from rollout.domain.verdict import Status


@click.command()
@click.argument("nodes", nargs=-1)
@click.option("--expect", type=click.Choice(sorted(MODES)), help="The mode they should be in; else what is configured.")
@output_option("text", "json", "md")
@cluster_options
@with_session
def verify(session: Session, /, nodes: tuple[str, ...], expect: str | None, output: str) -> ExitCode:
    """Look at nodes now and judge them, outside any rollout; all nodes when none is named. Changes nothing.

    The kernel's link table is the truth. Exits 0 when all is proven, 5 when a check failed, 6 when something could not
    be told.

    \b
    Example:
      rollout verify worker-7 worker-8 --expect netkit
    """
    note("reading the cluster and observing its nodes ...")
    with session.world(Reach.NODES) as world:
        proofs = use_case.verify(world, nodes, MODES[expect] if expect else None)
    emit(output, proofs_page(proofs), proofs_values(proofs))
    found = {proof.status for proof in proofs}
    if Status.FAIL in found:
        return ExitCode.STEP_FAILED
    return ExitCode.UNSETTLED if not proofs or found - {Status.PASS} else ExitCode.DONE
