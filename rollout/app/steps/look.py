"""One look at a node: its rig up, its probes run. What is seen is stored when it counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rollout.app import probing
from rollout.app.probing import Seen, StandingRig
from rollout.app.probing_inputs import window_only
from rollout.app.steps import control
from rollout.app.steps.context import StepContext
from rollout.app.steps.control import ControlRig
from rollout.app.steps.rig import intact, raise_rig
from rollout.checks.material import Control
from rollout.domain.errors import Unavailable
from rollout.domain.inventory import Observation
from rollout.domain.observed import PROBE_AGENT, PROBE_LINKS, PROBE_REACH

_NEEDED = (PROBE_LINKS, PROBE_AGENT)
"""Probes without which nothing at all is known about a node."""
_SHORTEST_WALL_S = 5


@dataclass(frozen=True, slots=True)
class Window:
    """What one look saw, through which rig."""

    seen: Seen
    rig: StandingRig | None
    controls: tuple[Control, ...] = ()
    control_rigs: tuple[ControlRig, ...] = ()


def baseline_of(ctx: StepContext) -> Seen:
    """The newest stored baseline, by probe."""
    return probing.baseline_of(ctx.world.store, ctx.rollout, ctx.node.name)


def look(
    ctx: StepContext,
    baseline: Seen,
    *,
    quick: bool,
    changed: bool,
    controls: Mapping[str, Seen] | None = None,
) -> Window:
    """Raise the rig and observe. Raises `Unavailable` when the node could not be observed at all.

    On a changed node whose probe pods do not come up the rest is observed all the same: it may tell why. `controls`:
    the baselines of nodes to look at beside it; None: this is the baseline. A quick look has none.
    """
    begun = () if quick else control.begin(ctx, controls)
    try:
        rig, missing = raise_rig(ctx, baseline, changed=changed), {}
    except Unavailable as error:
        if not changed:
            raise
        rig, missing = None, probing.unseen(ctx.node.name, ctx.world, error)
    beside = control.stand_up(ctx, begun, changed=changed) if rig else ()
    seen = _observe(ctx, rig, quick, beside)
    found = [
        Control(each.host.node, (controls or {}).get(each.host.node, {}), {PROBE_REACH: reach})
        for each in beside
        if (reach := seen[each.host.node][PROBE_REACH]).readable
    ]
    return Window({**seen[ctx.node.name], **missing}, rig, tuple(found), beside)


def plain_look(ctx: StepContext) -> Window:
    """Observe what needs neither probe pods nor eBPF. Raises `Unavailable`."""
    return Window(_observe(ctx, None, quick=True)[ctx.node.name], None)


def _observe(
    ctx: StepContext, rig: StandingRig | None, quick: bool, beside: Sequence[ControlRig] = ()
) -> dict[str, dict[str, Observation]]:
    """What was seen, by node: of one batch, hence in the same minutes.

    A control that hangs takes half of the time that is left at most, so that it never costs the step its deadline.
    """
    ctx.check_time()
    left = int((ctx.deadline - ctx.world.clock.now()).total_seconds()) // (2 if beside else 1)
    own = rig.inputs if rig else window_only(ctx.plan.policy.probes)
    found = ctx.world.observer.observe(
        [ctx.host, *(each.host for each in beside)],
        probing.probes_for(ctx.plan.policy, quick=quick, rig=rig is not None),
        wall_s=max(_SHORTEST_WALL_S, min(ctx.world.observe_s, left)),
        cancel=ctx.cancel,
        inputs={ctx.node.name: own, **control.inputs_of(beside)},
    )
    ctx.check_time()
    seen = found[ctx.node.name]
    broken = next((seen[probe] for probe in _NEEDED if not seen[probe].readable), None)
    if broken is not None:
        raise Unavailable("not-observed", f"cannot observe node {ctx.node.name}: {broken.error}")
    return {node: dict(probes) for node, probes in found.items()}


def counts(ctx: StepContext, window: Window) -> bool:
    """Whether what was seen may be held against the node."""
    return intact(ctx, window.rig)


def without_lost_controls(ctx: StepContext, window: Window) -> Window:
    """The same look with those controls only that were such to its end."""
    return replace(window, controls=control.usable(ctx, window.control_rigs, window.controls))


def keep(ctx: StepContext, window: Window, number: int) -> None:
    """Store what one look of this attempt saw."""
    attempt = f"{ctx.track.value}/{ctx.step.value}/{ctx.attempt}/{number}"
    ctx.world.store.save_observations(ctx.rollout, attempt, list(window.seen.values()))
    control.keep(ctx, window.controls, attempt)
