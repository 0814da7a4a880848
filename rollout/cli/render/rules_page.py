"""How a plan proves its nodes: checks, what follows from a failure, what is probed, and who else is asked."""

from __future__ import annotations

from collections.abc import Iterator

from rollout.checks.catalog import CHECKS, levels
from rollout.checks.reach import DNS
from rollout.cli.render.blocks import Block, Bullets, Heading, Table
from rollout.cli.render.words import span
from rollout.domain.plan import Plan
from rollout.domain.policy import CheckLevel, ExternalGate, GateScope, GateSource, OnFailure, Policy, WithoutBpf

FAILS: dict[OnFailure, str] = {
    OnFailure.HOLD: "the node stays fenced, in quarantine, for a person to look at",
    OnFailure.HOLD_ROLLOUT: "the node stays fenced, in quarantine, and no other begins, whatever the budget says",
    OnFailure.ROLL_BACK: "the node is led back to its old mode at once",
    OnFailure.ROLL_BACK_WAVE: (
        "the node and all nodes of its wave are led back to their old mode, as fast as max_unavailable lets them, "
        "and no further node begins"
    ),
}
"""What each action means for a node that failed after its mode was assigned."""


def rules(plan: Plan) -> Iterator[Block]:
    """Checks, actions, probes and external gates of the plan."""
    policy = plan.policy
    yield Heading("How nodes are proven")
    yield Table(("check", "level", "what must hold", "when it fails"), tuple(_checks(policy)))
    yield Bullets(tuple(_probing(policy)))
    if policy.gates:
        yield Heading("Who else is asked")
        yield Table(("gate", "when", "asks", "proceeds", "rolls back"), tuple(_gate(gate) for gate in policy.gates))


def _checks(policy: Policy) -> Iterator[tuple[str, ...]]:
    counted = levels(policy.target, policy)
    for name, claim in CHECKS.items():
        level = counted[name]
        if name == DNS and name not in policy.checks:
            yield name, "required if answered before", claim, policy.action_on(name).value
        else:
            action = policy.action_on(name).value if level is CheckLevel.REQUIRED else "-"
            yield name, level.value, claim, action


def _probing(policy: Policy) -> Iterator[str]:
    probes, bounds = policy.probes, policy.tolerances
    yield (
        f"probe pods of image {probes.image} in namespace {probes.namespace}, on the node and on up to "
        f"{probes.peers} others; always removed"
    )
    yield (
        f"worse than its own baseline is: {bounds.latency_us} us or {bounds.latency_percent} % more latency, "
        f"{bounds.loss_ppm} ppm more loss; {bounds.error_ppm} ppm of sound nodes may be failed by chance"
    )
    if probes.without_bpf is WithoutBpf.ACCEPT:
        yield "where no eBPF probe can run, what can be read without counts alone"
    else:
        yield "a node where no eBPF probe can run is held before it is touched"


def _gate(gate: ExternalGate) -> tuple[str, ...]:
    when = "each node, before it takes pods" if gate.scope is GateScope.NODE else "each wave, under load"
    if gate.source is GateSource.HTTP:
        asks = f"GET {gate.url} within {span(gate.timeout_s)}"
        return gate.name, when, asks, "status 200 or 204, or its JSON says so", "its JSON says so"
    asks = f"{gate.query} at {gate.url} within {span(gate.timeout_s)}"
    return gate.name, when, asks, f"every value {gate.proceed_when}", _any_value(gate.roll_back_when)


def _any_value(comparison: str) -> str:
    return f"any value {comparison}" if comparison else "never"
