"""The preflight catalogue: what must hold before a node may move, as data.

Each row: id, the claim, what it is judged from, severity, remedy and source (numbers are rows of the preflight table in
the project's Cilium notes, the rest upstream issues). A claim that could not be told blocks like one that failed:
"could not tell" is never fine. Rows about netkit do not apply when the target is veth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from rollout.domain.inventory import Inventory, effective_config, overridable
from rollout.domain.node import LABEL_MODE, LINK_KIND_OF, NODE_CONFIG_NAME, DatapathMode, LinkKind, Node
from rollout.domain.observed import (
    PROBE_AGENT,
    PROBE_CAPABILITY,
    PROBE_LINKS,
    AgentState,
    Capability,
    LinkTable,
    parse_agent,
    parse_capability,
    parse_links,
)
from rollout.domain.plan import Finding
from rollout.domain.policy import Policy
from rollout.planning.versions import GUARD_SINCE, Version, parse_image_version, parse_version, show

PASS, BLOCK, WARN, UNKNOWN = "pass", "block", "warn", "unknown"

Judgement = tuple[str, str]
"""Status (pass, block, warn, unknown) and one sentence."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All a row may look at. For cluster rows `node` and what follows is None."""

    inventory: Inventory
    policy: Policy
    node: Node | None = None
    links: LinkTable | None = None
    agent: AgentState | None = None
    capability: Capability | None = None
    unreadable: str = ""
    """Why observations are missing, for the message."""

    @property
    def version(self) -> Version | None:
        """The agent's version by its image tag."""
        install = self.inventory.cluster.agent
        return parse_image_version(install.image) if install else None


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the catalogue."""

    id: str
    claim: str
    severity: str
    per_node: bool
    netkit_only: bool
    judge: Callable[[Facts], Judgement]
    remedy: str
    source: str


def judge_preflight(
    inventory: Inventory, policy: Policy, nodes: tuple[Node, ...], *, mending: bool = False
) -> tuple[Finding, ...]:
    """Every row judged: cluster rows once, node rows for each of `nodes`, in catalogue order, waivers applied.

    `mending`: the plan takes something back, so rows about a node's present health only warn.
    """
    found = _judge_all(inventory, policy, nodes)
    if not mending:
        return found
    return tuple(replace(f, status=WARN) if f.rule in _HEALTH and f.status in (BLOCK, UNKNOWN) else f for f in found)


_HEALTH = frozenset({"agents-ready", "node-ready", "node-observed", "agent-answers", "node-not-mixed"})
"""Rows that say a node is not well. What a rollback is for cannot forbid it."""


def _judge_all(inventory: Inventory, policy: Policy, nodes: tuple[Node, ...]) -> tuple[Finding, ...]:
    found = [_finding(row, Facts(inventory, policy), policy) for row in _applicable(policy) if not row.per_node]
    for node in nodes:
        facts = _node_facts(inventory, policy, node)
        found += [_finding(row, facts, policy) for row in _applicable(policy) if row.per_node]
    return tuple(found)


def _applicable(policy: Policy) -> tuple[Row, ...]:
    netkit = policy.target in (DatapathMode.NETKIT, DatapathMode.NETKIT_L2)
    return tuple(row for row in CATALOGUE if netkit or not row.netkit_only)


def _node_facts(inventory: Inventory, policy: Policy, node: Node) -> Facts:
    seen = {p: inventory.observation(node.name, p) for p in (PROBE_LINKS, PROBE_AGENT, PROBE_CAPABILITY)}
    errors = sorted({o.error for o in seen.values() if o is not None and o.error})
    return Facts(
        inventory,
        policy,
        node,
        parse_links(seen[PROBE_LINKS]),
        parse_agent(seen[PROBE_AGENT]),
        parse_capability(seen[PROBE_CAPABILITY]),
        "; ".join(errors) or "it was not observed",
    )


def _finding(row: Row, facts: Facts, policy: Policy) -> Finding:
    status, message = row.judge(facts)
    node = facts.node.name if facts.node else ""
    if status in (BLOCK, UNKNOWN) and row.severity == WARN:
        status = WARN
    if status in (BLOCK, UNKNOWN):
        waiver = next((w for w in policy.waivers if w.rule == row.id and (not w.nodes or node in w.nodes)), None)
        if waiver:
            return Finding(
                row.id, node, "waived", f"{message} (waived by {waiver.by}: {waiver.reason})", "", row.source
            )
    return Finding(row.id, node, status, message, "" if status == PASS else row.remedy, row.source)


# --- judges: cluster ---------------------------------------------------------------------------------------------


def _agent_installed(facts: Facts) -> Judgement:
    agent = facts.inventory.cluster.agent
    if agent is None:
        return BLOCK, "no Cilium DaemonSet was found"
    return PASS, f"DaemonSet {agent.namespace}/{agent.daemonset} with image {agent.image}"


def _agents_ready(facts: Facts) -> Judgement:
    agent = facts.inventory.cluster.agent
    if agent is None:
        return UNKNOWN, "no Cilium DaemonSet was found"
    if agent.ready < agent.desired:
        return BLOCK, f"only {agent.ready} of {agent.desired} agents are Ready: there is no sound baseline"
    return PASS, f"all {agent.desired} agents are Ready"


def _version_has_netkit(facts: Facts) -> Judgement:
    version = facts.version
    if version is None:
        return UNKNOWN, "the agent's image tag does not tell its version"
    if version < (1, 16, 0):
        return BLOCK, f"Cilium {show(version)} has no netkit; it begins with 1.16"
    return PASS, f"Cilium {show(version)} has netkit"


def _version_has_guard(facts: Facts) -> Judgement:
    version = facts.version
    if version is None:
        return UNKNOWN, "the agent's image tag does not tell its version, so the start-up guard is not certain"
    if version < GUARD_SINCE:
        return WARN, f"Cilium {show(version)} may start in a new mode over old links: only method reboot is safe"
    return PASS, f"Cilium {show(version)} refuses to start over links of another mode"


def _node_config_served(facts: Facts) -> Judgement:
    version = facts.inventory.cluster.node_config_version
    if not version:
        return BLOCK, "the API does not serve CiliumNodeConfig"
    return PASS, f"CiliumNodeConfig is served as {version}"


def _node_config_merged(facts: Facts) -> Judgement:
    agent = facts.inventory.cluster.agent
    if agent is None:
        return UNKNOWN, "no Cilium DaemonSet was found"
    if not agent.merges_node_configs:
        return BLOCK, "no init container of the agent runs build-config: a CiliumNodeConfig would have no effect"
    return PASS, "the agent's init container merges CiliumNodeConfigs"


def _key_overridable(facts: Facts) -> Judgement:
    agent = facts.inventory.cluster.agent
    if agent is None:
        return UNKNOWN, "no Cilium DaemonSet was found"
    if not overridable(agent, "datapath-mode"):
        return BLOCK, "the agent's init container does not let a CiliumNodeConfig set datapath-mode"
    return PASS, "a CiliumNodeConfig may set datapath-mode"


def _no_direct_option(facts: Facts) -> Judgement:
    agent = facts.inventory.cluster.agent
    if agent is None:
        return UNKNOWN, "no Cilium DaemonSet was found"
    hard = [a for a in agent.config_args if "datapath-mode" in a or "DATAPATH_MODE" in a]
    if hard:
        return BLOCK, f"the DaemonSet sets the mode directly ({hard[0]}), which beats every ConfigMap"
    return PASS, "the DaemonSet does not set the mode directly"


def _foreign_node_configs(facts: Facts) -> Judgement:
    rivals = [
        c.name
        for c in facts.inventory.cluster.node_configs
        if not c.name.startswith(NODE_CONFIG_NAME) and "datapath-mode" in c.defaults and c.name >= NODE_CONFIG_NAME
    ]
    if rivals:
        return BLOCK, f"CiliumNodeConfig {', '.join(rivals)} sets datapath-mode and sorts after ours, so it would win"
    return PASS, "no other CiliumNodeConfig sorts after ours and sets datapath-mode"


def _no_global_roll(facts: Facts) -> Judgement:
    agent = facts.inventory.cluster.agent
    if agent is not None and agent.checksum_annotation:
        return WARN, "the DaemonSet rolls all agents when its ConfigMap changes: do not touch the ConfigMap meanwhile"
    return PASS, "agents are not rolled by a ConfigMap change"


# --- judges: node ------------------------------------------------------------------------------------------------


def _node_ready(facts: Facts) -> Judgement:
    node = facts.node
    assert node is not None
    if node.ready is None:
        return UNKNOWN, "the node's Ready condition is unknown: its kubelet does not answer"
    return (PASS, "the node is Ready") if node.ready else (BLOCK, "the node is not Ready")


def _observed(facts: Facts) -> Judgement:
    if facts.links is None or facts.agent is None:
        return UNKNOWN, f"the node could not be observed: {facts.unreadable}"
    return PASS, "the node was observed"


def _agent_answers(facts: Facts) -> Judgement:
    if facts.agent is None:
        return UNKNOWN, f"the agent could not be observed: {facts.unreadable}"
    if facts.agent.state != "up":
        return UNKNOWN, f"the agent's API is {facts.agent.state}: {facts.agent.reason}"
    return PASS, "the agent's API answers"


def _capability(facts: Facts) -> Judgement:
    capability = facts.capability
    if capability is None:
        return UNKNOWN, f"the kernel could not be tried: {facts.unreadable}"
    if facts.policy.target not in capability.modes:
        return BLOCK, f"the kernel cannot create a {facts.policy.target.value} pair: {capability.error or 'no driver'}"
    return PASS, f"the kernel created and deleted a {facts.policy.target.value} pair"


def _scrub(facts: Facts) -> Judgement:
    routes = _setting(facts, "enable-endpoint-routes")
    if routes is None:
        return UNKNOWN, "the agent does not tell whether endpoint routes are on"
    if not routes:
        return PASS, "endpoint routes are off"
    if facts.capability is None or not facts.capability.scrub:
        return BLOCK, "endpoint routes are on and the kernel's netkit has no scrub setting"
    return PASS, "endpoint routes are on and the kernel has the scrub setting"


def _tproxy_off(facts: Facts) -> Judgement:
    return _must_be_off(facts, "enable-bpf-tproxy", "BPF TPROXY")


def _must_be_off(facts: Facts, flag: str, name: str) -> Judgement:
    value = _setting(facts, flag)
    if value is None:
        return UNKNOWN, f"the agent does not tell {flag}"
    return (BLOCK, f"{name} is on") if value else (PASS, f"{name} is off")


def _setting(facts: Facts, flag: str) -> bool | None:
    value = facts.agent.setting(flag) if facts.agent else None
    if value is None and facts.node is not None and facts.inventory.cluster.agent is not None:
        cluster = facts.inventory.cluster
        assert cluster.agent is not None
        value = effective_config(cluster.agent, cluster.node_configs, facts.node.labels).get(flag)
    if value is None:
        return None
    return value is True or str(value).lower() == "true"


def _host_routing(facts: Facts) -> Judgement:
    return _must_read(facts, "host_routing", "BPF", "host routing")


def _must_read(facts: Facts, name: str, wanted: str, title: str) -> Judgement:
    value = getattr(facts.agent, name) if facts.agent else ""
    if not value:
        return UNKNOWN, f"the agent does not tell its {title}"
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
        return UNKNOWN, "the agent does not tell its encryption"
    if facts.agent.encryption.lower() == "ipsec":
        return BLOCK, "IPsec is on: BPF host routing, which netkit needs, is impossible with it"
    return PASS, f"encryption is {facts.agent.encryption or 'off'}"


def _no_chaining(facts: Facts) -> Judgement:
    if facts.agent is None or facts.agent.state != "up":
        return UNKNOWN, "the agent does not tell its chaining mode"
    mode = facts.agent.chaining.lower()
    if mode in ("", "none"):
        return PASS, "no CNI chaining"
    if mode == "portmap":
        return WARN, "portmap chaining: its iptables path is bypassed by BPF host routing"
    return BLOCK, f"CNI chaining mode {mode} attaches to foreign links"


def _not_mixed(facts: Facts) -> Judgement:
    if facts.links is None or facts.agent is None:
        return UNKNOWN, f"the node could not be observed: {facts.unreadable}"
    try:
        mode = DatapathMode(facts.agent.mode)
    except ValueError:
        return UNKNOWN, f"the agent tells no known mode ({facts.agent.mode or 'nothing'})"
    strays = facts.links.other_than(LINK_KIND_OF.get(mode, LinkKind.OTHER))
    if strays:
        names = ", ".join(f"{link.name} ({link.kind.value})" for link in strays[:5])
        return BLOCK, f"the agent runs {mode.value} but {len(strays)} endpoint link(s) are of another kind: {names}"
    return PASS, f"all {len(facts.links.links)} endpoint links are of kind {LINK_KIND_OF[mode].value}"


def _kernel_not_broken(facts: Facts) -> Judgement:
    assert facts.node is not None
    version = parse_version(facts.node.kernel)
    if version is None:
        return UNKNOWN, f"the kernel version {facts.node.kernel!r} cannot be read"
    if version == (7, 2, 0):
        return BLOCK, "kernel 7.2.0 makes the agent exit in every mode"
    return PASS, f"kernel {facts.node.kernel} is not known to be broken"


def _no_foreign_label(facts: Facts) -> Judgement:
    assert facts.node is not None
    stray = [k for k in facts.node.labels if k.startswith("config.cilium.io/datapath-mode")]
    stray += [k for k in facts.node.annotations if k.startswith("config.cilium.io/datapath-mode")]
    if stray:
        return BLOCK, f"the node itself sets the mode ({stray[0]}), which may beat our CiliumNodeConfig"
    return PASS, f"nothing on the node sets the mode but our label {LABEL_MODE}"


def _row(
    row_id: str,
    claim: str,
    judge: Callable[[Facts], Judgement],
    remedy: str,
    source: str,
    *,
    severity: str = BLOCK,
    per_node: bool = True,
    netkit_only: bool = False,
) -> Row:
    return Row(row_id, claim, severity, per_node, netkit_only, judge, remedy, source)


CATALOGUE: tuple[Row, ...] = (
    _row(
        "agent-installed",
        "Cilium is installed",
        _agent_installed,
        "name the agent's namespace: agent_namespace",
        "general",
        per_node=False,
    ),
    _row(
        "agents-ready",
        "all agents are Ready",
        _agents_ready,
        "bring them up first: kubectl -n kube-system get pods",
        "row 28",
        per_node=False,
    ),
    _row(
        "version-netkit",
        "the agent's version has netkit",
        _version_has_netkit,
        "upgrade Cilium, best to 1.19 or later",
        "row 1, cilium 32429",
        per_node=False,
        netkit_only=True,
    ),
    _row(
        "version-guard",
        "the agent refuses to start over old links",
        _version_has_guard,
        "use method reboot, or upgrade Cilium to 1.19 or later",
        "row 2, cilium 42482",
        severity=WARN,
        per_node=False,
    ),
    _row(
        "node-config-served",
        "CiliumNodeConfig is served",
        _node_config_served,
        "install Cilium's CRDs",
        "row 21, cilium 40110",
        per_node=False,
    ),
    _row(
        "node-config-merged",
        "CiliumNodeConfigs take effect",
        _node_config_merged,
        "this install ignores per-node settings; use one whose init container runs build-config",
        "row 20, kops 17269",
        per_node=False,
    ),
    _row(
        "key-overridable",
        "per-node settings may set the mode",
        _key_overridable,
        "adjust daemon.allowedConfigOverrides / blockedConfigOverrides",
        "row 22",
        per_node=False,
    ),
    _row(
        "no-direct-option",
        "the DaemonSet does not fix the mode",
        _no_direct_option,
        "remove the option from the DaemonSet",
        "row 23",
        per_node=False,
    ),
    _row(
        "node-config-order",
        "our CiliumNodeConfig is merged last",
        _foreign_node_configs,
        "rename or remove the other object",
        "row 23",
        per_node=False,
    ),
    _row(
        "no-global-roll",
        "a ConfigMap change rolls no agents",
        _no_global_roll,
        "freeze Helm and GitOps for Cilium during the rollout",
        "row 26",
        severity=WARN,
        per_node=False,
    ),
    _row("node-ready", "the node is Ready", _node_ready, "bring the node up, or leave it out", "general"),
    _row("node-observed", "the node can be observed", _observed, "make it reachable: rollout verify NODE", "general"),
    _row("agent-answers", "the agent's API answers", _agent_answers, "look at the agent's log on this node", "row 28"),
    _row(
        "node-not-mixed",
        "all endpoint links are of the agent's mode",
        _not_mixed,
        "an earlier flip left links behind: reboot the node",
        "row 29, cilium 42482",
    ),
    _row(
        "no-node-override",
        "nothing else sets this node's mode",
        _no_foreign_label,
        "remove the label or annotation",
        "row 23",
    ),
    _row(
        "kernel-netkit",
        "the kernel can create the target's links",
        _capability,
        "boot a kernel with CONFIG_NETKIT (6.8 or later), or leave the node out",
        "rows 4 and 5, cilium 33878",
        netkit_only=True,
    ),
    _row(
        "kernel-good",
        "the kernel is not known to be broken",
        _kernel_not_broken,
        "boot another kernel",
        "row 7, cilium 48016",
    ),
    _row(
        "scrub",
        "scrub settings exist where endpoint routes need them",
        _scrub,
        "turn endpoint routes off, or boot a kernel from 6.12.4 / 6.13",
        "row 6, cilium 35060",
        netkit_only=True,
    ),
    _row(
        "tproxy-off",
        "BPF TPROXY is off",
        _tproxy_off,
        "set bpf.tproxy=false first",
        "row 8, cilium 39892",
        netkit_only=True,
    ),
    _row(
        "host-routing-bpf",
        "host routing is BPF",
        _host_routing,
        "find what turned legacy routing on: IPsec, iptables masquerading, or no kube-proxy replacement",
        "row 9, cilium 44713",
        netkit_only=True,
    ),
    _row(
        "kube-proxy-replaced",
        "kube-proxy is replaced",
        _kube_proxy,
        "migrate kube-proxy first",
        "row 10",
        netkit_only=True,
    ),
    _row(
        "masquerade-bpf",
        "masquerading is BPF or off",
        _masquerading,
        "set bpf.masquerade=true",
        "row 11",
        netkit_only=True,
    ),
    _row("no-ipsec", "IPsec is off", _no_ipsec, "use WireGuard, or stay on veth", "row 12", netkit_only=True),
    _row(
        "no-chaining",
        "no CNI chaining",
        _no_chaining,
        "chained CNIs keep their own links; stay on veth",
        "row 16",
        netkit_only=True,
    ),
)


def explain(rule: str) -> Row:
    """A row by id. Raises KeyError."""
    return {row.id: row for row in CATALOGUE}[rule]
