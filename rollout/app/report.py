"""The change record's evidence: what was moved, by whom, how it went, and what was measured before and after.

From the store alone: plan, journal and observations. No cluster is needed, and nothing is judged anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rollout.app.cohorts import Sides, cohort, cohort_of
from rollout.app.consent import approvals_in
from rollout.app.evidence import Missing, Stored, Traffic, look, traffic
from rollout.app.record import (
    SCHEMA,
    Ask,
    Failure,
    GateWord,
    Judged,
    Moved,
    NodeDetail,
    NodeReport,
    Open,
    Report,
    Run,
    ShownVerdict,
    StepTime,
    WaveReport,
)
from rollout.app.status import NodeStatus, RolloutStatus, status
from rollout.app.world import World
from rollout.domain.journal import (
    Control,
    Entry,
    GateDecided,
    Intent,
    NodeDecided,
    Outcome,
    Result,
    RunStarted,
    WaveTakenBack,
)
from rollout.domain.lifecycle import SETTLED_PHASES, NodePhase, RolloutPhase
from rollout.domain.node import Method
from rollout.domain.plan import NodePlan, Plan
from rollout.domain.step import Track

FEW_NODES = 25
"""So many nodes are shown with every detail; of more only those where something went wrong."""

_TROUBLE = frozenset({Result.FAILED, Result.HELD, Result.LOST})
_WELL = frozenset({NodePhase.PENDING, NodePhase.RUNNING, NodePhase.DONE, NodePhase.REPLACED})

NEVER_MEASURED = (
    Missing(
        "CPU per packet of the datapath",
        "no probe measures it; what the probes' own eBPF programs cost is shown with each node",
    ),
    Missing(
        "traffic of workloads lost while pods moved",
        "the probes count their own packets; pods are evicted within their disruption budgets",
    ),
)


@dataclass(slots=True)
class _History:
    """What the journal tells of one node."""

    steps: list[StepTime] = field(default_factory=list)
    judged: dict[tuple[str, str], Judged] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)


def report(world: World, reference: str, *, every: bool = False) -> Report:
    """The report on a rollout, every node in detail when `every`. Raises `NotFound`, `UsageError`."""
    current = status(world, reference)
    entries = world.store.read(current.record.id)
    histories = _histories(entries)
    everyone = every or len(current.nodes) <= FEW_NODES
    keys = sorted({cohort_of(node) for node in current.plan.nodes})
    sides: dict[tuple[str, str, str, str], dict[str, Sides]] = {key: {} for key in keys}
    nodes, before, during = [], Traffic(), Traffic()
    for line in current.nodes:
        planned = current.plan.node(line.name)
        stored = world.store.observations(current.record.id, line.name)
        history = histories.get(line.name, _History())
        troubled = _troubled(line, history)
        detail = _detail(line, history, stored, sure=everyone or troubled)
        key = cohort_of(planned)
        sides[key][line.name] = Sides(detail.before, detail.after, line.phase in _WELL)
        mine = traffic(stored, "forward/baseline/")
        later = _traffic_after(stored)
        before, during = before.plus(mine), during.plus(later)
        nodes.append(_node(line, planned, current, detail, keys.index(key), mine.plus(later), everyone, troubled))
    return Report(
        schema=SCHEMA,
        made=world.clock.now(),
        program=current.plan.program,
        rollout=current.record.id,
        digest=current.record.digest,
        cluster=current.record.cluster,
        agent_image=current.plan.cluster.agent_image,
        purpose=current.record.purpose,
        phase=current.state.phase.value,
        reason=current.state.reason,
        fleet=current.plan.cluster.fleet,
        planned=current.record.created,
        started=current.state.started,
        ended=current.state.ended,
        moved=_moved(current.plan),
        counts=current.counts,
        approvals=approvals_in(entries),
        runs=tuple(Run(e.at, e.body.operator, e.body.host) for e in entries if isinstance(e.body, RunStarted)),
        asks=tuple(
            Ask(e.at, e.body.verb.value, e.body.by, e.body.reason) for e in entries if isinstance(e.body, Control)
        ),
        waivers=current.plan.policy.waivers,
        excluded=current.plan.excluded,
        failures=tuple(_failures(current, histories)),
        open=tuple(_open(current)),
        before=before,
        during=during,
        waves=tuple(_waves(current, entries)),
        cohorts=tuple(cohort(key, sides[key]) for key in keys),
        nodes=tuple(nodes),
        not_measured=NEVER_MEASURED,
    )


# --- the journal ---------------------------------------------------------------------------------------------------


def _histories(entries: Sequence[Entry]) -> dict[str, _History]:
    found: dict[str, _History] = {}
    begun: dict[tuple[str, Track, str], StepTime] = {}
    for entry in entries:
        body = entry.body
        if isinstance(body, Intent):
            begun[body.node, body.track, body.step.value] = StepTime(
                body.track.value, body.step.value, body.attempt, entry.at, None, ""
            )
        elif isinstance(body, Outcome):
            started = begun.pop((body.node, body.track, body.step.value), None)
            _note_outcome(found.setdefault(body.node, _History()), entry.at, body, started)
        elif isinstance(body, NodeDecided) and body.node in found:
            _note_decision(found[body.node], body)
    for (node, _, _), step in begun.items():
        found.setdefault(node, _History()).steps.append(step)
    return found


def _note_outcome(history: _History, at: datetime, body: Outcome, started: StepTime | None) -> None:
    track, step = body.track.value, body.step.value
    begin = started.start if started else at
    history.steps.append(StepTime(track, step, body.attempt, begin, at, body.result.value))
    verdicts = body.evidence.get("verdicts")
    if isinstance(verdicts, list) and verdicts:
        history.judged[track, step] = Judged(track, step, at, tuple(_verdict(v) for v in verdicts))
    if body.result in _TROUBLE:
        words = (body.result.value, body.code, body.reason, body.hint)
        history.failures.append(Failure(body.node, at, track, step, *words, decided="", phase=""))


def _verdict(plain: Any) -> ShownVerdict:
    row = plain if isinstance(plain, Mapping) else {}
    evidence = row.get("evidence")
    return ShownVerdict(
        str(row.get("check", "")),
        str(row.get("status", "")),
        str(row.get("message", "")),
        evidence if isinstance(evidence, Mapping) else {},
    )


def _note_decision(history: _History, body: NodeDecided) -> None:
    """The first decision behind a failure is what was done about it."""
    if history.failures and not history.failures[-1].decided:
        last = history.failures[-1]
        history.failures[-1] = _with(last, decided=body.event.value)


def _with(failure: Failure, **more: str) -> Failure:
    values = {name: getattr(failure, name) for name in Failure.__slots__}
    return Failure(**(values | more))


def _failures(current: RolloutStatus, histories: Mapping[str, _History]) -> Iterator[Failure]:
    phases = {line.name: line.phase.value for line in current.nodes}
    found = [f for history in histories.values() for f in history.failures]
    for failure in sorted(found, key=lambda f: (f.at, f.node)):
        yield _with(failure, phase=phases.get(failure.node, ""))


def _open(current: RolloutStatus) -> Iterator[Open]:
    phase = current.state.phase
    if phase not in (RolloutPhase.COMPLETED, RolloutPhase.ABORTED):
        words = f"the rollout is {phase.value}" + (f": {current.state.reason}" if current.state.reason else "")
        yield Open(words, current.next_command)
    pending = 0
    for node in current.nodes:
        if node.phase is NodePhase.PENDING:
            pending += 1
        elif node.phase not in SETTLED_PHASES:
            words = f"node {node.name} is {node.phase.value}" + (f": {node.reason}" if node.reason else "")
            yield Open(words, node.hint or f"rollout why {node.name}")
    if pending:
        yield Open(f"{pending} node(s) not begun", "")


# --- waves and nodes -----------------------------------------------------------------------------------------------


def _moved(plan: Plan) -> tuple[Moved, ...]:
    found: dict[tuple[str, str], list[int]] = {}
    for node in plan.nodes:
        both = found.setdefault((node.source.value, node.target.value), [0, 0])
        both[node.method is Method.REBOOT] += 1
    return tuple(Moved(*modes, sum(both), *both) for modes, both in sorted(found.items()))


def _waves(current: RolloutStatus, entries: Sequence[Entry]) -> Iterator[WaveReport]:
    words: dict[int, list[GateWord]] = {}
    for entry in entries:
        body = entry.body
        if isinstance(body, GateDecided):
            words.setdefault(body.wave, []).append(GateWord(entry.at, body.decision, body.reason))
        elif isinstance(body, WaveTakenBack):
            reason = f"{', '.join(body.nodes)}" + (f": {body.reason}" if body.reason else "")
            words.setdefault(body.wave, []).append(GateWord(entry.at, "taken back", reason))
    for wave in current.plan.waves:
        states = [current.state.node(name) for name in wave.nodes]
        phases: dict[str, int] = {}
        for state in states:
            phases[state.phase.value] = phases.get(state.phase.value, 0) + 1
        begun = [s.started for s in states if s.started is not None]
        ended = [s.since for s in states if s.phase in SETTLED_PHASES and s.since is not None]
        yield WaveReport(
            wave.number,
            wave.name,
            len(wave.nodes),
            min(begun, default=None),
            max(ended) if len(ended) == len(states) and ended else None,
            phases,
            tuple(words.get(wave.number, ())),
        )


def _troubled(line: NodeStatus, history: _History) -> bool:
    """Whether anything went wrong that a reader would want to see, mended or not."""
    last = _last_word(history)
    judged_well = last is None or all(v.status in ("pass", "skipped") for v in last.verdicts)
    return bool(history.failures) or line.phase not in _WELL or not judged_well


def _last_word(history: _History) -> Judged | None:
    return max(history.judged.values(), key=lambda judged: judged.at, default=None)


def _detail(line: NodeStatus, history: _History, stored: Stored, *, sure: bool) -> NodeDetail:
    before = look(stored, "forward/baseline/", sure=sure)
    after = look(stored, "forward/verify/", "forward/confirm-mode/", sure=sure)
    back = look(stored, "back/verify/", "back/confirm-mode/", sure=sure)
    absent = []
    if before is None:
        absent.append(Missing("before", _why_absent("baseline", history, line)))
    if after is None:
        absent.append(Missing("after", _why_absent("confirm-mode", history, line)))
    if back is None and any(s.track == Track.BACK.value for s in history.steps):
        absent.append(Missing("after the way back", _why_absent("confirm-mode", history, line, Track.BACK)))
    judged = tuple(sorted(history.judged.values(), key=lambda j: j.at))
    return NodeDetail(tuple(history.steps), judged, before, after, back, tuple(absent))


def _why_absent(step: str, history: _History, line: NodeStatus, track: Track = Track.FORWARD) -> str:
    tried = [s for s in history.steps if s.track == track.value and s.step == step]
    if tried:
        return f"the step {step} ran and stored no observation"
    return f"the node never came to the step {step}; it is {line.phase.value}"


def _traffic_after(stored: Stored) -> Traffic:
    later = [row for row in stored if not row[0].startswith("forward/baseline/")]
    return traffic(later, "")


def _node(
    line: NodeStatus,
    planned: NodePlan,
    current: RolloutStatus,
    detail: NodeDetail,
    number: int,
    sent: Traffic,
    everyone: bool,
    troubled: bool,
) -> NodeReport:
    state = current.state.node(line.name)
    last = detail.judged[-1].verdicts if detail.judged else ()
    counts: dict[str, int] = {}
    for verdict in last:
        counts[verdict.status] = counts.get(verdict.status, 0) + 1
    shown = detail.back or detail.after
    return NodeReport(
        name=line.name,
        wave=line.wave,
        cohort=number,
        method=planned.method.value,
        source=planned.source.value,
        target=planned.target.value,
        phase=line.phase.value,
        reason=line.reason if line.phase is not NodePhase.PENDING else "",
        troubled=troubled,
        started=state.started,
        ended=state.since if line.phase in SETTLED_PHASES else None,
        verdicts=dict(sorted(counts.items())),
        links_before=detail.before.links if detail.before else None,
        links_after=shown.links if shown else None,
        traffic=sent,
        detail=detail if everyone or troubled else None,
    )
