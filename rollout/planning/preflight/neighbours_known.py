"""Other programs that make, or lean on, a cluster's pod network, and how each is recognised.

Names of DaemonSets, images, containers, annotations, API groups and CNI plugins are those in common use; only the two
shapes of kube-router (with `install-cni` and without) were looked up in its manifests. `datapath` names the containers
of a component that makes pods' links, for programs that also come without it.
"""

from __future__ import annotations

from dataclasses import dataclass

from rollout.planning.preflight.programs_known import Known


@dataclass(frozen=True, slots=True)
class Neighbour(Known):
    """Another networking program."""

    annotations: tuple[str, ...] = ()
    """Prefixes of annotations that it leaves on nodes."""
    groups: tuple[str, ...] = ()
    """API groups that it serves."""
    plugins: tuple[str, ...] = ()
    """Types of its CNI plugins."""
    makes_links: bool = True
    """It gives pods their links. False: it only forwards services or speaks BGP."""
    datapath: tuple[str, ...] = ()
    """Containers without which it makes no links; empty: it always does."""


_LINKS = "it makes pods' links itself, so the agent's mode does not reach them"

NEIGHBOURS: tuple[Neighbour, ...] = (
    Neighbour(
        "Canal", _LINKS, names=("canal", "rke2-canal"), images=("/canal",), annotations=("projectcalico.org/",),
        plugins=("calico",),
    ),
    Neighbour(
        "Calico", _LINKS, names=("calico-node",), images=("calico/node", "calico-node"),
        annotations=("projectcalico.org/",), groups=("crd.projectcalico.org", "operator.tigera.io"),
        plugins=("calico",),
    ),
    Neighbour(
        "Flannel", _LINKS, names=("kube-flannel-ds", "kube-flannel"), images=("flannel/flannel", "coreos/flannel"),
        annotations=("flannel.alpha.coreos.com/",), plugins=("flannel",),
    ),
    Neighbour(
        "Weave Net", _LINKS, names=("weave-net",), images=("weave-kube", "weaveworks/weave"), plugins=("weave-net",),
    ),
    Neighbour(
        "kube-router", "it gives pods bridge links", names=("kube-router",), images=("kube-router",),
        annotations=("kube-router.io/",), plugins=("kube-router",), datapath=("install-cni", "install-cniconf"),
    ),
    Neighbour(
        "LoxiLB", "it forwards services with tc programs of its own on the node's cards",
        names=("loxilb-lb", "loxilb", "loxilb-egress"), images=("loxilb-io/loxilb", "loxilb-io/kube-loxilb"),
        annotations=("loxilb.io/",), groups=("loxilb.io",), makes_links=False,
    ),
    Neighbour(
        "Antrea", _LINKS, names=("antrea-agent",), images=("antrea/antrea",), annotations=("node.antrea.io/",),
        groups=("crd.antrea.io",), plugins=("antrea",),
    ),
    Neighbour(
        "OVN-Kubernetes", _LINKS, names=("ovnkube-node", "ovnkube-node-dpu"), images=("ovn-kubernetes", "ovnkube"),
        annotations=("k8s.ovn.org/",), groups=("k8s.ovn.org",), plugins=("ovn-k8s-cni-overlay",),
    ),
    Neighbour(
        "Kube-OVN", _LINKS, names=("kube-ovn-cni",), images=("kube-ovn",), annotations=("ovn.kubernetes.io/",),
        groups=("kubeovn.io",), plugins=("kube-ovn",),
    ),
    Neighbour(
        "OpenShift SDN", _LINKS, names=("sdn",), images=("openshift/sdn", "openshift-sdn"), plugins=("openshift-sdn",),
        groups=("network.openshift.io",),
    ),
    Neighbour(
        "AWS VPC CNI", _LINKS, names=("aws-node",), images=("amazon-k8s-cni",), groups=("vpcresources.k8s.aws",),
        plugins=("aws-cni",),
    ),
    Neighbour(
        "Azure CNI", _LINKS, names=("azure-cns", "azure-cni"), images=("azure-cni", "azure-cns"),
        groups=("acn.azure.com",), plugins=("azure-vnet",),
    ),
    Neighbour(
        "GKE Dataplane V2",
        "its agent is a build of Cilium that Google's add-on manager owns and reverts",
        names=("anetd",), images=("/cilium/anetd", "gke.gcr.io/cilium"), groups=("networking.gke.io",),
        datapath=("cilium-agent",),
    ),
    Neighbour("Romana", _LINKS, names=("romana-agent",), images=("romana/agent",), plugins=("romana",)),
    Neighbour(
        "Contiv", _LINKS, names=("contiv-vswitch", "contiv-netplugin"), images=("contiv/",), plugins=("contiv-cni",),
    ),
    Neighbour("NSX", _LINKS, names=("nsx-node-agent",), images=("nsx-ncp",), plugins=("nsx",)),
)  # fmt: skip

CILIUM_PLUGINS = frozenset({"cilium-cni"})
BY_PLUGIN = {plugin: one for one in reversed(NEIGHBOURS) for plugin in one.plugins}
