"""Running pods whose rules name our label, and what selects our own probe pods.

Pods of one template share one `Scheduling` value, so a cluster of 150,000 pods is a few hundred values to look at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rollout.domain.inventory import ClusterSnapshot
from rollout.domain.node import LABEL_MANAGED_BY, LABEL_MODE, LABEL_PROBE, MANAGER, Pod
from rollout.domain.plan import SelectionChange
from rollout.domain.policy import Policy
from rollout.domain.scheduling import LabelRequirement, Scheduling, selector_matches
from rollout.planning.blast.selectors import OUR_LABEL, names_our_label
from rollout.planning.blast.writes import Relabelled, change, gains_and_loses

_PROBE_LABELS = {LABEL_MANAGED_BY: MANAGER, LABEL_PROBE: ""}
_POLICIES = ("NetworkPolicy", "CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy")

_STAY = "running pods stay where they are; those made later may be placed on the nodes gained, not on those lost"
_DOMAINS = "its topology key is our label: nodes relabelled become another domain, which changes where pods fit"


def pod_changes(pods: Sequence[Pod], written: Sequence[Relabelled]) -> Iterator[SelectionChange]:
    """By owner: pods whose node selector, required affinity, spread or (anti-)affinity topology names our label."""
    if not written:
        return
    for (kind, namespace, name), rules in sorted(_owners_of_interest(pods).items()):
        if names_our_label(rules):
            gains, loses = gains_and_loses(rules.admits, written)
            if gains or loses:
                yield change(kind, namespace, name, cause=OUR_LABEL, consequence=_STAY, gains=gains, loses=loses)
        if _spreads_over_our_label(rules):
            names = [node.name for node in written]
            yield change(kind, namespace, name, cause=OUR_LABEL, consequence=_DOMAINS, gains=names)


def _owners_of_interest(pods: Sequence[Pod]) -> dict[tuple[str, str, str], Scheduling]:
    """Rules that name our label, by who owns the pods; a pod without owner stands for itself."""
    of_interest: dict[int, bool] = {}
    found: dict[tuple[str, str, str], Scheduling] = {}
    for pod in pods:
        rules = pod.scheduling
        known = of_interest.get(id(rules))
        if known is None:
            known = of_interest[id(rules)] = names_our_label(rules) or _spreads_over_our_label(rules)
        if known and pod.owner_kind != "DaemonSet" and not pod.finished:
            owner = (pod.owner_kind, pod.ref.namespace, pod.owner_name)
            found[owner if pod.owner_kind else ("Pod", pod.ref.namespace, pod.ref.name)] = rules
    return found


def _spreads_over_our_label(rules: Scheduling) -> bool:
    keys = [term.topology_key for term in rules.spread]
    keys += [term.topology_key for term in (*rules.affinity, *rules.anti_affinity)]
    return LABEL_MODE in keys


def probe_pod_changes(cluster: ClusterSnapshot, policy: Policy) -> Iterator[SelectionChange]:
    """Budgets and network policies of others that would take our own probe pods for theirs."""
    namespace = policy.probes.namespace
    for budget in cluster.budgets:
        selects = budget.selects_all or bool(budget.match_labels or budget.match_expressions)
        if budget.namespace == namespace and selects and _matches_probe(budget.match_labels, budget.match_expressions):
            yield change(
                "PodDisruptionBudget", namespace, budget.name,
                cause="our probe pods",
                consequence="it counts them; they are deleted, never evicted, so it does not hold the rollout up",
            )  # fmt: skip
    for one in cluster.of_kind(*_POLICIES):
        everywhere = one.kind == "CiliumClusterwideNetworkPolicy"
        if one.selects != "pods" or one.selector is None or not (everywhere or one.namespace == namespace):
            continue
        own = one.labels.get(LABEL_MANAGED_BY) == MANAGER
        if not own and _matches_probe(dict(one.selector.labels), one.selector.expressions):
            yield change(
                one.kind, one.namespace, one.name,
                cause="our probe pods",
                consequence="it applies to them: what it forbids fails in their requests before and after alike",
            )  # fmt: skip


def _matches_probe(labels: Mapping[str, str], expressions: tuple[LabelRequirement, ...]) -> bool:
    return selector_matches(labels, expressions, _PROBE_LABELS)
