"""`rollout diff`: files and ids, its forms, and what is wrong with a plan."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rollout.cli.render.diff_page import diff_page
from rollout.cli.render.markdown import render_markdown
from rollout.cli.render.text import render_text
from rollout.domain.plan import Finding
from rollout.planning.diff import diff_plans
from tests.cli.conftest import Run, planned
from tests.cli.plan_examples import full_plan
from tests.cli.test_report import HOSTILE, markdown_tags
from tests.support.plans import sixty_plan


def test_two_plans_of_the_state_and_of_files(run: Run, tmp_path: Path) -> None:
    first = planned(run, "--max-unavailable", "1")
    second = planned(run, "--max-unavailable", "2", "--node", "n1", "--node", "n2")
    file = tmp_path / "second.json"
    plan = json.loads(run("show", second, "--output", "json").stdout)["plan"]
    file.write_text(json.dumps(plan, sort_keys=True, separators=(",", ":"), ensure_ascii=False))
    for reference in (second, str(file)):
        result = run("diff", first, reference)
        assert result.exit_code == 0, result.stderr
        text = " ".join(result.stdout.split())
        assert f"From plan {first} to plan {second}" in text
        assert "removed moves" in text and "n3 the plan no longer speaks of it" in text
        assert "changed max_unavailable 1 2" in text
    told = json.loads(run("diff", first, second, "--output", "json").stdout)
    assert [section["name"] for section in told["sections"]][:1] == ["Nodes"]
    assert "| changed | max\\_unavailable | 1 | 2 |" in run("diff", first, second, "--output", "md").stdout


def test_the_same_plan(run: Run) -> None:
    plan = planned(run)
    result = run("diff", plan, plan)
    assert result.exit_code == 0 and "nothing changed" in result.stdout


def test_what_cannot_be_compared_is_said(run: Run, tmp_path: Path) -> None:
    plan = planned(run)
    assert "cannot find" in run("diff", plan, "ffffff").stderr
    damaged = full_plan()
    damaged = replace(damaged, nodes=damaged.nodes[1:])
    file = tmp_path / "damaged.json"
    file.write_bytes(damaged.encode())
    for command in (("diff", plan, str(file)), ("show", str(file))):
        result = run(*command)
        assert result.exit_code == 4 and "its waves do not hold the nodes" in result.stderr
    file.write_bytes(b"{}")
    assert run("diff", str(file), plan).exit_code == 4


def test_long_lists_are_cut_and_say_so() -> None:
    plan = sixty_plan()
    more = tuple(Finding("row", f"n{n}", "warn", "look") for n in range(150))
    found = diff_plans(plan, replace(plan, findings=(*plan.findings, *more)))
    cut, whole = render_text(list(diff_page(found))), render_text(list(diff_page(found, None)))
    assert "and 50 more" in cut and "row n149" not in cut
    assert "row n149" in whole


@pytest.mark.parametrize("words", HOSTILE, ids=lambda w: w[:12].encode("ascii", "backslashreplace").decode())
def test_no_words_change_the_structure(words: str) -> None:
    pages = [list(diff_page(diff_plans(full_plan(), full_plan(w)))) for w in ("benign", words)]
    benign, hostile = map(render_markdown, pages)
    assert markdown_tags(hostile) == markdown_tags(benign)
    assert not set("\x00\x1b\x07\u202e\u2028\r") & set(hostile + render_text(pages[1]))
