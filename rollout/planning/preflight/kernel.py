"""What a node's kernel can do: by trying where that is possible, by its version where it is not."""

from __future__ import annotations

from rollout.domain.node import DatapathMode
from rollout.planning.preflight.row import (
    ANY_TARGET,
    BLOCK,
    INFO,
    PASS,
    UNKNOWN,
    WARN,
    Facts,
    Judgement,
    Row,
    Span,
)

_DOCUMENTED = (6, 8, 0)
_DRIVER = (6, 7, 0)
_HEADROOM = (6, 18, 0)
_REGRESSED = (6, 18, 0)
_MAC_FIX = (1, 18, 0)


def _version(facts: Facts) -> Judgement:
    version = facts.kernel
    if version is None:
        return UNKNOWN, f"the kernel version {facts.here.kernel!r} cannot be read"
    if version < _DRIVER:
        return BLOCK, f"kernel {facts.here.kernel} is older than 6.7, with which netkit begins"
    if version < _DOCUMENTED:
        return BLOCK, f"kernel {facts.here.kernel} is older than 6.8, which Cilium asks for"
    return PASS, f"kernel {facts.here.kernel} is 6.8 or newer"


def _capability(facts: Facts) -> Judgement:
    capability, target = facts.capability, facts.policy.target.value
    if capability is None:
        return UNKNOWN, f"the kernel could not be tried: {facts.unreadable}{_configured(facts)}"
    if facts.policy.target not in capability.modes:
        return BLOCK, f"the kernel cannot create a {target} pair: {capability.error or 'no driver'}{_configured(facts)}"
    return PASS, f"the kernel created and deleted a {target} pair"


def _configured(facts: Facts) -> str:
    config = facts.host.kernel_config if facts.host else None
    return (
        f" (its configuration says CONFIG_NETKIT={config['CONFIG_NETKIT']})"
        if config and "CONFIG_NETKIT" in config
        else ""
    )


def _scrub(facts: Facts) -> Judgement:
    routes = facts.setting("enable-endpoint-routes")
    if routes is None:
        return UNKNOWN, "the agent does not tell whether endpoint routes are on"
    if not routes:
        return PASS, "endpoint routes are off"
    if facts.capability is None or not facts.capability.scrub:
        return BLOCK, "endpoint routes are on and the kernel's netkit has no scrub setting"
    return PASS, "endpoint routes are on and the kernel has the scrub setting"


def _not_broken(facts: Facts) -> Judgement:
    version = facts.kernel
    if version is None:
        return UNKNOWN, f"the kernel version {facts.here.kernel!r} cannot be read"
    if version == (7, 2, 0):
        return BLOCK, "kernel 7.2.0 makes the agent exit in every mode"
    if version[:2] == _REGRESSED[:2] and (facts.agent is None or facts.agent.state != "up"):
        return (
            BLOCK,
            f"early builds of kernel 6.18 refuse the agent's programs, and no agent answers on {facts.here.kernel}",
        )
    return PASS, f"kernel {facts.here.kernel} is not known to be broken"


def _mac(facts: Facts) -> Judgement:
    if facts.capability is not None and facts.capability.mac is False:
        return WARN, "the kernel's L2 pair does not keep the hardware address it is given, so systemd may replace it"
    version = facts.version
    if version is None:
        return UNKNOWN, "the agent's version is not known, so neither is whether it sets hardware addresses"
    if version < _MAC_FIX:
        return (
            WARN,
            "agents before 1.18 may leave the hardware address of an L2 pair to chance, and systemd rewrites it",
        )
    return PASS, "agent and kernel set the hardware address of an L2 pair"


def _tunnel(facts: Facts) -> Judgement:
    routing = facts.words("routing-mode")
    if not routing and not (facts.agent and facts.agent.tunnel):
        return UNKNOWN, "the agent does not tell its routing mode"
    if routing == "native" or (not routing and not (facts.agent and facts.agent.tunnel)):
        return PASS, "packets between nodes are routed, not tunnelled"
    if _has_headroom(facts):
        return PASS, "tunnel routing, and the kernel gives netkit the buffer margins it needs"
    return WARN, (
        f"tunnel routing on kernel {facts.here.kernel}: before 6.18 packets are copied for lack of headroom, and "
        "kernels without the vxlan source-address fix drop them"
    )


def _has_headroom(facts: Facts) -> bool:
    if facts.capability is not None and facts.capability.headroom is not None:
        return facts.capability.headroom
    return facts.kernel is not None and facts.kernel >= _HEADROOM


def _big_tcp(facts: Facts) -> Judgement:
    merged = facts.context.effective(facts.here)
    on = [name for name in ("enable-ipv4-big-tcp", "enable-ipv6-big-tcp", "enable-bbr") if merged.get(name) == "true"]
    if not on:
        return PASS, "neither BIG TCP nor BBR is asked for"
    one_family = len([name for name in on if name.endswith("big-tcp")]) == 1
    both = "; since kernel 6.7 BIG TCP wants both families (cilium 32942)" if one_family else ""
    return INFO, f"{', '.join(on)} on: they reach pods that are made anew, which the switch does anyway{both}"


def _sockets_end(facts: Facts) -> Judgement:
    config = facts.host.kernel_config if facts.host else None
    if config is None or "CONFIG_INET_DIAG_DESTROY" not in config:
        return PASS, "the kernel's configuration is not told; nothing rests on it"
    if config["CONFIG_INET_DIAG_DESTROY"] == "n":
        return INFO, "without CONFIG_INET_DIAG_DESTROY connections to gone service backends are not ended"
    return PASS, "the kernel can end connections to gone service backends"


ROWS: tuple[Row, ...] = (
    Row(
        "kernel-version", "the kernel is 6.8 or newer", _version, "Node.status.nodeInfo.kernelVersion",
        "boot a newer kernel, or leave the node out", "tuning.rst", (4,), ("kernel-and-driver",),
    ),
    Row(
        "kernel-netkit", "the kernel can create the target's links", _capability,
        "probe capability: a pair made and deleted in a namespace of its own; probe host: its configuration",
        "boot a kernel with CONFIG_NETKIT (6.8 or later), or leave the node out", "cilium 33878", (4, 5),
        ("kernel-and-driver",), fixed="an agent without the driver exits, or leaves pods without a network",
    ),
    Row(
        "scrub", "scrub settings exist where endpoint routes need them", _scrub,
        "probe capability: read back from the pair; the agent's settings",
        "turn endpoint routes off, or boot a kernel from 6.12.4 / 6.13", "cilium 35060, 44960", (6,),
        ("scrub-for-endpoint-routes",),
    ),
    Row(
        "kernel-good", "the kernel is not known to be broken", _not_broken,
        "Node.status.nodeInfo.kernelVersion, probe agent",
        "boot another kernel", "cilium 48016, 44216", (7,), targets=ANY_TARGET,
    ),
    Row(
        "l2-mac", "an L2 pair keeps the hardware address it is given", _mac,
        "probe capability: read back from the pair; the agent's version", "upgrade Cilium to 1.18 or later",
        "cilium 37265", (35,), severity=WARN, targets=frozenset({DatapathMode.NETKIT_L2}),
    ),
    Row(
        "tunnel-headroom", "tunnel routing has the kernel it wants", _tunnel,
        "the agent's settings; probe capability: whether the pair tells its headroom", "boot kernel 6.18 or later",
        "cilium 32429, 42006", (39,), severity=WARN, kernels=Span(before=_HEADROOM),
    ),
    Row(
        "big-tcp", "BIG TCP and BBR are known of", _big_tcp, "CiliumNodeConfigs and ConfigMap",
        "compare throughput before and after: rollout report", "tuning.rst, cilium 32942", (40,), severity=INFO,
    ),
    Row(
        "socket-termination", "connections to gone backends can be ended", _sockets_end, "probe host",
        "boot a kernel with CONFIG_INET_DIAG_DESTROY", "cilium 49009", severity=INFO, agents=Span((1, 20, 0)),
    ),
)  # fmt: skip
