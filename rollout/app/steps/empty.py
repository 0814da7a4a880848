"""drain and evacuate: empty a node of everything that has an endpoint."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from rollout.app.steps.context import StepContext, StepEnd, StepHeld, has_taint
from rollout.app.steps.rig import clear_ours
from rollout.domain.journal import Result
from rollout.domain.node import Pod
from rollout.planning.drain import evictable, ours, to_leave
from rollout.ports.cluster import EvictionResult


def look_drain(ctx: StepContext) -> dict[str, Any]:
    """Pods a drain still has to see gone, our own probe pods among them."""
    pods = ctx.view().pods
    return {"evictable": [f"{p.ref}@{p.ref.uid}" for p in (*evictable(pods, ctx.plan.policy.drain), *ours(pods))]}


def act_drain(ctx: StepContext) -> StepEnd:
    """Remove what is ours, evict the rest, respecting budgets, until none of it is left, by UID. One watch for all."""
    drain = _Drain(ctx)
    view = ctx.view()
    while True:
        ctx.require_fence(view.node)
        own = clear_ours(ctx, view.pods)
        left = evictable(view.pods, ctx.plan.policy.drain)
        if not left and not own:
            return StepEnd(Result.DONE, evidence={"evicted": drain.accepted, "refused": drain.refusals})
        drain.evict_due(left)
        ctx.say(
            drain.explain(left) if left else _OURS_LEAVE,
            f"kubectl get poddisruptionbudgets -A; rollout why {ctx.node.name}",
        )
        view = ctx.wait_change(view, drain.seconds_to_next(left))


_OURS_LEAVE = "our own probe pods are leaving"


class _Drain:
    """Which evictions were accepted and when refused ones are tried again."""

    def __init__(self, ctx: StepContext) -> None:
        self.ctx = ctx
        self.accepted = 0
        self.refusals = 0
        self._asked: set[str] = set()
        self._retry_at: dict[str, datetime] = {}
        self._refused: dict[str, str] = {}

    def evict_due(self, left: tuple[Pod, ...]) -> None:
        """Ask for every pod that is not leaving already and whose retry time has come. Raises `StepHeld`."""
        for pod in left:
            now = self.ctx.world.clock.now()
            if pod.terminating or pod.ref.uid in self._asked or self._retry_at.get(pod.ref.uid, now) > now:
                continue
            self.ctx.check_time()
            self._evict(pod, now)

    def _evict(self, pod: Pod, now: datetime) -> None:
        answer = self.ctx.world.cluster.evict(pod.ref)
        uid, told = pod.ref.uid, answer.message.rstrip(".")
        if answer.result is EvictionResult.IMPOSSIBLE:
            raise StepHeld(
                "two-budgets",
                f"pod {pod.ref} can never be evicted: {told}",
                "narrow one of the PodDisruptionBudgets that match it, then: rollout resume",
            )
        if answer.result is EvictionResult.REFUSED:
            self.refusals += 1
            wait = answer.retry_after or self.ctx.plan.policy.drain.retry_s
            self._retry_at[uid] = now + timedelta(seconds=wait)
            self._refused[uid] = told
            return
        self._asked.add(uid)
        self._refused.pop(uid, None)
        self.accepted += answer.result is EvictionResult.ACCEPTED

    def explain(self, left: tuple[Pod, ...]) -> str:
        """One sentence: what is waited for."""
        refused = [p for p in left if p.ref.uid in self._refused]
        if refused:
            return f"{len(left)} pod(s) left; {refused[0].ref} may not go yet: {self._refused[refused[0].ref.uid]}"
        return f"{len(left)} pod(s) are leaving: {', '.join(str(p.ref) for p in left[:3])}"

    def seconds_to_next(self, left: tuple[Pod, ...]) -> float:
        """Until the next refused eviction may be tried again; a refused pod is also tried when something changed."""
        now = self.ctx.world.clock.now()
        due = [(self._retry_at[p.ref.uid] - now).total_seconds() for p in left if p.ref.uid in self._refused]
        return max(0.05, min([*due, 30.0]))


def look_evacuate(ctx: StepContext) -> dict[str, Any]:
    """Our taint, and pods on the pod network that have yet to leave."""
    view = ctx.view()
    assert view.node is not None
    left = (*to_leave(view.pods, ctx.plan.policy.drain, ctx.reboots), *ours(view.pods))
    return {"taint": has_taint(view.node), "left": [str(p.ref) for p in left]}


def act_evacuate(ctx: StepContext) -> StepEnd:
    """Set our NoExecute taint and wait until only pods that tolerate everything are left on the pod network."""
    ctx.require_fence(ctx.view().node)
    ctx.world.cluster.add_taint(ctx.node.name, ctx.mark())
    view = ctx.view()
    while True:
        clear_ours(ctx, view.pods)
        reads = look_evacuate(ctx)
        if reads["taint"] and not reads["left"]:
            return StepEnd(Result.DONE)
        ctx.say(
            f"{len(reads['left'])} pod(s) on the pod network are still there: {', '.join(reads['left'][:3])}",
            f"kubectl get pods -A -o wide --field-selector spec.nodeName={ctx.node.name}",
        )
        view = ctx.wait_change(view)
        ctx.require_fence(view.node)
