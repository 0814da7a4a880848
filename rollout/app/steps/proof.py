"""baseline, confirm-mode, verify, soak: what is seen, and what it proves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from rollout.app.gates import gates_end
from rollout.app.probing import RIG_CHECKS, Seen
from rollout.app.steps import control
from rollout.app.steps.context import StepContext, StepEnd, agent_pod
from rollout.app.steps.look import Window, baseline_of, counts, keep, look, plain_look, without_lost_controls
from rollout.app.steps.rig import drop_rig, raising
from rollout.checks.catalog import SETTLING, decide, judge_node, levels
from rollout.domain.codec import to_plain
from rollout.domain.errors import Unavailable
from rollout.domain.failures import undecided_code
from rollout.domain.journal import Outcome, Result
from rollout.domain.observed import BPF_PROBES
from rollout.domain.policy import CheckLevel, WithoutBpf
from rollout.domain.step import StepKind
from rollout.domain.verdict import Status, Verdict

NO_BPF = "bpf-unavailable"
_BASELINE_LOOKS = 3
"""Looks at an untouched node before it is held: what is inconclusive may pass by itself."""
_AGAIN_S = 1.0
"""Pause before a failing look is repeated: links and endpoints settle for a moment after a restart."""
_FAILS_TO_BELIEVE = 2
_UNSURE_S = 3.0
_SPARE_S = 6.0
"""An inconclusive look is not repeated when less than this, and the time it took, is left of the deadline."""
_SOAK_EVERY_WINDOWS = 5
"""The soak looks for one window in so many: its own probing must stay a small part of what it watches."""


def look_nothing(_ctx: StepContext) -> dict[str, Any]:
    """A step that observes is made again after a crash; there is nothing to settle it by."""
    return {}


# --- baseline --------------------------------------------------------------------------------------------------------


def act_baseline(ctx: StepContext) -> StepEnd:
    """Store what the node looks like before any change, once it could be proven as it is.

    A node that cannot be proven in the mode it is in could never be proven in the other: it is held untouched. A
    rollback goes on: what it takes back is broken as often as not. The rig is gone before the node is fenced.
    """
    try:
        for number in range(1, _BASELINE_LOOKS + 1):
            if number > 1:
                ctx.pause(_UNSURE_S)
            end = _baseline_look(ctx, number)
            if end.result is not Result.HELD:
                return end
        return end
    finally:
        drop_rig(ctx)


def _baseline_look(ctx: StepContext, number: int) -> StepEnd:
    window = look(ctx, {}, quick=False, changed=ctx.plan.takes_back)
    if window.controls:
        window = without_lost_controls(ctx, window)
    keep(ctx, window, number)
    if ctx.plan.takes_back:
        return StepEnd(Result.DONE, evidence={"probes": sorted(window.seen)})
    held = _without_bpf(ctx, window.seen)
    if held is not None:
        return held
    broken = next((o for p, o in sorted(window.seen.items()) if not o.readable and p not in BPF_PROBES), None)
    if broken is not None:
        raise Unavailable("not-observed", f"cannot observe node {ctx.node.name}: {broken.error}")
    verdicts, counted = judge_as_is(ctx, window.seen)
    status = decide(verdicts, counted)
    evidence = {"probes": sorted(window.seen), "verdicts": [to_plain(v) for v in verdicts]}
    if status is Status.PASS:
        return StepEnd(Result.DONE, evidence=evidence)
    required = [v for v in verdicts if counted.get(v.check) is CheckLevel.REQUIRED]
    worst = next((v for v in required if v.status is status), None) or _silence(ctx, "reach")
    ctx.say(f"{worst.check}: {worst.message}", f"rollout verify {ctx.node.name}")
    return StepEnd(
        Result.HELD,
        undecided_code("check", worst.check),
        f"{ctx.node.name} cannot be proven as it is, before any change: {worst.check}: {worst.message}",
        f"mend that (rollout verify {ctx.node.name}), then: rollout resume",
        evidence,
    )


def judge_as_is(ctx: StepContext, seen: Seen) -> tuple[tuple[Verdict, ...], Mapping[str, CheckLevel]]:
    """Verdicts on a node in the mode it comes from, compared with nothing but itself, and how much each counts."""
    policy, source = ctx.plan.policy, ctx.node.source
    verdicts = judge_node(ctx.node.name, seen, seen, source, policy=policy)
    return verdicts, levels(source, policy, baseline=seen)


def to_compare_with(ctx: StepContext) -> Seen | None:
    """The stored baseline; None when the plan has none, and for a node that a rollback found broken.

    Nothing good can be asked of a broken one.
    """
    if not ctx.node.has_baseline:
        return None
    baseline = baseline_of(ctx)
    if ctx.plan.takes_back and decide(*judge_as_is(ctx, baseline)) is not Status.PASS:
        return None
    return baseline


def _without_bpf(ctx: StepContext, seen: Seen) -> StepEnd | None:
    """Held before anything is changed, when a required check could never answer on this node."""
    counted = levels(ctx.mode, ctx.plan.policy)
    lacking = [seen[p] for p in BPF_PROBES if counted.get(p) is CheckLevel.REQUIRED and seen[p].code == NO_BPF]
    if not lacking or ctx.plan.policy.probes.without_bpf is WithoutBpf.ACCEPT:
        return None
    return StepEnd(
        Result.HELD,
        NO_BPF,
        f"no eBPF probe can run on {ctx.node.name}: {lacking[0].error}",
        "mend that, then: rollout resume; or plan again with probes.without_bpf: accept",
    )


# --- proving ---------------------------------------------------------------------------------------------------------


def act_confirm(ctx: StepContext) -> StepEnd:
    """The fast look, without eBPF: a fault is caught within seconds of the agent's restart.

    While the rig's pods start, what needs none of them is looked at, and once more when that fails.
    """
    proof = _Proof(ctx, quick=True)
    with raising(ctx, proof.baseline or {}):
        end = proof.plain()
    return end or proof.run()


def act_verify(ctx: StepContext) -> StepEnd:
    """Everything, then the external gates of the node."""
    end = _Proof(ctx, quick=False).run()
    if end.result is not Result.DONE:
        return end
    return gates_end(ctx, end.evidence) or end


@dataclass(frozen=True, slots=True)
class Judged:
    """One look and what it comes to."""

    verdicts: tuple[Verdict, ...]
    status: Status
    failing: frozenset[str]
    """Required checks that failed."""


class _Proof:
    """Looks until every required check has answered.

    A check that settles after a restart is believed when two looks in a row fail, any other at once. Inconclusive is
    asked again up to the deadline, then held for a person: could not tell is never fine. What was seen while a peer or
    a probe pod went away counts for nothing.
    """

    def __init__(self, ctx: StepContext, *, quick: bool, history: Sequence[Seen] = ()) -> None:
        self.ctx = ctx
        self.quick = quick
        self.baseline = to_compare_with(ctx)
        self.history: list[Seen] = list(history)
        self.looks = 0
        self.last: Judged | None = None
        self._counted = levels(ctx.mode, ctx.plan.policy, quick=quick, baseline=self.baseline)
        self._suspects: frozenset[str] = frozenset()
        self._controls: dict[str, Seen] = {} if quick else control.baselines(ctx)
        self._beside: tuple[str, ...] = ()

    def plain(self) -> StepEnd | None:
        """What links, agent and programs say on their own: an end only when they fail twice."""
        for _ in range(_FAILS_TO_BELIEVE):
            window = plain_look(self.ctx)
            judged = self._judge(window, plain=True)
            if not judged.failing:
                return None
            self.looks += 1
            keep(self.ctx, window, self.looks)
            end = self._told(judged)
            if end is not None:
                return end
        return None

    def run(self) -> StepEnd:
        """Until it is told, one way or the other."""
        while True:
            began = self.ctx.world.clock.now()
            end = self.once()
            if end is not None:
                return end
            took = self.ctx.world.clock.now() - began
            unsure = self.last is None or self.last.status is not Status.FAIL
            left = (self.ctx.deadline - self.ctx.world.clock.now()) - took
            if unsure and left <= timedelta(seconds=_SPARE_S):
                return self.undecided()
            self.ctx.pause(_UNSURE_S if unsure else _AGAIN_S)

    def once(self) -> StepEnd | None:
        """One look; how the step ends by it, None when it must be asked again."""
        window = self._look()
        judged = self._judge(window)
        if judged.status is not Status.PASS and window.controls:
            window = without_lost_controls(self.ctx, window)
            judged = self._judge(window)
        self._beside = tuple(each.node for each in window.controls)
        self.looks += 1
        if judged.status is not Status.PASS and not counts(self.ctx, window):
            self.ctx.say("a peer or a probe pod went away during the look: it is made again", "")
            self.last, self._suspects = None, frozenset()
            return None
        self.last = judged
        keep(self.ctx, window, self.looks)
        self.history.append(window.seen)
        if judged.status is Status.PASS:
            self._suspects = frozenset()
            return StepEnd(Result.DONE, evidence=self._evidence(judged))
        return self._told(judged)

    def _look(self) -> Window:
        """A control that did not answer is not asked again: it would keep this node's looks waiting each time."""
        window = look(self.ctx, self.baseline or {}, quick=self.quick, changed=True, controls=self._controls)
        answered = {each.node for each in window.controls}
        for rig in window.control_rigs:
            if rig.host.node not in answered:
                del self._controls[rig.host.node]
        return window

    def _told(self, judged: Judged) -> StepEnd | None:
        """The end that a look without a pass means, None when it must be asked again."""
        believed = (judged.failing - SETTLING) | (judged.failing & self._suspects)
        self._suspects = judged.failing
        if believed:
            return self._failed(judged, believed)
        worst = self._telling(judged)
        self.ctx.say(f"{worst.check}: {worst.message}", f"rollout verify {self.ctx.node.name}")
        return None

    def undecided(self) -> StepEnd:
        """Held: it could not be told in time."""
        judged = self.last or Judged((), Status.INCONCLUSIVE, frozenset())
        worst = self._telling(judged)
        return StepEnd(
            Result.HELD,
            undecided_code("check", worst.check),
            f"it could not be told: {worst.message}",
            f"look yourself: rollout verify {self.ctx.node.name}, then: rollout resume",
            self._evidence(judged),
        )

    def _judge(self, window: Window, *, plain: bool = False) -> Judged:
        ctx = self.ctx
        off = dict.fromkeys(RIG_CHECKS, CheckLevel.OFF) if plain else {}
        policy = replace(ctx.plan.policy, checks={**ctx.plan.policy.checks, **off})
        verdicts = judge_node(
            ctx.node.name,
            window.seen,
            self.baseline,
            ctx.mode,
            policy=policy,
            controls=window.controls,
            history=self.history,
            quick=self.quick,
        )
        failing = frozenset(v.check for v in verdicts if v.status is Status.FAIL and self._required(v.check))
        return Judged(verdicts, decide(verdicts, self._counted), failing)

    def _required(self, check: str) -> bool:
        return self._counted.get(check) is CheckLevel.REQUIRED

    def _failed(self, judged: Judged, believed: frozenset[str]) -> StepEnd:
        worst = next(v for v in judged.verdicts if v.check in believed)
        hint = f"rollout verify {self.ctx.node.name}"
        return StepEnd(Result.FAILED, f"check-{worst.check}", worst.message, hint, self._evidence(judged))

    def _telling(self, judged: Judged) -> Verdict:
        """The verdict that explains the status best; a required check nobody answered stands for itself."""
        required = [v for v in judged.verdicts if self._required(v.check)]
        alike = [v for v in required if v.status is judged.status]
        silent = [v for v in required if v.status is Status.SKIPPED and not v.excused]
        missing = [name for name in self._counted if self._required(name) and name not in {v.check for v in required}]
        found = (*alike, *silent, *(_silence(self.ctx, name) for name in missing))
        return found[0] if found else _silence(self.ctx, "reach")

    def _evidence(self, judged: Judged) -> dict[str, Any]:
        since = _since_agent_ready(self.ctx)
        evidence = {"verdicts": [to_plain(v) for v in judged.verdicts], "looks": self.looks}
        evidence |= {"controls": list(self._beside)} if self._beside else {}
        return evidence | ({} if since is None else {"after_agent_ready_ms": since})


def _silence(ctx: StepContext, check: str) -> Verdict:
    return Verdict(check, ctx.node.name, Status.INCONCLUSIVE, f"the check {check} has not answered")


def _since_agent_ready(ctx: StepContext) -> int | None:
    """Milliseconds since this node's agent was last seen to become Ready; None before it was ever restarted."""
    for entry in reversed(ctx.world.store.read(ctx.rollout)):
        body = entry.body
        if isinstance(body, Outcome) and (body.node, body.step) == (ctx.node.name, StepKind.CLEAR_STRAGGLERS):
            return int((ctx.world.clock.now() - entry.at) / timedelta(milliseconds=1))
    return None


# --- soak ------------------------------------------------------------------------------------------------------------


def look_soak(ctx: StepContext) -> dict[str, Any]:
    """When the watch ends, and the agent that is watched."""
    until = ctx.world.clock.now() + timedelta(seconds=ctx.plan.policy.soak_fenced_s)
    pod = agent_pod(ctx.view(), ctx.plan)
    return {"until": until.isoformat(), "agent_pod": pod.ref.uid if pod else "", "restarts": pod.restarts if pod else 0}


def act_soak(ctx: StepContext) -> StepEnd:
    """Watch node and agent while the node is still fenced, and look again and again; end early on evidence of harm.

    At the end the last look must have passed: one that could not tell is repeated beyond the end of the watch. A soak
    too short for one look rests on what verify saw.
    """
    until = datetime.fromisoformat(ctx.before["until"])
    every = timedelta(seconds=_SOAK_EVERY_WINDOWS * ctx.plan.policy.probes.window_s)
    proof = _Proof(ctx, quick=False, history=_windows_of_verify(ctx))
    view, due = ctx.view(), ctx.world.clock.now() + every
    evidence: Mapping[str, Any] = {"looks": 0}
    sure = True
    while True:
        pod = agent_pod(view, ctx.plan)
        if pod is None or pod.ref.uid != ctx.before["agent_pod"] or pod.restarts > ctx.before["restarts"]:
            return _agent_restarted(ctx)
        now = ctx.world.clock.now()
        if now >= until and sure:
            return StepEnd(Result.DONE, evidence=evidence)
        if (due <= now < until) or not sure:
            end = proof.once()
            if end is not None and end.result is not Result.DONE:
                return end
            sure, evidence = end is not None, end.evidence if end else evidence
            due = ctx.world.clock.now() + (every if sure else timedelta(seconds=_UNSURE_S))
            if not sure and (ctx.deadline - ctx.world.clock.now()).total_seconds() <= 2 * _SPARE_S:
                return proof.undecided()
            if not sure:
                ctx.pause(_AGAIN_S)
            view = ctx.view()
            continue
        ctx.say(f"soaking until {until:%H:%M:%S} UTC", "")
        wait = min(until, due) - now
        view = ctx.wait_change(view, max(0.01, min(30.0, wait.total_seconds())))


def _agent_restarted(ctx: StepContext) -> StepEnd:
    return StepEnd(
        Result.FAILED,
        "agent-restarted",
        f"the agent on {ctx.node.name} was restarted during the soak",
        f"look why: kubectl -n {ctx.plan.cluster.agent_daemonset.split('/')[0]} get pods -o wide",
    )


def _windows_of_verify(ctx: StepContext) -> list[Seen]:
    """What the verification that passed had seen, look by look: the soak goes on from there."""
    rows = ctx.world.store.observations(ctx.rollout, ctx.node.name)
    looks = [attempt for attempt, _ in rows if attempt.startswith(f"{ctx.track.value}/{StepKind.VERIFY.value}/")]
    if not looks:
        return []
    whole = looks[-1].rpartition("/")[0] + "/"
    found: dict[str, dict[str, Any]] = {}
    for attempt, seen in rows:
        if attempt.startswith(whole):
            found.setdefault(attempt, {})[seen.probe] = seen
    return list(found.values())
