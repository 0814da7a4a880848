"""A node's own set-up: routing rules, tools, and whether it lives long enough."""

from __future__ import annotations

from rollout.domain.observed import RoutingRule
from rollout.planning.preflight.row import ANY_TARGET, INFO, PASS, WARN, Facts, Judgement, Row, named

_DEFAULT = frozenset({(0, 255), (32766, 254), (32767, 253)})
"""Priority and table of the rules that every network namespace begins with."""
_CILIUM_TABLES = frozenset({2004, 2005})
"""Tables of the agent's own rules: packets to and from its proxy."""
_CILIUM = frozenset({(9, 2004), (10, 2005), (100, 255)})
_CLOUD_PRIORITIES = frozenset({20, 110, 111})
"""Priorities at which the agent puts a pod's own rules where addresses come from a cloud's interfaces."""
_VIP = ("kube-vip", "keepalived", "metallb-speaker")
_KNOWS_NETKIT = (6, 7)
_GOING = {
    "ToBeDeletedByClusterAutoscaler": "the cluster autoscaler is about to delete it",
    "DeletionCandidateOfClusterAutoscaler": "the cluster autoscaler thinks of deleting it",
    "karpenter.sh/disrupted": "Karpenter is about to replace it",
    "karpenter.sh/disruption": "Karpenter is about to replace it",
    "node.cloudprovider.kubernetes.io/shutdown": "its machine is shut down",
    "aws-node-termination-handler/spot-itn": "its machine is being taken back",
    "cloud.google.com/impending-node-termination": "its machine is being taken back",
    "upgrade.cattle.io/plan": "an upgrade plan is about to touch it",
    "weave.works/kured-node-lock": "kured holds it for a reboot",
}
_POOLS = {
    "karpenter.sh/nodepool": "Karpenter's pool",
    "cluster.x-k8s.io/machine": "Cluster API's machine",
    "eks.amazonaws.com/nodegroup": "the managed group",
    "cloud.google.com/gke-nodepool": "the managed pool",
    "kubernetes.azure.com/agentpool": "the managed pool",
}


def is_usual(rule: RoutingRule, *, cloud: bool = False) -> bool:
    """Whether a rule is the kernel's own or the agent's; `cloud`: addresses come from a cloud's interfaces."""
    place = rule.priority, rule.table
    plain = not (rule.source or rule.destination or rule.mark or rule.enters_by or rule.leaves_by or rule.action)
    if place in _DEFAULT | _CILIUM and (plain or rule.table in _CILIUM_TABLES):
        return True
    return cloud and rule.priority in _CLOUD_PRIORITIES


def foreign_rules(rules: tuple[RoutingRule, ...], *, cloud: bool = False) -> tuple[RoutingRule, ...]:
    """Routing rules that neither the kernel nor the agent makes."""
    return tuple(rule for rule in rules if not is_usual(rule, cloud=cloud))


def _no_extra_routing(facts: Facts) -> Judgement:
    vips = sorted(
        {p.owner_name or p.ref.name for p in facts.pods if any(v in (p.owner_name or p.ref.name) for v in _VIP)}
    )
    also = f"; {named(vips)} holds addresses of services here" if vips else ""
    rules = facts.host.rules if facts.host else None
    if rules is None:
        why = facts.host.why_not("rules") if facts.host else "probe host was not read"
        return WARN, f"the node's routing rules are not known: {why}{also}"
    found = foreign_rules(rules, cloud=facts.words("ipam") in ("eni", "azure", "alibabacloud"))
    if found:
        shown = named([str(rule) for rule in found])
        return (
            WARN,
            f"{len(found)} routing rule(s) beyond the usual ({shown}): the node may not reach its own pods{also}",
        )
    if vips:
        return WARN, f"{named(vips)} holds addresses of services here: see that the node still reaches its own pods"
    return PASS, "no routing rules beyond the kernel's and the agent's"


def _one_card(facts: Facts) -> Judgement:
    nics = facts.host.nics if facts.host else None
    up = [n for n in nics or () if n.up and not n.kind]
    if len(up) > 1:
        return INFO, f"{len(up)} network cards are up: {named([n.name for n in up])}"
    return PASS, "one network card is up" if up else "the node's network cards are not told; nothing rests on them"


def _tooling(facts: Facts) -> Judgement:
    told = facts.host.iproute2 if facts.host else ""
    numbers = tuple(int(part) for part in told.split(".")[:2] if part.isdigit())
    if len(numbers) == 2 and numbers < _KNOWS_NETKIT:
        return INFO, f"iproute2 {told} shows no netkit details; our own reader of links does not need it"
    return PASS, f"iproute2 {told} knows netkit" if told else "iproute2 is not needed: we ship our own reader of links"


def _stays(facts: Facts) -> Judgement:
    node = facts.here
    marks = {*node.labels, *node.annotations, *(t.key for t in node.taints)}
    going = [words for key, words in _GOING.items() if key in marks]
    if going:
        return WARN, f"{going[0]}: it may be gone before it is done"
    if not node.boot_id:
        return WARN, "the node tells no boot id, so a reboot could not be proven"
    return PASS, "nobody is about to take the node away"


def _kept(facts: Facts) -> Judgement:
    marks = {*facts.here.labels, *facts.here.annotations}
    owners = sorted({words for key, words in _POOLS.items() if key in marks})
    owners += [facts.context.claims[facts.here.name]] if facts.here.name in facts.context.claims else []
    if owners:
        return (
            INFO,
            f"the node belongs to {named(owners)}: new nodes of it join in the cluster-wide mode (rollout adopt)",
        )
    return PASS, "no pool is known to own the node"


ROWS: tuple[Row, ...] = (
    Row(
        "extra-routing", "the node has no routing rules of its own", _no_extra_routing,
        "probe host: routing rules; pods that hold addresses", "make such nodes a cohort with a canary of its own",
        "cilium 37976", (36,), ("extra-ip-rules",), severity=WARN,
    ),
    Row(
        "network-cards", "the node's network cards are known", _one_card, "probe host: links",
        "see that cohorts tell such nodes apart", table=(36,), severity=INFO,
    ),
    Row(
        "iproute2", "the node's tools can show netkit links", _tooling, "probe host: ip -V",
        "nothing to do; for looking by hand install iproute2 6.7 or later", "iproute2 6.15 manual", (41,),
        severity=INFO,
    ),
    Row(
        "node-stays", "nobody is about to take the node away", _stays, "taints, labels and annotations of the node",
        "have the autoscaler or upgrade controller leave it alone until it is done", table=(42,), severity=WARN,
        targets=ANY_TARGET,
    ),
    Row(
        "node-pool", "no pool replaces the node", _kept, "labels and annotations of the node",
        "tell the pool not to scale down during the rollout; adopt nodes that join", table=(42,), severity=INFO,
        targets=ANY_TARGET,
    ),
)  # fmt: skip
