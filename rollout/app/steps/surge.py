"""await-capacity, retire: a node whose pool puts another in its place.

Nothing here deletes a node: its pool's owner does, asked by a person or by the operator's own playbook. What is waited
for is read from the cluster, and that newcomers run in the new mode from their kernels.
"""

from __future__ import annotations

from typing import Any

from rollout.app.steps.context import StepContext, StepEnd, StepHeld
from rollout.app.steps.hooks import run_hook
from rollout.domain.journal import Result
from rollout.domain.node import Node
from rollout.domain.observed import PROBE_AGENT, PROBE_LINKS
from rollout.domain.policy import HandOver
from rollout.planning.coverage import is_on_target
from rollout.planning.pools import pool_of

_LOOK_EVERY_S = 10.0


def look_capacity(ctx: StepContext) -> dict[str, Any]:
    """Nodes of the pool in service beside this one, new ones that are not proven, and whether that is enough."""
    pool = ctx.plan.pool(ctx.node.pool)
    known = frozenset(pool.uids)
    mates = [node for node in ctx.world.cluster.in_service() if node.name != ctx.node.name and _same_pool(ctx, node)]
    unproven = _not_on_target(ctx, [node for node in mates if node.uid not in known])
    counted = len(mates) - len(unproven)
    needed = pool.in_service - ctx.plan.policy.replace.slack
    return {"in_service": counted, "needed": needed, "unproven": unproven, "room": counted >= needed}


def act_capacity(ctx: StepContext) -> StepEnd:
    """Wait until the pool can do without the node. Raises `StepHeld` for a newcomer that is not in the new mode."""
    while True:
        ctx.view()
        reads = look_capacity(ctx)
        wrong = [name for name, why in reads["unproven"].items() if why]
        if wrong:
            raise StepHeld(
                "newcomer-not-on-target",
                f"new node {wrong[0]} of {ctx.node.pool}: {reads['unproven'][wrong[0]]} than {ctx.node.target.value}",
                f"{_template_words(ctx)}; then: rollout adopt {wrong[0]} (or delete it), and rollout resume",
            )
        if reads["room"]:
            return StepEnd(Result.DONE, evidence={"in_service": reads["in_service"], "needed": reads["needed"]})
        ctx.say(
            f"{ctx.node.pool} has {reads['in_service']} node(s) in service beside this one, {reads['needed']} are"
            " needed before it may go",
            f"add a node to {ctx.node.pool}, or see why none comes: kubectl get nodes",
        )
        ctx.pause(_LOOK_EVERY_S)


def look_retire(ctx: StepContext) -> dict[str, Any]:
    """Whether the node of the plan is there no more."""
    node = ctx.world.cluster.view(ctx.node.name).node
    return {"gone": node is None or node.uid != ctx.node.facts.uid}


def act_retire(ctx: StepContext) -> StepEnd:
    """Hand the node over and wait until it is gone. A person's uncordon meanwhile means hold."""
    if look_retire(ctx)["gone"]:
        return StepEnd(Result.DONE)
    by_hook = ctx.plan.policy.replace.hand_over is HandOver.HOOK
    if by_hook:
        run_hook(ctx, "after-node")
    view = ctx.world.cluster.view(ctx.node.name)
    while view.node is not None and view.node.uid == ctx.node.facts.uid:
        if not view.node.unschedulable:
            ctx.require_fence(view.node)
        whose = " by your playbook" if by_hook else ""
        ctx.say(f"waiting for the emptied node to be deleted{whose}", _delete_words(ctx))
        ctx.check_time()
        view = ctx.world.cluster.wait_change(ctx.node.name, view.version, 30.0)
    return StepEnd(Result.DONE, evidence={"uid": ctx.node.facts.uid})


def _same_pool(ctx: StepContext, node: Node) -> bool:
    return str(pool_of(node) or "") == ctx.node.pool


def _not_on_target(ctx: StepContext, nodes: list[Node]) -> dict[str, str]:
    """New nodes that do not count yet, each with why; an empty why: it could not be told."""
    if not nodes:
        return {}
    seen = ctx.world.observer.observe(
        [ctx.world.host_of(node) for node in nodes],
        (PROBE_LINKS, PROBE_AGENT),
        wall_s=ctx.world.observe_s,
        cancel=ctx.cancel,
    )
    found = {}
    for node in nodes:
        told = is_on_target(seen[node.name], ctx.node.target)
        if told is not True:
            found[node.name] = "" if told is None else "its links or its agent are in another mode"
    return found


def _template_words(ctx: StepContext) -> str:
    node = ctx.world.cluster.read_node(ctx.node.name)
    pool = pool_of(node)
    return pool.template_words(ctx.node.target.value) if pool else f"make {ctx.node.pool} label its nodes"


def _delete_words(ctx: StepContext) -> str:
    node = ctx.world.cluster.view(ctx.node.name).node
    pool = pool_of(node) if node else None
    return pool.hand_over_words(ctx.node.name) if pool else f"delete node {ctx.node.name} and its machine"
