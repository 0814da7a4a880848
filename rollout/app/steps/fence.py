"""recheck, cordon, release, uncordon: the fence around a node, and what it rests on."""

from __future__ import annotations

from typing import Any

from rollout.app.stale import cluster_now, drifts_of
from rollout.app.steps.context import StepContext, StepEnd, agent_ready, has_taint, is_ours
from rollout.app.steps.hooks import run_hook
from rollout.app.steps.rig import drop_rig
from rollout.domain.errors import Refused
from rollout.domain.journal import Result
from rollout.domain.node import Method


def look_recheck(ctx: StepContext) -> dict[str, Any]:
    """What moved since the plan, in words; `hold`: all of it can be put right, after which the plan fits again."""
    cluster = ctx.world.cluster
    node = cluster.read_node(ctx.node.name)
    ctx.require_same(node)
    agent, configs = cluster.agent_install(), cluster.node_configs()
    now = cluster_now(ctx.plan, agent, configs, cluster.budgets(), uid=ctx.plan.cluster.uid)
    found = drifts_of(ctx.plan, ctx.node, node, ctx.view().pods, agent, now)
    return {
        "drift": [one.words() for one in found],
        "hold": bool(found) and all(one.holds for one in found),
        "remedies": list(dict.fromkeys(one.remedy for one in found)),
    }


def act_recheck(ctx: StepContext) -> StepEnd:
    """Refuse a node whose facts have moved; hold one where something is in the way that can be put right."""
    # The first attempt was read for a moment ago; a later one may rest on what a dead process had read.
    reads = ctx.before if ctx.attempt == 1 else look_recheck(ctx)
    drift = reads["drift"]
    if not drift:
        return StepEnd(Result.DONE)
    if reads.get("hold", False):
        return StepEnd(
            Result.HELD,
            "in-the-way",
            f"node {ctx.node.name} cannot begin: {'; '.join(drift)}",
            f"{'; '.join(reads['remedies'])}; then: rollout resume",
            {"drift": drift},
        )
    return StepEnd(
        Result.FAILED,
        "stale-facts",
        f"the plan does not fit node {ctx.node.name} any more: {'; '.join(drift)}",
        "make a new plan for it: rollout plan",
        {"drift": drift},
    )


def look_cordon(ctx: StepContext) -> dict[str, Any]:
    """The unschedulable flag, and whose mark the node carries."""
    node = ctx.view().node
    assert node is not None
    return {"unschedulable": node.unschedulable, "ours": is_ours(node, ctx.rollout)}


def act_cordon(ctx: StepContext) -> StepEnd:
    """Run the operator's before-hook, then cordon with our owner mark and the prior state."""
    run_hook(ctx, "before-node")
    prior = ctx.before["unschedulable"] and not ctx.before["ours"]
    ctx.world.cluster.cordon(ctx.node.name, ctx.mark(prior or ctx.node.facts.unschedulable))
    return StepEnd(Result.DONE)


def look_release(ctx: StepContext) -> dict[str, Any]:
    """Whether our taint is there, and which DaemonSets of the plan have no Ready pod on the node."""
    view = ctx.view()
    assert view.node is not None
    owners = {p.owner for p in (*ctx.node.daemon_pods, *ctx.node.stragglers)}
    back = {
        f"{p.owner_kind}/{p.owner_name}"
        for p in view.pods
        if p.ready and not p.terminating and p.owner_kind == "DaemonSet"
    }
    missing = sorted(owners - back) + ([] if agent_ready(view, ctx.plan) else ["the agent"])
    return {"taint": has_taint(view.node), "missing": missing}


def act_release(ctx: StepContext) -> StepEnd:
    """Remove our taint and wait until the DaemonSet pods are back and Ready."""
    ctx.world.cluster.remove_taint(ctx.node.name, ctx.mark())
    view = ctx.view()
    while True:
        reads = look_release(ctx)
        if not reads["taint"] and not reads["missing"]:
            return StepEnd(Result.DONE)
        ctx.say(
            f"waiting for Ready pods of {', '.join(reads['missing']) or 'nothing but the taint to go'}",
            f"kubectl get pods -A --field-selector spec.nodeName={ctx.node.name}",
        )
        view = ctx.wait_change(view)


def look_uncordon(ctx: StepContext) -> dict[str, Any]:
    """The unschedulable flag, our mark, and the state that was there before us."""
    return look_cordon(ctx) | {"prior_unschedulable": ctx.node.facts.unschedulable}


def act_uncordon(ctx: StepContext) -> StepEnd:
    """Remove the rig, take our cordon back, run the operator's after-hook. A cordon that is not ours stays."""
    drop_rig(ctx)
    try:
        ctx.world.cluster.uncordon(ctx.node.name, ctx.mark())
    except Refused as refused:
        return StepEnd(Result.HELD, refused.code, refused.message, refused.hint)
    if ctx.node.method is not Method.REPLACE:  # there the hook is what deletes a node
        run_hook(ctx, "after-node")
    return StepEnd(Result.DONE)
