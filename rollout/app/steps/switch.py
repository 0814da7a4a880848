"""assign-mode, restart-agent, reboot, clear-stragglers: the armed window."""

from __future__ import annotations

from typing import Any

from rollout.app.steps.context import StepContext, StepEnd, StepHeld, agent_pod, agent_ready
from rollout.app.steps.hostwork import run_playbook
from rollout.app.steps.look import baseline_of
from rollout.app.steps.rig import raise_peers
from rollout.checks.refusal import Refusal, parse_refusal
from rollout.domain.journal import Result
from rollout.domain.node import LABEL_MODE, Pod
from rollout.engine.recovery import wanted_label
from rollout.planning.drain import Fate, decide_fate
from rollout.ports.cluster import NodeView

AGENT_CONTAINER = "cilium-agent"


def look_assign(ctx: StepContext) -> dict[str, Any]:
    """Our label, and which agent pod runs: any other one later means the node flipped early."""
    view = ctx.view()
    assert view.node is not None
    pod = agent_pod(view, ctx.plan)
    return {"label": view.node.labels.get(LABEL_MODE, ""), "agent_pod": pod.ref.uid if pod else ""}


def act_assign(ctx: StepContext) -> StepEnd:
    """Make sure our CiliumNodeConfigs exist, then set or remove our label. From here the node is armed."""
    ctx.require_fence(ctx.view().node)
    value = wanted_label(ctx.track, ctx.node)
    for config in ctx.plan.node_configs:
        if config.label_value == value:
            ctx.world.cluster.ensure_node_config(config)
    ctx.world.cluster.assign_mode(ctx.node.name, value)
    return StepEnd(Result.DONE, evidence={"label": value})


def look_restart(ctx: StepContext) -> dict[str, Any]:
    """The agent pod's UID."""
    pod = agent_pod(ctx.view(), ctx.plan)
    return {"agent_pod": pod.ref.uid if pod and not pod.terminating else ""}


def act_restart(ctx: StepContext) -> StepEnd:
    """Prove the node empty on the node itself, then replace the agent's pod, with its UID as precondition."""
    view = ctx.view()
    ctx.require_fence(view.node)
    run = run_playbook(ctx, "reconfigure-agent.yml")
    view = ctx.view()
    ctx.require_fence(view.node)
    for pod in view.pods:
        if pod.ref.uid == ctx.before["agent_pod"]:
            ctx.world.cluster.delete_pod(pod.ref)
    while True:
        now_there = look_restart(ctx)["agent_pod"]
        if now_there and now_there != ctx.before["agent_pod"]:
            return StepEnd(Result.DONE, evidence={"agent_pod": now_there, "node": dict(run.facts)})
        ctx.say(
            "waiting for the agent's DaemonSet to put a new pod on the node",
            f"kubectl -n {ctx.plan.cluster.agent_daemonset.split('/')[0]} get pods -o wide",
        )
        view = ctx.wait_change(view)


def look_reboot(ctx: StepContext) -> dict[str, Any]:
    """Boot id and readiness, as the kubelet tells them, and the life of the agent's pod."""
    node = ctx.world.cluster.read_node(ctx.node.name)
    ctx.require_same(node)
    return {"boot_id": node.boot_id, "ready": bool(node.ready), "agent": _agent_life(ctx.view(), ctx)}


def _agent_life(view: NodeView, ctx: StepContext) -> str:
    """Differs from one start of the agent to the next: a reboot keeps the pod and counts a restart."""
    pod = agent_pod(view, ctx.plan)
    return f"{pod.ref.uid} {pod.restarts}" if pod else ""


def act_reboot(ctx: StepContext) -> StepEnd:
    """Reboot out of the boot id in the intent (the node itself checks it), and wait for the next one to be Ready."""
    view = ctx.view()
    if look_reboot(ctx)["boot_id"] == ctx.before["boot_id"]:
        ctx.require_fence(view.node)
        run_playbook(ctx, "reboot-node.yml")
    while True:
        view = ctx.view()
        assert view.node is not None
        if view.node.boot_id == ctx.before["boot_id"] or not view.node.ready:
            ctx.say("waiting for the node to come back with another boot id", f"kubectl get node {ctx.node.name}")
        elif agent_ready(view, ctx.plan) and _agent_life(view, ctx) == ctx.before.get("agent", ""):
            # The pod's status is still that of before the reboot: its Ready would be taken for the new agent's.
            ctx.say("waiting for the kubelet to tell of the agent's new start", f"kubectl get node {ctx.node.name}")
        else:
            return StepEnd(Result.DONE, evidence={"boot_id": view.node.boot_id})
        view = ctx.wait_change(view)


def look_clear(ctx: StepContext) -> dict[str, Any]:
    """Whether an agent newer than the restart's is Ready."""
    view = ctx.view()
    pod = agent_pod(view, ctx.plan)
    return {"agent_ready": agent_ready(view, ctx.plan), "agent_pod": pod.ref.uid if pod else ""}


def act_clear(ctx: StepContext) -> StepEnd:
    """Wait for the agent; when it refuses, delete the pods it names, if they may be deleted, while it is down."""
    raise_peers(ctx, baseline_of(ctx))
    view = ctx.view()
    cleared: list[str] = []
    while True:
        pod = agent_pod(view, ctx.plan)
        if pod is not None and agent_ready(view, ctx.plan):
            return StepEnd(Result.DONE, evidence={"agent_pod": pod.ref.uid, "cleared": cleared})
        if pod is not None and (pod.restarts or pod.waiting == "CrashLoopBackOff"):
            cleared += _clear_refusal(ctx, view, pod)
        else:
            ctx.say("waiting for the agent to be Ready", f"kubectl get pods -A -o wide | grep {ctx.node.name}")
        view = ctx.wait_change(view, 10.0)


def _clear_refusal(ctx: StepContext, view: NodeView, agent: Pod) -> list[str]:
    cluster = ctx.world.cluster
    log = cluster.pod_log(agent.ref, AGENT_CONTAINER, previous=True)
    refusal = parse_refusal(log)
    if refusal is None:
        last = log.strip().splitlines()[-1:] or ["nothing in its log"]
        ctx.say(
            f"the agent restarts: {last[0][-300:]}",
            f"kubectl -n {agent.ref.namespace} logs {agent.ref.name} --previous",
        )
        return []
    named = _named_pods(ctx, view, refusal)
    ctx.say(
        f"the agent refuses to start: {refusal.count} endpoint(s) of another mode; deleting {len(named)} pod(s)", ""
    )
    for pod in named:
        cluster.delete_pod(pod.ref)
    while any(p.ref in {n.ref for n in named} for p in view.pods):
        view = ctx.wait_change(view, 10.0)
    # A fresh pod does not wait out the back-off that the refusals have run up (up to five minutes).
    cluster.delete_pod(agent.ref)
    return [str(p.ref) for p in named]


def _named_pods(ctx: StepContext, view: NodeView, refusal: Refusal) -> tuple[Pod, ...]:
    """The named pods still on the node. Raises `StepHeld` when one may not simply be deleted."""
    named = tuple(p for p in view.pods if str(p.ref) in refusal.pods)
    for pod in named:
        fate = decide_fate(pod, ctx.plan.policy.drain)
        if fate.fate not in (Fate.STRAGGLER, Fate.LEAVES_BY_TAINT, Fate.OURS) and not pod.terminating:
            raise StepHeld(
                "straggler-not-ours",
                f"the agent refuses because of pod {pod.ref}; it may not be deleted: {fate.reason or fate.fate.value}",
                f"move it away (kubectl delete pod -n {pod.ref.namespace} {pod.ref.name}), then: rollout resume",
            )
    return named
