"""How Cilium is installed, and whether per-node settings reach its agents."""

from __future__ import annotations

from rollout.domain.inventory import AgentInstall, overridable
from rollout.domain.node import LABEL_MODE, NODE_CONFIG_NAME, DatapathMode
from rollout.planning.drain import evacuation_taint
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
from rollout.planning.versions import GUARD_SINCE, show

_NO_AGENT = "no Cilium DaemonSet was found"
_ADD_ONS = ("kops.k8s.io/managed-by", "addonmanager.kubernetes.io/mode")
_OWNER_KINDS = ("Application", "HelmRelease", "Kustomization", "HelmChart", "HelmChartConfig", "CiliumConfig")
"""Objects of deployment tools; a snapshot holds those that speak of Cilium."""
_OWNERS = {
    "argocd.argoproj.io/instance": "Argo CD",
    "argocd.argoproj.io/tracking-id": "Argo CD",
    "helm.toolkit.fluxcd.io/name": "Flux",
    "kustomize.toolkit.fluxcd.io/name": "Flux",
}


def _agent(facts: Facts) -> AgentInstall | None:
    return facts.inventory.cluster.agent


def _agent_installed(facts: Facts) -> Judgement:
    agent = _agent(facts)
    if agent is None:
        return BLOCK, _NO_AGENT
    return PASS, f"DaemonSet {agent.namespace}/{agent.daemonset} with image {agent.image}"


def _agents_ready(facts: Facts) -> Judgement:
    agent = _agent(facts)
    if agent is None:
        return UNKNOWN, _NO_AGENT
    if agent.ready < agent.desired:
        return BLOCK, f"only {agent.ready} of {agent.desired} agents are Ready: there is no sound baseline"
    return PASS, f"all {agent.desired} agents are Ready"


def _version_has_netkit(facts: Facts) -> Judgement:
    version = facts.version
    if version is None:
        return UNKNOWN, "neither the agent's image tag nor an agent tells its version"
    if version < (1, 16, 0):
        return BLOCK, f"Cilium {show(version)} has no netkit; it begins with 1.16"
    return PASS, f"Cilium {show(version)} has netkit"


def _version_has_guard(facts: Facts) -> Judgement:
    version = facts.version
    if version is None:
        return UNKNOWN, "the agent's image tag does not tell its version, so the start-up guard is not certain"
    if version < GUARD_SINCE:
        return WARN, f"Cilium {show(version)} may start in a new mode over old links: only method reboot is safe"
    return PASS, f"Cilium {show(version)} refuses to start over links of another mode"


def _target_known(facts: Facts) -> Judgement:
    target = facts.policy.target
    if target is DatapathMode.AUTO:
        return BLOCK, "auto is no mode to move to: it errors, or falls back to veth, where veth pods are left"
    return PASS, f"{target.value} is a mode that an agent can be given"


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


def _no_global_roll(facts: Facts) -> Judgement:
    agent = _agent(facts)
    if agent is not None and agent.checksum_annotation:
        return WARN, "the DaemonSet rolls all agents when its ConfigMap changes: do not touch the ConfigMap meanwhile"
    return PASS, "agents are not rolled by a ConfigMap change"


def _not_owned(facts: Facts) -> Judgement:
    agent = _agent(facts)
    if agent is None:
        return UNKNOWN, _NO_AGENT
    marks = {**agent.config_labels, **agent.config_annotations, **agent.labels, **agent.annotations}
    owners = sorted({name for key, name in _OWNERS.items() if key in marks} | {k for k in _ADD_ONS if k in marks})
    owners += [f"{one.kind} {one.namespace}/{one.name}" for one in facts.inventory.cluster.of_kind(*_OWNER_KINDS)]
    if owners:
        return WARN, f"{named(owners)} owns the agent's objects and may change or restart agents under the rollout"
    return PASS, "no deployment tool or add-on manager owns the agent's objects"


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


def _operator(facts: Facts) -> Judgement:
    agent = _agent(facts)
    if agent is None:
        return UNKNOWN, _NO_AGENT
    if agent.operator_ready == 0:
        return WARN, "no pod of cilium-operator is Ready: nodes get no addresses and no taints"
    if agent.config.get("set-cilium-node-taints", "false").lower() != "true":
        return WARN, "set-cilium-node-taints is not on: pods may be bound to a node while its agent is down"
    return PASS, "the operator taints nodes whose agent is not Ready"


def _tolerant(facts: Facts) -> Judgement:
    taint = evacuation_taint("any")
    found = [
        f"{d.namespace}/{d.name}"
        for d in facts.inventory.cluster.daemonsets
        if d.pod_network and any(t.tolerates(taint) for t in d.tolerations)
    ]
    if found:
        return WARN, (
            f"DaemonSet {named(sorted(found))} tolerates every taint on the pod network: its pods are deleted in the "
            "gap while no agent runs"
        )
    return PASS, "no DaemonSet on the pod network tolerates our taint"


ROWS: tuple[Row, ...] = (
    Row(
        "agent-installed", "Cilium is installed", _agent_installed, "the agent's DaemonSet",
        "name the agent's namespace: agent_namespace", per_node=False, targets=ANY_TARGET,
        fixed="without Cilium there is nothing to move",
    ),
    Row(
        "agents-ready", "all agents are Ready", _agents_ready, "the agent's DaemonSet",
        "bring them up first: kubectl -n kube-system get pods", table=(28,), per_node=False, targets=ANY_TARGET,
        health=True,
    ),
    Row(
        "version-netkit", "the agent's version has netkit", _version_has_netkit,
        "the agent's image, or what agents tell",
        "upgrade Cilium, best to 1.19 or later", "cilium 32429", (1,), per_node=False,
        fixed="an agent without netkit exits when it is told to use it",
    ),
    Row(
        "version-guard", "the agent refuses to start over old links", _version_has_guard,
        "the agent's image, or what agents tell", "use method reboot, or upgrade Cilium to 1.19 or later",
        "cilium 42482", (2,), severity=WARN, per_node=False, targets=ANY_TARGET,
    ),
    Row(
        "target-known", "the target is a mode that an agent can be given", _target_known, "the policy",
        "choose netkit or netkit-l2", "cilium 43062", (3,), ("auto-mode",), per_node=False, targets=ANY_TARGET,
        fixed="auto cannot drive a migration",
    ),
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
        "no-global-roll", "a ConfigMap change rolls no agents", _no_global_roll, "the DaemonSet's pod template",
        "freeze Helm and GitOps for Cilium during the rollout", "home-ops 11336", (26,), ("roll-on-change",),
        severity=WARN, per_node=False, targets=ANY_TARGET,
    ),
    Row(
        "not-owned", "nobody else writes the agent's objects", _not_owned, "marks on the DaemonSet and the ConfigMap",
        "suspend the controller for Cilium during the rollout", table=(26,), rules=("roll-on-change",), severity=WARN,
        per_node=False, targets=ANY_TARGET,
    ),
    Row(
        "default-settled", "the cluster-wide mode is the one that nodes without an override run", _default_settled,
        "the agent's ConfigMap, CiliumNodeConfigs, the mode each agent tells",
        "set the ConfigMap back to the mode in use; flip it only by rollout finalize, when all nodes are done",
        "home-ops 11336", rules=("final-default-flip", "auto-mode"), severity=WARN, per_node=False, targets=ANY_TARGET,
    ),
    Row(
        "operator", "nodes whose agent is down take no new pods", _operator,
        "the operator's Deployment, set-cilium-node-taints",
        "set operator.setNodeTaints=true; our cordon covers the rest",
        "taints.rst", (34,), severity=WARN, per_node=False, targets=ANY_TARGET,
    ),
    Row(
        "tolerant-daemonsets", "no DaemonSet on the pod network tolerates every taint", _tolerant, "DaemonSets",
        "narrow its tolerations, pause it, or use method reboot", "notes on other tools, N2",
        rules=("tolerate-everything",), severity=WARN, per_node=False, targets=ANY_TARGET,
    ),
)  # fmt: skip
