"""Kinds that few rules look at: what is kept of an object, one row for each reader."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from rollout.adapters.kubernetes import documents as docs
from rollout.adapters.kubernetes.decode import decode
from rollout.adapters.kubernetes.kinds import OTHER_KINDS, other_value
from rollout.domain.fleet import OtherObject
from rollout.domain.scheduling import LabelRequirement, LabelSelector

KINDS = {kind.name: kind for kind in OTHER_KINDS}
SSD = LabelSelector((("disk", "ssd"),))
SSD_DOC = {"matchLabels": {"disk": "ssd"}}


def read(kind: str, body: dict[str, Any]) -> OtherObject | None:
    whole = {"metadata": {"name": "x", "namespace": "ns", **body.pop("metadata", {})}, **body}
    return other_value(KINDS[kind], decode(msgspec.json.encode(whole), docs.OtherDoc, kind))


def l7(*protocols: str) -> dict[str, Any]:
    return {"toPorts": [{"ports": [], "rules": {name: [{}] for name in protocols}}]}


ROWS: tuple[tuple[str, dict[str, Any], dict[str, str], LabelSelector | None, str], ...] = (
    ("CiliumNetworkPolicy", {"spec": {"endpointSelector": SSD_DOC, "ingress": [l7("http")], "egress": [l7("dns"), {}]}},
     {"l7": "dns,http"}, SSD, "pods"),
    ("CiliumNetworkPolicy", {"spec": {"endpointSelector": {}, "ingress": [{"toPorts": [{"ports": []}]}]}},
     {}, LabelSelector(), "pods"),
    ("CiliumNetworkPolicy", {"spec": {"endpointSelector": {"matchLabels": {"k8s:app": "a", "any:b": "c", "d:e": "f"}}}},
     {}, LabelSelector((("app", "a"), ("b", "c"), ("d:e", "f"))), "pods"),
    ("CiliumClusterwideNetworkPolicy", {"specs": [{"nodeSelector": SSD_DOC}, {"egress": [l7("kafka")]}]},
     {"l7": "kafka", "rules": "2"}, SSD, "nodes"),
    ("CiliumBGPPeeringPolicy", {"spec": {"nodeSelector": SSD_DOC}}, {}, SSD, "nodes"),
    ("CiliumBGPClusterConfig", {"spec": {}}, {}, None, ""),
    ("CiliumEgressGatewayPolicy", {"spec": {"egressGateway": {"nodeSelector": SSD_DOC, "egressIP": "10.0.0.9"}}},
     {"egress-ip": "10.0.0.9"}, SSD, "nodes"),
    ("CiliumEgressGatewayPolicy", {"spec": {"egressGateways": [{"nodeSelector": SSD_DOC}, {"nodeSelector": {}}]}},
     {"gateways": "2"}, SSD, "nodes"),
    ("CiliumL2AnnouncementPolicy",
     {"spec": {"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}}},
     {}, LabelSelector(expressions=(LabelRequirement("a", "DoesNotExist"),)), "nodes"),
    ("CiliumLocalRedirectPolicy", {"spec": {"redirectBackend": {"localEndpointSelector": SSD_DOC}}}, {}, SSD, "pods"),
    ("NetworkPolicy", {"spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}},
     {"directions": "Egress,Ingress"}, LabelSelector(), "pods"),
    ("Ingress", {"spec": {"ingressClassName": "cilium"}}, {"class": "cilium"}, None, ""),
    ("Ingress", {"metadata": {"annotations": {"kubernetes.io/ingress.class": "nginx"}}}, {"class": "nginx"}, None, ""),
    ("IngressClass", {"spec": {"controller": "cilium.io/ingress-controller"}},
     {"controller": "cilium.io/ingress-controller"}, None, ""),
    ("Gateway", {"spec": {"gatewayClassName": "cilium"}}, {"class": "cilium"}, None, ""),
    ("GatewayClass", {"spec": {"controllerName": "io.cilium/gateway-controller"}},
     {"controller": "io.cilium/gateway-controller"}, None, ""),
    ("RuntimeClass", {"handler": "kata", "scheduling": {"nodeSelector": {"disk": "ssd"}}},
     {"handler": "kata"}, SSD, "nodes"),
    ("VirtualMachineInstance", {"status": {"nodeName": "n1", "phase": "Running"}},
     {"node": "n1", "phase": "Running"}, None, ""),
    ("StorageClass", {"provisioner": "ebs.csi.aws.com"}, {"provisioner": "ebs.csi.aws.com", "binding": "Immediate"},
     None, ""),
    ("Machine", {"status": {"nodeRef": {"name": "n1"}, "phase": "Running"}}, {"node": "n1", "phase": "Running"},
     None, ""),
    ("MachineDeployment", {"spec": {"clusterName": "c", "replicas": 3}}, {"cluster": "c", "replicas": "3"}, None, ""),
    ("NodeClaim", {"status": {"nodeName": "n1"}}, {"node": "n1"}, None, ""),
    ("CephCluster", {"status": {"ceph": {"health": "HEALTH_WARN"}}}, {"health": "HEALTH_WARN"}, None, ""),
    ("LonghornVolume", {"status": {"robustness": "degraded", "state": "attached"}},
     {"robustness": "degraded", "state": "attached"}, None, ""),
    ("Service",
     {"metadata": {"annotations": {"service.cilium.io/lb-l7": "enabled"}}, "spec": {"selector": {"disk": "ssd"}}},
     {"l7": "enabled"}, SSD, "pods"),
    ("Application",
     {"spec": {"source": {"chart": "cilium"}, "syncPolicy": {"automated": {"selfHeal": True, "prune": False}}}},
     {"automated": "true", "heals": "true"}, None, ""),
    ("HelmRelease", {"metadata": {"name": "cni"}, "spec": {"chart": {"spec": {"chart": "cilium"}}, "suspend": True}},
     {"chart": "cilium", "suspended": "true"}, None, ""),
    ("Kustomization", {"spec": {"path": "./infra/Cilium"}}, {"path": "./infra/Cilium"}, None, ""),
    ("HelmChartConfig", {"metadata": {"name": "rke2-cilium"}}, {}, None, ""),
)  # fmt: skip


@pytest.mark.parametrize(("kind", "body", "traits", "selector", "selects"), ROWS)
def test_what_is_kept(
    kind: str, body: dict[str, Any], traits: dict[str, str], selector: LabelSelector | None, selects: str
) -> None:
    found = read(kind, dict(body))
    assert found is not None
    assert (found.kind, dict(found.traits), found.selector, found.selects) == (kind, traits, selector, selects)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("Service", {"metadata": {"annotations": {"example.com/a": "b"}}}),
        ("Service", {}),
        ("Application", {"spec": {"source": {"chart": "postgres"}, "syncPolicy": {}}}),
        # Only what it deploys counts, not every value that it passes on.
        ("HelmRelease", {"spec": {"chart": {"spec": {"chart": "web"}}, "values": {"cni": "cilium"}}}),
    ],
)
def test_what_no_rule_asks_for_is_left_out(kind: str, body: dict[str, Any]) -> None:
    assert read(kind, body) is None


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("body", [{}, {"spec": None, "status": None}, {"spec": {"nodeSelector": 5, "ingress": None}}])
def test_every_reader_stands_odd_objects(kind: str, body: dict[str, Any]) -> None:
    found = read(kind, dict(body))
    assert found is None or found.selector is None or found.selects


def test_names_are_unique_and_all_kinds_have_a_place() -> None:
    assert len(KINDS) == len(OTHER_KINDS)
    places = [(kind.group, kind.plural) for kind in OTHER_KINDS]
    assert len(set(places)) == len(places)
    assert all(kind.versions for kind in OTHER_KINDS)
