"""Controls: nodes not yet migrated that are looked at in the same minutes as the node under test.

What they show as well is not held against the node. Their pods belong to the node's own rig (roles `a` and `b` on the
control, a peer elsewhere), so that whatever removes the rig removes them. A control that cannot be had is left out: it
fails nothing. It begins its own way when its turn comes; its drain removes our pods there, and it counts no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from rollout.app import probing
from rollout.app.probing import Seen, StandingRig
from rollout.app.probing_inputs import Peer, Surrounding, reach_only
from rollout.app.steps.context import StepContext
from rollout.app.steps.rig import packets_of, rig_of, rules_of
from rollout.checks.material import Control
from rollout.domain.errors import Cancelled, RolloutError
from rollout.domain.node import LINK_KIND_OF, Node
from rollout.domain.observed import PROBE_REACH
from rollout.domain.policy import CheckLevel
from rollout.ports.hosts import Host
from rollout.ports.probes import ROLE_A, ROLE_B, ROLE_PEER, PolicySample, ProbePod, Targets, WantedPod

_CHECKS = ("loss", "latency")
"""Checks that ask for controls."""
_SEARCHED = 8
"""Nodes among which those of the baseline are looked for: they came first then, and few come before them later."""
_PATIENCE_S = 3.0
"""How long a look waits for a control's pods once its own are there."""
_PATIENCE_BASELINE_S = 10.0


@dataclass(frozen=True, slots=True)
class Begun:
    """A control whose pods were asked for."""

    node: Node
    peers: tuple[Peer, ...]
    pods: tuple[ProbePod, ...] = ()

    @property
    def wanted(self) -> tuple[WantedPod, ...]:
        """Its pods, within the rig of the node under test."""
        own = (WantedPod(self.node.name, ROLE_A), WantedPod(self.node.name, ROLE_B))
        return (*own, *(WantedPod(peer.node, ROLE_PEER) for peer in self.peers))

    @property
    def ready(self) -> bool:
        """Whether all its pods can be used."""
        fit = [pod for pod in self.pods if pod.ready and pod.addresses and not pod.terminating]
        return len(fit) == len(self.wanted)


@dataclass(frozen=True, slots=True)
class ControlRig:
    """A control whose pods are there."""

    host: Host
    standing: StandingRig


def asked(ctx: StepContext) -> bool:
    """Whether the policy asks for controls, and for a check that uses them."""
    policy = ctx.plan.policy
    return policy.probes.controls > 0 and any(policy.checks.get(name) is not CheckLevel.OFF for name in _CHECKS)


def baselines(ctx: StepContext) -> dict[str, Seen]:
    """By control: what was seen of it in the very look that is the node's baseline."""
    attempt = probing.baseline_attempt(ctx.world.store, ctx.rollout, ctx.node.name) if asked(ctx) else ""
    if not attempt:
        return {}
    found: dict[str, Seen] = {}
    for node in _fit(ctx)[:_SEARCHED]:
        rows = ctx.world.store.observations(ctx.rollout, node.name, _attempt(ctx, attempt))
        seen = {o.probe: o for _, o in rows if o.readable}
        if PROBE_REACH in seen:
            found[node.name] = seen
    return found


def begin(ctx: StepContext, before: Mapping[str, Seen] | None) -> tuple[Begun, ...]:
    """Ask for the pods of the controls, and do not wait. `before`: their baselines; None when this is to be one."""
    if not asked(ctx):
        return ()
    fit = _fit(ctx) if before is None or before else ()
    chosen = [node for node in fit if before is None or node.name in before][: rules_of(ctx).controls]
    return tuple(_begun(ctx, node, _peers(ctx, node, fit, before)) for node in chosen)


def _fit(ctx: StepContext) -> tuple[Node, ...]:
    return probing.in_source(ctx.world, ctx.plan, ctx.rollout, ctx.node.name)


def _peers(ctx: StepContext, node: Node, fit: Sequence[Node], before: Mapping[str, Seen] | None) -> tuple[Peer, ...]:
    """Another node in the same mode, the one of the baseline or none: another way has other round trips."""
    names = [other.name for other in fit if other.name != node.name]
    if before is not None:
        seen = probing.peers_seen(before[node.name])
        names = [name for name in names if name in seen]
    return tuple(Peer(name, LINK_KIND_OF[ctx.node.source].value) for name in names[:1])


def _begun(ctx: StepContext, node: Node, peers: tuple[Peer, ...]) -> Begun:
    control = Begun(node, peers)
    with suppress(RolloutError):  # it is asked for once more when it is waited for
        return _ensure(ctx, control, 0)
    return control


def _ensure(ctx: StepContext, control: Begun, timeout_s: float) -> Begun:
    probes = ctx.world.probes
    pods = probes.ensure(rig_of(ctx), control.wanted, rules_of(ctx), timeout_s=timeout_s, cancel=ctx.cancel)
    return Begun(control.node, control.peers, pods)


def stand_up(ctx: StepContext, begun: Sequence[Begun], *, changed: bool) -> tuple[ControlRig, ...]:
    """Those whose pods come up soon. `changed`: the node under test was changed already. Raises `Cancelled`."""
    patience = _PATIENCE_S if changed else _PATIENCE_BASELINE_S
    until = min(ctx.deadline, ctx.world.clock.now() + timedelta(seconds=patience))
    found = []
    for control in begun:
        left = (until - ctx.world.clock.now()).total_seconds()
        try:
            ready = control if control.ready else _ensure(ctx, control, max(0.1, left))
        except Cancelled:
            raise
        except RolloutError:
            continue
        if ready.ready:
            found.append(_standing(ctx, ready, packets_of(ctx, changed=changed)))
    return tuple(found)


def _standing(ctx: StepContext, control: Begun, packets: int) -> ControlRig:
    address = control.node.internal_ip
    around = Surrounding(rig_of(ctx), control.pods, control.peers, Targets(), PolicySample(), address)
    standing = StandingRig(around.rig, around.peers, around.pods, reach_only(around, rules_of(ctx), packets))
    return ControlRig(ctx.world.host(control.node.name, address), standing)


def inputs_of(rigs: Sequence[ControlRig]) -> dict[str, Mapping[str, Any]]:
    """What the probes on the controls are told, by node."""
    return {rig.host.node: rig.standing.inputs for rig in rigs}


def usable(ctx: StepContext, rigs: Sequence[ControlRig], controls: Sequence[Control]) -> tuple[Control, ...]:
    """Those that were controls to the end of the look: their pods and peers are there, and they are where they were."""
    fit = {node.name for node in _fit(ctx)} if controls else set()
    whole = {rig.host.node for rig in rigs if rig.host.node in fit and _intact(ctx, rig.standing)}
    return tuple(control for control in controls if control.node in whole)


def _intact(ctx: StepContext, standing: StandingRig) -> bool:
    return probing.intact(ctx.world, rules_of(ctx), standing)


def keep(ctx: StepContext, controls: Sequence[Control], attempt: str) -> None:
    """Store what was seen of controls in the look that is stored as `attempt`, apart from what they see of their own.

    Rows of a node whose names begin with `control/` are about another node's way.
    """
    seen = [observation for control in controls for observation in control.seen.values()]
    if seen:
        ctx.world.store.save_observations(ctx.rollout, _attempt(ctx, attempt), seen)


def _attempt(ctx: StepContext, attempt: str) -> str:
    return f"control/{ctx.node.name}/{attempt}"
