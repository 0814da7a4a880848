"""The probe rig: our pods on the node under test and on its peers, up for as long as something is observed.

Who owns what: a rig belongs to one node under test in one run. Two nodes in flight may share a peer node, never a pod.
A peer may begin its own way while it serves; its drain removes our pods there, and `intact` tells, so that what was
seen meanwhile is not held against the node under test.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

from rollout.app.journal import load
from rollout.app.probing_inputs import (
    Peer,
    Surrounding,
    choose_peers,
    probe_inputs,
    usable_copies,
    wanted_pods,
)
from rollout.app.world import World
from rollout.domain.errors import RolloutError
from rollout.domain.inventory import Observation
from rollout.domain.journal import RolloutState
from rollout.domain.lifecycle import NodePhase
from rollout.domain.node import LABEL_MODE, LINK_KIND_OF, Node
from rollout.domain.observed import (
    BPF_PROBES,
    PROBE_AGENT,
    PROBE_COUNTERS,
    PROBE_LINKS,
    PROBE_POLICY,
    PROBE_PROGRAMS,
    PROBE_REACH,
)
from rollout.domain.plan import Plan
from rollout.domain.policy import CheckLevel, Policy, ProbeRules
from rollout.ports.probes import ProbePod, Rig
from rollout.ports.store import JournalStore

Seen = Mapping[str, Observation]

RIG_PROBES = (PROBE_REACH, PROBE_POLICY)
RIG_CHECKS = ("reach", "dns", "loss", "latency", "policy-opened", "policy-closed")
"""Checks that need probe pods: with all of them off, none are made."""
BPF_CHECKS = BPF_PROBES
"""Checks of the eBPF probes bear their names."""
READY_S = 120.0
"""How long pods may take to be Ready where nothing was changed yet: an image may have to be pulled."""
SETTLE_S = 0.5
"""On a node that was changed, pods that have addresses but are not Ready in this time are used as they are."""
_IN_SOURCE = frozenset({NodePhase.PENDING, NodePhase.SKIPPED, NodePhase.RETURNED, NodePhase.ROLLED_BACK})


@dataclass(frozen=True, slots=True)
class StandingRig:
    """A rig that is up, and what the node's probes are told about it."""

    rig: Rig
    peers: tuple[Peer, ...]
    pods: tuple[ProbePod, ...]
    inputs: Mapping[str, Any]


# --- what the policy asks for ----------------------------------------------------------------------------------------


def needs_rig(policy: Policy) -> bool:
    """Whether any check asks for traffic between our pods."""
    return any(policy.checks.get(name) is not CheckLevel.OFF for name in RIG_CHECKS)


def needs_bpf(policy: Policy) -> bool:
    """Whether any check asks for an eBPF probe."""
    return any(policy.checks.get(name) is not CheckLevel.OFF for name in BPF_CHECKS)


def probes_for(policy: Policy, *, quick: bool, rig: bool) -> tuple[str, ...]:
    """What to observe: all that judges a node. `quick`: without eBPF. Without `rig`: nothing that needs our pods."""
    plain = (PROBE_LINKS, PROBE_AGENT, PROBE_PROGRAMS, PROBE_COUNTERS)
    bpf = BPF_PROBES if needs_bpf(policy) and not quick else ()
    return (*plain, *(RIG_PROBES if rig else ()), *bpf)


def baseline_of(store: JournalStore, rollout: str, node: str) -> Seen:
    """The newest stored baseline of a node, by probe."""
    rows = store.observations(rollout, node)
    return {o.probe: o for attempt, o in rows if attempt.startswith("forward/baseline/") and o.readable}


def baseline_attempt(store: JournalStore, rollout: str, node: str) -> str:
    """Under which name the look is stored whose round trips are the node's baseline; empty without one."""
    rows = store.observations(rollout, node)
    names = [a for a, o in rows if a.startswith("forward/baseline/") and o.readable and o.probe == PROBE_REACH]
    return names[-1] if names else ""


# --- up and down -----------------------------------------------------------------------------------------------------


def rig_of(secret: str, rollout: str, node: str) -> Rig:
    """The rig of a node; the same again after a crash, as `secret` outlives processes."""
    token = hashlib.sha256(f"{secret}/{rollout}/{node}".encode()).hexdigest()[:32]
    return Rig(rollout, node, token)


def stand_up(
    world: World,
    rig: Rig,
    rules: ProbeRules,
    peers: Sequence[Peer],
    node_address: str,
    *,
    timeout_s: float,
    settle_s: float | None = None,
    cancel: Event | None = None,
) -> StandingRig:
    """Make the rig or take it up again. Raises what `ProbePods.ensure` raises."""
    sample = world.probes.sample_policies(rules.policies)
    pods = world.probes.ensure(
        rig,
        wanted_pods(rig.node, peers),
        rules,
        usable_copies(sample),
        timeout_s=timeout_s,
        settle_s=settle_s,
        cancel=cancel,
    )
    around = Surrounding(rig, pods, tuple(peers), world.probes.targets(), sample, node_address)
    return StandingRig(rig, tuple(peers), pods, probe_inputs(around, rules))


def intact(world: World, rules: ProbeRules, standing: StandingRig) -> bool:
    """Whether what was observed through this rig may be held against its node: all pods and peers are as they were."""
    there = {pod.ref for pod in world.probes.leftovers(rules) if not pod.terminating and not pod.finished}
    fit = {node.name for node in world.cluster.in_service()}
    return all(pod.ref in there for pod in standing.pods) and all(peer.node in fit for peer in standing.peers)


def take_down(world: World, rules: ProbeRules, rollout: str, node: str = "") -> None:
    """Remove a rig, or all of a run. What cannot be removed now ends by its own deadline, and the next sweep tries."""
    try:
        world.probes.remove(rules, rollout, node)
    except RolloutError as error:
        _left(world, rules, error)


def sweep(world: World, rules: ProbeRules, rollout: str) -> None:
    """Remove what dead processes of this rollout left, and whatever of ours has ended."""
    try:
        world.probes.sweep(rules, rollout)
    except RolloutError as error:
        _left(world, rules, error)


def _left(world: World, rules: ProbeRules, error: RolloutError) -> None:
    world.reporter.note(f"probe pods are left in namespace {rules.namespace}: {error.message}")


def unseen(node: str, world: World, error: RolloutError) -> dict[str, Observation]:
    """What stands in for observations that could not be made for want of probe pods."""
    told = f"{error.message}. {error.hint}" if error.hint else error.message
    at = world.clock.now()
    return {probe: Observation(node, probe, at, error=told, code=error.code) for probe in RIG_PROBES}


# --- peers -----------------------------------------------------------------------------------------------------------


def peers_for(world: World, plan: Plan, rollout: str, name: str, baseline: Seen) -> tuple[Peer, ...]:
    """One node in the mode that is left and one in the mode that is moved to, those of the baseline first."""
    state = load(world.store, rollout)[1]
    fit = [node for node in world.cluster.in_service() if node.name != name]
    candidates = [Peer(node.name, kind) for node in fit if (kind := _kind(plan, state, node)) is not None]
    own = plan.node(name)
    kinds = [LINK_KIND_OF[mode].value for mode in (own.source, own.target)]
    return choose_peers(name, kinds, candidates, peers_seen(baseline), plan.policy.probes.peers)


def in_source(world: World, plan: Plan, rollout: str, name: str) -> tuple[Node, ...]:
    """Planned nodes besides `name` that are in service, in the mode it comes from, and not on their way.

    The next by name first, so that the order is the same each time and a fleet does not fall upon one node.
    """
    state = load(world.store, rollout)[1]
    source = plan.node(name).source
    planned = {each.name for each in plan.nodes if each.source is source and each.name != name}
    fit = [node for node in world.cluster.in_service() if node.name in planned]
    still = [node for node in fit if state.node(node.name).phase in _IN_SOURCE]
    return tuple(sorted(still, key=lambda node: (node.name <= name, node.name)))


def peers_seen(baseline: Seen) -> tuple[str, ...]:
    """Nodes that the baseline reached."""
    seen = baseline.get(PROBE_REACH)
    cells = seen.document.get("cells") or () if seen is not None and seen.readable else ()
    return tuple(sorted({str(cell.get("peer")) for cell in cells if cell.get("peer")}))


def _kind(plan: Plan, state: RolloutState, node: Node) -> str | None:
    """The kind of a node's links as far as it is known; None for a node in flight, which must not serve as a peer."""
    planned = next((each for each in plan.nodes if each.name == node.name), None)
    if planned is None:
        return _kind_elsewhere(plan, node)
    phase = state.node(node.name).phase
    if phase is NodePhase.DONE:
        return LINK_KIND_OF[planned.target].value
    return LINK_KIND_OF[planned.source].value if phase in _IN_SOURCE else None


def _kind_elsewhere(plan: Plan, node: Node) -> str:
    """A node outside the plan: what our label says, else the mode of planned nodes that were not labelled either."""
    label = node.labels.get(LABEL_MODE, "")
    if label:
        return {mode.value: kind.value for mode, kind in LINK_KIND_OF.items()}.get(label, "")
    alike = next((each for each in plan.nodes if not each.facts.label), None)
    return LINK_KIND_OF[alike.source].value if alike else ""
