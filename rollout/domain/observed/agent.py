"""What the agent says of itself.

Its settings come under struct field names or flag names, by version (real-cluster.md); both are accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rollout.domain.inventory import Observation
from rollout.domain.observed.loose import Row, count, document, row, rows, text


@dataclass(frozen=True, slots=True)
class AgentDrop:
    """Packets that the agent's own programs dropped since the counter began."""

    reason: str
    direction: str
    packets: int


@dataclass(frozen=True, slots=True)
class AgentState:
    """What the agent says of itself. `state`: up, slow (nothing to conclude) or down (no socket)."""

    state: str
    reason: str = ""
    mode: str = ""
    configured_mode: str = ""
    attach_mode: str = ""
    host_routing: str = ""
    masquerading: str = ""
    kube_proxy_replacement: str = ""
    encryption: str = ""
    chaining: str = ""
    host_firewall: str = ""
    tunnel: str = ""
    controllers_failing: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    endpoint_states: Mapping[str, int] = field(default_factory=dict)
    endpoint_links: tuple[str, ...] = ()
    link_states: Mapping[str, str] = field(default_factory=dict)
    """State of the endpoint behind each host link, the host's own included. Empty: this version tells no links."""
    drops: tuple[AgentDrop, ...] | None = None
    """None: the agent does not serve its metrics."""
    version: str = ""
    """As the agent tells it; builds of one's own tell none."""
    config_delta: int | None = None
    """Settings that differ from what it would run with after a restart, by its drift checker. None: not told."""

    def setting(self, flag: str) -> Any:
        """An effective setting by its flag name, whatever spelling the agent used; None when it is not told."""
        if flag in self.settings:
            return self.settings[flag]
        return self.settings.get(FIELD_OF_FLAG.get(flag, ""))


HOST_LINKS = frozenset({"cilium_host", "cilium_net"})
"""A veth pair in every mode (real-cluster.md): the host's own endpoint, never counted."""

FIELD_OF_FLAG: Mapping[str, str] = {
    "datapath-mode": "DatapathMode",
    "enable-bpf-tproxy": "EnableBPFTProxy",
    "enable-bpf-masquerade": "EnableBPFMasquerade",
    "enable-endpoint-routes": "EnableEndpointRoutes",
    "enable-host-firewall": "EnableHostFirewall",
    "enable-host-legacy-routing": "EnableHostLegacyRouting",
    "enable-ipsec": "EnableIPSec",
    "kube-proxy-replacement": "KubeProxyReplacement",
    "routing-mode": "RoutingMode",
    "bpf-lb-acceleration": "NodePortAcceleration",
    "bpf-lb-sock-hostns-only": "BPFSocketLBHostnsOnly",
    "enable-ipv4-masquerade": "EnableIPv4Masquerade",
    "enable-ipv6-masquerade": "EnableIPv6Masquerade",
    "enable-l7-proxy": "EnableL7Proxy",
    "enable-wireguard": "EnableWireguard",
    "ipam": "IPAM",
    "tunnel-protocol": "TunnelProtocol",
}

_TEXT_FIELDS = {
    "datapath-mode": "mode",
    "configured-datapath-mode": "configured_mode",
    "attach-mode": "attach_mode",
    "intra-host-routing-mode": "host_routing",
    "masquerading-mode": "masquerading",
    "kube-proxy-replacement-mode": "kube_proxy_replacement",
    "encryption-mode": "encryption",
    "cni-chaining-mode": "chaining",
    "host-firewall-mode": "host_firewall",
    "tunnel-protocol": "tunnel",
    "version": "version",
}


def parse_agent(observation: Observation | None) -> AgentState | None:
    """The agent's state, None when there is no readable document."""
    found = document(observation)
    if found is None:
        return None
    endpoints = rows(found.get("endpoints"))
    states: dict[str, int] = {}
    for endpoint in endpoints:
        state = text(endpoint.get("state"))
        states[state] = states.get(state, 0) + 1
    links = {text(e.get("interface-name")): text(e.get("state")) for e in endpoints if e.get("interface-name")}
    return AgentState(
        state=text(found.get("agent")) or "down",
        reason=text(found.get("reason")),
        controllers_failing=count(found.get("controllers-failing")),
        settings=dict(row(found.get("settings"))),
        endpoint_states=states,
        endpoint_links=tuple(sorted(links.keys() - HOST_LINKS)),
        link_states=links,
        drops=_drops(found),
        config_delta=count(found["config-delta"]) if "config-delta" in found else None,
        **{name: str(found.get(key) or "") for key, name in _TEXT_FIELDS.items()},
    )


def _drops(found: Row) -> tuple[AgentDrop, ...] | None:
    if not isinstance(found.get("drops"), list | tuple):
        return None
    return tuple(
        AgentDrop(text(each.get("reason")), text(each.get("direction")), count(each.get("packets")))
        for each in rows(found["drops"])
    )
