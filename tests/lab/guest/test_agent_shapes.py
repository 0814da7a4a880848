"""The agent's answers have the recorded shape, with live facts in it."""

from collections.abc import Callable
from typing import Any

import agentconfig
import agentshapes
import pytest
from agentconfig import AgentConfig, BadConfig
from agentshapes import AgentFacts
from endpointstore import Endpoint
from podlinks import LinkFacts

VALUES = {
    "datapath-mode": "netkit",
    "routing-mode": "native",
    "enable-bpf-masquerade": "true",
    "kube-proxy-replacement": "true",
    "enable-host-firewall": "true",
    "ipv4-native-routing-cidr": "10.0.0.0/8",
}
FACTS = AgentFacts(
    node="n1",
    address="192.168.77.11",
    device="eth1",
    pod_cidr="10.244.1.0/24",
    router="10.244.1.1",
    health_address="10.244.1.2",
    host_id=11,
    health_id=12,
    pool_size=254,
    config=AgentConfig(VALUES),
    mode="netkit",
    started="2026-11-23T01:04:33.518927249Z",
)
POD = Endpoint(
    id=7,
    attachment="abc:eth0",
    namespace="default",
    pod="web-1",
    uid="u",
    service_account="default",
    link="lxc0123456789ab",
    index=5,
    address="10.244.1.9",
    mac="",
    host_mac="",
    labels={"app": "web", "pod-template-hash": "5"},
)


def keys(value: Any) -> Any:
    return {name: keys(held) for name, held in value.items()} if isinstance(value, dict) else None


def test_status_has_the_recorded_keys(recorded: Callable[[str], Any]) -> None:
    expected, shown = keys(recorded("agent-status-veth.json")), keys(agentshapes.status_document(FACTS, [POD]))
    for live in ("ipam",):
        assert expected[live].keys() == shown[live].keys()
        del expected[live], shown[live]
    assert shown == expected


def test_status_tells_the_live_facts() -> None:
    status = agentshapes.status_document(FACTS, [POD])
    assert (status["datapath-mode"], status["configured-datapath-mode"]) == ("netkit", "netkit")
    assert status["routing"] == {"inter-host-routing-mode": "Native", "intra-host-routing-mode": "BPF"}
    assert status["host-firewall"] == {"devices": ["eth1"], "mode": "Enabled"}
    assert status["ipam"]["allocations"]["10.244.1.9"] == "default/web-1"


def test_host_routing_falls_back_silently() -> None:
    config = AgentConfig(VALUES | {"enable-bpf-masquerade": "false"})
    status = agentshapes.status_document(FACTS.__class__(**(FACTS.__dict__ | {"config": config})), [])
    assert status["routing"]["intra-host-routing-mode"] == "Legacy"
    assert status["masquerading"]["mode"] == "iptables"


def test_config_has_the_recorded_keys_and_field_names(recorded: Callable[[str], Any]) -> None:
    shown = agentshapes.config_document(FACTS)
    assert keys(shown) == keys(recorded("agent-config-veth.json"))
    settings = shown["status"]["daemonConfigurationMap"]
    assert settings["EnableHostFirewall"] is True
    assert settings["DatapathMode"] == "netkit"
    assert settings["IPv4NativeRoutingCIDR"] == {"IP": "10.0.0.0", "Mask": "/wAAAA=="}


def test_endpoints_have_the_recorded_keys(recorded: Callable[[str], Any]) -> None:
    health, pod, host = recorded("agent-endpoints-netkit.json")
    for expected, shown in (
        (pod, agentshapes.pod_document(POD, FACTS.started)),
        (health, agentshapes.health_document(FACTS, LinkFacts(3, "lxc_health", "netkit", ""), "")),
        (host, agentshapes.host_document(FACTS, LinkFacts(4, "cilium_host", "veth", "aa:bb:cc:dd:ee:ff"))),
    ):
        expected_keys, shown_keys = keys(expected)["status"], keys(shown)["status"]
        # One of the recorded policies was still being worked out.
        assert expected_keys.pop("policy").keys() <= shown_keys.pop("policy").keys()
        assert shown_keys == expected_keys
    assert agentshapes.pod_document(POD, FACTS.started)["status"]["labels"]["derived"] == ["k8s:pod-template-hash=5"]


@pytest.mark.parametrize(
    ("mode", "probe", "expected"),
    [
        ("veth", "unsupported", "veth"),
        ("netkit", "", "netkit"),
        ("netkit-l2", "", "netkit-l2"),
        ("auto", "", "netkit"),
        ("auto", "unsupported", "veth"),
        ("", "", "veth"),
    ],
)
def test_operational_mode(mode: str, probe: str, expected: str) -> None:
    assert agentconfig.operational_mode(AgentConfig({"datapath-mode": mode}), lambda: probe)[0] == expected


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"datapath-mode": "lb-only"}, "invalid datapath mode: lb-only"),
        ({"datapath-mode": "netkit"}, "requires kernel 6.7.0"),
        ({"datapath-mode": "netkit", "enable-bpf-tproxy": "true"}, "--enable-bpf-tproxy=true"),
        ({"datapath-mode": "netkit", "enable-host-legacy-routing": "true"}, "--enable-host-legacy-routing=true"),
    ],
)
def test_unusable_mode_is_fatal(values: dict[str, str], words: str) -> None:
    with pytest.raises(BadConfig, match=words):
        agentconfig.operational_mode(AgentConfig(values), lambda: "Operation not supported")
