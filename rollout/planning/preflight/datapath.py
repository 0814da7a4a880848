"""The agent's own datapath settings: which netkit needs, and which it does not go with."""

from __future__ import annotations

from rollout.planning.preflight.row import BLOCK, INFO, PASS, UNKNOWN, WARN, Facts, Judgement, Row, Span

_CLOUD = ("eni", "azure", "alibabacloud")
_SILENT = "the agent does not tell its"


def _tproxy_off(facts: Facts) -> Judgement:
    value = facts.setting("enable-bpf-tproxy")
    if value is None:
        return UNKNOWN, "the agent does not tell enable-bpf-tproxy"
    return (BLOCK, "BPF TPROXY is on") if value else (PASS, "BPF TPROXY is off")


def _host_routing(facts: Facts) -> Judgement:
    if facts.setting("enable-host-legacy-routing"):
        return BLOCK, "host routing is Legacy by the agent's own setting, not BPF"
    return _must_read(facts, "host_routing", "BPF", "host routing")


def _must_read(facts: Facts, name: str, wanted: str, title: str) -> Judgement:
    value = getattr(facts.agent, name) if facts.agent else ""
    if not value:
        return UNKNOWN, f"{_SILENT} {title}"
    if value.lower() != wanted.lower():
        return BLOCK, f"{title} is {value}, not {wanted}"
    return PASS, f"{title} is {value}"


def _kube_proxy(facts: Facts) -> Judgement:
    return _must_read(facts, "kube_proxy_replacement", "True", "kube-proxy replacement")


def _masquerading(facts: Facts) -> Judgement:
    if facts.agent is not None and facts.agent.masquerading.lower() in ("disabled", "off"):
        return PASS, "masquerading is off"
    return _must_read(facts, "masquerading", "BPF", "masquerading")


def _no_ipsec(facts: Facts) -> Judgement:
    if facts.agent is None or facts.agent.state != "up":
        return UNKNOWN, f"{_SILENT} encryption"
    if facts.agent.encryption.lower() == "ipsec":
        return BLOCK, "IPsec is on: BPF host routing, which netkit needs, is impossible with it"
    return PASS, f"encryption is {facts.agent.encryption or 'off'}"


def _socket_lb(facts: Facts) -> Judgement:
    routes, hosts_only = facts.setting("enable-endpoint-routes"), facts.setting("bpf-lb-sock-hostns-only")
    if routes is None:
        return UNKNOWN, "the agent does not tell whether endpoint routes are on"
    if not routes:
        return PASS, "endpoint routes are off"
    if hosts_only is None:
        return UNKNOWN, "endpoint routes are on, and the agent does not tell bpf-lb-sock-hostns-only"
    if not hosts_only:
        return PASS, "socket load balancing is not limited to the host's namespace"
    words = "endpoint routes and socketLB.hostNamespaceOnly are both on: service replies on one node count as new flows"
    return (BLOCK if Span((1, 20, 0)).covers(facts.version) else WARN), words


def _endpoint_routes(facts: Facts) -> Judgement:
    routes = facts.setting("enable-endpoint-routes")
    if routes is None:
        return UNKNOWN, "the agent does not tell whether endpoint routes are on"
    if routes:
        return WARN, "endpoint routes are on, a combination with netkit that upstream tests no more"
    return PASS, "endpoint routes are off"


def _host_firewall(facts: Facts) -> Judgement:
    mode = facts.agent.host_firewall.lower() if facts.agent else ""
    on = facts.setting("enable-host-firewall") if not mode else mode == "enabled"
    harmful = Span(before=(1, 17, 0)).covers(facts.version)
    if on is None:
        return UNKNOWN if harmful else WARN, "the agent does not tell whether the host firewall is on"
    if not on:
        return PASS, "the host firewall is off"
    if harmful:
        return BLOCK, "the host firewall is on: with Cilium 1.16 and netkit the node loses ARP, and with it its gateway"
    return WARN, "the host firewall is on, a combination with netkit that upstream tests no more"


def _no_chaining(facts: Facts) -> Judgement:
    if facts.agent is None or facts.agent.state != "up":
        return UNKNOWN, f"{_SILENT} chaining mode"
    mode = facts.agent.chaining.lower()
    if mode in ("", "none"):
        return PASS, "no CNI chaining"
    if mode == "portmap":
        return WARN, "portmap chaining: its iptables path is bypassed by BPF host routing"
    return BLOCK, f"CNI chaining mode {mode} attaches to foreign links"


def _ipam(facts: Facts) -> Judgement:
    ipam = facts.words("ipam")
    if not ipam:
        return UNKNOWN, f"{_SILENT} address management"
    if ipam in _CLOUD:
        return WARN, f"addresses come from {ipam}: it often turns endpoint routes on, and adds routing rules per pod"
    return PASS, f"addresses come from {ipam}"


def _xdp(facts: Facts) -> Judgement:
    told = facts.words("bpf-lb-acceleration")
    own = [n.name for n in facts.host.nics or () if n.xdp.startswith("cil_")] if facts.host else []
    if told in ("", "disabled", "false") and not own:
        return PASS, "XDP acceleration is off"
    where = f" on {', '.join(own)}" if own else ""
    return INFO, f"XDP acceleration is {told or 'on'}{where}: it stays on the network card, whatever links pods have"


ROWS: tuple[Row, ...] = (
    Row(
        "tproxy-off", "BPF TPROXY is off", _tproxy_off, "the agent's settings", "set bpf.tproxy=false first",
        "cilium 39892, 44048", (8,), ("tproxy-off",),
    ),
    Row(
        "host-routing-bpf", "host routing is BPF", _host_routing, "probe agent: status and settings",
        "find what turned legacy routing on: IPsec, iptables masquerading, or no kube-proxy replacement",
        "cilium 44713", (9,), ("bpf-host-routing",),
    ),
    Row(
        "kube-proxy-replaced", "kube-proxy is replaced", _kube_proxy, "probe agent: status", "migrate kube-proxy first",
        table=(10,),
    ),
    Row(
        "masquerade-bpf", "masquerading is BPF or off", _masquerading, "probe agent: status", "set bpf.masquerade=true",
        table=(11,),
    ),
    Row(
        "no-ipsec", "IPsec is off", _no_ipsec, "probe agent: status", "use WireGuard, or stay on veth",
        "hcloud-k8s 147", (12,),
    ),
    Row(
        "endpoint-routes-socketlb", "endpoint routes do not meet socketLB.hostNamespaceOnly", _socket_lb,
        "the agent's settings", "turn endpoint routes off", "cilium 47913", (13,), ("endpoint-routes-socketlb",),
    ),
    Row(
        "endpoint-routes", "endpoint routes are off", _endpoint_routes, "the agent's settings",
        "turn endpoint routes off", "cilium 44998", (14,), severity=WARN,
    ),
    Row(
        "host-firewall", "the host firewall is off", _host_firewall, "probe agent: status and settings",
        "try ARP and the gateway on the canary; upgrade Cilium from 1.16", "cilium 34230", (15,),
    ),
    Row(
        "no-chaining", "no CNI chaining", _no_chaining, "probe agent: status",
        "chained CNIs keep their own links; stay on veth", "cilium connector/chaining", (16,),
        fixed="a chained CNI makes the links, and Cilium never does",
    ),
    Row(
        "cloud-ipam", "addresses do not come from a cloud's network interfaces", _ipam, "the agent's settings",
        "see that endpoint routes are off, and begin with one node", "cilium 46553", (38,), severity=WARN,
    ),
    Row(
        "xdp-acceleration", "XDP acceleration is off", _xdp, "the agent's settings, probe host",
        "nothing to do: measure the canary's service traffic", "cilium 34042", severity=INFO,
    ),
)  # fmt: skip
