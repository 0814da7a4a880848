"""The agent's settings: what the merged configuration means, and which datapath mode results."""

import base64
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODES = ("veth", "netkit", "netkit-l2")
# Names in `daemonConfigurationMap`: the agent answers with struct fields, not with flags.
_FLAGS = {
    "debug": "Debug",
    "enable-bgp-control-plane": "EnableBGPControlPlane",
    "enable-bpf-masquerade": "EnableBPFMasquerade",
    "enable-bpf-tproxy": "EnableBPFTProxy",
    "enable-cilium-endpoint-slice": "EnableCiliumEndpointSlice",
    "enable-egress-gateway": "EnableEgressGateway",
    "enable-endpoint-health-checking": "EnableEndpointHealthChecking",
    "enable-endpoint-routes": "EnableEndpointRoutes",
    "enable-envoy-config": "EnableEnvoyConfig",
    "enable-health-checking": "EnableHealthChecking",
    "enable-host-firewall": "EnableHostFirewall",
    "enable-ip-masq-agent": "EnableIPMasqAgent",
    "enable-ipv4": "EnableIPv4",
    "enable-ipv4-masquerade": "EnableIPv4Masquerade",
    "enable-ipv6": "EnableIPv6",
    "enable-ipv6-masquerade": "EnableIPv6Masquerade",
    "enable-l2-announcements": "EnableL2Announcements",
    "enable-l7-proxy": "EnableL7Proxy",
    "enable-local-redirect-policy": "EnableLocalRedirectPolicy",
    "enable-sctp": "EnableSCTP",
    "enable-tcx": "EnableTCX",
    "enable-vtep": "EnableVTEP",
    "enable-xdp-prefilter": "EnableXDPPrefilter",
    "encrypt-node": "EncryptNode",
    "policy-audit-mode": "PolicyAuditMode",
    "restore": "RestoreState",
    "auto-direct-node-routes": "EnableAutoDirectRouting",
}
_TEXTS = {
    "agent-not-ready-taint-key": "AgentNotReadyNodeTaintKey",
    "cluster-name": "ClusterName",
    "datapath-mode": "DatapathMode",
    "enable-policy": "EnablePolicy",
    "identity-allocation-mode": "IdentityAllocationMode",
    "ipam": "IPAM",
    "routing-mode": "RoutingMode",
}
_UNSAFE = {"enable-host-legacy-routing": "EnableHostLegacyRouting", "bpf-lb-sock-hostns-only": "BPFSocketLBHostnsOnly"}


class BadConfig(Exception):
    """The agent cannot start with this configuration."""


@dataclass(frozen=True)
class AgentConfig:
    values: Mapping[str, str]

    def text(self, key: str, default: str = "") -> str:
        return self.values.get(key, default)

    def flag(self, key: str, default: bool = False) -> bool:
        held = self.values.get(key, "")
        return held.lower() == "true" if held else default

    @property
    def configured_mode(self) -> str:
        return self.text("datapath-mode") or "veth"

    @property
    def bpf_masquerade(self) -> bool:
        return self.flag("enable-bpf-masquerade")

    @property
    def masquerade(self) -> bool:
        return self.flag("enable-ipv4-masquerade", True)

    @property
    def kube_proxy_replacement(self) -> bool:
        return self.flag("kube-proxy-replacement")

    @property
    def legacy_host_routing(self) -> bool:
        """Asked for, or fallen back to as the agent does without a word above the info level."""
        fallen_back = self.masquerade and not self.bpf_masquerade
        fallen_back = fallen_back or not self.kube_proxy_replacement or self.flag("enable-ipsec")
        return self.flag("enable-host-legacy-routing") or fallen_back


def read(folder: Path) -> AgentConfig:
    """The merged keys that the init container wrote: one file per key."""
    if not folder.is_dir():
        return AgentConfig({})
    return AgentConfig({each.name: each.read_text() for each in sorted(folder.iterdir())})


def operational_mode(config: AgentConfig, probe: Callable[[], str]) -> tuple[str, str]:
    """The mode to run in, with a warning if it is not the configured one. Raises BadConfig.

    `probe` tells why the kernel has no netkit; it is asked only when the answer matters. Existing pods do not matter.
    """
    mode = config.configured_mode
    if mode not in (*MODES, "auto"):
        raise BadConfig(f"invalid datapath mode: {mode}")
    if mode == "veth":
        return mode, ""
    reason = _netkit_obstacle(config, probe)
    if not reason:
        return "netkit" if mode == "auto" else mode, ""
    if mode == "auto":
        return "veth", f"datapath autodiscovery failed, reverting from netkit to veth: {reason}"
    raise BadConfig(f"netkit connector not available: {reason}")


def _netkit_obstacle(config: AgentConfig, probe: Callable[[], str]) -> str:
    if config.flag("enable-bpf-tproxy"):
        return "netkit devices cannot be used with --enable-bpf-tproxy=true"
    if config.flag("enable-host-legacy-routing"):
        return "netkit devices cannot be used with --enable-host-legacy-routing=true"
    missing = probe()
    return f"netkit device probe failed, requires kernel 6.7.0+ and CONFIG_NETKIT: {missing}" if missing else ""


def fill_settings(settings: dict[str, Any], config: AgentConfig) -> None:
    """Put the configuration's values under the struct's field names."""
    for key, name in _FLAGS.items():
        if key in config.values:
            settings[name] = config.flag(key)
    for key, name in _TEXTS.items():
        if key in config.values:
            settings[name] = config.text(key)
    for key, name in _UNSAFE.items():
        if key in config.values:
            settings["UnsafeDaemonConfigOption"][name] = config.flag(key)
    settings["DatapathMode"] = config.configured_mode
    if cidr := config.text("ipv4-native-routing-cidr"):
        network = ipaddress.IPv4Network(cidr)
        mask = base64.b64encode(network.netmask.packed).decode()
        settings["IPv4NativeRoutingCIDR"] = {"IP": str(network.network_address), "Mask": mask}
