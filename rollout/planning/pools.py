"""Which pool a node belongs to, and who owns that pool: an autoscaler or a controller that makes and deletes nodes.

Told by labels and annotations that each of them writes on its nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rollout.domain.node import LABEL_MODE, Node


@dataclass(frozen=True, slots=True)
class PoolKind:
    """One kind of owner."""

    name: str
    label: str = ""
    """Node label whose value names the pool."""
    annotation: str = ""
    """Node annotation whose value names the pool, where no label does."""
    empties: str = ""
    """What the owner does with a node that is cordoned and empty; empty text: nothing by itself."""
    template: str = ""
    """How the pool's new nodes get a label, as a sentence with `$label`."""
    hand_over: str = ""
    """How one node is deleted so that the pool replaces it, with `$node`."""


KINDS: tuple[PoolKind, ...] = (
    PoolKind(
        "Karpenter",
        label="karpenter.sh/nodepool",
        empties="consolidation may delete it as empty; karpenter.sh/do-not-disrupt=true on the node keeps it",
        template="set spec.template.metadata.labels of NodePool $pool to $label",
        hand_over="kubectl delete nodeclaim of $node (kubectl get nodeclaims)",
    ),
    PoolKind(
        "Karpenter",
        label="karpenter.sh/provisioner-name",
        empties="consolidation may delete it as empty; karpenter.sh/do-not-evict=true on its pods keeps it",
        template="set spec.labels of Provisioner $pool to $label",
        hand_over="kubectl delete node $node (its finalizer ends the instance)",
    ),
    PoolKind(
        "Cluster API",
        annotation="cluster.x-k8s.io/owner-name",
        template="set $label in the machine template's node labels of $pool (kubelet --node-labels in its bootstrap)",
        hand_over="annotate its Machine cluster.x-k8s.io/delete-machine=yes and scale $pool, or delete the Machine",
    ),
    PoolKind(
        "Machine API",
        annotation="machine.openshift.io/machine",
        template="set spec.template.spec.metadata.labels of the MachineSet to $label",
        hand_over="annotate its Machine machine.openshift.io/delete-machine=yes and scale the MachineSet",
    ),
    PoolKind(
        "EKS node group",
        label="eks.amazonaws.com/nodegroup",
        template="aws eks update-nodegroup-config --nodegroup-name $pool --labels addOrUpdateLabels=$label",
        hand_over="aws autoscaling terminate-instance-in-auto-scaling-group for the instance of $node",
    ),
    PoolKind(
        "GKE node pool",
        label="cloud.google.com/gke-nodepool",
        template="gcloud container node-pools update $pool --node-labels=$label (with all labels it has)",
        hand_over="gcloud compute instance-groups managed recreate-instances for the instance of $node",
    ),
    PoolKind(
        "AKS node pool",
        label="kubernetes.azure.com/agentpool",
        template="az aks nodepool update --name $pool --labels $label",
        hand_over="az aks nodepool delete-machines for $node",
    ),
    PoolKind(
        "Gardener worker pool",
        label="worker.gardener.cloud/pool",
        template="set labels of worker pool $pool in the Shoot to $label",
        hand_over="annotate node $node node.machine.sapcloud.io/trigger-deletion-by-mcm=true",
    ),
    PoolKind(
        "kOps instance group",
        label="kops.k8s.io/instancegroup",
        template="set spec.nodeLabels of instance group $pool to $label, then kops update cluster",
        hand_over="kops delete instance $node",
    ),
    PoolKind(
        "Hetzner node group",
        label="hcloud/node-group",
        template="set labels of $pool in the autoscaler's HCLOUD_CLUSTER_CONFIG to $label",
        hand_over="delete the server of $node",
    ),
)

_SCALED = "cluster-autoscaler may take it for unneeded and delete it after ten minutes (its default)"
"""Of pools without an answer of their own: https://github.com/kubernetes/autoscaler FAQ, scale-down-unneeded-time."""


@dataclass(frozen=True, slots=True)
class Pool:
    """One pool of nodes."""

    kind: str
    name: str
    about: PoolKind

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    def template_words(self, mode: str) -> str:
        """How its new nodes come to carry our label."""
        return _filled(self.about.template, pool=self.name, label=f"{LABEL_MODE}={mode}")

    def hand_over_words(self, node: str) -> str:
        """How its owner is asked to replace one node."""
        return _filled(self.about.hand_over, pool=self.name, node=node)

    @property
    def empties(self) -> str:
        """What becomes of an empty, cordoned node while its owner looks."""
        return self.about.empties or _SCALED


def pool_of(node: Node) -> Pool | None:
    """The pool a node says it belongs to; None for a machine of its own."""
    for kind in KINDS:
        name = _named(node.labels, kind.label) or _named(node.annotations, kind.annotation)
        if name:
            return Pool(kind.name, name, kind)
    return None


def _named(texts: Mapping[str, str], key: str) -> str:
    return texts.get(key, "") if key else ""


def _filled(text: str, **values: str) -> str:
    for name, value in values.items():
        text = text.replace(f"${name}", value)
    return text
