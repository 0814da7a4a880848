"""The plan as text and Markdown: complete when asked, cut and saying so otherwise; and `show` itself."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rollout.cli.render.markdown import escaped
from rollout.cli.render.plan_view import MOST_ROWS, PlanView, lasts, names
from rollout.cli.show import rendered
from rollout.domain.node import Method
from rollout.domain.plan import Excluded, NodePlan, Plan
from tests.cli.conftest import Run, planned
from tests.cli.plan_examples import full_plan, full_view
from tests.support.plans import sixty_plan


def everything(plan: Plan) -> list[str]:
    pods = [p for n in plan.nodes for p in (*n.evictions, *n.daemon_pods, *n.stragglers)]
    texts = [str(pod.ref) for pod in pods] + [pod.why for pod in pods] + [pod.remedy for pod in pods]
    texts += [node.name for node in plan.nodes] + [each.node for each in plan.excluded]
    texts += [reason for each in plan.excluded for reason in each.reasons]
    texts += [f.message for f in plan.findings if f.status != "pass"] + [limit.name for limit in plan.limits]
    texts += [limit.why for limit in plan.limits] + list(plan.sources.values()) + list(plan.cluster.budgets)
    return sorted(set(texts) - {""})


@pytest.mark.parametrize("plan", [sixty_plan(), full_plan()], ids=["sixty", "full"])
def test_nothing_is_missing_when_all_is_asked_for(plan: Plan) -> None:
    view = PlanView(plan, plan.digest, most=None)
    text, markdown = rendered(view, "text"), rendered(view, "md")
    assert [words for words in everything(plan) if words not in text] == []
    assert [words for words in everything(plan) if escaped(words) not in markdown] == []
    assert len(everything(plan)) > 10


def test_a_full_plan_has_every_section() -> None:
    text = " ".join(rendered(full_view(), "text").split())
    for words in (
        "it takes 30 m to 1 h 30 m; what holds it back: plain",
        "nodes begin only mon from 22:00 to 06:00 Europe/Berlin", "no node begins in 1 freeze: plain",
        "most evictions that wait: shop/web 2, plain 1", "missing: 1 approval; who still can: bob",
        "not one of the approvers", "1.33 for each", "of zones: 1 one at a time",
        "others may restart agents", "NetworkPolicy plain/plain", "and 4 more",
        "what could not be looked at", "helm plain", "1,200", "2026-12-20", "the only one of its workload",
        "the plan asks for 2 different people, of plain, bob",
    ):  # fmt: skip
        assert words in text, words
    assert "2 by restarting the agent, 1 by a reboot" in text


def test_long_lists_are_cut_and_say_how_to_see_the_rest() -> None:
    plan = sixty_plan()
    many = tuple(Excluded(f"out-{n:03}", ("no netkit",)) for n in range(MOST_ROWS + 7))
    view = PlanView(replace(plan, excluded=many), plan.digest)
    for form in ("text", "md"):
        cut = rendered(view, form).replace("\\", "")
        assert f"and 7 more reasons; all of them: rollout show {plan.digest[:12]} --all" in cut
        assert f"out-{MOST_ROWS:03}" not in cut and f"out-{MOST_ROWS - 1:03}" in cut
        assert f"out-{MOST_ROWS:03}" in rendered(replace(view, most=None), form)
    assert f"out-{MOST_ROWS:03}" in rendered(view, "html")


def test_a_node_that_is_replaced_has_its_pool_and_no_way_back() -> None:
    plan = full_plan()

    def replaced(node: NodePlan) -> NodePlan:
        return replace(node, method=Method.REPLACE, pool="workers", backing=())

    text = rendered(PlanView(replace(plan, nodes=tuple(map(replaced, plan.nodes))), plan.digest), "text")
    assert "workers" in text and "3 replaced by new ones of their pool" in text and "back from its new mode" not in text


def test_words() -> None:
    assert names("abc", 2) == "a, b, c"
    assert names("abcd", 2) == "a, b and 2 more"
    assert lasts(60, 60) == "1 m" and lasts(60, 90) == "1 m to 1 m 30 s"


def test_show_in_every_form_and_to_a_file(run: Run, tmp_path: Path) -> None:
    plan = planned(run)
    for form, start in (("text", "Plan "), ("md", "# Plan "), ("html", "<!DOCTYPE html>"), ("json", "{")):
        result = run("show", plan, "--output", form)
        assert result.exit_code == 0 and result.stdout.startswith(start), result.stderr
        file = tmp_path / f"plan.{form}"
        written = run("show", plan, "--output", form, "--out", str(file))
        assert (written.exit_code, written.stdout, file.read_text()) == (0, "", result.stdout)
    assert json.loads(run("show", plan, "--output", "json").stdout)["consent"]["needed"] == 1
    result = run("show", plan, "--out", str(tmp_path / "none" / "x.html"))
    assert result.exit_code == 2 and "cannot write to" in result.stderr


def test_a_file_that_the_state_does_not_know(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_bytes(full_plan().encode() + b"\n")
    for form in ("text", "md", "html"):
        result = run("show", str(file), "--output", form)
        assert result.exit_code == 0 and "approvals cannot be told" in result.stdout
    assert json.loads(run("show", str(file), "--output", "json").stdout)["consent"] is None
