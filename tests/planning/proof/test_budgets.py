"""What a budget allows: the sums of the disruption controller and the answers of the eviction API."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.domain.budgets import BudgetIndex
from rollout.domain.fleet import Workload
from rollout.domain.scheduling import LabelRequirement
from rollout.planning.proof.budgets import Allowance, Count, count, never_allows, share_of
from tests.builders import budget, pod


def web(replicas: int, *, deployment: str = "web") -> Workload:
    return Workload("ReplicaSet", "default", "web-1", "rs-web-1", replicas, replicas, "Deployment", deployment)


@pytest.mark.parametrize(
    ("text", "total", "share"), [("3", 10, 3), ("50%", 5, 3), ("34%", 3, 2), ("0%", 7, 0), ("100%", 4, 4)]
)
def test_percentages_round_up(text: str, total: int, share: int) -> None:
    assert share_of(text, total) == share


@pytest.mark.parametrize(
    ("more", "replicas", "counted"),
    [
        ({"max_unavailable": "1"}, 4, Count(4, 3)),
        ({"max_unavailable": "30%"}, 4, Count(4, 2)),
        ({"max_unavailable": "0"}, 4, Count(4, 4)),
        ({"max_unavailable": "200%"}, 4, Count(4, 0)),
        ({"max_unavailable": "", "min_available": "50%"}, 5, Count(5, 3)),
        # A number is held against the pods that are there, whatever their controllers want.
        ({"max_unavailable": "", "min_available": "2"}, 5, Count(3, 2)),
        ({"max_unavailable": "", "min_available": ""}, 5, Count(3, 1)),
    ],
)
def test_expected_and_desired(more: dict[str, Any], replicas: int, counted: Count) -> None:
    pods = [pod(f"web-{n}", "n1") for n in range(3)]
    assert count(budget("web", **more), pods, {"rs-web-1": web(replicas)}) == counted


def test_two_replica_sets_of_one_deployment_are_counted_once() -> None:
    pods = [pod("web-1", "n1"), pod("web-2", "n1", owner_uid="rs-web-2")]
    works = {"rs-web-1": web(3), "rs-web-2": web(1)}
    assert count(budget("web"), pods, works).expected == 3


def test_pods_without_controller_are_not_counted_and_jobs_cannot_be() -> None:
    bare = pod("bare", "n1", owner_kind="", owner_name="", owner_uid="")
    assert count(budget("web"), [bare], {}) == Count(0, 0)
    job = pod("run", "n1", owner_kind="Job", owner_uid="job-1")
    assert "Jobs have no scale" in count(budget("web"), [job], {}).trouble
    assert not count(budget("web", max_unavailable="", min_available="1"), [job], {}).trouble


def test_ready_pods_spend_and_others_pass_by() -> None:
    given = Allowance(budget("web", allowed=1))
    assert given.admits(ready=True)
    assert given.spends(ready=True)
    given.slack = 0
    assert not given.admits(ready=True)
    assert given.admits(ready=False)
    assert not given.spends(ready=False)


def test_a_budget_that_is_not_met_holds_pods_that_are_not_ready_too() -> None:
    unmet = {"current_healthy": 2, "desired_healthy": 3}
    assert not Allowance(budget("web", allowed=0, **unmet)).admits(ready=False)
    assert Allowance(budget("web", allowed=0, **unmet, evicts_unready=True)).admits(ready=False)
    # Wanting nobody, the API does not look at health: only what is left counts.
    assert not Allowance(budget("web", allowed=0, current_healthy=0, desired_healthy=0)).admits(ready=False)


def test_the_api_obeys_what_the_status_allows() -> None:
    assert Allowance(budget("web", allowed=0, current_healthy=4, desired_healthy=3)).slack == 0
    assert Allowance(budget("web", allowed=0, current_healthy=1, desired_healthy=3)).slack == -2
    assert not Allowance(budget("web", observed=False)).admits(ready=True)


@pytest.mark.parametrize(
    ("more", "never"),
    [
        ({"desired_healthy": 4}, True),
        ({"desired_healthy": 4, "current_healthy": 3}, True),
        ({"desired_healthy": 3, "current_healthy": 3}, False),
        ({"desired_healthy": 4, "current_healthy": 5}, False),
        ({"desired_healthy": 0, "expected_pods": 0}, True),
        ({"desired_healthy": 4, "observed": False}, False),
    ],
)
def test_budgets_that_never_allow(more: dict[str, Any], never: bool) -> None:
    assert never_allows(budget("web", allowed=0, **more)) is never


def test_the_index_finds_what_matching_finds() -> None:
    among = (LabelRequirement("app", "In", ("web", "api")),)
    without = (LabelRequirement("app", "NotIn", ("web",)),)
    budgets = (
        budget("labels"),
        budget("in", match_labels={}, match_expressions=among),
        budget("not-in", match_labels={}, match_expressions=without),
        budget("all", match_labels={}, selects_all=True),
        budget("none", match_labels={}),
        budget("elsewhere", namespace="other"),
    )
    index = BudgetIndex(budgets)
    assert [b.name for b in index.of(pod("a", "n1"))] == ["all", "in", "labels"]
    assert [b.name for b in index.of(pod("b", "n1", labels={"app": "db"}))] == ["all", "not-in"]
    assert [b.name for b in index.of(pod("c", "n1", namespace="other"))] == ["elsewhere"]
    # The API covers no pod without labels, though `{}` matches it.
    assert index.of(pod("d", "n1", labels={})) == ()
