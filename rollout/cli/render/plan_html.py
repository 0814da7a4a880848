"""A plan as one HTML file for its reviewers: page one to print, pictures, every node and pod to search.

Decision: the few hundred lines that a person reads are in the document; pods are plain data that a small script shows
node by node, since 150,000 rows of markup are neither small nor quick. The content security policy names the script and
the style by their hashes and allows nothing else, no request and no markup made by script.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from rollout.cli.render.blocks import Bullets, Heading
from rollout.cli.render.html import source, template
from rollout.cli.render.plan_facts import SOURCES
from rollout.cli.render.plan_nodes import FATES
from rollout.cli.render.plan_nodes import nodes as node_pages
from rollout.cli.render.plan_page import engineering, heading, stops, undone, what, when
from rollout.cli.render.plan_risks import RISKS, risks
from rollout.cli.render.plan_svg import gantt, zone_map
from rollout.cli.render.plan_table import GOING, PlanTable, script_json
from rollout.cli.render.plan_view import PlanView
from rollout.cli.render.plan_when import waves
from rollout.cli.render.report_parts import Figure, Part
from rollout.domain.plan import NodePlan
from rollout.planning.summary import waiting

WHOLE = 2_000
"""Pods up to which the page also lists all of them for readers without script."""
_CONTENTS = 30


@dataclass(frozen=True, slots=True)
class NodeRow:
    """One node's line: name, zone, wave, method, evicted, waiting, other pods."""

    cells: tuple[str, ...]
    tone: str


def render_plan(view: PlanView) -> str:
    """The whole document. Lists are never cut but where the page has them in its data."""
    full = replace(view, most=None, folded=True)
    style = source("report.css") + source("plan.css")
    script = source("plan.js")
    parts = _anchored([*_pictures(full), *engineering(full)])
    few = full.summary.evictions + full.summary.daemon_pods + full.summary.stragglers <= WHOLE
    return (
        template("plan.html.j2").render(
            title=f"Plan {view.id}",
            id=view.id,
            policy=_policy(script, style),
            style=style,
            script=script,
            data=script_json(PlanTable(full).values()),
            first=list(_first(full)),
            parts=parts,
            contents=[(p.anchor, p.text) for p in parts if isinstance(p, Heading) and p.anchor][:_CONTENTS],
            waves=view.plan.waves,
            fates=[fate for fate, _ in FATES],
            going=[each.value for each in GOING],
            nodes=_rows(full),
            whole=list(node_pages(full)) if few else [],
        )
        + "\n"
    )


def _policy(script: str, style: str) -> str:
    """Nothing but our own script and style, each by its hash; no script may make markup."""
    return (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; base-uri 'none'; "
        "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _first(view: PlanView) -> Iterator[Part]:
    yield from heading(view)
    yield Heading(RISKS)
    yield risks(view)
    yield Heading("What happens")
    yield Bullets(tuple(what(view)))
    yield Heading("When")
    yield Bullets(tuple(when(view)))
    yield Figure((gantt(view.plan),), "")
    yield Heading("How it stops")
    yield Bullets(tuple(stops(view.plan)))
    yield Heading("How it is undone")
    yield Bullets(tuple(undone(view.plan)))


def _pictures(view: PlanView) -> Iterator[Part]:
    yield Heading("Waves")
    yield from waves(view)
    yield Heading("Where nodes stand")
    yield Figure((zone_map(view.plan),), "Each square is a node; the darker, the later its wave.")


def _anchored(parts: list[Part]) -> list[Part]:
    """Headings with places to jump to."""
    return [replace(p, anchor=_anchor(n, p.text)) if isinstance(p, Heading) else p for n, p in enumerate(parts)]


def _anchor(number: int, text: str) -> str:
    return "sources" if text == SOURCES else f"part-{number}"


def _rows(view: PlanView) -> list[NodeRow]:
    plan = view.plan
    return [_row(plan.node(name), wave.number) for wave in plan.waves for name in wave.nodes]


def _row(node: NodePlan, wave: int) -> NodeRow:
    waits = waiting(node)
    other = len(node.daemon_pods) + len(node.stragglers)
    counts = (str(len(node.evictions)), str(waits), str(other))
    tone = "care" if waits or node.stragglers else ""
    return NodeRow((node.name, node.zone, str(wave), node.method.value, *counts), tone)
