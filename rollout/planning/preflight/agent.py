"""Whether a node and its agent are well, and what the agent is about to do by itself."""

from __future__ import annotations

from rollout.domain.node import LABEL_MODE, LINK_KIND_OF, DatapathMode, LinkKind
from rollout.domain.observed import FIELD_OF_FLAG
from rollout.planning.preflight.context import MODE_KEY
from rollout.planning.preflight.row import (
    ANY_TARGET,
    BLOCK,
    PASS,
    UNKNOWN,
    WARN,
    Facts,
    Judgement,
    Row,
    named,
)

_SOUND = ("ready", "regenerating", "waiting-to-regenerate", "restoring", "")


def _node_ready(facts: Facts) -> Judgement:
    if facts.here.ready is None:
        return UNKNOWN, "the node's Ready condition is unknown: its kubelet does not answer"
    return (PASS, "the node is Ready") if facts.here.ready else (BLOCK, "the node is not Ready")


def _observed(facts: Facts) -> Judgement:
    if facts.links is None or facts.agent is None:
        return UNKNOWN, f"the node could not be observed: {facts.unreadable}"
    return PASS, "the node was observed"


def _agent_answers(facts: Facts) -> Judgement:
    if facts.agent is None:
        return UNKNOWN, f"the agent could not be observed: {facts.unreadable}"
    if facts.agent.state != "up":
        return UNKNOWN, f"the agent's API is {facts.agent.state}: {facts.agent.reason}"
    return PASS, "the agent's API answers"


def _agent_healthy(facts: Facts) -> Judgement:
    agent = facts.agent
    if agent is None or agent.state != "up":
        return UNKNOWN, "the agent does not tell how well it is"
    ill = {state: number for state, number in agent.endpoint_states.items() if state not in _SOUND}
    words = [f"{number} endpoint(s) {state}" for state, number in sorted(ill.items())]
    words += [f"{agent.controllers_failing} controller(s) failing"] if agent.controllers_failing else []
    if words:
        return WARN, f"{', '.join(words)}: checks will compare with this baseline, ill as it is"
    return PASS, "no endpoint or controller of the agent is in trouble"


def _not_mixed(facts: Facts) -> Judgement:
    if facts.links is None or facts.agent is None:
        return UNKNOWN, f"the node could not be observed: {facts.unreadable}"
    try:
        mode = DatapathMode(facts.agent.mode)
    except ValueError:
        return UNKNOWN, f"the agent tells no known mode ({facts.agent.mode or 'nothing'})"
    strays = facts.links.other_than(LINK_KIND_OF.get(mode, LinkKind.OTHER))
    if strays:
        names = ", ".join(f"{link.name} ({link.kind.value})" for link in strays[:5])
        return BLOCK, f"the agent runs {mode.value} but {len(strays)} endpoint link(s) are of another kind: {names}"
    return PASS, f"all {len(facts.links.links)} endpoint links are of kind {LINK_KIND_OF[mode].value}"


def _not_armed(facts: Facts) -> Judgement:
    """A node that would start in another mode than it runs in flips with any restart of its agent."""
    if facts.agent is None or not facts.agent.mode:
        return UNKNOWN, "the agent does not tell its mode"
    waits = facts.context.effective(facts.here).get(MODE_KEY, DatapathMode.VETH.value)
    if waits not in (facts.agent.mode, facts.agent.configured_mode):
        return WARN, f"the agent runs {facts.agent.mode}, but any restart would start it in {waits}"
    return PASS, f"a restart of the agent keeps it in {facts.agent.mode}"


def _no_override(facts: Facts) -> Judgement:
    prefix = "config.cilium.io/datapath-mode"
    stray = [k for k in facts.here.labels if k.startswith(prefix)]
    stray += [k for k in facts.here.annotations if k.startswith(prefix)]
    if stray:
        return BLOCK, f"the node itself sets the mode ({stray[0]}), which may beat our CiliumNodeConfig"
    return PASS, f"nothing on the node sets the mode but our label {LABEL_MODE}"


def _one_node_config(facts: Facts) -> Judgement:
    found = [c.name for c in facts.context.mode_rivals if c.selects(facts.here.labels)]
    if len(found) > 1:
        return BLOCK, f"CiliumNodeConfigs {', '.join(found)} all set this node's mode: which wins rests on their names"
    if found:
        return WARN, f"CiliumNodeConfig {found[0]} sets this node's mode; ours is merged after it"
    return PASS, "no CiliumNodeConfig of others sets this node's mode"


_COMPARED = tuple(sorted(set(FIELD_OF_FLAG) - {MODE_KEY}))


def _no_drift(facts: Facts) -> Judgement:
    agent = facts.agent
    if agent is None or agent.state != "up":
        return UNKNOWN, "the agent does not tell what it runs with"
    merged = facts.context.effective(facts.here)
    differing = [flag for flag in _COMPARED if flag in merged and _differs(merged[flag], agent.setting(flag))]
    if differing:
        return WARN, f"the agent's restart would also change {named(differing)}"
    if agent.config_delta:
        return WARN, f"the agent counts {agent.config_delta} settings that its restart would change"
    return PASS, "the agent runs with the settings it would start with"


def _differs(wanted: str, runs: object) -> bool:
    """Only what both sides tell as a yes or no: words are spelt in several ways."""
    if not isinstance(runs, bool) or wanted.lower() not in ("true", "false"):
        return False
    return runs is not (wanted.lower() == "true")


ROWS: tuple[Row, ...] = (
    Row(
        "node-ready", "the node is Ready", _node_ready, "the Node object", "bring the node up, or leave it out",
        targets=ANY_TARGET, health=True,
    ),
    Row(
        "node-observed", "the node can be observed", _observed, "probes links and agent",
        "make it reachable: rollout verify NODE", targets=ANY_TARGET, health=True,
        fixed="what cannot be seen cannot be proven",
    ),
    Row(
        "agent-answers", "the agent's API answers", _agent_answers, "probe agent",
        "look at the agent's log on this node", table=(28,), targets=ANY_TARGET, health=True,
    ),
    Row(
        "agent-healthy", "the agent has no endpoint or controller in trouble", _agent_healthy, "probe agent",
        "cilium-dbg status --verbose on this node; settle what it names, for a baseline that says something",
        table=(28,), severity=WARN, targets=ANY_TARGET, health=True,
    ),
    Row(
        "node-not-mixed", "all endpoint links are of the agent's mode", _not_mixed, "probes links and agent",
        "an earlier flip left links behind: reboot the node", "cilium 42482", (29,), targets=ANY_TARGET, health=True,
        rules=("silent-mix",),
    ),
    Row(
        "not-armed", "a restart of the agent changes nothing by itself", _not_armed,
        "CiliumNodeConfigs and ConfigMap against the mode that the agent tells",
        "let nothing restart agents until this node's turn: freeze Helm, GitOps, node reboots",
        "notes on other tools, N4",
        (27,), ("arming-window",), severity=WARN, targets=ANY_TARGET,
    ),
    Row(
        "no-node-override", "nothing else sets this node's mode", _no_override, "the node's labels and annotations",
        "remove the label or annotation", table=(23,), targets=ANY_TARGET,
    ),
    Row(
        "one-node-config", "at most one CiliumNodeConfig of others sets this node's mode", _one_node_config,
        "CiliumNodeConfigs", "remove all but one, best all", table=(23,), rules=("two-node-configs",),
        targets=ANY_TARGET,
    ),
    Row(
        "no-drift", "the agent's restart changes nothing but the mode", _no_drift,
        "CiliumNodeConfigs and ConfigMap against the agent's own settings, and its drift checker",
        "settle those settings first: restart agents with them while all nodes are alike", "cilium 44703", (27,),
        severity=WARN, targets=ANY_TARGET,
    ),
)  # fmt: skip
