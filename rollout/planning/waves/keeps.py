"""Sets of which a number stays in service: those the policy names and those that are recognised."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from rollout.domain.errors import UsageError
from rollout.domain.inventory import Inventory
from rollout.domain.node import Pod
from rollout.domain.plan import Limit
from rollout.domain.policy import KeepRule, Policy
from rollout.domain.scheduling import selector_matches
from rollout.planning.waves.known import (
    ALL_BUT_ONE_NODE,
    HALF,
    KNOWN_NODE_OBJECTS,
    KNOWN_NODE_SETTINGS,
    set_name,
    set_of,
)
from rollout.planning.waves.members import Members, counted, kept


@dataclass(frozen=True, slots=True)
class Kept:
    """A limit that keeps a set, and nodes that may not go out at all without breaking it."""

    limit: Limit
    immovable: tuple[str, ...] = ()
    """Nodes whose members alone are more than the set can miss."""
    demanded: bool = False
    """The policy names it, so breaking it is no choice; a recognised set that has no spare goes out node by node."""


def keep_limits(inventory: Inventory, policy: Policy) -> tuple[Kept, ...]:
    """All sets to keep. Raises `UsageError` for a rule whose set is empty or smaller than what shall stay."""
    found = [_by_rule(inventory, rule) for rule in policy.keep]
    if policy.known_sets:
        found += _known(inventory)
    return tuple(found)


def _by_rule(inventory: Inventory, rule: KeepRule) -> Kept:
    members = counted(_hosts(inventory, rule))
    what = "nodes" if rule.nodes else "pods"
    if not members.total:
        raise UsageError(
            "keep-empty",
            f"cannot plan: keep rule {rule.name}: no {what[:-1]} has the labels {_labels(rule.nodes or rule.pods)}"
            + (f" in namespace {rule.namespace}" if rule.namespace else ""),
            hint="mend the labels, or take the rule out of policy.keep",
        )
    keep = kept(rule.keep, members.total)
    if keep > members.total:
        raise UsageError(
            "keep-too-many",
            f"cannot plan: keep rule {rule.name} wants {keep} {what} to stay, there are {members.total}",
            hint=f"keep at most {members.total - 1}, so that one may go",
        )
    why = f"keep rule {rule.name}: {keep} of {members.total} {what} stay"
    spare = members.spare(keep)
    return Kept(Limit(f"keep {rule.name}", members.nodes, members.most_out(spare), why), members.too_heavy(spare), True)


def _hosts(inventory: Inventory, rule: KeepRule) -> Iterable[str]:
    """The node of each member; a node is its own."""
    if rule.nodes:
        return (node.name for node in inventory.cluster.nodes if selector_matches(rule.nodes, (), node.labels))
    return (
        pod.node
        for pod in inventory.cluster.pods
        if _serves(pod)
        and (not rule.namespace or pod.ref.namespace == rule.namespace)
        and selector_matches(rule.pods, (), pod.labels)
    )


def _serves(pod: Pod) -> bool:
    return bool(pod.node) and not pod.finished and pod.owner_kind != "Job"


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


# --- recognised sets ---------------------------------------------------------------------------------------------


def _known(inventory: Inventory) -> list[Kept]:
    rows = [*_known_pods(inventory), *_known_nodes(inventory)]
    return [kept for kept in rows if kept is not None]


def _known_pods(inventory: Inventory) -> Iterable[Kept | None]:
    hosts: dict[str, list[str]] = {}
    rules: dict[str, tuple[str, str]] = {}
    for pod in inventory.cluster.pods:
        row = set_of(pod.labels) if pod.labels and _serves(pod) else None
        if row is not None:
            name = set_name(row, pod.ref.namespace, pod.labels)
            hosts.setdefault(name, []).append(pod.node)
            rules[name] = (row.keep, row.source)
    return [_recognised(name, counted(hosts[name]), *rules[name], what="pods") for name in sorted(hosts)]


def _known_nodes(inventory: Inventory) -> Iterable[Kept | None]:
    """Roles that objects or settings of Cilium give to nodes by their labels."""
    nodes, roles = inventory.cluster.nodes, []
    for one in inventory.cluster.of_kind(*KNOWN_NODE_OBJECTS):
        role, keep = KNOWN_NODE_OBJECTS[one.kind]
        if one.selector is not None and one.selects == "nodes":
            matches: Callable[[Mapping[str, str]], bool] = one.selector.matches
            roles.append((f"{role} {one.name}", keep, one.kind, [n.name for n in nodes if matches(n.labels)]))
    config = inventory.cluster.agent.config if inventory.cluster.agent else {}
    for key, role in KNOWN_NODE_SETTINGS.items():
        wanted = dict(pair.split("=", 1) for pair in config.get(key, "").split(",") if "=" in pair)
        if wanted:
            members = [n.name for n in nodes if selector_matches(wanted, (), n.labels)]
            roles.append((f"{role} nodes", HALF, f"setting {key}", members))
    return [
        _recognised(name, counted(names), keep, source, what="nodes") for name, keep, source, names in sorted(roles)
    ]


def _recognised(name: str, members: Members, keep: str, source: str, what: str) -> Kept | None:
    """A limit for a recognised set; None when one node alone hosts none or nothing could be kept by waiting."""
    if not members.total:
        return None
    if keep == ALL_BUT_ONE_NODE:
        alone = members.nodes if len(members.nodes) == 1 else ()
        why = f"{name} ({source}): one of its {len(members.nodes)} nodes at a time"
        return Kept(Limit(name, members.nodes, 1, why), alone)
    stay = kept(keep, members.total)
    spare = members.spare(stay)
    heavy, most = members.too_heavy(spare), members.most_out(spare)
    why = f"{name} ({source}): {stay} of {members.total} {what} stay"
    if heavy:
        why += f"; {', '.join(heavy[:5])} alone hosts more than the set can miss, so it is short while that node is out"
    return Kept(Limit(name, members.nodes, 1 if heavy else most, why), heavy)
