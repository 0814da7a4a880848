"""One change of the recorded cluster for each thing that a row of the catalogue may find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from rollout.domain.inventory import NodeConfig
from rollout.domain.node import LABEL_MODE, DatapathMode
from rollout.domain.policy import CheckLevel, DrainRules, MethodChoice, Waiver
from tests.planning.preflight.scene import Change, Scene


@dataclass(frozen=True)
class Case:
    """`change` makes `rule` say `status`, in words with `words` in them."""

    rule: str
    status: str
    words: str
    change: Change

    def __str__(self) -> str:
        return f"{self.rule}: {self.words}"


CASES: list[Case] = []


def finds(rule: str, status: str, words: str) -> Callable[[Change], Change]:
    """Keep a change as a case."""

    def keep(change: Change) -> Change:
        CASES.append(Case(rule, status, words, change))
        return change

    return keep


def case(rule: str, status: str, words: str, change: Change) -> None:
    """Keep a change that is one expression."""
    CASES.append(Case(rule, status, words, change))


def _policy(**values: Any) -> Change:
    def change(scene: Scene) -> None:
        scene.policy = replace(scene.policy, **values)

    return change


def _all(*changes: Change) -> Change:
    def change(scene: Scene) -> None:
        for one in changes:
            one(scene)

    return change


def _config(**values: str) -> Change:
    return lambda scene: scene.config["data"].update({k.replace("_", "-"): v for k, v in values.items()})


def _image(tag: str) -> Change:
    return lambda scene: scene.image(f"quay.io/cilium/cilium:{tag}")


def _kernel(release: str) -> Change:
    return lambda scene: scene.node()["status"]["nodeInfo"].update(kernelVersion=release)


def _down(scene: Scene) -> None:
    scene.agent_changes = {"agent": "down", "reason": "no socket"}


def _unseen(*probes: str) -> Change:
    return lambda scene: scene.unseen.update(dict.fromkeys(probes, "ssh: connection refused"))


def _note(**annotations: str) -> Change:
    return lambda scene: scene.pod()["metadata"].setdefault("annotations", {}).update(annotations)


def _marked(key: str, value: str, on: str = "annotations") -> Change:
    return lambda scene: scene.node()["metadata"].setdefault(on, {}).update({key: value})


def _container(name: str) -> Change:
    return lambda scene: scene.pod()["spec"]["containers"].append({"name": name, "image": "example.com/x:v1"})


def _runtime(name: str, handler: str) -> Change:
    def change(scene: Scene) -> None:
        scene.other("RuntimeClass", name, handler=handler)
        scene.pod()["spec"]["runtimeClassName"] = name

    return change


def _host(**parts: Any) -> Change:
    return lambda scene: scene.host.update(parts)


def _without(part: str) -> Change:
    def change(scene: Scene) -> None:
        scene.host.pop(part)
        scene.host["unread"] = [{"name": part, "why": "Permission denied"}]

    return change


def _rule(**parts: Any) -> Change:
    return lambda scene: scene.host.update(rules=[*scene.host["rules"], {"family": 4, "table": 7, **parts}])


def _status(path: str, value: Any) -> Change:
    return lambda scene: scene.status(path, value)


def _setting(name: str, value: Any) -> Change:
    return lambda scene: scene.setting(name, value)


# -- how Cilium is installed -------------------------------------------------------------------------------------------


def _agent_gone(scene: Scene) -> None:
    scene.read["agent"] = None


NEED_AGENT = (
    "agents-ready", "node-config-merged", "key-overridable", "no-direct-option", "node-config-namespace",
)  # fmt: skip
case("agent-installed", "block", "no Cilium DaemonSet", _agent_gone)
for each in NEED_AGENT:
    case(each, "unknown", "no Cilium DaemonSet", _agent_gone)
for each in ("operator", "not-owned", "default-settled"):
    case(each, "warn", "no Cilium DaemonSet", _agent_gone)
case("agents-ready", "block", "only 1 of 2", lambda s: s.daemonset["status"].update(numberReady=1))
case("version-netkit", "block", "Cilium 1.15.9 has no netkit", _image("v1.15.9"))
case("version-netkit", "unknown", "tells its version", lambda s: s.image("localhost/node:rig"))
case("version-guard", "warn", "only method reboot is safe", _image("v1.18.4"))
case("version-guard", "warn", "is not certain", lambda s: s.image("localhost/node:rig"))
case("target-known", "block", "auto is no mode to move to", _policy(target=DatapathMode.AUTO))
case("node-config-served", "block", "does not serve", lambda s: setattr(s, "node_config_versions", ()))
case("node-config-served", "block", "v2alpha1 only", lambda s: setattr(s, "node_config_versions", ("v2alpha1",)))


@finds("node-config-merged", "block", "would have no effect")
def _no_build_config(scene: Scene) -> None:
    scene.daemonset["spec"]["template"]["spec"]["initContainers"] = []


def _builder(scene: Scene) -> dict[str, Any]:
    found: dict[str, Any] = scene.daemonset["spec"]["template"]["spec"]["initContainers"][0]
    return found


case(
    "key-overridable",
    "block",
    "does not let",
    lambda s: _builder(s)["command"].append("--deny-config-keys=datapath-mode"),
)
case("key-overridable", "block", "does not let", lambda s: _builder(s)["command"].append("--allow-config-keys=debug"))


@finds("no-direct-option", "block", "--datapath-mode=veth")
def _direct(scene: Scene) -> None:
    scene.daemonset["spec"]["template"]["spec"]["containers"][0]["command"].append("--datapath-mode=veth")


case("node-config-order", "block", "zzz sets datapath-mode", lambda s: s.node_config("zzz", {"datapath-mode": "veth"}))
case("node-config-key", "warn", "no agent reads", lambda s: s.node_config("mine", {"bpf-datapath-mode": "netkit"}))
case("node-config-key", "warn", "cilium-config", _config(bpf_datapath_mode="netkit"))


def _elsewhere(name: str) -> Change:
    config = NodeConfig("default", name, "u", True, {}, (), {"datapath-mode": "netkit"})
    return lambda scene: scene.read.update(node_configs=(config,))


case("node-config-namespace", "block", "has our name", _elsewhere("zz-netkit-rollout"))
case("node-config-namespace", "warn", "default/mine sets datapath-mode where no agent", _elsewhere("mine"))
case("selector-safe", "block", "n1 carries our label already", _marked(LABEL_MODE, "netkit", "labels"))
case(
    "selector-safe", "block", "selects nodes without our label",
    lambda s: s.node_config("zz-netkit-rollout", {"datapath-mode": "netkit"}),
)  # fmt: skip


@finds("no-global-roll", "warn", "rolls all agents")
def _checksum(scene: Scene) -> None:
    annotations = scene.daemonset["spec"]["template"]["metadata"].setdefault("annotations", {})
    annotations["cilium.io/cilium-configmap-checksum"] = "ab12"


case(
    "not-owned",
    "warn",
    "Argo CD",
    lambda s: s.daemonset["metadata"]["labels"].update({"argocd.argoproj.io/instance": "net"}),
)
case("not-owned", "warn", "HelmRelease flux/cilium", lambda s: s.other("HelmRelease", "cilium", "flux", spec={}))
case("default-settled", "warn", "any restart of an agent there flips it", _config(datapath_mode="netkit"))
case("default-settled", "warn", "is auto", _config(datapath_mode="auto"))
case("operator", "warn", "no pod of cilium-operator", lambda s: s.deployments[0]["status"].update(readyReplicas=0))
case("operator", "warn", "set-cilium-node-taints is not on", _config(set_cilium_node_taints="false"))
case(
    "tolerant-daemonsets", "warn", "kube-system/watch tolerates every taint",
    lambda s: s.daemon("watch", hostNetwork=False, tolerations=[{"operator": "Exists"}]),
)  # fmt: skip

# -- node and agent ----------------------------------------------------------------------------------------------------


def _ready(status: str) -> Change:
    return lambda scene: scene.node()["status"]["conditions"][0].update(status=status)


case("node-ready", "block", "not Ready", _ready("False"))
case("node-ready", "unknown", "does not answer", _ready("Unknown"))
case("node-observed", "unknown", "connection refused", _unseen("links"))
case("agent-answers", "unknown", "connection refused", _unseen("agent"))
case("agent-answers", "unknown", "is down", _down)
case("agent-healthy", "warn", "does not tell", _down)
case("agent-healthy", "warn", "3 controller(s) failing", lambda s: s.agent_changes.update({"controllers-failing": 3}))
case(
    "agent-healthy",
    "warn",
    "1 endpoint(s) not-ready",
    lambda s: s.answers["/v1/endpoint"][1]["status"].update(state="not-ready"),
)
case("node-not-mixed", "block", "of another kind", _status("datapath-mode", "netkit"))
case("node-not-mixed", "unknown", "no known mode", _status("datapath-mode", "novel"))
case("node-not-mixed", "unknown", "connection refused", _unseen("links"))
case(
    "not-armed",
    "warn",
    "any restart would start it in netkit",
    lambda s: s.node_config("a", {"datapath-mode": "netkit"}),
)
case("not-armed", "warn", "does not tell its mode", _unseen("agent"))
case("no-node-override", "block", "the node itself", _marked("config.cilium.io/datapath-mode", "veth"))
case("one-node-config", "warn", "a sets this node's mode", lambda s: s.node_config("a", {"datapath-mode": "veth"}))
case(
    "one-node-config", "block", "a, b all set", _all(
        lambda s: s.node_config("a", {"datapath-mode": "veth"}), lambda s: s.node_config("b", {"datapath-mode": "veth"})
    ),
)  # fmt: skip
case("no-drift", "warn", "would also change enable-bpf-masquerade", _config(enable_bpf_masquerade="false"))
case("no-drift", "warn", "2 settings", lambda s: s.agent_changes.update({"config-delta": 2}))
case("no-drift", "warn", "does not tell", _down)

# -- kernel ------------------------------------------------------------------------------------------------------------

case("kernel-version", "block", "older than 6.7", _kernel("6.1.0-40-amd64"))
case("kernel-version", "block", "older than 6.8", _kernel("6.7.12"))
case("kernel-version", "unknown", "cannot be read", _kernel("odd"))


def _no_driver(scene: Scene) -> None:
    scene.capability.update(modes=[], scrub=False, mac=False, error="this kernel has no netkit driver (CONFIG_NETKIT)")
    scene.host["kernel_config"] = {"CONFIG_NETKIT": "n"}


case("kernel-netkit", "block", "CONFIG_NETKIT=n", _no_driver)
case("kernel-netkit", "unknown", "connection refused", _unseen("capability"))
case(
    "scrub",
    "block",
    "no scrub",
    _all(_setting("EnableEndpointRoutes", True), lambda s: s.capability.update(scrub=False)),
)
case("scrub", "unknown", "does not tell", _setting("EnableEndpointRoutes", None))
case("kernel-good", "block", "7.2.0 makes the agent exit", _kernel("7.2.0-1-amd64"))
case("kernel-good", "block", "no agent answers", _all(_kernel("6.18.0-rc3"), _down))
case("kernel-good", "unknown", "cannot be read", _kernel("odd"))
L2 = _policy(target=DatapathMode.NETKIT_L2)
case("l2-mac", "warn", "does not keep", _all(L2, lambda s: s.capability.update(mac=False)))
case("l2-mac", "warn", "before 1.18", _all(L2, _image("v1.17.3")))
case("l2-mac", "warn", "not known", _all(L2, lambda s: s.image("localhost/node:rig")))
case("tunnel-headroom", "warn", "6.12.107", _setting("RoutingMode", "tunnel"))
case(
    "tunnel-headroom",
    "warn",
    "does not tell",
    _all(_setting("RoutingMode", None), lambda s: s.config["data"].pop("routing-mode")),
)
case("big-tcp", "info", "wants both families", _config(enable_ipv4_big_tcp="true"))
case("socket-termination", "info", "not ended", _host(kernel_config={"CONFIG_INET_DIAG_DESTROY": "n"}))

# -- datapath ----------------------------------------------------------------------------------------------------------

case("tproxy-off", "block", "is on", _setting("EnableBPFTProxy", True))
case("tproxy-off", "unknown", "does not tell", _setting("EnableBPFTProxy", None))
case("host-routing-bpf", "block", "is Legacy, not BPF", _status("routing/intra-host-routing-mode", "Legacy"))
case("host-routing-bpf", "block", "own setting", _setting("EnableHostLegacyRouting", True))
case("host-routing-bpf", "unknown", "does not tell", _status("routing", None))
case("kube-proxy-replaced", "block", "is False", _status("kube-proxy-replacement/mode", "False"))
case("kube-proxy-replaced", "unknown", "does not tell", _status("kube-proxy-replacement", None))
case("masquerade-bpf", "block", "is iptables", _status("masquerading/mode", "iptables"))
case("masquerade-bpf", "unknown", "does not tell", _status("masquerading", None))
case("no-ipsec", "block", "is impossible", _status("encryption/mode", "IPsec"))
case("no-ipsec", "unknown", "does not tell", _down)
BOTH = _all(_setting("EnableEndpointRoutes", True), _setting("BPFSocketLBHostnsOnly", True))
case("endpoint-routes-socketlb", "block", "both on", BOTH)
case("endpoint-routes-socketlb", "warn", "both on", _all(BOTH, _image("v1.19.7")))
case("endpoint-routes-socketlb", "unknown", "whether", _setting("EnableEndpointRoutes", None))
case(
    "endpoint-routes-socketlb", "unknown", "bpf-lb-sock-hostns-only",
    _all(_setting("EnableEndpointRoutes", True), _setting("BPFSocketLBHostnsOnly", None)),
)  # fmt: skip
case("endpoint-routes", "warn", "upstream tests no more", _setting("EnableEndpointRoutes", True))
case("endpoint-routes", "warn", "does not tell", _setting("EnableEndpointRoutes", None))
FIREWALL = _status("host-firewall/mode", "Enabled")
case("host-firewall", "warn", "tests no more", FIREWALL)
case("host-firewall", "block", "loses ARP", _all(FIREWALL, _image("v1.16.0")))
NO_FIREWALL = _all(_status("host-firewall", None), _setting("EnableHostFirewall", None))
case("host-firewall", "warn", "does not tell", NO_FIREWALL)
case("host-firewall", "unknown", "does not tell", _all(NO_FIREWALL, _image("v1.16.4")))
case("no-chaining", "block", "aws-cni attaches to foreign links", _status("cni-chaining/mode", "aws-cni"))
case("no-chaining", "warn", "bypassed", _status("cni-chaining/mode", "portmap"))
case("no-chaining", "unknown", "does not tell", _down)
case("cloud-ipam", "warn", "come from eni", _setting("IPAM", "eni"))
case("cloud-ipam", "warn", "does not tell", _all(_setting("IPAM", None), lambda s: s.config["data"].pop("ipam")))
case("xdp-acceleration", "info", "is native", _setting("NodePortAcceleration", "native"))
CARD = {"name": "ens3", "kind": "", "up": True, "default": True, "driver": "virtio_net"}
case("xdp-acceleration", "info", "on ens3", _host(nics=[CARD | {"xdp": "cil_xdp_entry"}]))

# -- other networking programs -----------------------------------------------------------------------------------------

for each, image, title in (
    ("kube-flannel-ds", "docker.io/flannel/flannel:v0.26.1", "Flannel"),
    ("calico-node", "docker.io/calico/node:v3.29.0", "Calico"),
    ("canal", "docker.io/calico/node:v3.29.0", "Canal"),
    ("renamed", "registry.internal/mirror/calico/node:v3.29.0", "Calico"),
    ("weave-net", "weaveworks/weave-kube:2.8.1", "Weave Net"),
    ("antrea-agent", "antrea/antrea-agent-ubuntu:v2.2.0", "Antrea"),
    ("ovnkube-node", "quay.io/openshift/ovn-kubernetes:4.16", "OVN-Kubernetes"),
    ("aws-node", "602401143452.dkr.ecr.us-west-2.amazonaws.com/amazon-k8s-cni:v1.19.0", "AWS VPC CNI"),
    ("azure-cns", "mcr.microsoft.com/containernetworking/azure-cns:v1.6.5", "Azure CNI"),
):
    case(
        "other-datapath", "block", f"{title} runs here (DaemonSet kube-system/{each})",
        lambda s, name=each, picture=image: s.daemon(name, picture),  # type: ignore[misc]
    )  # fmt: skip
case(
    "other-datapath", "block", "GKE Dataplane V2 runs here",
    lambda s: s.daemon("anetd", "gke.gcr.io/cilium/cilium:v1.16", ("cilium-agent",)),
)  # fmt: skip
case(
    "other-datapath", "block", "kube-router runs here",
    lambda s: s.daemon("kube-router", "cloudnativelabs/kube-router:v2.2.0", ("install-cni", "kube-router")),
)  # fmt: skip
case(
    "other-datapath", "warn", "kube-router runs here (DaemonSet kube-system/kube-router), but not as the maker",
    lambda s: s.daemon("kube-router", "cloudnativelabs/kube-router:v2.2.0", ("kube-router",)),
)  # fmt: skip
case("other-datapath", "warn", "LoxiLB runs here", lambda s: s.daemon("loxilb-lb", "ghcr.io/loxilb-io/loxilb:latest"))


def _cni(*files: tuple[str, tuple[str, ...]]) -> Change:
    return _host(cni=[{"file": name, "name": name, "plugins": list(plugins)} for name, plugins in files])


CILIUM = ("05-cilium.conflist", ("cilium-cni",))
case("cni-config", "block", "Flannel makes pods' links", _cni(("04-flannel.conflist", ("flannel", "portmap")), CILIUM))
case("cni-config", "block", "another plugin makes", _cni(("04-odd.conf", ("bridge",)), CILIUM))
case("cni-config", "block", "chains Cilium with aws-cni", _cni(("05-aws.conflist", ("aws-cni", "cilium-cni"))))
case("cni-config", "warn", "Multus before Cilium", _cni(("00-multus.conf", ("multus-shim",)), CILIUM))
case("cni-config", "info", "87-podman.conflist lies behind", _cni(CILIUM, ("87-podman.conflist", ("bridge",))))
case("cni-config", "warn", "none was found at the usual place", _cni())
case(
    "cni-config",
    "warn",
    "x.conf cannot be read: KeyError",
    _host(cni=[{"file": "x.conf", "error": "KeyError: 'type'"}]),
)
case("cni-config", "warn", "Permission denied", _without("cni"))
case("cni-config", "warn", "probe host was not read", _unseen("host"))
for each, title in (
    ("flannel.alpha.coreos.com/backend-type", "Flannel"), ("projectcalico.org/IPv4Address", "Calico"),
    ("k8s.ovn.org/node-subnets", "OVN-Kubernetes"),
):  # fmt: skip
    case("other-datapath-marks", "warn", title, _marked(each, "x"))
case("other-datapath-apis", "info", "Calico", lambda s: s.read.update(api_groups=frozenset({"crd.projectcalico.org"})))
case("kube-proxy-gone", "warn", "though Cilium replaces it", lambda s: s.daemon("kube-proxy"))

# -- eBPF users --------------------------------------------------------------------------------------------------------

for each, image, title in (
    ("tetragon", "quay.io/cilium/tetragon:v1.3.0", "Tetragon"), ("vizier-pem", "gcr.io/pixie/vizier-pem:1", "Pixie"),
    ("kepler", "quay.io/sustainable_computing_io/kepler:v0.8", "Kepler"),
    ("falco", "falcosecurity/falco:0.39", "Falco"),
    ("kubearmor", "kubearmor/kubearmor:stable", "KubeArmor"),
    ("parca-agent", "ghcr.io/parca-dev/parca-agent:v0.35", "Parca"),
):  # fmt: skip
    case(
        "ebpf-users", "info", f"{title} (kube-system/{each})",
        lambda s, name=each, picture=image: s.daemon(name, picture),  # type: ignore[misc]
    )  # fmt: skip
for each, image, title in (
    ("bpfman-daemon", "quay.io/bpfman/bpfman:v0.5", "bpfman"),
    ("gadget", "ghcr.io/inspektor-gadget/inspektor-gadget:v0.35", "Inspektor"),
    ("datadog", "gcr.io/datadoghq/agent:7", "Datadog"), ("beyla", "grafana/beyla:1.9", "Beyla"),
    ("netobserv-ebpf-agent", "quay.io/netobserv/netobserv-ebpf-agent:main", "netobserv-ebpf-agent 888"),
):  # fmt: skip
    case(
        "ebpf-on-links", "warn", title,
        lambda s, name=each, picture=image: s.daemon(name, picture),  # type: ignore[misc]
    )  # fmt: skip


def _program(kind: str, name: str) -> Change:
    return lambda scene: scene.host.update(programs=[*scene.host["programs"], {"kind": kind, "name": name, "count": 1}])


case("ebpf-programs", "warn", "tc_ingress_prog (sched_cls)", _program("sched_cls", "tc_ingress_prog"))
case("ebpf-programs", "warn", "trace_veth_xmit", _program("kprobe", "trace_veth_xmit"))
case("ebpf-programs", "warn", "Permission denied", _without("programs"))
case("xdp-foreign", "warn", "xdp_firewall on ens3", _host(nics=[CARD | {"xdp": "xdp_firewall"}]))
case("xdp-foreign", "warn", "probe host was not read", _unseen("host"))

# -- workloads ---------------------------------------------------------------------------------------------------------

case("no-kata", "block", "runtime kata-qemu", _runtime("vm", "kata-qemu"))
case("no-kata", "block", "runtime kata", lambda s: s.pod()["spec"].update(runtimeClassName="kata"))
case("no-kata", "block", "runtime firecracker", _runtime("fc", "firecracker"))
case("kata-stays-away", "warn", "vm (1 pods)", _runtime("vm", "kata-qemu"))


@finds("kata-stays-away", "warn", "vm (1 pods)")
def _kata_somewhere(scene: Scene) -> None:
    _runtime("vm", "kata-qemu")(scene)
    scene.others["RuntimeClass"][0]["scheduling"] = {"nodeSelector": {"kubernetes.io/os": "linux"}}


case("other-runtimes", "warn", "gvisor", lambda s: s.pod()["spec"].update(runtimeClassName="gvisor"))
case("other-runtimes", "warn", "wasmtime", _runtime("wasm", "wasmtime"))


@finds("no-kubevirt", "block", "1 KubeVirt machine(s)")
def _machine(scene: Scene) -> None:
    scene.other("VirtualMachineInstance", "vm1", "default", status={"nodeName": "n1"})


case("no-kubevirt", "warn", "need netkit-l2", _all(L2, _machine))
case("no-kubevirt", "unknown", "forbidden", lambda s: s.unreadable.update(VirtualMachineInstance="forbidden"))
HTTP = {
    "ingress": [{"toPorts": [{"rules": {"http": [{"path": "/"}]}}]}],
    "endpointSelector": {"matchLabels": {"a": "b"}},
}
case("l7-use", "warn", "default/web (http)", lambda s: s.other("CiliumNetworkPolicy", "web", "default", spec=HTTP))


@finds("l7-use", "warn", "Ingress default/shop")
def _ingress(scene: Scene) -> None:
    scene.other("IngressClass", "edge", spec={"controller": "cilium.io/ingress-controller"})
    scene.other("Ingress", "shop", "default", spec={"ingressClassName": "edge"})


@finds("l7-use", "warn", "Gateway default/shop")
def _gateway(scene: Scene) -> None:
    scene.other("GatewayClass", "edge", spec={"controllerName": "io.cilium/gateway-controller"})
    scene.other("Gateway", "shop", "default", spec={"gatewayClassName": "edge"})


case(
    "l7-use", "warn", "Service default/api",
    lambda s: s.other("Service", "api", "default", metadata={"annotations": {"service.cilium.io/lb-l7": "enabled"}}),
)  # fmt: skip
case("l7-use", "warn", "could not be listed", lambda s: s.unreadable.update(CiliumNetworkPolicy="forbidden"))
case(
    "no-default-deny",
    "warn",
    "deny-all selects every pod",
    lambda s: s.other("CiliumClusterwideNetworkPolicy", "deny-all", spec={"endpointSelector": {}}),
)
case("no-default-deny", "warn", "forbidden", lambda s: s.unreadable.update(CiliumClusterwideNetworkPolicy="forbidden"))
case(
    "cilium-features",
    "info",
    "1 CiliumEgressGatewayPolicy",
    lambda s: s.other("CiliumEgressGatewayPolicy", "out", spec={}),
)
STATIC = _note(**{"kubernetes.io/config.mirror": "x"})
case("daemon-pods", "info", "1 DaemonSet pod(s)", lambda s: None)
case("daemon-pods", "block", "only a reboot", _all(STATIC, _policy(method=MethodChoice.RESTART)))
case("multus", "warn", "further networks", _note(**{"k8s.v1.cni.cncf.io/networks": "storage"}))
for each, title in (
    ("istio-init", "Istio"), ("istio-validation", "Istio"), ("linkerd-init", "Linkerd"), ("kuma-init", "Kuma"),
):  # fmt: skip
    case("sidecar-mesh", "warn", f"1 of {title}", _container(each))
case("node-mesh", "warn", "ztunnel", lambda s: s.daemon("ztunnel"))
case(
    "node-mesh",
    "warn",
    "namespaces shop ambient",
    lambda s: s.namespaces.append({"metadata": {"name": "shop", "labels": {"istio.io/dataplane-mode": "ambient"}}}),
)
case("tproxy-users", "warn", "1 pod(s) use TPROXY", _note(**{"sidecar.istio.io/interceptionMode": "TPROXY"}))
case("tproxy-users", "info", "a hint", _host(iptables_targets=["TPROXY"]))

# -- hosts -------------------------------------------------------------------------------------------------------------

case("extra-routing", "warn", "from 10.9.0.0/16 lookup 7", _rule(**{"priority": 200, "from": "10.9.0.0/16"}))
case("extra-routing", "warn", "5210: from all fwmark 0x80000/0xff0000", _rule(priority=5210, mark="0x80000/0xff0000"))
case("extra-routing", "warn", "kube-vip holds addresses", lambda s: s.daemon("kube-vip"))
case("extra-routing", "warn", "Permission denied", _without("rules"))
case("extra-routing", "warn", "probe host was not read", _unseen("host"))
case("network-cards", "info", "2 network cards", _host(nics=[CARD, CARD | {"name": "ens4", "default": False}]))
case("iproute2", "info", "6.1.0 shows no netkit", _host(iproute2="6.1.0"))
case(
    "node-stays", "warn", "Karpenter is about to replace it",
    lambda s: s.node()["spec"].update(taints=[{"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}]),
)  # fmt: skip
case("node-stays", "warn", "kured holds it", _marked("weave.works/kured-node-lock", "{}"))
case("node-stays", "warn", "no boot id", lambda s: s.node()["status"]["nodeInfo"].update(bootID=""))
case("node-pool", "info", "the managed group", _marked("eks.amazonaws.com/nodegroup", "web", "labels"))
case(
    "node-pool", "info", "Machine m1", lambda s: s.other("Machine", "m1", "default", status={"nodeRef": {"name": "n1"}})
)

# -- drain -------------------------------------------------------------------------------------------------------------

case("budgets-allow", "warn", "default/web", lambda s: s.budgets[0]["status"].update(disruptionsAllowed=0))


@finds("one-budget-per-pod", "warn", "4 pod(s) are matched by two")
def _two_budgets(scene: Scene) -> None:
    first = scene.budgets[0]
    scene.budgets.append({**first, "metadata": {**first["metadata"], "name": "also", "uid": "uid-also"}})


@finds("pods-owned", "warn", "keep their nodes from emptying")
def _bare(scene: Scene) -> None:
    scene.pod()["metadata"].pop("ownerReferences")


case("pods-owned", "warn", "gone for good", _all(_bare, _policy(drain=DrainRules(evict_unowned=True))))
case(
    "scratch-data",
    "info",
    "1 pod(s) lose",
    lambda s: s.pod()["spec"]["volumes"].append({"name": "tmp", "emptyDir": {}}),
)


@finds("local-data", "warn", "wait until that node is back")
def _local(scene: Scene) -> None:
    scene.pod()["spec"]["volumes"].append({"name": "d", "persistentVolumeClaim": {"claimName": "data"}})
    scene.claims.append({"metadata": {"name": "data", "namespace": "default"}, "spec": {"volumeName": "v1"}})
    scene.volumes.append({"metadata": {"name": "v1"}, "spec": {"local": {"path": "/mnt/d"}}})


case("replicas", "warn", "default/web-56fdd75fb8", lambda s: s.replica_sets[0]["spec"].update(replicas=1))
case("replicas", "warn", "is not known", _all(lambda s: s.replica_sets.clear(), lambda s: s.deployments.clear()))


@finds("capacity", "warn", "n1 request more than all other nodes")
def _too_big(scene: Scene) -> None:
    for pod in scene.pods:
        if pod["metadata"]["name"].startswith("web"):
            pod["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "600m"}}


@finds("capacity", "warn", "not known")
def _no_allocatable(scene: Scene) -> None:
    for node in scene.nodes:
        node["status"]["allocatable"] = {}


case(
    "storage-health",
    "warn",
    "is HEALTH_WARN",
    lambda s: s.other("CephCluster", "ceph", "rook", status={"ceph": {"health": "HEALTH_WARN"}}),
)
case(
    "storage-health",
    "warn",
    "1 Longhorn volume(s)",
    lambda s: s.other("LonghornVolume", "v", "longhorn", status={"robustness": "degraded"}),
)
case("storage-health", "warn", "could not be listed", lambda s: s.unreadable.update(CephCluster="forbidden"))
case("proven-after", "warn", "reach was made less than required", _policy(checks={"reach": CheckLevel.ADVISORY}))
case("waiver-used", "warn", "lifts nothing", _policy(waivers=(Waiver("scrub", "ann", "tested"),)))
