"""Whether per-node settings reach agents, and whether ours will reach the nodes it should and no others."""

from __future__ import annotations

from rollout.domain.inventory import AgentInstall, overridable
from rollout.domain.node import LABEL_MODE, NODE_CONFIG_NAME, DatapathMode
from rollout.planning.facts import is_ours
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
from rollout.planning.versions import show

_NO_AGENT = "no Cilium DaemonSet was found"


def _agent(facts: Facts) -> AgentInstall | None:
    return facts.inventory.cluster.agent


def _node_config_served(facts: Facts) -> Judgement:
    version = facts.inventory.cluster.node_config_version
    if not version:
        return BLOCK, "the API does not serve CiliumNodeConfig"
    if version == "v2alpha1" and facts.version is not None and facts.version >= (1, 20, 0):
        return BLOCK, f"the API serves v2alpha1 only, which Cilium {show(facts.version)} does not read any more"
    return PASS, f"CiliumNodeConfig is served as {version}"


def _node_config_merged(facts: Facts) -> Judgement:
    agent = _agent(facts)
    if agent is None:
        return UNKNOWN, _NO_AGENT
    if not agent.merges_node_configs:
        return BLOCK, "no init container of the agent runs build-config: a CiliumNodeConfig would have no effect"
    return PASS, "the agent's init container merges CiliumNodeConfigs"


def _key_overridable(facts: Facts) -> Judgement:
    agent = _agent(facts)
    if agent is None:
        return UNKNOWN, _NO_AGENT
    if not overridable(agent, MODE_KEY):
        return BLOCK, "the agent's init container does not let a CiliumNodeConfig set datapath-mode"
    return PASS, "a CiliumNodeConfig may set datapath-mode"


def _no_direct_option(facts: Facts) -> Judgement:
    agent = _agent(facts)
    if agent is None:
        return UNKNOWN, _NO_AGENT
    hard = [a for a in agent.config_args if MODE_KEY in a or "DATAPATH_MODE" in a]
    if hard:
        return BLOCK, f"the DaemonSet sets the mode directly ({hard[0]}), which beats every ConfigMap"
    return PASS, "the DaemonSet does not set the mode directly"


def _ours_sorts_last(facts: Facts) -> Judgement:
    rivals = [c.name for c in facts.context.mode_rivals if c.name >= NODE_CONFIG_NAME]
    if rivals:
        return BLOCK, f"CiliumNodeConfig {', '.join(rivals)} sets datapath-mode and sorts after ours, so it would win"
    return PASS, "no other CiliumNodeConfig sorts after ours and sets datapath-mode"


def _key_spelt(facts: Facts) -> Judgement:
    wrong = "bpf-datapath-mode"
    found = [c.name for c in facts.context.foreign_configs if wrong in c.defaults]
    agent = _agent(facts)
    found += [f"{agent.namespace}/cilium-config"] if agent and wrong in agent.config else []
    if found:
        return WARN, f"{named(found)} sets {wrong}, which no agent reads: somebody believes those nodes have moved"
    return PASS, f"nothing sets {wrong}"


def _namespace(facts: Facts) -> Judgement:
    agent = _agent(facts)
    if agent is None:
        return UNKNOWN, _NO_AGENT
    astray = [
        c
        for c in facts.inventory.cluster.node_configs
        if c.namespace != agent.namespace and (is_ours(c) or MODE_KEY in c.defaults)
    ]
    if any(is_ours(c) for c in astray):
        return (
            BLOCK,
            f"CiliumNodeConfig {astray[0].namespace}/{astray[0].name} has our name, but no agent reads it there",
        )
    if astray:
        names = [f"{c.namespace}/{c.name}" for c in astray]
        return WARN, f"{named(names)} sets datapath-mode where no agent reads it"
    return PASS, f"ours is made in {agent.namespace}, where agents read"


def _selector_safe(facts: Facts) -> Judgement:
    """Our object selects on our label alone, so it may select only nodes that run in the label's mode already."""
    ours = [c for c in facts.inventory.cluster.node_configs if is_ours(c)]
    wide = [c.name for c in ours if c.has_selector and not c.match_labels.get(LABEL_MODE)]
    if wide:
        return BLOCK, f"CiliumNodeConfig {wide[0]} has our name but selects nodes without our label"
    served = {c.match_labels.get(LABEL_MODE, "") for c in ours}
    mode = facts.policy.target.value
    if mode in served:
        return PASS, f"our object for {mode} is there already and selects on our label alone"
    running = facts.context.running
    would = [
        n.name
        for n in facts.inventory.cluster.nodes
        if n.labels.get(LABEL_MODE) == mode and (n.name not in running or running[n.name].value != mode)
    ]
    if would:
        return BLOCK, f"{named(would)} carries our label already: our object would arm it the moment it is made"
    return PASS, "no node carries our label but those that run in its mode"


def _default_settled(facts: Facts) -> Judgement:
    """Whether the cluster-wide mode is the one that nodes run in which nothing else gives theirs."""
    agent = _agent(facts)
    if agent is None:
        return UNKNOWN, _NO_AGENT
    mode = agent.config.get(MODE_KEY, DatapathMode.VETH.value)
    running = facts.context.running
    plain = [
        n.name
        for n in facts.context.nodes
        if not any(MODE_KEY in c.defaults and c.selects(n.labels) for c in facts.inventory.cluster.node_configs)
    ]
    other = [name for name in plain if name in running and running[name].value != mode]
    if mode == DatapathMode.AUTO.value:
        return WARN, "the cluster-wide mode is auto: a restart settles it anew, whatever pods are on the node"
    if other:
        return WARN, (
            f"the cluster-wide mode is {mode}, but {named(other)} runs another: any restart of an agent there flips it"
        )
    return PASS, f"the cluster-wide mode, {mode}, is the one that nodes without a setting of their own run in"


ROWS: tuple[Row, ...] = (
    Row(
        "node-config-served", "CiliumNodeConfig is served in a version that the agent reads", _node_config_served,
        "the API's discovery", "install Cilium's CRDs; convert v2alpha1 objects before 1.20", "cilium 40110, 47774",
        (21,), per_node=False, targets=ANY_TARGET, fixed="the mode of single nodes is set by that object",
    ),
    Row(
        "node-config-merged", "CiliumNodeConfigs take effect", _node_config_merged,
        "the init containers of the agent's DaemonSet",
        "this install ignores per-node settings; use one whose init container runs build-config", "kops 17269", (20,),
        per_node=False, targets=ANY_TARGET, fixed="nothing would change on any node",
    ),
    Row(
        "key-overridable", "per-node settings may set the mode", _key_overridable,
        "the arguments of the agent's init container", "adjust daemon.allowedConfigOverrides / blockedConfigOverrides",
        table=(22,), per_node=False, targets=ANY_TARGET, fixed="nothing would change on any node",
    ),
    Row(
        "no-direct-option", "the DaemonSet does not fix the mode", _no_direct_option,
        "command, arguments and environment of the agent", "remove the option from the DaemonSet", table=(23,),
        per_node=False, targets=ANY_TARGET, fixed="nothing would change on any node",
    ),
    Row(
        "node-config-order", "our CiliumNodeConfig is merged last", _ours_sorts_last, "CiliumNodeConfigs",
        "rename or remove the other object", table=(23,), per_node=False, targets=ANY_TARGET,
    ),
    Row(
        "node-config-key", "nobody mistook the key", _key_spelt, "CiliumNodeConfigs and the agent's ConfigMap",
        "the key is datapath-mode; remove the other", rules=("node-config-key",), severity=WARN, per_node=False,
        targets=ANY_TARGET, reference="notes on other tools, N2",
    ),
    Row(
        "node-config-namespace", "CiliumNodeConfigs are where agents read", _namespace, "CiliumNodeConfigs",
        "delete the object in the other namespace", "cilium-dbg build-config", (24,), per_node=False,
        targets=ANY_TARGET,
    ),
    Row(
        "selector-safe", "our object will select the nodes in turn and no others", _selector_safe,
        "CiliumNodeConfigs, node labels, the mode each agent tells",
        f"remove the label from those nodes: kubectl label node NODE {LABEL_MODE}-", table=(25,), per_node=False,
        targets=ANY_TARGET,
    ),
    Row(
        "default-settled", "the cluster-wide mode is the one that nodes without an override run", _default_settled,
        "the agent's ConfigMap, CiliumNodeConfigs, the mode each agent tells",
        "set the ConfigMap back to the mode in use; flip it only by rollout finalize, when all nodes are done",
        "home-ops 11336", rules=("final-default-flip", "auto-mode"), severity=WARN, per_node=False, targets=ANY_TARGET,
    ),
)  # fmt: skip
