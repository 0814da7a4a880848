"""Each pod of each planned node: goes now, waits for something, or never goes.

`prove` is cumulative, since neither the budgets' status nor the server's dry run tells what several nodes in flight do
together. Its parts: `budgets` counts, `places` finds places, `flight` runs the rounds, `words` says it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from rollout.domain.inventory import Inventory
from rollout.domain.limits import LimitIndex
from rollout.domain.node import Method, Node, Pod
from rollout.domain.plan import Going, Limit, Wave
from rollout.domain.policy import Policy
from rollout.planning.drain import Fate, fates
from rollout.planning.facts import prior_unschedulable
from rollout.planning.proof import words
from rollout.planning.proof.budgets import never_allows
from rollout.planning.proof.flight import Flight
from rollout.planning.proof.places import Places
from rollout.planning.proof.replicas import Replica, Roster

ASSUMPTIONS = (
    "a replacement is as Ready as the pod it replaces, once it has a place",
    "priorities are ignored: nothing is preempted",
    "StatefulSets replace their pods in order",
    "pods of other schedulers find a place",
)
"""What the proof takes for granted; for the reviewer."""


@dataclass(frozen=True, slots=True)
class PodProof:
    """What the proof says of one pod that must be evicted."""

    pod: Pod
    going: Going
    budgets: tuple[str, ...] = ()
    why: str = ""
    remedy: str = ""
    lands_on: str = ""
    """Where its replacement goes first; the node itself when it comes back there."""
    note: str = ""
    """What else is worth knowing, whether it goes or not."""


@dataclass(frozen=True, slots=True)
class DrainProof:
    """The proof for every node of the waves."""

    nodes: Mapping[str, tuple[PodProof, ...]]
    """Pods to evict, in name order, by node."""
    guests: Mapping[str, tuple[PodProof, ...]] = field(default_factory=dict)
    """Pods of other nodes that were moved to a node and never go again from there, by that node."""

    def never(self, node: str) -> tuple[PodProof, ...]:
        """Pods of a node that no waiting sets free."""
        own = tuple(p for p in self.nodes.get(node, ()) if p.going is Going.NEVER)
        return own or self.guests.get(node, ())


def never_empties(inventory: Inventory, policy: Policy, node: Node, method: Method) -> tuple[str, ...]:
    """Why a node can never be emptied, whatever the order; empty when it can. Each names the pod and the remedy."""
    reasons = []
    for fate in fates(inventory.pods_on(node.name), policy.drain):
        if fate.fate is Fate.BLOCKED and not (fate.pod.mirror and method is Method.REBOOT):
            reasons.append(f"pod {fate.pod.ref}: {fate.reason}")
        elif fate.fate is Fate.EVICT:
            reasons += _never_by_budget(inventory, fate.pod)
    return tuple(reasons)


def _never_by_budget(inventory: Inventory, pod: Pod) -> list[str]:
    if pod.terminating or pod.phase == "Pending":
        return []
    budgets = inventory.cluster.budget_index.of(pod)
    if len(budgets) > 1:
        return [f"pod {pod.ref}: {'; '.join(words.two_budgets(budgets))}"]
    if budgets and pod.ready and never_allows(budgets[0]):
        return [f"pod {pod.ref}: {'; '.join(words.never_allowed(budgets[0], pod))}"]
    return []


def prove(inventory: Inventory, policy: Policy, waves: Sequence[Wave], limits: Sequence[Limit]) -> DrainProof:
    """Evict every pod of every wave's nodes in order, in thought, and tell what becomes of each.

    Within a wave nodes are in flight together as `limits` and `max_unavailable` allow.
    """
    cluster = inventory.cluster
    nodes = sorted(cluster.nodes, key=lambda node: node.name)
    names = [node.name for node in nodes]
    wanted = {name for wave in waves for name in wave.nodes}
    planned = [number for number, name in enumerate(names) if name in wanted]
    roster = Roster(cluster, policy.drain, planned, names)
    before = {number: tuple(roster.on[number]) for number in planned}
    waiting = [policy.soft_taint and name in wanted for name in names]
    places = Places(cluster, nodes, roster.book, waiting)
    cordoned = frozenset(number for number, node in enumerate(nodes) if prior_unschedulable(node))
    index = LimitIndex(limits, policy.max_unavailable, len(nodes))
    flight = Flight(nodes, roster, places, index, cordoned)
    flight.fly(waves)
    guests = {
        names[number]: tuple(_guest(replica, places) for replica in stuck)
        for number, stuck in sorted(flight.stuck.items())
    }
    return DrainProof(
        {names[number]: tuple(_proof(replica, places) for replica in before[number]) for number in planned},
        {name: proofs for name, proofs in guests.items() if proofs},
    )


def _proof(replica: Replica, places: Places) -> PodProof:
    pod = replica.pod
    notes = [*replica.notes, *words.risks(pod, over_cordon=places.over_cordon(replica.kind))]
    return PodProof(
        pod=pod,
        going=replica.going or Going.NOW,
        budgets=tuple(allowance.name for allowance in replica.allowances),
        why=replica.why,
        remedy=replica.remedy,
        lands_on=replica.lands_on,
        note="; ".join(notes),
    )


def _guest(replica: Replica, places: Places) -> PodProof:
    why, remedy = replica.stuck or ("", "")
    return replace(_proof(replica, places), going=Going.NEVER, why=f"moved here from its node, {why}", remedy=remedy)
