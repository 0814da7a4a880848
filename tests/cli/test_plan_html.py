"""The plan as one HTML file: whole, safe whatever names do, small, and every pod in it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from dataclasses import replace
from functools import cache
from typing import Any
from xml.etree import ElementTree

import pytest

from rollout.cli.render.plan_table import script_json
from rollout.cli.render.plan_view import PlanView
from rollout.cli.show import rendered
from rollout.domain.plan import Plan
from tests.cli.plan_examples import full_view
from tests.cli.test_report import HOSTILE, markdown_tags, pictures, structure
from tests.support.plans import sixty_plan


@cache
def benign() -> str:
    return rendered(full_view("plain"), "html")


@cache
def sixty() -> tuple[Plan, str]:
    plan = sixty_plan()
    return plan, rendered(PlanView(plan, plan.digest), "html")


def data_of(html: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)
    assert found is not None
    return dict(json.loads(found[1]))


@pytest.mark.parametrize("words", HOSTILE, ids=lambda w: w[:12].encode("ascii", "backslashreplace").decode())
def test_no_words_change_the_structure(words: str) -> None:
    view = full_view(words)
    html, markdown, text = (rendered(view, form) for form in ("html", "md", "text"))
    page, expected = structure(html), structure(benign())
    assert Counter(page.found) == Counter(expected.found)  # their order: zones and settings are sorted by name
    assert {(t, n) for t, n, _ in page.attributes} - {("td", "class")} == {
        (t, n) for t, n, _ in expected.attributes
    } - {("td", "class")}
    assert all(
        re.fullmatch(r"#?(part-\d+|sources|all-nodes|\w+)", v) for _, n, v in page.attributes if n in {"id", "href"}
    )
    for shown in (html, markdown, text):
        assert not set("\x00\x1b\x07\u202e\u2028\r") & set(shown)
    for picture in pictures(html):
        ElementTree.fromstring(picture)
    data = data_of(html)
    assert set(data) == set(data_of(benign()))
    assert json.loads(rendered(view, "json"))["plan"]["purpose"] == words


@pytest.mark.parametrize("words", HOSTILE, ids=lambda w: w[:12].encode("ascii", "backslashreplace").decode())
def test_no_words_change_the_structure_of_markdown(words: str) -> None:
    assert markdown_tags(rendered(full_view(words), "md")) == markdown_tags(rendered(full_view("plain"), "md"))


def test_json_in_a_script_element_cannot_end_it() -> None:
    hostile = "</script><!-- <script> \u2028 \u2029 & ]]>"
    text = script_json({"a": [hostile]})
    assert not set("<>&\u2028\u2029") & set(text) and text.isascii()
    assert json.loads(text) == {"a": [hostile]}


def test_the_page_reaches_nothing_outside_and_runs_only_its_own_script() -> None:
    _, html = sixty()
    page = structure(html)
    tags = {tag for tag, _ in page.found}
    assert not tags & {"link", "iframe", "img", "object", "embed", "base", "audio", "video", "use"}
    assert not {n for _, n, _ in page.attributes if n.startswith("on") or n in {"src", "style", "action", "srcset"}}
    assert [v for _, n, v in page.attributes if "//" in v and n != "xmlns"] == []
    assert all(v.startswith("#") for _, n, v in page.attributes if n == "href")
    assert "url(" not in html and "@import" not in html and "innerHTML" not in html
    policy = next(v for t, n, v in page.attributes if t == "meta" and v.startswith("default-src"))
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy
    script = re.search(r"<script>(.*?)</script>", html, re.S)
    style = re.search(r"<style>(.*?)</style>", html, re.S)
    assert script is not None and style is not None
    assert f"script-src '{_hash(script[1])}'" in policy and f"style-src '{_hash(style[1])}'" in policy


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_places_to_jump_to_are_there_once() -> None:
    ids = re.findall(r' id="([^"]*)"', sixty()[1])
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]*)"', sixty()[1])) <= set(ids)


def test_every_pod_of_every_node_is_in_the_data() -> None:
    plan, html = sixty()
    data = data_of(html)
    strings, classes = data["strings"], data["classes"]
    places = data["nodes"] + data["elsewhere"]
    found = set()
    for node, row in zip(data["nodes"], data["pods"], strict=True):
        for kind, ending, place, why in zip(*[iter(row)] * 4, strict=True):
            fate, going, namespace, prefixed, owner, budgets, _, alone, remedy = classes[kind]
            start = strings[owner].rpartition("/")[2] + "-" if prefixed else ""
            found.add(
                (
                    node,
                    f"{strings[namespace]}/{start}{ending}",
                    data["fates"][fate],
                    data["going"][going] if going >= 0 else "-",
                    strings[owner],
                    strings[budgets],
                    places[place] if place >= 0 else "",
                    (strings[why], strings[remedy]),
                    bool(alone),
                )
            )
    expected = {
        (
            node.name, str(pod.ref), fate, pod.going.value if fate == "evicted" else "-", pod.owner or "nobody",
            ", ".join(pod.budgets), pod.lands_on, (pod.why, pod.remedy), pod.replicas == 1,
        )
        for node in plan.nodes
        for fate, pods in (("evicted", node.evictions), ("DaemonSet", node.daemon_pods), ("straggler", node.stragglers))
        for pod in pods
    }  # fmt: skip
    assert found == expected and len(found) > 500
    assert data["waves"] == [plan.wave_of(name).number for name in data["nodes"]]


def test_the_same_plan_gives_the_same_bytes() -> None:
    plan, html = sixty()
    assert rendered(PlanView(plan, plan.digest), "html") == html


def test_many_nodes_make_few_shapes() -> None:
    """The map draws 5,000 nodes as one path per zone and wave."""
    plan, _ = sixty()
    many = tuple(f"node-{number:04}" for number in range(5000))
    nodes = tuple(replace(plan.nodes[0], name=name, zone=f"z{number % 3}") for number, name in enumerate(many))
    waves = (replace(plan.waves[0], nodes=many[:5]), replace(plan.waves[1], nodes=many[5:]))
    html = rendered(PlanView(replace(plan, nodes=nodes, waves=waves, excluded=()), "d" * 64), "html")
    drawn = next(picture for picture in pictures(html) if "Nodes by zone" in picture)
    assert drawn.count("<path") == 6 and drawn.count("h8v8h-8z") == 5000
    assert len(drawn) < 150_000
