"""What preflight found, by remedy; a rule of the catalogue; the whole catalogue."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rollout.cli.render.blocks import Block, Heading, Page, Pairs, Para, Table, Tone
from rollout.cli.render.words import count
from rollout.domain.codec import to_plain
from rollout.domain.plan import Finding
from rollout.planning.preflight import Remedy, Row, by_remedy

_TONES = {"block": Tone.BAD, "unknown": Tone.BAD, "warn": Tone.CARE, "waived": Tone.CARE, "info": Tone.PLAIN}
_MOST_NAMES = 5
STOPS = ("block", "unknown")


def preflight_page(findings: tuple[Finding, ...]) -> Page:
    """Remedies, what blocks first, then sentence by sentence what was found; what holds is counted."""
    remedies = by_remedy(findings)
    page: list[Block] = [Heading("Preflight", 1), Para(_counted(findings))]
    if remedies:
        page.append(
            Table(
                ("severity", "what to do", "rules", "nodes"),
                tuple((r.status, r.text or "waived", ", ".join(r.rules), _where(r.nodes)) for r in remedies),
                tuple(_TONES[r.status] for r in remedies),
            )
        )
        page.append(Heading("What was found"))
        page.append(_found(remedies, findings))
    if any(one.status == "unknown" for one in findings):
        page.append(Para("unknown blocks like block: what could not be told is never taken for fine"))
    return page


def _counted(findings: tuple[Finding, ...]) -> str:
    of = {status: sum(1 for one in findings if one.status == status) for status in (*_TONES, "pass")}
    held = sum(max(1, one.count) for one in findings if one.status == "pass")
    return (
        f"{of['block'] + of['unknown']} blocking, {of['warn']} warnings, {of['waived']} waived, "
        f"{of['info']} to know about, {held} passed"
    )


def _found(remedies: tuple[Remedy, ...], findings: tuple[Finding, ...]) -> Table:
    statuses = {(one.rule, one.message): one.status for one in findings}
    rows = [(statuses[s.rule, s.message], s.rule, _names(s.nodes), s.message) for r in remedies for s in r.said]
    return Table(("severity", "rule", "node", "finding"), tuple(rows), tuple(_TONES[row[0]] for row in rows))


def _where(nodes: tuple[str, ...]) -> str:
    return f"{len(nodes)}" if nodes else "cluster"


def _names(nodes: tuple[str, ...]) -> str:
    if not nodes:
        return "cluster"
    shown = ", ".join(nodes[:_MOST_NAMES])
    return shown if len(nodes) <= _MOST_NAMES else f"{shown} and {len(nodes) - _MOST_NAMES} more"


def preflight_values(findings: tuple[Finding, ...]) -> dict[str, Any]:
    """The same as JSON: every finding, and the remedies."""
    return {"findings": to_plain(findings), "remedies": to_plain(by_remedy(findings))}


def rule_page(row: Row) -> Page:
    """One row of the catalogue: what it claims, why, and what mends it."""
    return [Heading(row.id, 1), Pairs(tuple((key, text) for key, text in _told(row).items() if text))]


def rule_values(row: Row) -> dict[str, Any]:
    """One row as JSON."""
    return {"rule": row.id, **_told(row)}


def _told(row: Row) -> dict[str, str]:
    return {
        "claim": row.claim,
        "severity": row.severity,
        "of": "node" if row.per_node else "cluster",
        "judged from": row.evidence,
        "remedy": row.remedy,
        "targets": ", ".join(sorted(target.value for target in row.targets)),
        "cilium": str(row.agents),
        "kernel": str(row.kernels),
        "waiver": f"none: {row.fixed}" if row.fixed else "may be waived by a person, with a reason",
        "source": row.source,
    }


def catalogue_page(rows: Iterable[Row]) -> Page:
    """Every row."""
    shown = tuple(rows)
    cells = tuple(
        (r.id, r.severity, "node" if r.per_node else "cluster", "netkit" if r.netkit_only else "any", r.claim, r.source)
        for r in shown
    )
    return [
        Heading("Preflight catalogue", 1),
        Para(f"{count(len(shown), 'rule')}; one of them in full: rollout preflight --rule RULE"),
        Table(("rule", "severity", "of", "target", "claim", "source"), cells),
    ]


def catalogue_values(rows: Iterable[Row]) -> dict[str, Any]:
    """Every row as JSON."""
    return {"rules": [rule_values(row) for row in rows]}
