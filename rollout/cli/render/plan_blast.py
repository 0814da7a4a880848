"""What else changes because of what a plan writes: selections, agent settings, owners, load on the API."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rollout.cli.render.blocks import Bullets, Heading, Para, Table, Tone
from rollout.cli.render.plan_view import PlanView, names
from rollout.cli.render.report_parts import Part
from rollout.domain.plan import ConfigOwner, NodePlan, SelectionChange


def blast(view: PlanView) -> Iterator[Part]:
    """Everything a label, a taint or an object of ours does to others."""
    yield from _selections(view)
    yield from _effective(view)
    yield from _owners(view)
    yield from _load(view)


def _selections(view: PlanView) -> Iterator[Part]:
    found = view.plan.blast
    yield Heading("What else selects on our labels and taints")
    if found.changes:
        rows = [_selection(change) for change in found.changes]
        headers = ("object", "because of", "then selects", "no longer selects", "what follows")
        yield from view.table(headers, rows, "objects")
    else:
        yield Para("nothing that was looked at")
    looked = ", ".join(f"{number:,} {kind}" for kind, number in sorted(found.looked_at.items()))
    if looked:
        yield Para(f"looked at: {looked}")
    if found.unseen:
        rows = [(kind, why) for kind, why in sorted(found.unseen.items())]
        yield Para("what could not be looked at, so nothing is known of it:", Tone.CARE)
        yield Table(("kind", "why"), tuple(rows), (Tone.CARE,) * len(rows))


def _selection(change: SelectionChange) -> tuple[str, ...]:
    place = f"{change.namespace}/" if change.namespace else ""
    cut = f" and {change.cut:,} more" if change.cut else ""
    return (
        f"{change.kind} {place}{change.name}",
        change.cause,
        names(change.gains) + (cut if change.gains else ""),
        names(change.loses) + (cut if change.loses and not change.gains else ""),
        change.consequence,
    )


def _effective(view: PlanView) -> Iterator[Part]:
    """Settings that change, nodes with equal changes counted together."""
    yield Heading("Effective agent settings")
    changes: Counter[tuple[str, ...]] = Counter()
    for node in view.plan.nodes:
        changes.update(config_rows(node))
    rows = [(*row, f"{number:,}") for row, number in sorted(changes.items())]
    headers = ("setting", "before", "from", "after", "from", "nodes")
    yield from view.table(headers, rows, "settings")
    kept = Counter(
        (key, value)
        for node in view.plan.nodes
        for key, value in node.facts.effective.items()
        if key not in node.config_change
    )
    if kept:
        yield Para("that matter to the switch and stay as they are:")
        rows = [(*pair, f"{number:,}") for pair, number in sorted(kept.items())]
        yield from view.table(("setting", "value", "nodes"), rows, "settings")


def config_rows(node: NodePlan) -> Iterator[tuple[str, ...]]:
    """Setting, value before and where from, value after and where from."""
    for key, (before, after) in sorted(node.config_change.items()):
        was, becomes = node.config_sources.get(key, ("", ""))
        yield key, before or "(unset)", was or "-", after or "(unset)", becomes or "-"


def _owners(view: PlanView) -> Iterator[Part]:
    owners = view.plan.blast.owners
    if owners:
        yield Heading("Who else changes the agent")
        rows = tuple(_owner(owner) for owner in owners)
        tones = tuple(Tone.CARE if owner.rolls_agents else Tone.PLAIN for owner in owners)
        yield Table(("owner", "restarts agents by itself", "how it was seen", "what to do"), rows, tones)


def _owner(owner: ConfigOwner) -> tuple[str, ...]:
    rolls = "yes" if owner.rolls_agents else "no"
    return f"{owner.kind} {owner.name}".strip(), rolls, owner.evidence, owner.advice or "-"


def _load(view: PlanView) -> Iterator[Part]:
    asked = view.plan.blast.api_requests
    if asked:
        yield Heading("Load on the Kubernetes API")
        most_first = sorted(asked.items(), key=lambda row: (-row[1], row[0]))
        rows = [(purpose, f"{number:,}") for purpose, number in most_first]
        yield Table(("for", "requests"), tuple(rows))
        yield Bullets(("nodes and pods are watched, never polled",))
