"""Pods and policies that a new kind of link may surprise."""

from __future__ import annotations

from collections import Counter

from rollout.domain.fleet import OtherObject
from rollout.domain.node import DatapathMode, Pod
from rollout.planning.preflight.row import BLOCK, INFO, PASS, UNKNOWN, WARN, Facts, Judgement, Row, named

_MICRO_VM = ("kata", "firecracker", "fc", "kuasar", "cloud-hypervisor", "dragonball", "urunc")
_AGNOSTIC = ("runc", "crun", "youki", "gvisor", "runsc")
_MULTUS = "k8s.v1.cni.cncf.io/networks"
_CILIUM_CLASS = "cilium"
_POLICIES = ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy")
_ENVOY = ("CiliumEnvoyConfig", "CiliumClusterwideEnvoyConfig")
_SMOKE = (
    "CiliumEgressGatewayPolicy", "CiliumBGPClusterConfig", "CiliumBGPPeeringPolicy", "CiliumL2AnnouncementPolicy",
    "CiliumLoadBalancerIPPool", "CiliumLocalRedirectPolicy",
)  # fmt: skip


def _handler(facts: Facts, pod: Pod) -> str:
    return (facts.context.handlers.get(pod.runtime_class) or pod.runtime_class).lower()


def _is_micro_vm(handler: str) -> bool:
    return any(handler == kind or handler.startswith(f"{kind}-") for kind in _MICRO_VM) or "kata" in handler


def _no_kata(facts: Facts) -> Judgement:
    found = [p for p in facts.pods if p.runtime_class and p.on_pod_network and _is_micro_vm(_handler(facts, p))]
    if found:
        names = named([str(pod.ref) for pod in found])
        return BLOCK, f"{len(found)} pod(s) of runtime {_handler(facts, found[0])} ({names}) cannot use a netkit link"
    return PASS, "no pod runs in a Kata or other micro virtual machine"


def _kata_stays_away(facts: Facts) -> Judgement:
    """Whether pods that cannot use netkit may be scheduled to a node that has moved."""
    used = Counter(p.runtime_class for p in facts.inventory.cluster.pods if p.runtime_class and not p.finished)
    classes = {one.name: one for one in facts.inventory.cluster.of_kind("RuntimeClass")}
    free = []
    for name in sorted(used):
        known = classes.get(name)
        handler = (known.traits.get("handler") if known else "") or name
        if not _is_micro_vm(handler.lower()):
            continue
        selector = known.selector if known else None
        if selector is None or any(selector.matches(node.labels) for node in facts.context.nodes):
            free.append(f"{name} ({used[name]} pods)")
    if free:
        return WARN, f"pods of runtime class {named(free)} may be scheduled to nodes that have moved, and fail there"
    return PASS, "no pod of a micro virtual machine can land on a node that has moved"


def _other_runtimes(facts: Facts) -> Judgement:
    handlers = sorted({_handler(facts, p) for p in facts.pods if p.runtime_class and p.on_pod_network})
    odd = [h for h in handlers if not _is_micro_vm(h) and not h.startswith(_AGNOSTIC) and h != "nvidia"]
    if odd:
        return WARN, f"pods run in {named(odd)}, of which it is not known whether it can use netkit links"
    light = [h for h in handlers if h.startswith(("gvisor", "runsc"))]
    if light:
        return WARN, f"pods run in {named(light)}: said not to mind the kind of link, never tried here"
    return PASS, "pods run in runtimes that do not mind the kind of link"


def _no_kubevirt(facts: Facts) -> Judgement:
    count = facts.context.machines.get(facts.here.name, 0)
    if not count:
        if "VirtualMachineInstance" in facts.inventory.cluster.unreadable:
            why = facts.inventory.cluster.unreadable["VirtualMachineInstance"]
            return UNKNOWN, f"virtual machines could not be listed: {why}"
        return PASS, "no KubeVirt machine runs here"
    if facts.policy.target is DatapathMode.NETKIT:
        return BLOCK, f"{count} KubeVirt machine(s) run here, and netkit in L3 mode gives them no hardware address"
    return WARN, f"{count} KubeVirt machine(s) run here; they need netkit-l2, and each is stopped or moved by the drain"


def _multus(facts: Facts) -> Judgement:
    found = [str(p.ref) for p in facts.pods if _MULTUS in p.annotations]
    if found:
        return WARN, (
            f"{len(found)} pod(s) with further networks ({named(found)}): those stay as they are, but a plugin that "
            "reads the hardware address of `eth0` or asks for it by ARP finds none in L3 mode"
        )
    return PASS, "no pod here has further networks"


def _l7(facts: Facts) -> Judgement:
    cluster = facts.inventory.cluster
    uses = [f"{p.kind} {_name(p)} ({p.traits['l7']})" for p in cluster.of_kind(*_POLICIES) if p.traits.get("l7")]
    uses += [f"{one.kind} {_name(one)}" for one in cluster.of_kind("Ingress", "Gateway") if _of_cilium(one, facts)]
    uses += [f"Service {_name(one)}" for one in cluster.of_kind("Service") if one.traits.get("l7")]
    uses += [f"{one.kind} {_name(one)}" for one in cluster.of_kind(*_ENVOY)]
    if uses:
        return WARN, f"{len(uses)} object(s) send traffic through the proxy: {named(sorted(uses))}"
    blind = sorted(k for k in (*_POLICIES, *_ENVOY, "Ingress", "Gateway", "Service") if k in cluster.unreadable)
    if blind:
        return UNKNOWN, f"{named(blind)} could not be listed, so use of the proxy is not known"
    return PASS, "no policy, ingress or gateway sends traffic through the proxy"


def _of_cilium(one: OtherObject, facts: Facts) -> bool:
    """An Ingress or Gateway that the agent serves: by its class's controller, else by the class's name."""
    name = one.traits.get("class", "")
    kind = "IngressClass" if one.kind == "Ingress" else "GatewayClass"
    for known in facts.inventory.cluster.of_kind(kind):
        if known.name == name:
            return "cilium" in known.traits.get("controller", "")
    return name == _CILIUM_CLASS


def _name(one: OtherObject) -> str:
    return f"{one.namespace}/{one.name}" if one.namespace else one.name


def _features(facts: Facts) -> Judgement:
    cluster = facts.inventory.cluster
    found = [f"{count} {kind}" for kind in _SMOKE if (count := len(cluster.of_kind(kind)))]
    if found:
        return INFO, f"in use: {', '.join(found)}; nothing is known against them with netkit"
    return PASS, "neither egress gateways, BGP, announcements nor redirects are in use"


def _default_deny(facts: Facts) -> Judgement:
    cluster = facts.inventory.cluster
    wide = [
        p.name
        for p in cluster.of_kind("CiliumClusterwideNetworkPolicy")
        if p.selects == "pods" and p.selector is not None and not p.selector.keys()
    ]
    if wide:
        return WARN, f"{named(sorted(wide))} selects every pod: one wrong identity then cuts everything off"
    if "CiliumClusterwideNetworkPolicy" in cluster.unreadable:
        return (
            UNKNOWN,
            f"cluster-wide policies could not be listed: {cluster.unreadable['CiliumClusterwideNetworkPolicy']}",
        )
    return PASS, "no cluster-wide network policy selects every pod"


_MESHES = {
    "istio-init": "Istio", "istio-validation": "Istio", "istio-proxy": "Istio", "linkerd-init": "Linkerd",
    "linkerd-network-validator": "Linkerd", "linkerd-proxy": "Linkerd", "kuma-init": "Kuma", "kuma-sidecar": "Kuma",
    "kuma-validation": "Kuma", "consul-connect-inject-init": "Consul", "consul-dataplane": "Consul",
    "osm-init": "Open Service Mesh",
}  # fmt: skip
_INTERCEPTION = "sidecar.istio.io/interceptionMode"
_AMBIENT_LABEL = "istio.io/dataplane-mode"
_NODE_PARTS = ("ztunnel", "istio-cni-node", "linkerd-cni", "kuma-cni-node", "consul-cni")


def _mesh(facts: Facts) -> Judgement:
    found: dict[str, int] = {}
    for pod in facts.pods:
        mesh = next((_MESHES[name] for name in pod.containers if name in _MESHES), "")
        if mesh:
            found[mesh] = found.get(mesh, 0) + 1
    if not found:
        return PASS, "no pod here has its traffic turned round by a sidecar mesh"
    words = ", ".join(f"{count} of {mesh}" for mesh, count in sorted(found.items()))
    return WARN, (
        f"pods with sidecars ({words}): their iptables rules are in the pods' own namespaces and go where the pods go; "
        "rules of a mesh on the host are bypassed by BPF host routing, in either mode"
    )


def _ambient(facts: Facts) -> Judgement:
    cluster = facts.inventory.cluster
    parts = sorted({d.name for d in cluster.daemonsets if d.name in _NODE_PARTS})
    spaces = [name for name, labels in sorted(cluster.namespaces.items()) if labels.get(_AMBIENT_LABEL) == "ambient"]
    if not parts and not spaces:
        return PASS, "no mesh works from the nodes"
    where = f", namespaces {named(spaces)} ambient" if spaces else ""
    return WARN, (
        f"a mesh works from the nodes ({named(parts) or 'ambient'}{where}): it enters each pod's namespace as the pod "
        "starts, and wants socketLB.hostNamespaceOnly, which must not meet endpoint routes"
    )


def _tproxy_users(facts: Facts) -> Judgement:
    pods = [str(p.ref) for p in facts.pods if p.annotations.get(_INTERCEPTION, "").upper() == "TPROXY"]
    if pods:
        return WARN, (
            f"{len(pods)} pod(s) use TPROXY in their own namespace ({named(pods)}): try them on the canary, for BPF "
            "TPROXY of the agent does not work with netkit"
        )
    targets = facts.host.iptables_targets if facts.host else None
    if targets and "TPROXY" in targets and not facts.setting("enable-l7-proxy"):
        return INFO, "the kernel has the iptables target TPROXY ready: a hint that something uses it, or built in"
    return PASS, "no sign of TPROXY beside the agent's own"


def _daemon_pods(facts: Facts) -> Judgement:
    here = [p for p in facts.pods if p.on_pod_network]
    static = [str(p.ref) for p in here if p.mirror]
    if static and facts.policy.method.value == "restart":
        return BLOCK, f"static pod(s) on the pod network ({named(static)}): only a reboot renews their links"
    daemons = sum(1 for p in here if p.owner_kind == "DaemonSet")
    if static or daemons:
        also = f" and static pod(s) {named(static)}" if static else ""
        return INFO, f"{daemons} DaemonSet pod(s){also} stop and come back with their node"
    return PASS, "no DaemonSet or static pod is on the pod network"


ROWS: tuple[Row, ...] = (
    Row(
        "no-kata", "no pod runs in a micro virtual machine that cannot use netkit", _no_kata,
        "pods' runtime classes, RuntimeClass handlers",
        "keep the node on veth, or move those pods; patched Kata with netkit-l2 may do", "kata 12159, 12279, 11149",
        (17,), ("no-kata",),
    ),
    Row(
        "kata-stays-away", "pods that cannot use netkit cannot land on nodes that have moved", _kata_stays_away,
        "RuntimeClasses and their node selectors, pods' runtime classes",
        "give the RuntimeClass a scheduling.nodeSelector for nodes that stay on veth", "kata 12159, home-ops 11335",
        (17,), ("no-kata",), severity=WARN, per_node=False,
    ),
    Row(
        "other-runtimes", "pods run in runtimes that do not mind the kind of link", _other_runtimes,
        "pods' runtime classes, RuntimeClass handlers", "try such a pod on the canary", "urunc 365, flatops", (17,),
        severity=WARN,
    ),
    Row(
        "no-kubevirt", "no KubeVirt machine runs on the node", _no_kubevirt, "VirtualMachineInstances",
        "use netkit-l2, keep the node on veth, or move the machines", "cilium 37265", (18,),
    ),
    Row(
        "l7-use", "no traffic goes through the agent's proxy", _l7, "policies, ingresses, gateways, services",
        "after the canary run: cilium connectivity test --test l7", "cilium 46553, 46055, 47896", (19,), ("l7-proxy",),
        severity=WARN, per_node=False,
    ),
    Row(
        "no-default-deny", "no cluster-wide policy turns a wrong identity into an outage", _default_deny,
        "CiliumClusterwideNetworkPolicies", "see that the canary runs pods under it", "notes on other tools, N4",
        rules=("default-deny",), severity=WARN, per_node=False,
    ),
    Row(
        "cilium-features", "egress gateways, BGP and announcements are not in use", _features, "Cilium's own objects",
        "try each of them on the canary", "flatops", severity=INFO, per_node=False,
    ),
    Row(
        "daemon-pods", "what stays behind a drain is known", _daemon_pods, "pods on the node",
        "use method reboot where static pods are on the pod network", "cilium endpoint_restore.go", (30,),
        ("daemon-pods",),
    ),
    Row(
        "multus", "no pod has further networks", _multus, "pods' annotations",
        "try such a pod on the canary, or use netkit-l2",
        "flatops", (37,), severity=WARN,
    ),
    Row(
        "sidecar-mesh", "no sidecar mesh turns pods' traffic round", _mesh, "containers of pods",
        "try traffic inside the mesh on the canary", "Istio, Linkerd, Kuma: their init containers", severity=WARN,
    ),
    Row(
        "node-mesh", "no mesh works from the nodes", _ambient, "DaemonSets, labels of namespaces",
        "restart the mesh's node part after the switch, and try traffic inside the mesh on the canary", "Istio ambient",
        severity=WARN, per_node=False,
    ),
    Row(
        "tproxy-users", "nothing but the agent uses TPROXY", _tproxy_users, "pods' annotations; probe host: a hint",
        "try such a pod on the canary", "cilium 39892", severity=WARN,
    ),
)  # fmt: skip
