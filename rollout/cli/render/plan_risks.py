"""What a reviewer weighs: numbers on top, nodes left out, findings by remedy, waivers, waits, consent."""

from __future__ import annotations

from collections.abc import Iterator

from rollout.cli.render.approvals import consent_blocks
from rollout.cli.render.blocks import Bullets, Heading, Para, Table, Tone
from rollout.cli.render.plan_view import PlanView, lasts, names
from rollout.cli.render.report_parts import Part, Tile, Tiles
from rollout.cli.render.words import count
from rollout.domain.plan import Finding, Going
from rollout.domain.policy import Waiver

RISKS = "At a glance"
TONES = {
    "info": Tone.PLAIN,
    "warn": Tone.CARE,
    "waived": Tone.CARE,
    "block": Tone.BAD,
    "unknown": Tone.BAD,
    "pass": Tone.GOOD,
}
_ORDER = {"block": 0, "unknown": 1, "waived": 2, "warn": 3, "info": 4}


def risks(view: PlanView) -> Tiles:
    """The plan's numbers that people ask for first; those that need care are marked."""
    found, plan = view.summary, view.plan
    owners = sum(1 for owner in plan.blast.owners if owner.rolls_agents)
    rows = [
        Tile(f"{found.nodes:,} of {plan.cluster.fleet:,}", "nodes move", Tone.PLAIN, "nodes"),
        _tile(found.reboots, "nodes are rebooted", "reboots"),
        Tile(f"{found.evictions:,}", "pods are evicted", Tone.PLAIN, "evictions"),
        _tile(found.going[Going.WAITS], "of them wait for something", "waits"),
        _tile(found.single, "are the only one of their workload", "single", Tone.BAD),
        _tile(found.scratch, "lose emptyDir data", "evictions"),
        _tile(found.stragglers, "tolerate every taint", "stragglers"),
        _tile(found.going[Going.NEVER], "can never go", "waits", Tone.BAD),
        _tile(found.excluded, "nodes are left out", "excluded"),
        _tile(found.statuses.get("warn", 0), "warnings", "findings"),
        _tile(len(plan.policy.waivers), "waivers", "findings"),
        _tile(len(plan.blast.changes), "other objects select differently", "blast"),
    ]
    if found.unowned:
        rows.append(_tile(found.unowned, "pods nobody replaces", "evictions", Tone.BAD))
    if owners:
        rows.append(_tile(owners, "others may restart agents", "blast"))
    if plan.estimate is not None:
        rows.append(Tile(lasts(plan.estimate.low_s, plan.estimate.high_s), "it takes", Tone.PLAIN, "estimate"))
    if view.consent is not None:
        rows.append(_tile(view.consent.missing, "approvals are missing", "approvals"))
    return Tiles(tuple(rows))


def _tile(number: int, words: str, source: str, tone: Tone = Tone.CARE) -> Tile:
    return Tile(f"{number:,}", words, tone if number else Tone.GOOD, source)


def approvals(view: PlanView) -> Iterator[Part]:
    """Who consents, whose consent does not count, and what is missing."""
    yield Heading("Approvals")
    rules = view.plan.policy.approval
    asked = "the plan asks for " + ("1 person" if rules.count == 1 else f"{rules.count} different people")
    more = [
        "each signed" if rules.signed else "",
        "" if rules.own_plans else "not by who made it",
        f"of {names(rules.approvers)}" if rules.approvers else "",
    ]
    yield Para(", ".join([asked, *(text for text in more if text)]))
    if not view.known:
        yield Para("this state does not know the plan, so its approvals cannot be told", Tone.CARE)
    elif view.consent is not None:
        yield from consent_blocks(view.consent)


def excluded(view: PlanView) -> Iterator[Part]:
    """Nodes that stay as they are; those with equal reasons together."""
    if not view.plan.excluded:
        return
    yield Heading("Nodes left out")
    rows = [(each.node, reason) for each in view.plan.excluded for reason in each.reasons]
    yield from view.table(("node", "why"), rows, "reasons")


def findings(view: PlanView) -> Iterator[Part]:
    """Preflight rows that did not simply pass, by what is to be done."""
    found = view.summary.statuses
    yield Heading("Preflight")
    passed = found.get("pass", 0)
    grouped = _grouped(view.plan.findings)
    yield Para(f"{passed:,} passed; what to know, by remedy:" if grouped else f"all {passed:,} passed")
    if grouped:
        rows = [
            (_remedy(f), f.status, f.rule, f.message, names(nodes) if nodes != ["cluster"] else "cluster", f.source)
            for f, nodes in grouped
        ]
        tones = [TONES.get(f.status, Tone.PLAIN) for f, _ in grouped]
        headers = ("what to do", "status", "rule", "finding", "where", "source")
        yield from view.table(headers, rows, "findings", tones)


def _remedy(finding: Finding) -> str:
    return finding.remedy or "nothing: know it"


def _grouped(every: tuple[Finding, ...]) -> list[tuple[Finding, list[str]]]:
    """Findings alike but for their node, with the nodes; by remedy, the worst first."""
    groups: dict[tuple[str, ...], tuple[Finding, list[str]]] = {}
    for finding in every:
        if finding.status != "pass":
            key = (finding.remedy, finding.rule, finding.status, finding.message, finding.source)
            groups.setdefault(key, (finding, []))[1].append(finding.node or "cluster")
    worst: dict[str, int] = {}
    for finding, _ in groups.values():
        rank = _ORDER.get(finding.status, 9)
        worst[finding.remedy] = min(rank, worst.get(finding.remedy, 9))
    return sorted(groups.values(), key=lambda row: (worst[row[0].remedy], row[0].remedy, row[0].rule, row[1]))


def waivers(view: PlanView) -> Iterator[Part]:
    """Rules that somebody lifted."""
    if view.plan.policy.waivers:
        yield Heading("Waivers")
        rows = [_waiver(each) for each in view.plan.policy.waivers]
        yield Table(("rule", "asked for by", "why", "for nodes"), tuple(rows))


def _waiver(waiver: Waiver) -> tuple[str, ...]:
    return waiver.rule, waiver.by, waiver.reason, names(waiver.nodes) or "all"


def drain(view: PlanView) -> Iterator[Part]:
    """What the drain proof found: who waits for what, under which budgets, in which namespaces."""
    found = view.summary
    yield Heading("What the drain proof says")
    going = found.going
    yield Bullets(
        (
            f"{going[Going.NOW]:,} pods go at once",
            f"{going[Going.WAITS]:,} wait for something that will happen by itself",
            f"{going[Going.NEVER]:,} can never go"
            + (": their nodes must not be planned" if going[Going.NEVER] else "; nodes with such pods are left out"),
            f"{count(found.single, 'pod')} evicted alone: the workload has no other, so it is away until it is back",
        )
    )
    if found.reasons_to_wait:
        rows = [(f"{pods:,}", why or "not told", remedy or "-") for why, remedy, pods in found.reasons_to_wait]
        yield from view.table(("pods", "wait, e.g. because", "what shortens it"), rows, "reasons")
    if found.budget_waits:
        waits = [(row.budget, f"{row.waits:,}", f"{row.pods:,}") for row in found.budget_waits]
        yield from view.table(("budget", "evictions that wait", "of evictions"), waits, "budgets")
    if found.namespaces:
        places = [(row[0], *(f"{number:,}" for number in row[1:])) for row in found.namespaces]
        yield from view.table(("namespace", "evicted", "wait", "only one of workload"), places, "namespaces")
