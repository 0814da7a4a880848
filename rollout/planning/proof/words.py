"""What the proof says in words: why a pod waits or never goes, and the one change that frees it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rollout.domain.node import Pod, PodDisruptionBudget
from rollout.planning.proof.budgets import Allowance, share_of
from rollout.planning.proof.places import CORDON, SELECTOR, TAINT
from rollout.planning.proof.rules import AFFINITY, ANTI_AFFINITY, SPREAD

_LONG_GRACE_S = 300
_NAMED = 3
NOBODY_KNOWS = ("its node never becomes empty, and no rule says why", "look at the pod and its budget, then plan again")


def name_of(budget: PodDisruptionBudget) -> str:
    """A budget as people look for it."""
    return f"PodDisruptionBudget {budget.namespace}/{budget.name}"


def owner_of(pod: Pod) -> str:
    """Who to talk to about a pod."""
    return f"{pod.owner_kind} {pod.ref.namespace}/{pod.owner_name}" if pod.owner_kind else "nobody"


def two_budgets(budgets: Sequence[PodDisruptionBudget]) -> tuple[str, str]:
    """Why, and what to change."""
    names = " and ".join(b.name for b in budgets)
    return (
        f"PodDisruptionBudgets {names} both match it, so it is never evicted (the API answers 500)",
        f"narrow the selector of PodDisruptionBudget {budgets[-1].namespace}/{budgets[-1].name} so that one matches",
    )


def never_allowed(budget: PodDisruptionBudget, pod: Pod) -> tuple[str, str]:
    """A budget that allows nothing even with all its pods healthy."""
    if budget.expected_pods <= 0:
        return (
            f"{name_of(budget)} counts no pods: maxUnavailable and percentages count only pods of a controller",
            f"give {name_of(budget)} minAvailable as a number",
        )
    want = f"wants {budget.desired_healthy} of {budget.expected_pods} pods at all times"
    why = f"{name_of(budget)} {want}, so it never lets one go"
    if budget.max_unavailable:
        return why, f"set maxUnavailable of {name_of(budget)} to 1"
    enough = _enough_replicas(budget)
    if pod.owner_kind and enough:
        return why, f"scale {owner_of(pod)} to {enough} replicas while its node is done"
    return why, f"give {name_of(budget)} maxUnavailable 1 instead of minAvailable {budget.min_available}"


def _enough_replicas(budget: PodDisruptionBudget) -> int:
    """The least replicas at which one pod may go; 0 when no number does."""
    if not budget.min_available.endswith("%"):
        return budget.desired_healthy + 1
    share = int(budget.min_available[:-1])
    if share >= 100:
        return 0
    replicas = budget.expected_pods
    while replicas - share_of(budget.min_available, replicas) < 1:
        replicas += 1
    return replicas


def cannot_count(allowance: Allowance) -> tuple[str, str]:
    """The disruption controller cannot tell how many pods there should be."""
    return (
        f"{name_of(allowance.budget)} is never counted: {allowance.trouble}",
        f"give {name_of(allowance.budget)} minAvailable as a number",
    )


def not_met(allowance: Allowance, unready: Iterable[Pod]) -> tuple[str, str]:
    """A budget whose pods are not healthy enough, and nothing under way mends that."""
    healthy = allowance.desired + allowance.slack
    why = f"{name_of(allowance.budget)} needs {allowance.desired} healthy pods and has {healthy}"
    names = [str(pod.ref) for pod in unready]
    more = 1 - allowance.slack
    if not names:
        return why, f"get {more} more of its pods running and Ready, then plan again"
    return why, f"make {more} of its pods Ready that are not ({_listed(names)}), then plan again"


def waits_for_budget(allowance: Allowance) -> tuple[str, str]:
    """Another pod of the budget is replaced first."""
    first = f"the replacement of {allowance.last.ref} is Ready" if allowance.last else "another of its pods is Ready"
    return (
        f"{name_of(allowance.budget)} has nothing left until {first}",
        f"more replicas, or a higher maxUnavailable in {name_of(allowance.budget)}, shorten this",
    )


def waits_for_stuck(allowance: Allowance, pending: Pod) -> tuple[str, str]:
    """Another pod of the budget went, and its replacement never finds a place."""
    return (
        f"{name_of(allowance.budget)} has nothing left: the replacement of {pending.ref} never finds a place",
        f"leave the node of {pending.ref} out, or make room for {asked(pending)}",
    )


def waits_for_count(budget: PodDisruptionBudget) -> tuple[str, str]:
    """A budget so new that the controller has yet to look at it."""
    return f"the disruption controller has yet to count {name_of(budget)}", ""


def crossing(allowance: Allowance, pending: Pod, home: str, node: str) -> tuple[str, str]:
    """A pod waits for the replacement of another, and that one for a place that only comes free after this pod."""
    if home == node:
        knot = f"which has a place only on node {node}, and that waits for this pod"
    else:
        knot = f"which has no place until node {home} or {node} is back, and both wait for each other"
    return (
        f"{name_of(allowance.budget)} has nothing left until the replacement of {pending.ref} is Ready, {knot}",
        f"make room for {asked(pending)} on another node"
        if home != node
        else f"let {name_of(allowance.budget)} spare both at once, or move {pending.ref} to another node first",
    )


def comes_back(node: str) -> tuple[str, str]:
    """A replacement that tolerates cordons keeps landing on the node that is emptied."""
    return (
        f"it tolerates the cordon, and its replacement comes straight back on node {node}",
        "take its toleration of node.kubernetes.io/unschedulable away",
    )


def waits_for_place(node: str, pod: Pod) -> tuple[str, str]:
    """Evicted at once, but down until a node is back."""
    return (
        f"its replacement has no place until node {node} is back in service",
        f"room for {asked(pod)} on another node shortens this",
    )


def waits_for_sibling(sibling: Pod) -> tuple[str, str]:
    """StatefulSets are filled in order."""
    return f"its StatefulSet makes it again only when {sibling.ref} is Ready", f"get {sibling.ref} Ready first"


def no_place(pod: Pod, refusals: Counter[str], lost_claim: str) -> tuple[str, str]:
    """No node ever takes the replacement."""
    if lost_claim:
        return f"the volume of its claim {lost_claim} is lost", f"restore claim {pod.ref.namespace}/{lost_claim}"
    rows = sorted(((count, reason) for reason, count in refusals.items()), key=lambda row: (-row[0], row[1]))
    told = ", ".join(f"{count} {_reason(reason)}" for count, reason in rows)
    return f"its replacement fits on no node ({told})", _room_remedy(pod, refusals)


def _reason(reason: str) -> str:
    if reason in (TAINT, SELECTOR, AFFINITY, ANTI_AFFINITY, SPREAD):
        return f"against {reason}"
    return reason if reason == CORDON else f"without {reason}"


def _room_remedy(pod: Pod, refusals: Counter[str]) -> str:
    """The one change, by the rule that is nearest to being met: room before rules about pods, those before labels."""
    short = [r for r in refusals if r not in (TAINT, SELECTOR, AFFINITY, ANTI_AFFINITY, SPREAD, CORDON, "none")]
    if short:
        return f"make room for {asked(pod)} on a node it may use"
    for reason in (ANTI_AFFINITY, SPREAD, AFFINITY):
        if reason in refusals:
            return f"relax {reason} of {owner_of(pod)}, or add a node that it allows"
    if CORDON in refusals:
        return "uncordon a node that it may use"
    return "add or relabel a node that it may use"


def asked(pod: Pod) -> str:
    """What a pod requests."""
    parts = [f"{pod.cpu_millis}m CPU"] if pod.cpu_millis else []
    parts += [f"{-(-pod.memory_bytes // 2**20)} MiB memory"] if pod.memory_bytes else []
    parts += [f"{amount} {name}" for name, amount in pod.extra]
    return " and ".join(parts) or "one pod"


def down_meanwhile(node: str, *, local: bool) -> str:
    """A pod that can run on one node only."""
    reason = "its data is on that node's disk" if local else "no other node is open to it"
    return f"down until node {node} is back: {reason}"


def risks(pod: Pod, *, over_cordon: bool) -> list[str]:
    """What is worth saying about a pod that goes."""
    said = []
    if pod.terminating:
        said.append("is leaving already")
        held = [name for name in pod.finalizers if not name.startswith("batch.kubernetes.io/")]
        if held:
            said.append(f"goes only when finalizer {held[0]} is taken off")
    elif not pod.owner_kind:
        said.append("no controller replaces it")
    if pod.owner_kind == "Job":
        said.append("its Job starts this pod's work again from the beginning")
    if pod.grace_s >= _LONG_GRACE_S:
        said.append(f"may take {pod.grace_s} s to stop")
    if over_cordon:
        said.append("its replacement tolerates cordons and may come back on a node that is being emptied")
    if pod.scheduling.scheduler not in ("default-scheduler", ""):
        said.append(f"scheduler {pod.scheduling.scheduler} places it: assumed to find a place")
    return said


def _listed(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
