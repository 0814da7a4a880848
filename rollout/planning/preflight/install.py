"""How Cilium is installed, and whether per-node settings reach its agents."""

from __future__ import annotations

from rollout.domain.inventory import AgentInstall
from rollout.domain.node import DatapathMode
from rollout.planning.drain import evacuation_taint
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
