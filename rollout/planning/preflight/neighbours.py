"""Other networking programs: whether one of them makes a node's pod links instead of Cilium."""

from __future__ import annotations

from rollout.domain.observed import CniFile
from rollout.planning.preflight.neighbours_known import BY_PLUGIN, CILIUM_PLUGINS, NEIGHBOURS, Neighbour
from rollout.planning.preflight.row import BLOCK, INFO, PASS, WARN, Facts, Judgement, Row, named

_KUBE_PROXY = "kube-proxy"


def _no_other_datapath(facts: Facts) -> Judgement:
    """By what runs on this node: a DaemonSet's pod here, told apart from mere service and BGP components."""
    warned = ""
    for pod in facts.pods:
        found = facts.context.neighbours.get(pod.owner_uid)
        if found is None:
            continue
        name = facts.context.daemonset_names[pod.owner_uid]
        if _makes_links(found, pod.containers):
            return BLOCK, f"{found.title} runs here (DaemonSet {name}): {found.means}"
        warned = warned or f"{found.title} runs here (DaemonSet {name}), but not as the maker of pods' links"
    if warned:
        return WARN, f"{warned}: see that it minds no veth links"
    return PASS, "no other networking program runs here"


def _makes_links(found: Neighbour, containers: tuple[str, ...]) -> bool:
    if not found.makes_links:
        return False
    return not found.datapath or any(part in containers for part in found.datapath)


def _cni_is_cilium(facts: Facts) -> Judgement:
    files = facts.host.cni if facts.host else None
    if files is None:
        # What runs on the node and the agent's chaining mode tell it too, so this alone does not block.
        return WARN, f"the node's CNI configuration is not known: {_why(facts, 'cni')}"
    sound = [one for one in files if not one.error]
    if not sound:
        broken = f"{files[0].file} cannot be read: {files[0].error}" if files else "none was found at the usual place"
        return WARN, f"the node's CNI configuration is not known: {broken}"
    first = sound[0]
    others = [one for one in sound[1:] if not CILIUM_PLUGINS & set(one.plugins)]
    if CILIUM_PLUGINS & set(first.plugins):
        return _with(first, others)
    if any("multus" in plugin for plugin in first.plugins):
        return WARN, f"{first.file} puts Multus before Cilium: pods' first link is what Multus delegates to"
    title = _title(first)
    return (
        BLOCK,
        f"the container runtime uses {first.file} ({', '.join(first.plugins)}): {title} makes pods' links, not Cilium",
    )


def _with(first: CniFile, others: list[CniFile]) -> Judgement:
    chained = [plugin for plugin in first.plugins if plugin not in (*CILIUM_PLUGINS, "portmap", "bandwidth", "tuning")]
    if chained:
        return BLOCK, f"{first.file} chains Cilium with {', '.join(chained)}, which attaches to links of its own"
    if others:
        return INFO, f"{first.file} is Cilium's and is used; {named([one.file for one in others])} lies behind it"
    return PASS, f"the container runtime uses Cilium's {first.file}"


def _title(file: CniFile) -> str:
    return next((BY_PLUGIN[plugin].title for plugin in file.plugins if plugin in BY_PLUGIN), "another plugin")


def _why(facts: Facts, part: str) -> str:
    return facts.host.why_not(part) if facts.host else "probe host was not read"


_PREFIXES = tuple((prefix, one) for one in NEIGHBOURS for prefix in one.annotations)


def _no_traces(facts: Facts) -> Judgement:
    keys = [*facts.here.annotations]
    found = sorted({one.title for prefix, one in _PREFIXES if any(key.startswith(prefix) for key in keys)})
    if found:
        return WARN, f"annotations of {named(found)} are on the node: left over, or is it still at work?"
    return PASS, "no other networking program left its annotations on the node"


def _no_groups(facts: Facts) -> Judgement:
    groups = facts.inventory.cluster.api_groups
    found = sorted({one.title for one in NEIGHBOURS if any(group in groups for group in one.groups)})
    if found:
        return INFO, f"the API serves objects of {named(found)}: installed once, or still"
    return PASS, "the API serves no objects of another networking program"


def _no_kube_proxy(facts: Facts) -> Judgement:
    agent = facts.inventory.cluster.agent
    replaced = (agent.config.get("kube-proxy-replacement", "") if agent else "").lower() in ("true", "strict")
    running = [
        f"{d.namespace}/{d.name}" for d in facts.inventory.cluster.daemonsets if _KUBE_PROXY in d.name and d.desired
    ]
    if running and replaced:
        return (
            WARN,
            f"kube-proxy still runs ({named(running)}) though Cilium replaces it: its iptables rules are in the way",
        )
    if running:
        return WARN, f"kube-proxy runs ({named(running)})"
    return PASS, "no kube-proxy runs"


ROWS: tuple[Row, ...] = (
    Row(
        "other-datapath", "no other networking program makes pods' links", _no_other_datapath,
        "DaemonSets with pods on the node: names, images, containers",
        "finish the migration to Cilium on this node first, or leave it out",
        "general; kube-router's manifests with and without its CNI", (16,),
        fixed="links that Cilium does not make stay as they are",
    ),
    Row(
        "cni-config", "the container runtime calls Cilium alone", _cni_is_cilium, "probe host: /etc/cni/net.d",
        "set cni.exclusive=true, or remove the other file", "cilium connector/chaining", (16,),
        fixed="links that Cilium does not make stay as they are",
    ),
    Row(
        "other-datapath-marks", "no other networking program left its mark on the node", _no_traces,
        "the node's annotations", "remove what an earlier migration left behind", severity=WARN,
    ),
    Row(
        "other-datapath-apis", "no other networking program's objects are served", _no_groups, "the API's discovery",
        "delete the CRDs of what is no longer used", severity=INFO, per_node=False,
    ),
    Row(
        "kube-proxy-gone", "no kube-proxy runs beside its replacement", _no_kube_proxy,
        "DaemonSets, the agent's ConfigMap",
        "delete the DaemonSet kube-proxy, and its rules from each node", table=(10,), severity=WARN, per_node=False,
    ),
)  # fmt: skip
