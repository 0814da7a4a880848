"""Probe pods on the API stand-in: what they look like, what is reached besides them, which policies are copied."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.adapters.kubernetes import KubernetesCluster
from rollout.adapters.kubernetes.probe_manifests import echo_source, label_value, pod_manifest, policy_manifests
from rollout.domain.errors import NotPermitted, Unavailable
from rollout.domain.policy import ProbeRules
from rollout.ports.probes import PolicyCopy, Rig, ServiceTarget, WantedPod
from tests.adapters.kubernetes.conftest import StandIn, node

RIG = Rig("1234567890ab", "n1", "token")
RULES = ProbeRules()


def namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def service(name: str, address: str, where: str = "default", port: int = 80, **labels: str) -> dict[str, Any]:
    meta = {"name": name, "namespace": where, "labels": labels}
    spec = {"clusterIP": address, "clusterIPs": [address], "ports": [{"port": port, "protocol": "TCP"}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}


def endpoints(of: str, ready: bool, where: str = "default") -> dict[str, Any]:
    meta = {"name": f"{of}-x", "namespace": where, "labels": {"kubernetes.io/service-name": of}}
    rows = [{"addresses": ["10.244.0.5"], "conditions": {"ready": ready}}]
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": meta, "addressType": "IPv4",
        "endpoints": rows,
    }  # fmt: skip


def policy(name: str, *ingress: dict[str, Any]) -> dict[str, Any]:
    spec = {"podSelector": {"matchLabels": {"app": "db"}}, "policyTypes": ["Ingress"], "ingress": list(ingress)}
    meta = {"name": name, "namespace": "default"}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": spec}


def test_a_pod_satisfies_the_restricted_level_and_ends_by_itself() -> None:
    """The rules of the level: kubernetes.io/docs/concepts/security/pod-security-standards."""
    manifest = pod_manifest(RIG, WantedPod("n1", "a"), RULES)
    spec = manifest["spec"]
    container = spec["containers"][0]
    assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] != 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "volumes", "priorityClassName"} & set(spec)
    assert spec["activeDeadlineSeconds"] == 1800 and spec["restartPolicy"] == "Never"
    assert spec["automountServiceAccountToken"] is False
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert container["command"] == ["python3", "-I", "-c", echo_source()]
    assert "def main" in echo_source()


def test_the_guard_is_about_our_own_pods_only() -> None:
    guard, copy = policy_manifests(RIG, RULES, (PolicyCopy("web/db", (5432,)),))
    selected = guard["spec"]["podSelector"]["matchLabels"]
    assert selected == copy["spec"]["podSelector"]["matchLabels"]
    assert selected["netkit-rollout.io/probe"] == "b" and selected["netkit-rollout.io/node"] == "n1"
    everybody, only_a = guard["spec"]["ingress"]
    assert "from" not in everybody and {p["port"] for p in everybody["ports"]} == {8791}
    assert only_a["from"][0]["podSelector"]["matchLabels"]["netkit-rollout.io/probe"] == "a"
    assert copy["spec"]["ingress"][0]["ports"] == [{"protocol": "TCP", "port": 5432}]


@pytest.mark.parametrize("text", ["n1", "a" * 63, "node.example.org"])
def test_a_name_that_is_a_label_value_stays(text: str) -> None:
    assert label_value(text) == text


@pytest.mark.parametrize("text", ["", "a" * 64, "-x", "x.", "ä"])
def test_any_other_becomes_one(text: str) -> None:
    assert label_value(text) != text
    assert label_value(label_value(text)) == label_value(text)


def test_targets(standin: StandIn, cluster: KubernetesCluster) -> None:
    standin.seed(
        service("kubernetes", "10.96.0.1", port=443),
        service("a-headless", "None"),
        service("b-dead", "10.96.0.7"),
        service("web", "10.96.0.20", port=8080),
        service("kube-dns", "10.96.0.10", "kube-system", 53, **{"k8s-app": "kube-dns"}),
        endpoints("web", ready=True),
        endpoints("b-dead", ready=False),
        endpoints("kube-dns", ready=True, where="kube-system"),
    )
    probes = cluster.probes()
    targets = probes.targets()
    assert targets.api == ServiceTarget("default/kubernetes", ("10.96.0.1",), 443)
    assert targets.dns_servers == ("10.96.0.10",)
    assert targets.services == (ServiceTarget("default/web", ("10.96.0.20",), 8080),)
    before = cluster.request_counts()
    assert probes.targets() == targets
    assert cluster.request_counts() == before


def test_policies_are_copied_when_their_shape_allows(standin: StandIn, cluster: KubernetesCluster) -> None:
    pods = {"podSelector": {"matchLabels": {"app": "api"}}}
    ports = [{"protocol": "TCP", "port": 5432}]
    standin.seed(
        policy("a-nobody"),
        policy("b-everybody", {"ports": ports}),
        policy("c-elsewhere", {"from": [{"namespaceSelector": {}, **pods}], "ports": ports}),
        policy("d-named", {"from": [pods], "ports": [{"port": "http"}]}),
        policy("e-good", {"from": [pods], "ports": ports}),
        policy("f-good", {"from": [pods], "ports": [{"port": 80}, {"port": 90, "endPort": 95}]}),
        policy("g-good", {"from": [pods], "ports": ports}),
    )
    sample = cluster.probes().sample_policies(2)
    assert sample.copies == (PolicyCopy("default/e-good", (5432,)), PolicyCopy("default/f-good", (80,)))
    assert [name for name, why in sample.skipped if why] == [
        "default/a-nobody",
        "default/b-everybody",
        "default/c-elsewhere",
        "default/d-named",
    ]


def test_a_viewer_is_refused_before_anything_is_made(standin: StandIn, connect: Any) -> None:
    standin.seed(namespace(RULES.namespace))
    with pytest.raises(NotPermitted) as refused:
        connect(standin.kubeconfig("viewer-token")).probes().check(RULES)
    assert "create pods" in refused.value.message
    assert RULES.namespace in refused.value.hint


def test_the_kubelets_words_are_told(standin: StandIn, cluster: KubernetesCluster) -> None:
    standin.seed(node("n1"), namespace(RULES.namespace))
    probes = cluster.probes()
    made = probes.ensure(RIG, [WantedPod("n1", "a")], RULES, timeout_s=0)[0]

    def refuse() -> None:
        store = standin.server.store
        waiting = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}, "name": "echo"}
        store.mutate(
            "pods",
            made.ref.name,
            lambda pod: pod["status"].update(containerStatuses=[waiting]),
            RULES.namespace,
            "status",
        )

    standin.running.call(refuse)
    event = {
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e1", "namespace": RULES.namespace},
        "involvedObject": {"kind": "Pod", "name": made.ref.name}, "type": "Warning", "reason": "Failed",
        "message": "pull access denied",
    }  # fmt: skip
    standin.seed(event)
    with pytest.raises(Unavailable) as late:
        probes.ensure(RIG, [WantedPod("n1", "a")], RULES, timeout_s=0.5)
    for words in (made.ref.name, "ImagePullBackOff", "no such image", "pull access denied"):
        assert words in late.value.message
