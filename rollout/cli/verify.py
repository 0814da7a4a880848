"""verify."""

from __future__ import annotations

import click

from rollout.app import verify as use_case
from rollout.cli.options import MODES, cluster_options, output_option
from rollout.cli.policy import require_sane
from rollout.cli.render.json import proofs_values
from rollout.cli.render.proof_page import proofs_page
from rollout.cli.session import Session, emit, note, with_session
from rollout.cli.steering import terminated_as_interrupted
from rollout.cli.wiring import Reach
from rollout.domain.errors import ExitCode
from rollout.domain.verdict import Status


@click.command()
@click.argument("nodes", nargs=-1)
@click.option("--expect", type=click.Choice(sorted(MODES)), help="The mode they should be in; else what is configured.")
@click.option("--quick", is_flag=True, help="Leave out what needs eBPF.")
@click.option("--no-pods", is_flag=True, help="Make no probe pods; links, agent, programs and counters are left.")
@click.option("--baseline-from", metavar="ROLLOUT", default="", help="Compare with the baselines of this rollout.")
@output_option("text", "json", "md")
@cluster_options
@with_session
def verify(
    session: Session,
    /,
    nodes: tuple[str, ...],
    expect: str | None,
    quick: bool,
    no_pods: bool,
    baseline_from: str,
    output: str,
) -> ExitCode:
    """Look at nodes now and judge them, outside any rollout; all nodes when none is named.

    Makes probe pods in the policy's namespace and removes them again; --no-pods makes nothing. Without --baseline-from
    nothing is compared: what is judged is what must hold on any node. Exits 0 when all is proven, 5 when a check
    failed, 6 when something could not be told.

    \b
    Example:
      rollout verify worker-7 worker-8 --expect netkit
      rollout verify worker-7 --no-pods --quick
    """
    policy = session.config.policy
    require_sane(policy)
    how = use_case.How(policy, quick=quick, pods=not no_pods, baseline_from=baseline_from)
    note("reading the cluster and observing its nodes ...")
    with terminated_as_interrupted(), session.world(Reach.ALL if baseline_from else Reach.NODES) as world:
        proofs = use_case.verify(world, nodes, MODES[expect] if expect else None, how)
    emit(output, proofs_page(proofs), proofs_values(proofs))
    found = {proof.status for proof in proofs}
    if Status.FAIL in found:
        return ExitCode.STEP_FAILED
    return ExitCode.UNSETTLED if not proofs or found - {Status.PASS} else ExitCode.DONE
