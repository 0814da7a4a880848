"""Are all endpoint links of the wanted kind? The kernel is the truth."""

from __future__ import annotations

from rollout.domain.node import LINK_KIND_OF, DatapathMode
from rollout.domain.observed import AgentState, LinkTable
from rollout.domain.verdict import Status, Verdict

LINKS = "links"


def judge_links(node: str, links: LinkTable | None, agent: AgentState | None, target: DatapathMode) -> Verdict:
    """Every endpoint host link is of the target's kind, and the table covers every endpoint the agent knows.

    An empty table is inconclusive: a Cilium node has at least its health endpoint, unless health checking is off.
    """
    if links is None:
        return Verdict(LINKS, node, Status.INCONCLUSIVE, "the kernel's link table could not be read")
    wanted = LINK_KIND_OF[target]
    evidence = {"wanted": wanted.value, "counts": links.counts()}
    strays = links.other_than(wanted)
    if strays:
        names = ", ".join(f"{link.name} ({link.kind.value})" for link in strays[:5])
        return Verdict(
            LINKS, node, Status.FAIL, f"{len(strays)} endpoint link(s) are not {wanted.value}: {names}", evidence
        )
    known = {link.name for link in links.links}
    missing = sorted(set(agent.endpoint_links) - known) if agent else []
    if missing:
        return Verdict(
            LINKS,
            node,
            Status.INCONCLUSIVE,
            f"the agent names links the kernel did not list: {', '.join(missing[:5])}",
            evidence | {"missing": missing},
        )
    if not links.links:
        return Verdict(LINKS, node, Status.INCONCLUSIVE, "there is no endpoint link at all to judge by", evidence)
    return Verdict(LINKS, node, Status.PASS, f"all {len(links.links)} endpoint links are {wanted.value}", evidence)
