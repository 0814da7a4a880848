"""baseline, confirm-mode, verify, soak: what is seen, and what it proves."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from rollout.app.steps.context import StepContext, StepEnd, agent_pod
from rollout.checks.catalog import judge_node, required_checks
from rollout.domain.codec import to_plain
from rollout.domain.errors import Unavailable
from rollout.domain.inventory import Observation
from rollout.domain.journal import Result
from rollout.domain.observed import PROBE_AGENT, PROBE_LINKS
from rollout.domain.verdict import Status, Verdict, merge

PROBES = (PROBE_LINKS, PROBE_AGENT)
_RETRY_S = 3.0
_FAILS_TO_BELIEVE = 2
"""A failing verdict is believed when it is seen twice: links and endpoints settle for a moment after a restart."""


def look_nothing(_ctx: StepContext) -> dict[str, Any]:
    """A step that observes is made again after a crash; there is nothing to settle it by."""
    return {}


def observe(ctx: StepContext) -> Mapping[str, Observation]:
    """Observe and store. Raises `Unavailable` when a probe could not be read."""
    left = int((ctx.deadline - ctx.world.clock.now()).total_seconds())
    wall = max(5, min(ctx.world.observe_s, left))
    seen = ctx.world.observer.observe([ctx.host], PROBES, wall_s=wall, cancel=ctx.cancel)[ctx.node.name]
    ctx.check_time()
    ctx.world.store.save_observations(
        ctx.rollout, f"{ctx.track.value}/{ctx.step.value}/{ctx.attempt}", list(seen.values())
    )
    errors = sorted({o.error for o in seen.values() if not o.readable})
    if errors:
        raise Unavailable("not-observed", f"cannot observe node {ctx.node.name}: {errors[0]}")
    return seen


def act_baseline(ctx: StepContext) -> StepEnd:
    """Store what the node looks like before any change."""
    seen = observe(ctx)
    return StepEnd(Result.DONE, evidence={"probes": sorted(seen)})


def baseline_of(ctx: StepContext) -> Mapping[str, Observation]:
    """The newest stored baseline, by probe."""
    rows = ctx.world.store.observations(ctx.rollout, ctx.node.name)
    return {o.probe: o for attempt, o in rows if attempt.startswith("forward/baseline/") and o.readable}


def act_prove(ctx: StepContext) -> StepEnd:
    """Observe until every required check has answered; fail on the second failing verdict in a row.

    Inconclusive is asked again up to the deadline, then held for a person: could not tell is never fine.
    """
    fails = 0
    while True:
        verdicts = judge_node(ctx.node.name, observe(ctx), baseline_of(ctx), ctx.mode)
        status = merge(verdicts, required_checks(ctx.mode))
        evidence = {"verdicts": [to_plain(v) for v in verdicts]}
        if status is Status.PASS:
            return StepEnd(Result.DONE, evidence=evidence)
        worst = _first(verdicts, status)
        fails = fails + 1 if status is Status.FAIL else 0
        if fails >= _FAILS_TO_BELIEVE:
            return StepEnd(
                Result.FAILED, f"check-{worst.check}", worst.message, f"rollout verify {ctx.node.name}", evidence
            )
        if (ctx.deadline - ctx.world.clock.now()).total_seconds() <= 2 * _RETRY_S and status is Status.INCONCLUSIVE:
            return StepEnd(
                Result.HELD,
                f"check-{worst.check}-inconclusive",
                f"it could not be told: {worst.message}",
                f"look yourself: rollout verify {ctx.node.name}, then: rollout resume",
                evidence,
            )
        ctx.say(f"{worst.check}: {worst.message}", f"rollout verify {ctx.node.name}")
        ctx.pause(_RETRY_S)


def _first(verdicts: tuple[Verdict, ...], status: Status) -> Verdict:
    return next((v for v in verdicts if v.status is status), verdicts[0])


def look_soak(ctx: StepContext) -> dict[str, Any]:
    """When the watch ends, and the agent that is watched."""
    until = ctx.world.clock.now() + timedelta(seconds=ctx.plan.policy.soak_fenced_s)
    pod = agent_pod(ctx.view(), ctx.plan)
    return {"until": until.isoformat(), "agent_pod": pod.ref.uid if pod else "", "restarts": pod.restarts if pod else 0}


def act_soak(ctx: StepContext) -> StepEnd:
    """Watch node and agent while the node is still fenced; end early on evidence of trouble."""
    until = datetime.fromisoformat(ctx.before["until"])
    view = ctx.view()
    while True:
        pod = agent_pod(view, ctx.plan)
        if pod is None or pod.ref.uid != ctx.before["agent_pod"] or pod.restarts > ctx.before["restarts"]:
            return StepEnd(
                Result.FAILED,
                "agent-restarted",
                f"the agent on {ctx.node.name} was restarted during the soak",
                f"look why: kubectl -n {ctx.plan.cluster.agent_daemonset.split('/')[0]} get pods -o wide",
            )
        left = (until - ctx.world.clock.now()).total_seconds()
        if left <= 0:
            return StepEnd(Result.DONE)
        ctx.say(f"soaking until {until:%H:%M:%S} UTC", "")
        view = ctx.wait_change(view, min(30.0, left))
