"""One look at a node: its rig up, its probes run. What is seen is stored when it counts."""

from __future__ import annotations

from dataclasses import dataclass

from rollout.app import probing
from rollout.app.probing import Seen, StandingRig
from rollout.app.probing_inputs import window_only
from rollout.app.steps.context import StepContext
from rollout.app.steps.rig import intact, raise_rig
from rollout.domain.errors import Unavailable
from rollout.domain.inventory import Observation
from rollout.domain.observed import PROBE_AGENT, PROBE_LINKS

_NEEDED = (PROBE_LINKS, PROBE_AGENT)
"""Probes without which nothing at all is known about a node."""
_SHORTEST_WALL_S = 5


@dataclass(frozen=True, slots=True)
class Window:
    """What one look saw, through which rig."""

    seen: Seen
    rig: StandingRig | None


def baseline_of(ctx: StepContext) -> Seen:
    """The newest stored baseline, by probe."""
    return probing.baseline_of(ctx.world.store, ctx.rollout, ctx.node.name)


def look(ctx: StepContext, baseline: Seen, *, quick: bool, changed: bool) -> Window:
    """Raise the rig and observe. Raises `Unavailable` when the node could not be observed at all.

    On a changed node whose probe pods do not come up the rest is observed all the same: it may tell why.
    """
    try:
        rig, missing = raise_rig(ctx, baseline, changed=changed), {}
    except Unavailable as error:
        if not changed:
            raise
        rig, missing = None, probing.unseen(ctx.node.name, ctx.world, error)
    return Window({**_observe(ctx, rig, quick), **missing}, rig)


def plain_look(ctx: StepContext) -> Window:
    """Observe what needs neither probe pods nor eBPF. Raises `Unavailable`."""
    return Window(_observe(ctx, None, quick=True), None)


def _observe(ctx: StepContext, rig: StandingRig | None, quick: bool) -> dict[str, Observation]:
    ctx.check_time()
    left = int((ctx.deadline - ctx.world.clock.now()).total_seconds())
    seen = ctx.world.observer.observe(
        [ctx.host],
        probing.probes_for(ctx.plan.policy, quick=quick, rig=rig is not None),
        wall_s=max(_SHORTEST_WALL_S, min(ctx.world.observe_s, left)),
        cancel=ctx.cancel,
        inputs={ctx.node.name: rig.inputs if rig else window_only(ctx.plan.policy.probes)},
    )[ctx.node.name]
    ctx.check_time()
    broken = next((seen[probe] for probe in _NEEDED if not seen[probe].readable), None)
    if broken is not None:
        raise Unavailable("not-observed", f"cannot observe node {ctx.node.name}: {broken.error}")
    return dict(seen)


def counts(ctx: StepContext, window: Window) -> bool:
    """Whether what was seen may be held against the node."""
    return intact(ctx, window.rig)


def keep(ctx: StepContext, window: Window, number: int) -> None:
    """Store what one look of this attempt saw."""
    attempt = f"{ctx.track.value}/{ctx.step.value}/{ctx.attempt}/{number}"
    ctx.world.store.save_observations(ctx.rollout, attempt, list(window.seen.values()))
