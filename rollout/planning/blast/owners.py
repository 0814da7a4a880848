"""Who owns the agent's DaemonSet and ConfigMap, told by what they write on objects, and whether they roll agents.

An owner that rolls agents by itself may flip a node between assign-mode and restart-agent, or the whole cluster at once
when the global value is edited (cilium-netkit.md 3, 5c; orchestrators.md 4.7 no. 4 and 5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from rollout.domain.fleet import OtherObject
from rollout.domain.inventory import AgentInstall, ClusterSnapshot
from rollout.domain.plan import ConfigOwner

_KEEP_STILL = "until the rollout has ended, merge no change of Cilium's values"
_ON_DELETE = "or set updateStrategy.type: OnDelete for that time"
_MANAGED = (
    ("EKS", "eks.amazonaws.com/component", "eks.amazonaws.com/"),
    ("GKE", "components.gke.io/component-name", "components.gke.io/"),
    ("AKS", "kubernetes.azure.com/managedby", "kubernetes.azure.com/"),
)
_CLI = "cilium-cli"
_RANCHER_ADVICE = "change neither HelmChart nor HelmChartConfig of it, nor upgrade RKE2, until the rollout has ended"


@dataclass(frozen=True, slots=True)
class _Marks:
    """Labels and annotations of one object, and its name for evidence."""

    what: str
    texts: Mapping[str, str]

    def first(self, *keys: str) -> tuple[str, str]:
        """The first of `keys` that is there, with its value; empty texts when none is."""
        return next(((key, self.texts[key]) for key in keys if self.texts.get(key)), ("", ""))


def config_owners(cluster: ClusterSnapshot) -> tuple[ConfigOwner, ...]:
    """Owners of the agent's objects, the most active first; `nobody` when no mark of any was found."""
    agent = cluster.agent
    if agent is None:
        return ()
    found: dict[tuple[str, str], ConfigOwner] = {}
    for marks in _objects(agent):
        for rule in _RULES:
            for owner in rule(cluster, agent, marks):
                found.setdefault((owner.kind, owner.name), owner)
    for owner in _by_name(cluster, agent):
        found.setdefault((owner.kind, owner.name), owner)
    if not found:
        return (_nobody(agent),)
    return tuple(sorted(found.values(), key=lambda o: (not o.rolls_agents, o.kind, o.name)))


def _objects(agent: AgentInstall) -> Iterator[_Marks]:
    yield _Marks(f"DaemonSet {agent.namespace}/{agent.daemonset}", {**agent.annotations, **agent.labels})
    yield _Marks("ConfigMap cilium-config", {**agent.config_annotations, **agent.config_labels})


def _rolls(agent: AgentInstall) -> bool:
    """Whether a changed pod template restarts agents at all."""
    return agent.update_strategy != "OnDelete"


def _most_at_once(agent: AgentInstall) -> str:
    return f", {agent.max_unavailable} at once" if agent.max_unavailable else ""


# --- one rule per owner ----------------------------------------------------------------------------------------------


def _helm(_cluster: ClusterSnapshot, agent: AgentInstall, marks: _Marks) -> Iterator[ConfigOwner]:
    key, release = marks.first("meta.helm.sh/release-name")
    if not key and marks.texts.get("app.kubernetes.io/managed-by") == "Helm":
        key, release = "app.kubernetes.io/managed-by", marks.first("app.kubernetes.io/instance", "release")[1] or "?"
    if not key:
        return
    rolls = agent.checksum_annotation and _rolls(agent)
    advice = (
        f"the pod template carries a checksum of the ConfigMap (rollOutCiliumPods): any helm upgrade that changes a"
        f" value restarts every agent{_most_at_once(agent)}; {_KEEP_STILL}, {_ON_DELETE}"
        if rolls
        else f"run no helm upgrade of it that changes the pod template: that restarts every agent; {_KEEP_STILL}"
    )
    yield ConfigOwner("helm", release, f"{marks.what}: {key}", rolls, advice)


def _argo(cluster: ClusterSnapshot, agent: AgentInstall, marks: _Marks) -> Iterator[ConfigOwner]:
    key, tracking = marks.first("argocd.argoproj.io/tracking-id", "argocd.argoproj.io/instance")
    name = tracking.split(":", 1)[0]
    apps = {one.name: one for one in cluster.of_kind("Application")}
    if not key:
        key, name = marks.first("app.kubernetes.io/instance")
        if name not in apps:
            return
    yield _argo_owner(agent, name, f"{marks.what}: {key}", apps.get(name))


def _argo_owner(agent: AgentInstall, name: str, evidence: str, app: OtherObject | None) -> ConfigOwner:
    manual = app is not None and not app.traits.get("automated")
    heals = app is not None and bool(app.traits.get("heals"))
    advice = (
        f"it syncs by hand only: {_KEEP_STILL}"
        if manual
        else f"it syncs by itself{' and puts changes back' if heals else ''}: {_KEEP_STILL}, {_ON_DELETE},"
        f" or switch its automated sync off (argocd app set {name} --sync-policy none)"
    )
    return ConfigOwner("argo-cd", name, evidence, not manual and _rolls(agent), advice)


def _flux(cluster: ClusterSnapshot, agent: AgentInstall, marks: _Marks) -> Iterator[ConfigOwner]:
    for kind, key in (
        ("HelmRelease", "helm.toolkit.fluxcd.io/name"),
        ("Kustomization", "kustomize.toolkit.fluxcd.io/name"),
    ):
        name = marks.texts.get(key, "")
        if name:
            namespace = marks.texts.get(key.replace("/name", "/namespace"), "flux-system")
            same = [one for one in cluster.of_kind(kind) if (one.namespace, one.name) == (namespace, name)]
            suspended = bool(same and same[0].traits.get("suspended"))
            yield _flux_owner(agent, kind, f"{namespace}/{name}", f"{marks.what}: {key}", suspended)


def _flux_owner(agent: AgentInstall, kind: str, name: str, evidence: str, suspended: bool) -> ConfigOwner:
    namespace, _, bare = name.partition("/")
    advice = (
        "it is suspended: leave it so until the rollout has ended"
        if suspended
        else f"it reconciles by itself: {_KEEP_STILL}, {_ON_DELETE}, or flux suspend {kind.lower()} {bare}"
        f" -n {namespace}; label and CiliumNodeConfig of ours are not in its inventory, so it does not undo them"
    )
    return ConfigOwner("flux", name, evidence, not suspended and _rolls(agent), advice)


def _addon_manager(_cluster: ClusterSnapshot, agent: AgentInstall, marks: _Marks) -> Iterator[ConfigOwner]:
    key, mode = marks.first("addonmanager.kubernetes.io/mode")
    if key:
        rolls = mode == "Reconcile" and _rolls(agent)
        advice = (
            "its manifest on the control plane is applied again and again: leave it alone until the rollout has ended"
        )
        yield ConfigOwner("addon-manager", mode, f"{marks.what}: {key}", rolls, advice)


def _kops(_cluster: ClusterSnapshot, agent: AgentInstall, marks: _Marks) -> Iterator[ConfigOwner]:
    key, name = marks.first("k8s-addon", "addon.kops.k8s.io/name")
    if key:
        advice = "run neither kops update cluster nor kops rolling-update until the rollout has ended"
        yield ConfigOwner("kops", name, f"{marks.what}: {key}", _rolls(agent), advice)


def _rancher(_cluster: ClusterSnapshot, agent: AgentInstall, marks: _Marks) -> Iterator[ConfigOwner]:
    key, name = marks.first("objectset.rio.cattle.io/owner-name", "objectset.rio.cattle.io/id")
    if not key and marks.texts.get("meta.helm.sh/release-name", "").startswith("rke2-"):
        key, name = "meta.helm.sh/release-name", marks.texts["meta.helm.sh/release-name"]
    if key:
        yield ConfigOwner("rke2", name, f"{marks.what}: {key}", _rolls(agent), _RANCHER_ADVICE)


def _managed(_cluster: ClusterSnapshot, agent: AgentInstall, marks: _Marks) -> Iterator[ConfigOwner]:
    for who, exact, prefix in _MANAGED:
        key = exact if exact in marks.texts else next((k for k in sorted(marks.texts) if k.startswith(prefix)), "")
        if key:
            advice = f"{who} upgrades it on its own days: exclude the rollout's days by a maintenance window there"
            yield ConfigOwner("managed", who, f"{marks.what}: {key}", _rolls(agent), advice)


def _cilium_cli(_cluster: ClusterSnapshot, _agent: AgentInstall, marks: _Marks) -> Iterator[ConfigOwner]:
    if marks.texts.get("app.kubernetes.io/managed-by") == _CLI:
        yield ConfigOwner("cilium-cli", _CLI, f"{marks.what}: app.kubernetes.io/managed-by", False, _KEEP_STILL)


_RULES: tuple[Callable[[ClusterSnapshot, AgentInstall, _Marks], Iterator[ConfigOwner]], ...] = (
    _argo,
    _flux,
    _rancher,
    _helm,
    _addon_manager,
    _kops,
    _managed,
    _cilium_cli,
)


def _by_name(cluster: ClusterSnapshot, agent: AgentInstall) -> Iterator[ConfigOwner]:
    """Objects of deployment tools that mention Cilium though its own objects carry no mark of theirs."""
    for one in cluster.of_kind("Application", "HelmRelease", "Kustomization", "HelmChart"):
        evidence = f"{one.kind} {one.namespace}/{one.name} speaks of Cilium"
        if one.kind == "Application":
            yield _argo_owner(agent, one.name, evidence, one)
        elif one.kind == "HelmChart":
            yield ConfigOwner("rke2", one.name, evidence, _rolls(agent), _RANCHER_ADVICE)
        else:
            suspended = bool(one.traits.get("suspended"))
            yield _flux_owner(agent, one.kind, f"{one.namespace}/{one.name}", evidence, suspended)


def _nobody(agent: AgentInstall) -> ConfigOwner:
    evidence = f"no mark of an owner on DaemonSet {agent.namespace}/{agent.daemonset} or ConfigMap cilium-config"
    advice = "it may still be applied from a pipeline, which leaves no mark: ask who installs it"
    return ConfigOwner("nobody", "", evidence, False, advice)
