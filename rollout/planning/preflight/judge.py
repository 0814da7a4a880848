"""Every row judged, waivers applied, and what came of it as findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rollout.domain.inventory import Inventory
from rollout.domain.node import Node
from rollout.domain.observed import (
    PROBE_AGENT,
    PROBE_CAPABILITY,
    PROBE_HOST,
    PROBE_LINKS,
    parse_agent,
    parse_capability,
    parse_host,
    parse_links,
)
from rollout.domain.plan import Finding
from rollout.domain.policy import Policy, Waiver
from rollout.planning.preflight.catalogue import CATALOGUE, UNUSED_WAIVER
from rollout.planning.preflight.context import Context
from rollout.planning.preflight.row import BLOCK, EVERY, INFO, PASS, UNKNOWN, WARN, Facts, Row

WAIVED = "waived"
STOPPING = (BLOCK, UNKNOWN)
_RANK = {PASS: 0, INFO: 1, WARN: 2, UNKNOWN: 3, BLOCK: 3}


def judge_preflight(
    inventory: Inventory, policy: Policy, nodes: tuple[Node, ...], *, mending: bool = False
) -> tuple[Finding, ...]:
    """Every row judged, in catalogue order: cluster rows once, node rows for each of `nodes`, waivers applied.

    A node row that holds gives one finding with the number of nodes it holds on, so that a plan of thousands of nodes
    stays readable; one that does not hold gives one for each node. `mending`: the plan takes something back, so rows
    about a node's present health only warn.
    """
    rows = [row for row in CATALOGUE if policy.target in row.targets and row is not UNUSED_WAIVER]
    context = Context(inventory, policy, nodes)
    judging = _Judging(policy, mending)
    found: dict[str, list[Finding]] = {row.id: [] for row in rows}
    held: dict[str, dict[str, int]] = {row.id: {} for row in rows}
    whole = Facts(context)
    for row in rows:
        if not row.per_node and row.agents.covers(context.version):
            found[row.id].append(judging.finding(row, *row.judge(whole), ""))
    of_nodes = [row for row in rows if row.per_node and row.agents.covers(context.version)]
    for node in nodes:
        facts = _node_facts(context, node)
        for row in of_nodes:
            if row.kernels is not EVERY and not row.kernels.covers(facts.kernel):
                continue
            status, message = row.judge(facts)
            if status == PASS:
                messages = held[row.id]
                messages[message] = messages.get(message, 0) + 1
            else:
                found[row.id].append(judging.finding(row, status, message, node.name))
    return tuple(
        one for row in rows for one in (*_held(row, held[row.id], nodes, found[row.id]), *found[row.id])
    ) + tuple(judging.unused())


def stopping(findings: Iterable[Finding]) -> Mapping[str, tuple[Finding, ...]]:
    """Findings that stop a node, by node; those about the whole cluster under the empty name."""
    found: dict[str, list[Finding]] = {}
    for one in findings:
        if one.status in STOPPING:
            found.setdefault(one.node, []).append(one)
    return {node: tuple(rows) for node, rows in found.items()}


def _held(row: Row, messages: Mapping[str, int], nodes: tuple[Node, ...], telling: list[Finding]) -> list[Finding]:
    """One finding for all the nodes on which a row holds."""
    count = sum(messages.values())
    if not count:
        return []
    if len(nodes) == 1:
        return [Finding(row.id, nodes[0].name, PASS, next(iter(messages)), "", row.source, count=1)]
    words = next(iter(messages)) if len(messages) == 1 else row.claim
    where = "all" if not telling else "the other"
    return [Finding(row.id, "", PASS, f"on {where} {count} nodes: {words}", "", row.source, count=count)]


class _Judging:
    """Turns judgements into findings, and remembers which waivers lifted something."""

    def __init__(self, policy: Policy, mending: bool) -> None:
        self._waivers: dict[str, list[Waiver]] = {}
        for waiver in policy.waivers:
            self._waivers.setdefault(waiver.rule, []).append(waiver)
        self._mending = mending
        self._used: set[int] = set()

    def finding(self, row: Row, status: str, message: str, node: str) -> Finding:
        if _RANK[status] > _RANK[row.severity]:
            status = row.severity
        if status == PASS:
            return Finding(row.id, node, PASS, message, "", row.source)
        if self._mending and row.health and status in STOPPING:
            status = WARN
        if status in STOPPING and row.waivable:
            waiver = next((w for w in self._waivers.get(row.id, ()) if not w.nodes or node in w.nodes), None)
            if waiver is not None:
                self._used.add(id(waiver))
                words = f"{message} (waived by {waiver.by}: {waiver.reason})"
                return Finding(row.id, node, WAIVED, words, "", row.source)
        return Finding(row.id, node, status, message, row.remedy, row.source)

    def unused(self) -> Iterable[Finding]:
        """A warning for each waiver that lifted nothing, in the policy's order."""
        for waivers in self._waivers.values():
            for waiver in waivers:
                if id(waiver) not in self._used:
                    words = f"the waiver of {waiver.rule} by {waiver.by} lifts nothing"
                    row = UNUSED_WAIVER
                    yield Finding(row.id, "", WARN, words, row.remedy, row.source)


def _node_facts(context: Context, node: Node) -> Facts:
    seen = {
        probe: context.inventory.observation(node.name, probe)
        for probe in (PROBE_LINKS, PROBE_AGENT, PROBE_CAPABILITY, PROBE_HOST)
    }
    needed = (PROBE_LINKS, PROBE_AGENT, PROBE_CAPABILITY)
    errors = sorted({o.error for p in needed if (o := seen[p]) is not None and o.error})
    return Facts(
        context,
        node,
        parse_links(seen[PROBE_LINKS]),
        parse_agent(seen[PROBE_AGENT]),
        parse_capability(seen[PROBE_CAPABILITY]),
        parse_host(seen[PROBE_HOST]),
        "; ".join(errors) or "it was not observed",
        tuple(pod for pod in context.inventory.pods_on(node.name) if not pod.finished),
    )
