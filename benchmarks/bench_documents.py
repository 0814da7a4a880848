"""The HTML plan of a big fleet: its size, what making it costs, how long a browser takes to open and search it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from benchmarks.report import report
from rollout.cli.render.plan_view import PlanView
from rollout.cli.show import rendered
from rollout.domain.plan import Plan, decode_plan
from tests.support.browser import CHROMIUM, MISSING, Tab, browser, pages
from tests.support.plans import big_plan

NODES, PODS, BUDGETS = 5_000, 150_000, 2_000
EMPTY = "<!DOCTYPE html><meta charset=utf-8><title>empty</title><p>nothing"
FOUND = "document.getElementById('found').textContent"


@pytest.fixture(scope="module")
def plan() -> Plan:
    return big_plan(NODES, PODS, BUDGETS)


def _say(words: str) -> None:
    sys.stdout.write(f"\n{words}")


def test_forms_of_a_big_plan(plan: Plan) -> None:
    """CPU of each form against that of writing the plan's canonical text, and sizes."""
    before = time.process_time()
    document = plan.encode()
    encoding = time.process_time() - before
    before = time.process_time()
    decode_plan(document)
    reading = time.process_time() - before
    _say(f"plan: {len(document) / 1e6:.1f} MB, written in {encoding:.1f} s CPU, read in {reading:.1f}")
    view = PlanView(plan, plan.digest)
    for form in ("text", "md", "html"):
        before = time.process_time()
        size = len(rendered(view, form).encode())
        spent = time.process_time() - before
        _say(f"{form}: {size / 1e6:.2f} MB")
        report(f"{form} of {NODES:,} nodes: CPU against writing the plan", spent / encoding, 2.0)
        if form == "html":
            report("html: size", size / 1e6, 10.0, "MB")


@pytest.mark.skipif(not CHROMIUM, reason=MISSING)
def test_a_browser_opens_and_searches_it(plan: Plan, tmp_path: Path) -> None:
    """Wall time to open against an empty page, then of a search among all pods, and of printing."""
    full, empty = tmp_path / "plan.html", tmp_path / "empty.html"
    full.write_text(rendered(PlanView(plan, plan.digest), "html"), encoding="utf-8")
    empty.write_text(EMPTY, encoding="utf-8")
    with browser() as tab:
        tab.open(empty.as_uri())
        nothing = min(tab.open(empty.as_uri()) for _ in range(3))
        opening = min(tab.open(full.as_uri()) for _ in range(3))
        report(f"html of {PODS:,} pods: opening against an empty page ({opening:.2f} s)", opening / nothing, 60.0)
        searching = _search(tab, str(plan.nodes[-1].evictions[0].ref))
        report("html: finding one pod among all", searching, 1.0, "s")
        before = time.monotonic()
        printed = pages(tab.pdf())
        _say(f"html: {printed} pages printed in {time.monotonic() - before:.1f} s, one node shown")
        assert tab.complaints == []


def _search(tab: Tab, words: str) -> float:
    before = time.monotonic()
    tab.type_into("[name=words]", words)
    tab.until(f"{FOUND} === '1 nodes, 1 pods'", 30)
    return time.monotonic() - before
