"""Does the agent say it runs in the target mode, soundly? Slow is inconclusive, never a failure."""

from __future__ import annotations

from rollout.domain.node import DatapathMode
from rollout.domain.observed import AgentState
from rollout.domain.verdict import Status, Verdict

MODE = "agent-mode"
ROUTING = "host-routing"
HEALTH = "agent-health"

_SETTLING = frozenset({"regenerating", "waiting-to-regenerate", "waiting-for-identity", "restoring", "not-ready"})
"""Endpoint states that pass by themselves."""


def judge_agent(
    node: str, agent: AgentState | None, baseline: AgentState | None, target: DatapathMode
) -> tuple[Verdict, ...]:
    """Mode, host routing and health, the last compared with the baseline's."""
    if agent is None or agent.state != "up":
        why = "it could not be observed" if agent is None else f"its API is {agent.state}: {agent.reason}"
        return tuple(Verdict(check, node, Status.INCONCLUSIVE, why) for check in (MODE, ROUTING, HEALTH))
    return (_mode(node, agent, target), _routing(node, agent, target), _health(node, agent, baseline))


def _mode(node: str, agent: AgentState, target: DatapathMode) -> Verdict:
    told = {"operational": agent.mode, "configured": agent.configured_mode}
    effective = agent.setting("datapath-mode")
    evidence = told | {"effective": effective, "target": target.value}
    if not agent.mode:
        return Verdict(MODE, node, Status.INCONCLUSIVE, "the agent does not tell its mode", evidence)
    wrong = [f"{name} mode {value}" for name, value in told.items() if value and value != target.value]
    if wrong:
        return Verdict(MODE, node, Status.FAIL, f"{' and '.join(wrong)}, wanted {target.value}", evidence)
    return Verdict(MODE, node, Status.PASS, f"the agent runs {target.value}", evidence)


def _routing(node: str, agent: AgentState, target: DatapathMode) -> Verdict:
    evidence = {"intra-host-routing-mode": agent.host_routing}
    if target is DatapathMode.VETH:
        return Verdict(ROUTING, node, Status.SKIPPED, "veth works with either host routing", evidence)
    if not agent.host_routing:
        return Verdict(ROUTING, node, Status.INCONCLUSIVE, "the agent does not tell its host routing", evidence)
    if agent.host_routing.lower() != "bpf":
        return Verdict(ROUTING, node, Status.FAIL, f"host routing is {agent.host_routing}, netkit needs BPF", evidence)
    return Verdict(ROUTING, node, Status.PASS, "host routing is BPF", evidence)


def _health(node: str, agent: AgentState, baseline: AgentState | None) -> Verdict:
    failing_before = baseline.controllers_failing if baseline else 0
    settling = sum(n for state, n in agent.endpoint_states.items() if state in _SETTLING)
    evidence = {
        "controllers-failing": agent.controllers_failing,
        "controllers-failing-before": failing_before,
        "endpoint-states": dict(agent.endpoint_states),
    }
    if settling:
        return Verdict(HEALTH, node, Status.INCONCLUSIVE, f"{settling} endpoint(s) are still regenerating", evidence)
    broken = sum(n for state, n in agent.endpoint_states.items() if state not in ("ready", "disconnected"))
    if broken:
        return Verdict(HEALTH, node, Status.FAIL, f"{broken} endpoint(s) are not ready", evidence)
    if agent.controllers_failing > failing_before:
        return Verdict(
            HEALTH,
            node,
            Status.FAIL,
            f"{agent.controllers_failing} controllers fail, {failing_before} did at the baseline",
            evidence,
        )
    return Verdict(
        HEALTH, node, Status.PASS, "all endpoints are ready and no more controllers fail than before", evidence
    )
