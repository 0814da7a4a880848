"""Who owns the agent, told by the marks each owner leaves, and whether it rolls agents by itself."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.domain.fleet import OtherObject
from rollout.domain.plan import ConfigOwner
from rollout.planning.blast.owners import config_owners
from tests.builders import agent_install, node, snapshot
from tests.support.fleet import sixty_nodes

HELM = {"meta.helm.sh/release-name": "cilium", "meta.helm.sh/release-namespace": "kube-system"}
TRACKING = {"argocd.argoproj.io/tracking-id": "network:apps/DaemonSet:kube-system/cilium"}
FLUX = {"helm.toolkit.fluxcd.io/name": "cilium", "helm.toolkit.fluxcd.io/namespace": "infra"}


def owners(*others: OtherObject, **agent: Any) -> tuple[ConfigOwner, ...]:
    return config_owners(snapshot((node("n1"),), agent=agent_install(**agent), other=others))


def test_nobody() -> None:
    (found,) = owners()
    assert (found.kind, found.rolls_agents) == ("nobody", False)
    assert "ask who installs it" in found.advice


def test_without_an_agent_there_is_no_owner() -> None:
    assert config_owners(snapshot((node("n1"),), agent=None)) == ()


@pytest.mark.parametrize(
    ("marks", "kind", "name", "rolls"),
    [
        ({"annotations": HELM}, "helm", "cilium", False),
        ({"annotations": HELM, "checksum_annotation": True}, "helm", "cilium", True),
        ({"annotations": HELM, "checksum_annotation": True, "update_strategy": "OnDelete"}, "helm", "cilium", False),
        ({"labels": {"app.kubernetes.io/managed-by": "Helm"}}, "helm", "?", False),
        ({"config_annotations": HELM}, "helm", "cilium", False),
        ({"annotations": TRACKING}, "argo-cd", "network", True),
        ({"annotations": TRACKING, "update_strategy": "OnDelete"}, "argo-cd", "network", False),
        ({"labels": FLUX}, "flux", "infra/cilium", True),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}, "flux", "flux-system/apps", True),
        ({"labels": {"addonmanager.kubernetes.io/mode": "Reconcile"}}, "addon-manager", "Reconcile", True),
        ({"labels": {"addonmanager.kubernetes.io/mode": "EnsureExists"}}, "addon-manager", "EnsureExists", False),
        ({"labels": {"k8s-addon": "networking.cilium.io"}}, "kops", "networking.cilium.io", True),
        ({"labels": {"eks.amazonaws.com/component": "cilium"}}, "managed", "EKS", True),
        ({"labels": {"components.gke.io/component-name": "advanceddatapath"}}, "managed", "GKE", True),
        ({"labels": {"app.kubernetes.io/managed-by": "cilium-cli"}}, "cilium-cli", "cilium-cli", False),
    ],
)
def test_one_owner(marks: dict[str, Any], kind: str, name: str, rolls: bool) -> None:
    (found,) = owners(**marks)
    assert (found.kind, found.name, found.rolls_agents) == (kind, name, rolls)
    assert found.evidence
    assert found.advice


def test_rke2_brings_helm_with_it() -> None:
    found = owners(annotations={"meta.helm.sh/release-name": "rke2-cilium"})
    assert [(o.kind, o.name) for o in found] == [("rke2", "rke2-cilium"), ("helm", "rke2-cilium")]


def test_argo_by_instance_label_only_when_there_is_such_an_application() -> None:
    label = {"app.kubernetes.io/instance": "cilium"}
    assert [o.kind for o in owners(labels=label)] == ["nobody"]
    manual = OtherObject("Application", "argocd", "cilium")
    (found,) = owners(manual, labels=label)
    assert (found.kind, found.rolls_agents) == ("argo-cd", False)
    healing = OtherObject("Application", "argocd", "cilium", traits={"automated": "true", "heals": "true"})
    (found,) = owners(healing, labels=label)
    assert found.rolls_agents
    assert "puts changes back" in found.advice


def test_a_suspended_flux_release_rolls_nothing() -> None:
    release = OtherObject("HelmRelease", "infra", "cilium", traits={"suspended": "true"})
    (found,) = owners(release, labels=FLUX)
    assert not found.rolls_agents
    assert "suspended" in found.advice


def test_deployment_tools_that_only_speak_of_cilium() -> None:
    found = owners(OtherObject("HelmChart", "kube-system", "rke2-cilium"), OtherObject("Application", "argocd", "cni"))
    assert [(o.kind, o.name, o.rolls_agents) for o in found] == [
        ("rke2", "rke2-cilium", True),
        ("argo-cd", "cni", False),
    ]


def test_the_most_active_owner_comes_first() -> None:
    found = owners(annotations=HELM | TRACKING)
    assert [o.kind for o in found] == ["argo-cd", "helm"]


def test_the_recorded_agent_was_applied_by_hand() -> None:
    """The DaemonSet recorded from a real cluster carries kubectl's marks only: nobody can be named."""
    (found,) = config_owners(sixty_nodes().snapshot())
    assert (found.kind, found.rolls_agents) == ("nobody", False)
