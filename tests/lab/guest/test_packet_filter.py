"""Services and network policies as rules of the packet filter."""

from typing import Any

import packetfilter
from packetfilter import Peer

A = Peer("10.244.1.5", "ours", {"role": "a"})
B = Peer("10.244.1.6", "ours", {"role": "b"})
FAR = Peer("10.244.2.5", "theirs", {"role": "a"})
NAMESPACES = {"ours": {"team": "x"}, "theirs": {"team": "y"}}


def policy(spec: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "p", "namespace": "ours"}, "spec": spec}


def rules(*policies: dict[str, Any]) -> list[str]:
    text = packetfilter.policy_rules(policies, NAMESPACES, [A, B], [A, B, FAR])
    head = "add rule ip lab_policy forward "
    return [line.removeprefix(head) for line in text.splitlines() if line.startswith(f"{head}ip daddr")]


def test_without_a_policy_all_is_open() -> None:
    assert rules() == []


def test_a_selected_pod_is_closed_but_for_what_is_named() -> None:
    ingress = [{"from": [{"podSelector": {"matchLabels": {"role": "a"}}}], "ports": [{"port": 80}]}]
    made = rules(policy({"podSelector": {"matchLabels": {"role": "b"}}, "ingress": ingress}))
    assert made == [
        "ip daddr 10.244.1.6 ip saddr { 10.244.1.5 } tcp dport 80 accept",
        "ip daddr 10.244.1.6 counter name denied drop",
    ]


def test_ports_without_sources_are_open_to_all() -> None:
    ingress = [{"ports": [{"port": 53, "protocol": "UDP"}, {"port": 80, "endPort": 90}, {"protocol": "UDP"}]}]
    assert rules(policy({"podSelector": {"matchLabels": {"role": "b"}}, "ingress": ingress}))[:-1] == [
        "ip daddr 10.244.1.6 udp dport 53 accept",
        "ip daddr 10.244.1.6 tcp dport 80-90 accept",
        "ip daddr 10.244.1.6 meta l4proto udp accept",
    ]


def test_sources_of_other_namespaces_and_blocks() -> None:
    sources = [{"namespaceSelector": {"matchLabels": {"team": "y"}}}, {"ipBlock": {"cidr": "192.0.2.0/24"}}]
    made = rules(policy({"podSelector": {"matchLabels": {"role": "b"}}, "ingress": [{"from": sources}]}))
    assert made[0] == "ip daddr 10.244.1.6 ip saddr { 10.244.2.5, 192.0.2.0/24 } accept"


def test_sources_that_nobody_is_let_nobody_in() -> None:
    sources = [{"podSelector": {"matchLabels": {"role": "nobody"}}}]
    made = rules(policy({"podSelector": {}, "ingress": [{"from": sources}]}))
    assert made == [f"ip daddr {each.address} counter name denied drop" for each in (A, B)]


def test_policies_add_up_and_egress_is_no_matter() -> None:
    first = policy({"podSelector": {"matchLabels": {"role": "b"}}, "policyTypes": ["Ingress"]})
    second = policy({"podSelector": {"matchLabels": {"role": "b"}}, "ingress": [{"ports": [{"port": 1}]}]})
    assert len(rules(first, second)) == 2
    assert rules(policy({"podSelector": {}, "policyTypes": ["Egress"]})) == []


def test_expressions() -> None:
    def holds(operator: str, values: list[str]) -> bool:
        return packetfilter.selected(
            {"matchExpressions": [{"key": "role", "operator": operator, "values": values}]}, A.labels
        )

    assert [holds("In", ["a"]), holds("In", ["b"]), holds("NotIn", ["b"]), holds("NotIn", ["a"])] == [1, 0, 1, 0]
    assert [holds("Exists", []), holds("DoesNotExist", [])] == [1, 0]


def service(name: str, address: str, *ports: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "ours"}, "spec": {"clusterIP": address, "ports": list(ports)}}


def slice_of(name: str, port: dict[str, Any], *addresses: str, ready: bool = True) -> dict[str, Any]:
    labels = {"kubernetes.io/service-name": name}
    endpoints = [{"addresses": [each], "conditions": {"ready": ready}} for each in addresses]
    return {"metadata": {"name": name, "namespace": "ours", "labels": labels}, "endpoints": endpoints, "ports": [port]}


def translations(*args: Any) -> list[str]:
    text = packetfilter.service_rules(*args)
    return [
        line.partition("prerouting ")[2] for line in text.splitlines() if "rule ip lab_services prerouting " in line
    ]


def test_services_lead_to_ready_endpoints() -> None:
    port = {"name": "http", "port": 80, "protocol": "TCP"}
    target = {"name": "http", "port": 8080, "protocol": "TCP"}
    web = service("web", "10.96.0.11", port)
    ready, waiting = (
        slice_of("web", target, "10.244.1.5", "10.244.2.5"),
        slice_of("web", target, "10.244.1.9", ready=False),
    )
    assert translations([web], [ready, waiting]) == [
        "ip daddr 10.96.0.11 tcp dport 80 dnat to numgen random mod 2 map { 0 : 10.244.1.5, 1 : 10.244.2.5 }:8080"
    ]
    assert translations([web], [slice_of("web", target, "10.244.1.5")]) == [
        "ip daddr 10.96.0.11 tcp dport 80 dnat to 10.244.1.5:8080"
    ]


def test_services_without_endpoints_lead_nowhere() -> None:
    port = {"name": "dns", "port": 53, "protocol": "UDP"}
    dns, found = service("dns", "10.96.0.10", port), slice_of("dns", port, "10.244.1.5")
    headless = service("headless", "None", port)
    assert translations([dns, headless], []) == []
    assert translations([dns], [found], frozenset({"ours/dns"})) == []
    assert "prerouting_rest ip daddr 10.96.0.0/12 drop" in packetfilter.service_rules([dns], [])
