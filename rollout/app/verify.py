"""Look at nodes now and judge them, outside any rollout. Read-only."""

from __future__ import annotations

from dataclasses import dataclass

from rollout.app.collect import collect
from rollout.app.world import World
from rollout.checks.catalog import judge_node, required_checks
from rollout.domain.inventory import Observation, effective_config
from rollout.domain.node import LINK_KIND_OF, DatapathMode
from rollout.domain.observed import PROBE_AGENT, PROBE_LINKS, LinkTable, parse_links
from rollout.domain.policy import Policy
from rollout.domain.verdict import Status, Verdict, merge
from rollout.planning.planner import select_nodes, source_mode


@dataclass(frozen=True, slots=True)
class NodeProof:
    """What a node is meant to be, what the kernel lists, and the verdicts."""

    node: str
    expected: DatapathMode
    links: LinkTable | None
    verdicts: tuple[Verdict, ...]
    status: Status


def verify(world: World, nodes: tuple[str, ...], expected: DatapathMode | None) -> tuple[NodeProof, ...]:
    """Observe nodes (all when none is named) and judge them against `expected`, else their effective configuration."""
    inventory = collect(world, nodes, (PROBE_LINKS, PROBE_AGENT))
    policy = Policy(target=expected or DatapathMode.VETH, nodes=nodes)
    proofs = []
    for node in select_nodes(inventory, policy):
        agent = inventory.cluster.agent
        told = effective_config(agent, inventory.cluster.node_configs, node.labels) if agent else {}
        mode = expected or _configured(told.get("datapath-mode", ""))
        mode = mode or source_mode(inventory, node) or DatapathMode.VETH
        seen: dict[str, Observation] = dict(inventory.observations.get(node.name, {}))
        verdicts = judge_node(node.name, seen, {}, mode)
        links = parse_links(seen.get(PROBE_LINKS))
        proofs.append(NodeProof(node.name, mode, links, verdicts, merge(verdicts, required_checks(mode))))
    return tuple(proofs)


def _configured(text: str) -> DatapathMode | None:
    """The configured mode; None for `auto` and words of later versions: then what the agent runs is expected."""
    return next((m for m in LINK_KIND_OF if m.value == (text or DatapathMode.VETH.value)), None)
