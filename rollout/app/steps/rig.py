"""The probe rig as a step uses it: from when to when, and how patiently."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from threading import Thread

from rollout.app import probing
from rollout.app.probing import Seen, StandingRig
from rollout.app.probing_inputs import Peer
from rollout.app.steps.context import StepContext
from rollout.domain.errors import RolloutError
from rollout.domain.node import Pod
from rollout.domain.policy import ProbeRules
from rollout.planning.drain import ours
from rollout.ports.probes import ROLE_PEER, Rig, WantedPod

_BASELINE_TIMES = 4
"""How many times the packets a baseline's bursts have: nothing hurries there, and every later look is compared with it.

Two per cent of loss in 400 packets are told at once against a baseline of 1,600, and hardly against one of 400.
"""
_PATIENCE_S = 20.0
"""How long pods on a changed node may take before the node is looked at without them."""


def rules_of(ctx: StepContext) -> ProbeRules:
    """How this rollout probes."""
    return ctx.plan.policy.probes


def raise_rig(ctx: StepContext, baseline: Seen, *, changed: bool) -> StandingRig | None:
    """Make this node's rig or take it up again; None when the policy asks for nothing that needs one.

    `changed`: the node was changed already, so pods that do not come up are a finding and not worth a long wait.
    Raises what `ProbePods.ensure` raises.
    """
    if not probing.needs_rig(ctx.plan.policy):
        return None
    left = (ctx.deadline - ctx.world.clock.now()).total_seconds()
    rules = rules_of(ctx)
    return probing.stand_up(
        ctx.world,
        rig_of(ctx),
        replace(rules, packets=packets_of(ctx, changed=changed)),
        peers_of(ctx, baseline),
        ctx.node.facts.internal_ip,
        timeout_s=max(1.0, min(_PATIENCE_S if changed else probing.READY_S, left)),
        settle_s=probing.SETTLE_S if changed else None,
        cancel=ctx.cancel,
    )


def packets_of(ctx: StepContext, *, changed: bool) -> int:
    """Packets in one burst: more of them before anything was changed."""
    return rules_of(ctx).packets * (1 if changed else _BASELINE_TIMES)


@contextmanager
def raising(ctx: StepContext, baseline: Seen) -> Iterator[None]:
    """Begin this node's rig beside what the block does; at its end the pods are there, or `raise_rig` says why not."""
    crash: list[BaseException] = []

    def work() -> None:
        try:
            raise_rig(ctx, baseline, changed=True)
        except RolloutError:
            pass
        except BaseException as error:  # noqa: BLE001 - a bug must end the process, not vanish with its thread
            crash.append(error)

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if crash:
        raise crash[0]


def raise_peers(ctx: StepContext, baseline: Seen) -> None:
    """Begin the rig's pods on other nodes while this node's agent still starts. Whatever fails is tried again later."""
    if not probing.needs_rig(ctx.plan.policy):
        return
    with suppress(RolloutError):
        wanted = [WantedPod(peer.node, ROLE_PEER) for peer in peers_of(ctx, baseline)]
        ctx.world.probes.ensure(rig_of(ctx), wanted, rules_of(ctx), timeout_s=0, cancel=ctx.cancel)


def drop_rig(ctx: StepContext) -> None:
    """Remove this node's rig. Repeat-safe; a rig that cannot be removed fails nothing."""
    if probing.needs_rig(ctx.plan.policy):
        probing.take_down(ctx.world, rules_of(ctx), ctx.rollout, ctx.node.name)


def clear_ours(ctx: StepContext, pods: tuple[Pod, ...]) -> list[str]:
    """Remove probe pods from this node, whichever node they serve; those that still have an endpoint here."""
    found = ours(pods)
    if any(not pod.terminating for pod in found):
        ctx.world.probes.clear_node(rules_of(ctx), ctx.node.name)
    return [f"{pod.ref}@{pod.ref.uid}" for pod in found]


def intact(ctx: StepContext, standing: StandingRig | None) -> bool:
    """Whether what was seen through the rig counts."""
    return standing is None or probing.intact(ctx.world, rules_of(ctx), standing)


def rig_of(ctx: StepContext) -> Rig:
    """This node's rig."""
    return probing.rig_of(ctx.world.store.id, ctx.rollout, ctx.node.name)


def peers_of(ctx: StepContext, baseline: Seen) -> tuple[Peer, ...]:
    """Whom this node reaches."""
    return probing.peers_for(ctx.world, ctx.plan, ctx.rollout, ctx.node.name, baseline)
