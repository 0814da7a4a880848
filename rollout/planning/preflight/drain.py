"""Whether nodes can be emptied, by facts that are plain to see. The drain proof of the plan tells pod by pod."""

from __future__ import annotations

from collections import Counter

from rollout.domain.node import Pod
from rollout.planning.preflight.row import ANY_TARGET, INFO, PASS, UNKNOWN, WARN, Facts, Judgement, Row, named

_SICK = ("degraded", "faulted")


def _leaving(facts: Facts) -> list[Pod]:
    return [pod for pods in facts.context.leaving.values() for pod in pods]


def _budgets_allow(facts: Facts) -> Judgement:
    tight: Counter[str] = Counter()
    for _pod, budgets in facts.context.bound:
        for budget in budgets:
            if budget.disruptions_allowed < 1:
                tight[f"{budget.namespace}/{budget.name}"] += 1
    if tight:
        return (
            WARN,
            f"{len(tight)} budget(s) allow no eviction now and bound {tight.total()} pod(s): {named(sorted(tight))}",
        )
    return PASS, "every budget that bounds an eviction allows one now"


def _one_budget(facts: Facts) -> Judgement:
    found = [str(pod.ref) for pod, budgets in facts.context.bound if len(budgets) > 1]
    if found:
        return (
            WARN,
            f"{len(found)} pod(s) are matched by two budgets, so the API never evicts them: {named(sorted(found))}",
        )
    return PASS, "no pod is matched by two budgets"


def _owned(facts: Facts) -> Judgement:
    rules = facts.policy.drain
    bare = [
        str(pod.ref)
        for node in facts.context.nodes
        for pod in facts.inventory.pods_on(node.name)
        if not pod.owner_kind and not pod.mirror and pod.on_pod_network and not pod.is_probe
    ]
    if bare and not rules.evict_unowned:
        return WARN, f"{len(bare)} pod(s) have no controller and keep their nodes from emptying: {named(sorted(bare))}"
    if bare:
        return WARN, f"{len(bare)} pod(s) have no controller and are gone for good once evicted: {named(sorted(bare))}"
    return PASS, "every pod that must leave has a controller"


def _scratch(facts: Facts) -> Judgement:
    found = [str(pod.ref) for pod in _leaving(facts) if pod.empty_dir]
    if found:
        return INFO, f"{len(found)} pod(s) lose the data in their emptyDir volumes"
    return PASS, "no pod that must leave has emptyDir data"


def _local_data(facts: Facts) -> Judgement:
    local = {(c.namespace, c.name) for c in facts.inventory.cluster.claims if c.local}
    found = [str(p.ref) for p in _leaving(facts) if any((p.ref.namespace, claim) in local for claim in p.claims)]
    if found:
        return WARN, (
            f"{len(found)} pod(s) have their data on one node's disk and wait until that node is back: "
            f"{named(sorted(found))}"
        )
    return PASS, "no pod that must leave has its data on a node's own disk"


def _replicas(facts: Facts) -> Judgement:
    workloads = {w.uid: w for w in facts.inventory.cluster.workloads}
    single = {
        f"{w.namespace}/{w.owner_name or w.name}"
        for pod in _leaving(facts)
        if (w := workloads.get(pod.owner_uid)) is not None and w.replicas == 1 and w.kind != "Job"
    }
    if single:
        return WARN, f"{len(single)} workload(s) have one replica, which is out while it moves: {named(sorted(single))}"
    if not workloads and _leaving(facts):
        return WARN, "how many replicas workloads have is not known"
    return PASS, "every workload with pods on these nodes has more than one replica"


def _capacity(facts: Facts) -> Judgement:
    """Any one node's pods must find room on the others; whether each single pod does, the drain proof tells."""
    free = facts.context.free
    if free is None and _leaving(facts):
        return WARN, "how much room nodes have is not known"
    short = []
    free = free or (0, 0)
    for node in facts.context.nodes:
        pods = facts.context.leaving[node.name]
        own = facts.context.room(node) if node.ready and not node.unschedulable else (0, 0)
        cpu, memory = sum(p.cpu_millis for p in pods), sum(p.memory_bytes for p in pods)
        if cpu > free[0] - max(0, own[0]) or memory > free[1] - max(0, own[1]):
            short.append(node.name)
    if short:
        return WARN, f"the pods of {named(short)} request more than all other nodes have free"
    return PASS, "the pods of any one node fit into what the others have free"


def _storage(facts: Facts) -> Judgement:
    cluster = facts.inventory.cluster
    sick = [
        f"CephCluster {c.namespace}/{c.name} is {c.traits.get('health') or 'of unknown health'}"
        for c in cluster.of_kind("CephCluster")
        if c.traits.get("health") != "HEALTH_OK"
    ]
    volumes = [one for one in cluster.of_kind("LonghornVolume") if one.traits.get("robustness") in _SICK]
    sick += [f"{len(volumes)} Longhorn volume(s) are degraded"] if volumes else []
    if sick:
        return WARN, f"{named(sick)}: empty no node before its storage is whole"
    blind = sorted(k for k in ("CephCluster", "LonghornVolume") if k in cluster.unreadable)
    if blind:
        return UNKNOWN, f"{named(blind)} could not be listed, so the health of storage is not known"
    found = sorted({f"{c.kind} {c.name}" for c in cluster.of_kind("CephCluster", "LonghornVolume")})
    return PASS, f"storage is healthy: {named(found)}" if found else "no storage that lives on nodes was recognised"


def _proof_on(facts: Facts) -> Judgement:
    """What the switch itself must show is judged afterwards, by checks; this row sees that none of them is off."""
    weak = [
        name
        for name in AFTER_SWITCH_CHECKS
        if facts.policy.checks.get(name) and facts.policy.checks[name].value != "required"
    ]
    if weak:
        return WARN, f"{named(weak)} was made less than required: the switch would be believed without it"
    return PASS, f"judged after the switch, by the checks {', '.join(AFTER_SWITCH_CHECKS)}"


AFTER_SWITCH: dict[str, tuple[str, ...]] = {
    "the agent's mode, operational and configured, is the target": ("agent-mode",),
    "every endpoint link is of the target's kind": ("links",),
    "host routing is BPF, programs are attached the new way": ("host-routing", "programs"),
    "no drop reason grows": ("mixed-mode", "drops"),
    "all endpoints are ready": ("agent-health",),
    "pods' own probes are answered": ("agent-health", "reach"),
    "traffic passes within and between nodes, in both combinations of links": ("reach", "path"),
    "a canary pod reaches and is reached (row 43)": ("reach", "dns"),
}
"""What must be true after a switch (cilium-netkit.md 9), and the checks that say so."""

AFTER_SWITCH_CHECKS = tuple(sorted({check for checks in AFTER_SWITCH.values() for check in checks}))

ROWS: tuple[Row, ...] = (
    Row(
        "budgets-allow", "budgets allow an eviction now", _budgets_allow, "PodDisruptionBudgets, pods on the nodes",
        "scale the workload up, or mend its pods; the plan's drain proof says which wait and which never go",
        table=(31,),
        severity=WARN, per_node=False, targets=ANY_TARGET,
    ),
    Row(
        "one-budget-per-pod", "no pod is matched by two budgets", _one_budget,
        "PodDisruptionBudgets, pods on the nodes",
        "narrow one of the two budgets' selectors", "Kubernetes eviction API", (31,), severity=WARN, per_node=False,
        targets=ANY_TARGET,
    ),
    Row(
        "pods-owned", "every pod that must leave has a controller", _owned, "pods on the nodes",
        "give it a controller, delete it, or set drain.evict_unowned", table=(31,), severity=WARN, per_node=False,
        targets=ANY_TARGET,
    ),
    Row(
        "scratch-data", "data that ends with its pod is known", _scratch, "pods' volumes",
        "drain.delete_empty_dir: false leaves such nodes out", table=(31,), severity=INFO, per_node=False,
        targets=ANY_TARGET,
    ),
    Row(
        "local-data", "no pod's data is bound to one node", _local_data, "volume claims and their volumes",
        "have the application move its data or bear the wait", table=(31,), severity=WARN, per_node=False,
        targets=ANY_TARGET,
    ),
    Row(
        "replicas", "every workload has more than one replica", _replicas, "Deployments, StatefulSets, ReplicaSets",
        "scale to two before its node's turn, or agree on the gap", table=(32,), severity=WARN, per_node=False,
        targets=ANY_TARGET,
    ),
    Row(
        "capacity", "the pods of any one node fit elsewhere", _capacity, "requests of pods, allocatable of nodes",
        "add nodes, or scale down", table=(32,), severity=WARN, per_node=False, targets=ANY_TARGET,
    ),
    Row(
        "storage-health", "storage that lives on nodes is healthy", _storage, "CephClusters, Longhorn volumes",
        "wait for HEALTH_OK; make it a gate: policy.gates", "home-ops 11336", (33,), severity=WARN, per_node=False,
        targets=ANY_TARGET,
    ),
    Row(
        "proven-after", "what the switch must show is judged after it", _proof_on, "the policy's check levels",
        "leave the checks required", "migration guide", (43,), severity=WARN, per_node=False, targets=ANY_TARGET,
    ),
)  # fmt: skip
