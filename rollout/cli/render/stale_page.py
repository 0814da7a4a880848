"""What moved since a plan was made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rollout.app.stale import Staleness
from rollout.cli.render.blocks import Block, Commands, Heading, Page, Pairs, Para, Table, Tone
from rollout.cli.render.words import count, moment
from rollout.domain.codec import to_plain
from rollout.planning.drift import Drift


def stale_page(found: Staleness) -> Page:
    """What is the same for every node once, then node by node."""
    return list(_page(found))


def _page(found: Staleness) -> Iterator[Block]:
    digest, moved = found.plan.digest[:12], found.moved
    yield Heading(f"Plan {digest} against the cluster", 1)
    under_way = f"{count(found.begun, 'node')} under way or ended, not looked at" if found.begun else ""
    rows = (
        ("read at", moment(found.at)),
        ("nodes", f"{count(len(found.nodes), 'node')}, {len(moved)} of them moved"),
        ("left out", under_way),
    )
    yield Pairs(tuple((name, value) for name, value in rows if value))
    if not moved:
        yield Para("nothing that matters moved: the plan still fits", Tone.GOOD)
        return
    common = [drift for drift in moved[0].drifts if all(drift in node.drifts for node in found.nodes)]
    if common:
        yield Heading("For every node")
        yield _table([("every", drift) for drift in common])
    own = [(node.node, drift) for node in moved for drift in node.drifts if drift not in common]
    if own:
        yield Heading("Node by node")
        yield _table(own)
    yield Heading("Next")
    yield Commands(("rollout plan",))


def _table(rows: list[tuple[str, Drift]]) -> Table:
    return Table(
        ("node", "what moved", "planned", "now", "what to do"),
        tuple((node, drift.what, drift.planned, drift.now, drift.remedy) for node, drift in rows),
        tuple(Tone.CARE if drift.holds else Tone.BAD for _, drift in rows),
    )


def stale_values(found: Staleness) -> dict[str, Any]:
    """The same as plain values, for JSON."""
    return {
        "digest": found.plan.digest,
        "at": found.at.isoformat(),
        "begun": found.begun,
        "nodes": [{"node": node.node, "drifts": to_plain(node.drifts)} for node in found.nodes],
    }
