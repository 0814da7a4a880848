"""What the probes' documents say, as values. Parsing only: judging is in `checks` and `planning`.

Settings of the agent come under struct field names or flag names, by version (real-cluster.md); both are accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rollout.domain.inventory import Observation
from rollout.domain.node import DatapathMode, LinkKind

PROBE_LINKS = "links"
PROBE_AGENT = "agent"
PROBE_CAPABILITY = "capability"
PROBE_PROGRAMS = "programs"
PROBE_COUNTERS = "counters"
PROBE_REACH = "reach"
PROBE_POLICY = "policy"
PROBE_PATH = "path"
PROBE_DROPS = "drops"
PROBE_TCP = "tcp"
BPF_PROBES = (PROBE_PATH, PROBE_DROPS, PROBE_TCP)
"""Probes that load eBPF programs: they need BCC on the node."""
ALL_PROBES = (
    PROBE_LINKS,
    PROBE_AGENT,
    PROBE_CAPABILITY,
    PROBE_PROGRAMS,
    PROBE_COUNTERS,
    PROBE_REACH,
    PROBE_POLICY,
    *BPF_PROBES,
)


@dataclass(frozen=True, slots=True)
class EndpointLink:
    """Host side of an endpoint's link pair."""

    name: str
    kind: LinkKind
    up: bool
    health: bool = False


@dataclass(frozen=True, slots=True)
class LinkTable:
    """The node's endpoint host links as the kernel lists them."""

    links: tuple[EndpointLink, ...]
    boot_id: str
    kernel: str

    def counts(self, *, health: bool = True) -> dict[str, int]:
        """How many links of each kind, health endpoint included or not."""
        found: dict[str, int] = {}
        for link in self.links:
            if health or not link.health:
                found[link.kind.value] = found.get(link.kind.value, 0) + 1
        return dict(sorted(found.items()))

    def other_than(self, kind: LinkKind) -> tuple[EndpointLink, ...]:
        """Links of another kind, the health endpoint included."""
        return tuple(link for link in self.links if link.kind is not kind)


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
}


@dataclass(frozen=True, slots=True)
class Capability:
    """What the node's kernel can do, found by trying."""

    modes: tuple[DatapathMode, ...]
    scrub: bool
    error: str = ""


def parse_links(observation: Observation | None) -> LinkTable | None:
    """The link table, None when there is no readable document."""
    document = _document(observation)
    if document is None or "links" not in document:
        return None
    return LinkTable(
        links=tuple(_link(row) for row in document["links"]),
        boot_id=str(document.get("boot_id", "")),
        kernel=str(document.get("kernel", "")),
    )


def _link(row: Mapping[str, Any]) -> EndpointLink:
    try:
        kind = LinkKind(row.get("kind"))
    except ValueError:
        kind = LinkKind.OTHER
    return EndpointLink(str(row.get("name", "")), kind, bool(row.get("up")), bool(row.get("health")))


def parse_capability(observation: Observation | None) -> Capability | None:
    """The kernel's capability, None when there is no readable document."""
    document = _document(observation)
    if document is None:
        return None
    modes = tuple(m for m in (DatapathMode.NETKIT, DatapathMode.NETKIT_L2) if m.value in document.get("modes", ()))
    return Capability(modes, bool(document.get("scrub")), str(document.get("error") or ""))


def parse_agent(observation: Observation | None) -> AgentState | None:
    """The agent's state, None when there is no readable document."""
    document = _document(observation)
    if document is None:
        return None
    endpoints = document.get("endpoints") or ()
    states: dict[str, int] = {}
    for endpoint in endpoints:
        states[str(endpoint.get("state", ""))] = states.get(str(endpoint.get("state", "")), 0) + 1
    links = {str(e["interface-name"]) for e in endpoints if e.get("interface-name")}
    text = {key: str(document.get(key) or "") for key in _TEXT_FIELDS}
    return AgentState(
        state=str(document.get("agent", "down")),
        reason=str(document.get("reason") or ""),
        controllers_failing=int(document.get("controllers-failing") or 0),
        settings=dict(document.get("settings") or {}),
        endpoint_states=states,
        endpoint_links=tuple(sorted(links - HOST_LINKS)),
        **{_TEXT_FIELDS[key]: value for key, value in text.items()},
    )


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
}


def _document(observation: Observation | None) -> Mapping[str, Any] | None:
    if observation is None or not observation.readable:
        return None
    return observation.document
