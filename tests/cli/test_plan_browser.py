"""The HTML plan in a real browser: it opens, filters, shows details, prints, complains of nothing, asks for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout.cli.render.plan_view import PlanView
from rollout.cli.show import rendered
from rollout.domain.plan import Going, Plan
from tests.cli.plan_examples import full_view
from tests.support.browser import CHROMIUM, MISSING, Tab, browser, pages
from tests.support.plans import big_plan

pytestmark = [pytest.mark.skipif(not CHROMIUM, reason=MISSING), pytest.mark.xdist_group("browser")]

NODES = 1000


@pytest.fixture(scope="module")
def plan() -> Plan:
    return big_plan(NODES, 20_000, 200)


@pytest.fixture(scope="module")
def page(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("page") / "plan.html"
    file.write_text(rendered(PlanView(plan, plan.digest), "html"), encoding="utf-8")
    return file.as_uri()


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    with browser() as tab:
        yield tab


@pytest.fixture
def opened(tab: Tab, page: str) -> Iterator[Tab]:
    tab.requests.clear()
    tab.open(page)
    yield tab
    assert tab.complaints == []
    assert tab.requests == [page]


SHOWN = "Array.from(document.querySelectorAll('#nodes > :not([hidden])'), one => one.querySelector('span').textContent)"
FOUND = "document.getElementById('found').textContent"


def rows(tab: Tab) -> list[list[str]]:
    """Pods in the first open node."""
    return list(
        tab.run(
            "Array.from(document.querySelectorAll('#nodes > [open]:not([hidden]) tbody tr'), row => "
            "Array.from(row.children, cell => cell.textContent))"
        )
    )


def test_it_shows_every_node(opened: Tab, plan: Plan) -> None:
    in_order = [name for wave in plan.waves for name in wave.nodes]
    assert opened.run(SHOWN) == in_order
    pods = sum(len(n.evictions) + len(n.daemon_pods) + len(n.stragglers) for n in plan.nodes)
    assert opened.run(FOUND) == f"{len(plan.nodes):,} nodes, {pods:,} pods"


def test_a_pod_is_found_by_its_name(opened: Tab, plan: Plan) -> None:
    node = plan.nodes[len(plan.nodes) // 2]
    pod = node.evictions[-1]
    opened.type_into("[name=words]", str(pod.ref))
    opened.until(f"{FOUND} === '1 nodes, 1 pods'")
    assert opened.run(SHOWN) == [node.name]
    opened.click("#nodes > :not([hidden]) summary")
    opened.until("document.querySelector('#nodes > [open] tbody tr')")
    (row,) = rows(opened)
    expected = [str(pod.ref), "evicted", pod.going.value, pod.owner, ", ".join(pod.budgets) or "-", pod.lands_on or "-"]
    assert row[:6] == expected


def test_filters_narrow_together(opened: Tab, plan: Plan) -> None:
    wave = plan.waves[-1]
    namespace = plan.node(wave.nodes[-1]).evictions[0].ref.namespace
    opened.type_into("[name=namespace]", namespace)
    opened.run(
        f"(one => {{ one.value = '{wave.number}'; one.dispatchEvent(new Event('input', {{bubbles: true}})); }})"
        "(document.querySelector('[name=wave]'))"
    )
    fitting = [
        name
        for name in wave.nodes
        for node in [plan.node(name)]
        if any(p.ref.namespace == namespace for p in (*node.evictions, *node.daemon_pods, *node.stragglers))
    ]
    opened.until(f"{FOUND}.startsWith('{len(fitting):,} nodes')")
    assert opened.run(SHOWN) == fitting and fitting


def test_nodes_are_ordered_by_what_is_asked(opened: Tab, plan: Plan) -> None:
    for order in ("name", "wave", "pods"):
        opened.run(
            f"(one => {{ one.value = '{order}'; one.dispatchEvent(new Event('change', {{bubbles: true}})); }})"
            "(document.querySelector('[name=order]'))"
        )
        shown = opened.run(SHOWN)
        if order == "name":
            assert shown == sorted(shown)
        elif order == "wave":
            assert shown == [name for wave in plan.waves for name in wave.nodes]
        else:
            many = [len(n.evictions) + len(n.daemon_pods) + len(n.stragglers) for n in map(plan.node, shown)]
            assert many == sorted(many, reverse=True)


def test_it_prints_and_page_one_is_one_page(opened: Tab) -> None:
    pdf = opened.pdf()
    assert pages(pdf) > 5
    opened.call("Emulation.setEmulatedMedia", media="print")
    opened.call(
        "Emulation.setDeviceMetricsOverride", width=703, height=1017, deviceScaleFactor=1, mobile=False
    )  # A4 less its margins, in CSS pixels
    height = opened.run("document.getElementById('first').getBoundingClientRect().height")
    opened.call("Emulation.clearDeviceMetricsOverride")
    opened.call("Emulation.setEmulatedMedia", media="")
    assert 300 < height <= 1017


def test_what_is_hostile_is_shown_as_text(tab: Tab, tmp_path: Path) -> None:
    words = "</script><img src=x onerror=alert(1)><b>"
    view = full_view(words)
    file = tmp_path / "hostile.html"
    file.write_text(rendered(view, "html"), encoding="utf-8")
    tab.requests.clear()
    tab.open(file.as_uri())
    tab.click("#open")
    tab.until("document.querySelectorAll('#nodes > [open] tbody tr').length >= 5")
    assert tab.run("document.querySelectorAll('img, b:not(.tiles b), script').length") == 2
    shown = rows(tab)
    assert [row[0] for row in shown][1] == f"{words}/{words}-x2"
    assert [row[2] for row in shown[:3]] == [Going.NOW.value, Going.WAITS.value, Going.WAITS.value]
    assert tab.complaints == [] and tab.requests == [file.as_uri()]


def test_without_script_a_small_plan_lists_its_pods(tmp_path: Path) -> None:
    view = full_view()
    file = tmp_path / "plan.html"
    file.write_text(rendered(view, "html"), encoding="utf-8")
    with browser(script=False) as tab:
        tab.call("Page.navigate", url=file.as_uri())
        tab.until("document.body && document.body.innerText.includes('shop/web-6d4-x1')")
        assert not tab.run("document.body.innerText.includes('all words must match')")
        assert pages(tab.pdf()) >= 2
