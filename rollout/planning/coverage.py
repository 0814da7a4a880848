"""How much of the fleet as it is now is on the target, and what the rest waits for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from rollout.domain.inventory import Inventory, Observation
from rollout.domain.node import LINK_KIND_OF, DatapathMode, Node
from rollout.domain.observed import PROBE_AGENT, PROBE_LINKS, LinkTable, parse_agent, parse_links
from rollout.domain.plan import Finding, Plan
from rollout.domain.policy import Policy
from rollout.planning.adopt import not_adoptable


class Standing(Enum):
    """Where one node of the fleet stands."""

    ON_TARGET = "on target"
    """Every endpoint link is of the target's kind, by the kernel, and the agent does not say otherwise."""
    TO_ADOPT = "to adopt"
    """In the old mode without an endpoint of it: a label and a restart are enough."""
    TO_DO = "to do"
    EXEMPT = "exempt"
    """The policy does not speak of it, or a rule keeps it where it is."""
    UNKNOWN = "unknown"
    """It could not be told, which is never taken for fine."""


@dataclass(frozen=True, slots=True)
class NodeStanding:
    """One node. `joined`: it was not there, or was another machine, when the plan compared with was made."""

    node: str
    standing: Standing
    why: str = ""
    joined: bool = False


@dataclass(frozen=True, slots=True)
class Coverage:
    """All nodes of the cluster now, in name order, and planned ones that are gone."""

    target: DatapathMode
    nodes: tuple[NodeStanding, ...]
    vanished: tuple[str, ...] = ()
    since: str = ""
    """Digest of the plan that `joined` and `vanished` are compared with; empty without one."""

    @property
    def counts(self) -> Mapping[Standing, int]:
        """Nodes by standing, every one named."""
        return {each: sum(1 for node in self.nodes if node.standing is each) for each in Standing}

    @property
    def permille(self) -> int:
        """Nodes on target, in thousandths of the whole fleet, rounded down: 1000 only when it is all of them."""
        return self.counts[Standing.ON_TARGET] * 1000 // len(self.nodes) if self.nodes else 0


def coverage(
    inventory: Inventory, policy: Policy, chosen: Sequence[Node], findings: Sequence[Finding], plan: Plan | None = None
) -> Coverage:
    """Judge every node of the fleet. `chosen`: those the policy speaks of; `findings`: preflight's, on these."""
    blocks: dict[str, str] = {}
    for finding in findings:
        if finding.status == "block":
            blocks.setdefault(finding.node, f"{finding.rule}: {finding.message}")
    wanted = {node.name for node in chosen}
    known = _uids(plan)
    fleet = sorted(inventory.cluster.nodes, key=lambda n: n.name)
    rows = []
    for node in fleet:
        standing, why = _standing(inventory, policy, node, node.name in wanted, blocks)
        joined = plan is not None and known.get(node.name, "") not in ("?", node.uid)
        rows.append(NodeStanding(node.name, standing, why, joined))
    there = {node.name: node.uid for node in fleet}
    vanished = sorted(n for n, uid in known.items() if n not in there or (uid != "?" and there[n] != uid))
    return Coverage(policy.target, tuple(rows), tuple(vanished), plan.digest if plan else "")


def _uids(plan: Plan | None) -> dict[str, str]:
    """Nodes a plan knew, with their UIDs; of those it left out only the name is known."""
    if plan is None:
        return {}
    return {each.node: "?" for each in plan.excluded} | {node.name: node.facts.uid for node in plan.nodes}


def _standing(
    inventory: Inventory, policy: Policy, node: Node, wanted: bool, blocks: Mapping[str, str]
) -> tuple[Standing, str]:
    seen = inventory.observation(node.name, PROBE_LINKS)
    links = parse_links(seen)
    if links is None:
        return Standing.UNKNOWN, (seen.error if seen else "") or "its links could not be looked at"
    agent = parse_agent(inventory.observation(node.name, PROBE_AGENT))
    mode = agent.mode if agent else ""
    other = links.other_than(LINK_KIND_OF[policy.target])
    if not other and mode == policy.target.value:
        return Standing.ON_TARGET, ""
    if not other and not mode:
        return (Standing.ON_TARGET, "by its links; the agent did not say") if links.links else (
            Standing.UNKNOWN,
            "it has no endpoint, and the agent did not say its mode",
        )  # fmt: skip
    if not wanted:
        return Standing.EXEMPT, "the policy does not speak of it"
    block = blocks.get(node.name) or blocks.get("")
    if block:
        return Standing.EXEMPT, block
    if not not_adoptable(inventory, policy, node):
        return Standing.TO_ADOPT, f"the agent is in mode {mode or 'not told'}"
    return Standing.TO_DO, _links_words(links)


def is_on_target(seen: Mapping[str, Observation], target: DatapathMode) -> bool | None:
    """Whether a node's kernel and agent are in the mode `target`; None when that could not be told.

    No endpoint of another kind, and an agent in that mode: an agent that is not up yet could not be told.
    """
    links, agent = parse_links(seen.get(PROBE_LINKS)), parse_agent(seen.get(PROBE_AGENT))
    if links is None:
        return None
    if links.other_than(LINK_KIND_OF[target]):
        return False
    if agent is None or not agent.mode:
        return None
    return agent.mode == target.value


def _links_words(links: LinkTable) -> str:
    found = links.counts(health=False)
    return ", ".join(f"{number} {kind}" for kind, number in found.items()) or "no endpoint"
