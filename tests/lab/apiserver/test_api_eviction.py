"""Eviction against budgets whose status the test writes: no controller runs here."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.apiserver.api_rig import PODS, Answer, Api, pod, running_pod

PDBS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as running:
        yield running


def _budget(api: Api, name: str = "b", status: dict[str, Any] | None = None, **spec: Any) -> None:
    body = {
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "w"}}, **spec},
    }  # fmt: skip
    assert api.post(PDBS, body).code == 201
    if status is not None:
        assert api.patch(f"{PDBS}/{name}/status", {"status": {"observedGeneration": 1, **status}}).code == 200


def _evict(api: Api, name: str, query: str = "", **options: Any) -> Answer:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"}}
    return api.post(f"{PODS}/{name}/eviction{query}", {**body, "deleteOptions": options})


def _running(api: Api, name: str, **named: Any) -> Any:
    return api.create(running_pod(name, app="w", **named), keep_status=True)


def test_without_a_budget(api: Api) -> None:
    _running(api, "p")
    answer = _evict(api, "p", gracePeriodSeconds=7)
    assert answer.code == 201
    assert answer.body == {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
    metadata = api.get(f"{PODS}/p").body
    assert metadata["metadata"]["deletionGracePeriodSeconds"] == 7
    assert any(c["reason"] == "EvictionByEvictionAPI" for c in metadata["status"]["conditions"] if "reason" in c)
    assert _evict(api, "absent").code == 404


def test_unobserved_budget_is_429_with_retry_after(api: Api) -> None:
    _running(api, "p")
    _budget(api)
    answer = _evict(api, "p")
    assert (answer.code, answer.headers["Retry-After"]) == (429, "10")
    assert answer.body["details"]["retryAfterSeconds"] == 10
    assert "still being processed" in answer.body["details"]["causes"][0]["message"]


def test_used_up_budget_is_429_without_retry_after(api: Api) -> None:
    _running(api, "p")
    _budget(api, status={"disruptionsAllowed": 0, "desiredHealthy": 3, "currentHealthy": 3, "expectedPods": 4})
    answer = _evict(api, "p")
    assert answer.code == 429 and "Retry-After" not in answer.headers
    assert answer.body["reason"] == "TooManyRequests"
    assert answer.message == "Cannot evict pod as it would violate the pod's disruption budget."
    cause = {
        "reason": "DisruptionBudget",
        "message": "The disruption budget b needs 3 healthy pods and has 3 currently",
    }
    assert answer.body["details"]["causes"] == [cause]
    assert "deletionTimestamp" not in api.get(f"{PODS}/p").body["metadata"]


def test_allowed_eviction_spends_the_budget(api: Api) -> None:
    _running(api, "p1")
    _running(api, "p2")
    _budget(api, status={"disruptionsAllowed": 1, "desiredHealthy": 1, "currentHealthy": 2, "expectedPods": 2})
    assert _evict(api, "p1", "?dryRun=All").code == 201
    assert _evict(api, "p2", "?dryRun=All").code == 201
    assert api.get(f"{PDBS}/b").body["status"]["disruptionsAllowed"] == 1
    assert _evict(api, "p1").code == 201
    status = api.get(f"{PDBS}/b").body["status"]
    assert status["disruptionsAllowed"] == 0 and list(status["disruptedPods"]) == ["p1"]
    assert status["conditions"][0]["reason"] == "InsufficientPods"
    assert _evict(api, "p2").code == 429
    # Already going: no budget is asked.
    assert _evict(api, "p1").code == 201


def test_two_budgets_are_always_500(api: Api) -> None:
    _running(api, "p")
    for name in ("a", "b"):
        _budget(api, name, status={"disruptionsAllowed": 5})
    answer = _evict(api, "p")
    assert answer.code == 500 and "more than one PodDisruptionBudget" in answer.message


def test_pending_and_finished_pods_ignore_budgets(api: Api) -> None:
    _budget(api, status={"disruptionsAllowed": 0})
    api.create(pod("pending", "n1", app="w"))
    api.create({**pod("done", "n1", app="w"), "status": {"phase": "Succeeded"}}, keep_status=True)
    assert _evict(api, "pending").code == 201
    assert _evict(api, "done").code == 201 and api.get(f"{PODS}/done").code == 404


@pytest.mark.parametrize(
    ("healthy", "policy", "code"),
    [(3, None, 201), (2, None, 429), (2, "IfHealthyBudget", 429), (2, "AlwaysAllow", 201)],
)
def test_unready_pods(api: Api, healthy: int, policy: str | None, code: int) -> None:
    _running(api, "p", ready=False)
    spec = {"unhealthyPodEvictionPolicy": policy} if policy else {}
    _budget(api, status={"disruptionsAllowed": 0, "desiredHealthy": 3, "currentHealthy": healthy}, **spec)
    assert _evict(api, "p").code == code


def test_preconditions_and_names(api: Api) -> None:
    created = _running(api, "p")
    assert _evict(api, "p", preconditions={"uid": "other"}).code == 409
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "q"}}
    assert api.post(f"{PODS}/p/eviction", body).code == 400
    assert _evict(api, "p", preconditions={"uid": created["metadata"]["uid"]}).code == 201
