"""The eviction subresource: which evictions a disruption budget allows, as the real one decides it."""

from rollout.lab.apiserver import deletion, errors
from rollout.lab.apiserver.objects import (
    Obj,
    clone,
    is_condition_true,
    labels_of,
    namespace_of,
    now_text,
    set_condition,
)
from rollout.lab.apiserver.selectors import selector_matches
from rollout.lab.apiserver.store import Store

PDB_ID = "poddisruptionbudgets.policy"
_REFUSAL = "Cannot evict pod as it would violate the pod's disruption budget."
_SEVERAL_BUDGETS = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
# Past this many unconfirmed disruptions the real server refuses: its controller is not keeping up.
_MOST_DISRUPTED_PODS = 2000
# What a client is told to wait while the disruption controller has not looked at the budget yet.
_UNOBSERVED_RETRY_SECONDS = 10


def budgets_of(store: Store, pod: Obj) -> list[Obj]:
    """Every budget that selects a pod. A pod without labels is never covered."""
    labels = labels_of(pod)
    if not labels:
        return []
    budgets = store.all(PDB_ID, namespace_of(pod))
    return [budget for budget in budgets if selector_matches(budget["spec"].get("selector"), labels)]


def evict(store: Store, namespace: str, name: str, eviction: Obj, *, dry_run: bool) -> Obj:
    """Evict a pod if its budget allows. Raises 429, 500, 404 or 409 otherwise."""
    sent_name = (eviction.get("metadata") or {}).get("name")
    if sent_name and sent_name != name:
        raise errors.bad_request("name in URL does not match name in Eviction object")
    options = dict(eviction.get("deleteOptions") or {})
    dry_run = dry_run or options.get("dryRun") == ["All"]
    pod = store.get("pods", name, namespace)
    deletion.check_preconditions(store.registry.by_id("pods"), pod, options)
    # Checked here once: marking the pod below gives it a new version.
    options.pop("preconditions", None)
    if not _ignores_budgets(pod):
        _spend_budget(store, pod, dry_run=dry_run)
    if not dry_run:
        _mark_disrupted(store, pod)
    store.delete("pods", name, namespace, options, dry_run=dry_run)
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


def _ignores_budgets(pod: Obj) -> bool:
    finished = pod["status"].get("phase") in ("Succeeded", "Failed", "Pending")
    return finished or bool(pod["metadata"].get("deletionTimestamp"))


def _spend_budget(store: Store, pod: Obj, *, dry_run: bool) -> None:
    budgets = budgets_of(store, pod)
    if not budgets:
        return
    if len(budgets) > 1:
        raise errors.ApiError(500, "", _SEVERAL_BUDGETS)
    (budget,) = budgets
    if not is_condition_true(pod, "Ready") and _unready_may_go(budget):
        return
    check_budget(budget)
    # The real server's dry run checks and does not subtract, so two pods may both seem to fit.
    if not dry_run:
        _subtract(store, budget, pod["metadata"]["name"])


def _unready_may_go(budget: Obj) -> bool:
    if budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget["status"]
    desired = status.get("desiredHealthy", 0)
    return bool(desired > 0 and status.get("currentHealthy", 0) >= desired)


def check_budget(budget: Obj) -> None:
    """Raise what the server answers when a budget has nothing left, or is not known to have."""
    name, status = budget["metadata"]["name"], budget["status"]
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 1):
        text = f"The disruption budget {name} is still being processed by the server."
        raise errors.too_many_requests(_REFUSAL, _UNOBSERVED_RETRY_SECONDS, [_cause(text)])
    if len(status.get("disruptedPods") or {}) > _MOST_DISRUPTED_PODS:
        detail = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise errors.forbidden("policy", "poddisruptionbudget", name, detail)
    if status.get("disruptionsAllowed", 0) <= 0:
        needs, has = status.get("desiredHealthy", 0), status.get("currentHealthy", 0)
        text = f"The disruption budget {name} needs {needs} healthy pods and has {has} currently"
        raise errors.too_many_requests(_REFUSAL, None, [_cause(text)])


def _cause(message: str) -> Obj:
    return {"reason": "DisruptionBudget", "message": message}


def _subtract(store: Store, budget: Obj, pod_name: str) -> None:
    status: Obj = clone(budget["status"])
    status["disruptionsAllowed"] -= 1
    status["disruptedPods"] = {**(status.get("disruptedPods") or {}), pod_name: now_text()}
    if status["disruptionsAllowed"] == 0:
        condition = {"type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods", "message": ""}
        set_condition(status, {**condition, "observedGeneration": status["observedGeneration"]})
    store.set_status(PDB_ID, budget["metadata"]["name"], namespace_of(budget), status)


def _mark_disrupted(store: Store, pod: Obj) -> None:
    """The condition by which controllers tell an eviction from a failure."""
    status: Obj = clone(pod["status"])
    text = "Eviction API: evicting"
    condition = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": text}
    set_condition(status, condition)
    store.set_status("pods", pod["metadata"]["name"], namespace_of(pod), status)
