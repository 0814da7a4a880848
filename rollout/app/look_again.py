"""The quick look at several nodes at once, outside a step: at a wave's gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Event

from rollout.app import probing
from rollout.app.probing import Seen, StandingRig
from rollout.app.world import World
from rollout.checks.catalog import decide, judge_node, levels
from rollout.checks.gate import NodeLook
from rollout.domain.errors import Cancelled, RolloutError
from rollout.domain.plan import Plan
from rollout.domain.policy import CheckLevel
from rollout.domain.verdict import Status, Verdict

AT_ONCE = 10
"""Nodes looked at together: each takes up to four pods."""
_READY_S = 30.0


def look_again(
    world: World, plan: Plan, rollout: str, names: Sequence[str], attempt: str, cancel: Event
) -> dict[str, NodeLook]:
    """What the quick checks say about nodes in service. Their rigs are removed at the end, however it ends."""
    found: dict[str, NodeLook] = {}
    for start in range(0, len(names), AT_ONCE):
        found |= _look(world, plan, rollout, tuple(names[start : start + AT_ONCE]), attempt, cancel)
    return found


def _look(
    world: World, plan: Plan, rollout: str, names: tuple[str, ...], attempt: str, cancel: Event
) -> dict[str, NodeLook]:
    baselines = {name: probing.baseline_of(world.store, rollout, name) for name in names}
    rigs: dict[str, StandingRig] = {}
    unseen: dict[str, Seen] = {}
    try:
        for name in names:
            if probing.needs_rig(plan.policy):
                try:
                    rigs[name] = _raise(world, plan, rollout, name, baselines[name], cancel)
                except Cancelled:
                    raise
                except RolloutError as error:
                    unseen[name] = probing.unseen(name, world, error)
        looked = _observe(world, plan, names, rigs, cancel)
        seen = {name: {**looked[name], **unseen.get(name, {})} for name in names}
        known = {name: baselines[name] if plan.node(name).has_baseline else None for name in names}
        looks = {name: _judge(plan, name, seen[name], known[name]) for name in names}
        for name, rig in rigs.items():
            if looks[name].status is not Status.PASS and not probing.intact(world, plan.policy.probes, rig):
                looks[name] = NodeLook(Status.INCONCLUSIVE, "reach", "its probe pods or peers went away meanwhile")
    except Cancelled:
        raise
    except RolloutError as error:
        return {name: NodeLook(Status.INCONCLUSIVE, "", error.message) for name in names}
    finally:
        for name in rigs.keys() | unseen.keys():
            probing.take_down(world, plan.policy.probes, rollout, name)
    if cancel.is_set():
        raise Cancelled("cancelled", "cannot finish the look at a gate: it was stopped")
    for name in names:
        world.store.save_observations(rollout, attempt, list(seen[name].values()))
    return looks


def _raise(world: World, plan: Plan, rollout: str, name: str, baseline: Seen, cancel: Event) -> StandingRig:
    rig = probing.rig_of(world.store.id, rollout, name)
    peers = probing.peers_for(world, plan, rollout, name, baseline)
    return probing.stand_up(
        world, rig, plan.policy.probes, peers, plan.node(name).facts.internal_ip,
        timeout_s=_READY_S, settle_s=probing.SETTLE_S, cancel=cancel,
    )  # fmt: skip


def _observe(
    world: World, plan: Plan, names: tuple[str, ...], rigs: Mapping[str, StandingRig], cancel: Event
) -> Mapping[str, Seen]:
    hosts = [world.host(name, plan.node(name).facts.internal_ip) for name in names]
    probes = probing.probes_for(plan.policy, quick=True, rig=bool(rigs))
    inputs = {name: rig.inputs for name, rig in rigs.items()}
    return world.observer.observe(hosts, probes, wall_s=world.observe_s, cancel=cancel, inputs=inputs)


def _judge(plan: Plan, name: str, seen: Seen, baseline: Seen | None) -> NodeLook:
    target = plan.node(name).target
    verdicts = judge_node(name, seen, baseline, target, policy=plan.policy, quick=True)
    counted = levels(target, plan.policy, quick=True, baseline=baseline)
    status = decide(verdicts, counted)
    worst = _telling(verdicts, status, counted)
    return NodeLook(status, worst.check, worst.message) if worst else NodeLook(status)


def _telling(verdicts: Sequence[Verdict], status: Status, counted: Mapping[str, CheckLevel]) -> Verdict | None:
    required = [v for v in verdicts if counted.get(v.check) is CheckLevel.REQUIRED]
    return next((v for v in required if v.status is status), None)
