"""Where a rollout stands, and why a node is where it is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from rollout.app.status import NodeStatus, RolloutStatus, Why
from rollout.cli.render.approvals import consent_rows
from rollout.cli.render.blocks import Block, Bullets, Commands, Heading, Page, Pairs, Para, Table, Tone
from rollout.cli.render.words import count, moment, since, span, told, until
from rollout.domain.journal import RolloutState
from rollout.domain.lifecycle import NodePhase, RolloutPhase
from rollout.domain.node import TAINT_WAITING
from rollout.ports.store import RolloutRecord

NODE_TONES = {
    NodePhase.DONE: Tone.GOOD,
    NodePhase.REPLACED: Tone.GOOD,
    NodePhase.RUNNING: Tone.PLAIN,
    NodePhase.PENDING: Tone.FAINT,
    NodePhase.HELD: Tone.CARE,
    NodePhase.QUARANTINED: Tone.BAD,
    NodePhase.LOST: Tone.BAD,
    NodePhase.RETURNING: Tone.CARE,
    NodePhase.RETURNED: Tone.CARE,
    NodePhase.ROLLING_BACK: Tone.CARE,
    NodePhase.ROLLED_BACK: Tone.CARE,
    NodePhase.SKIPPED: Tone.FAINT,
}


def status_page(status: RolloutStatus, now: datetime, *, runner: str) -> Page:
    """`runner`: one sentence about the process that applies it, empty when there is none."""
    return list(_status(status, now, runner))


def _status(status: RolloutStatus, now: datetime, runner: str) -> Iterator[Block]:
    state, record = status.state, status.record
    yield Heading(f"Rollout {record.id}: {state.phase.value}", 1)
    rows = [
        ("purpose", record.purpose),
        ("why", state.reason),
        *consent_rows(status.consent),
        ("asked", _asked(state)),
        ("applied by", runner),
        ("wave", _wave(status)),
        ("nodes", ", ".join(f"{number} {phase}" for phase, number in status.counts.items())),
        ("left", _left(status)),
        ("marked", _marked(state)),
        ("started", moment(state.started) if state.started else ""),
        ("ended", moment(state.ended) if state.ended else ""),
    ]
    yield Pairs(tuple((name, value) for name, value in rows if value))
    yield Table(
        ("node", "wave", "phase", "step", "done", "since", "why"),
        tuple(_node(node, now) for node in status.nodes),
        tuple(NODE_TONES[node.phase] for node in status.nodes),
    )
    hints = dict.fromkeys(f"{n.name}: {n.hint}" for n in status.nodes if n.hint and n.phase is not NodePhase.PENDING)
    if hints:
        yield Heading("What unblocks them")
        yield Bullets(tuple(hints))
    if status.next_command:
        yield Heading("Next")
        yield Commands((status.next_command,))


def _left(status: RolloutStatus) -> str:
    """The estimate of what is left."""
    if status.remaining is None:
        return ""
    low, high = span(status.remaining.low_s), span(status.remaining.high_s)
    return f"{low} to {high}, by the plan's estimate; this wave is bound by: {status.remaining.binding}"


def _marked(state: RolloutState) -> str:
    """Nodes still to do that carry our taint, and how it goes where nobody works on it."""
    if not state.waiting.nodes:
        return ""
    words = f"{count(len(state.waiting.nodes), 'node')} with the taint {TAINT_WAITING}, so that pods go elsewhere first"
    if state.phase is RolloutPhase.HELD:
        return f"{words}; it stays while the rollout is held, and goes with its end or rollout abort"
    return words


def _asked(state: RolloutState) -> str:
    asked = state.abort or (state.pause if state.phase in (RolloutPhase.RUNNING, RolloutPhase.HELD) else None)
    if asked is None:
        return ""
    return f"{asked.verb.value} by {asked.by}" + (f": {asked.reason}" if asked.reason else "")


def _wave(status: RolloutStatus) -> str:
    if status.wave is None:
        return f"all {len(status.plan.waves)} behind their gates"
    wave = status.plan.waves[status.wave]
    return f"{wave.name} ({wave.number + 1} of {len(status.plan.waves)}), {count(len(wave.nodes), 'node')}"


def _node(node: NodeStatus, now: datetime) -> tuple[str, ...]:
    done = f"{node.done}/{node.steps}"
    return (
        node.name,
        str(node.wave),
        node.phase.value,
        node.step or "-",
        done,
        since(node.since, now),
        node.reason or "-",
    )


def why_page(why: Why, now: datetime) -> Page:
    """One sentence, the deadline, the command, the history."""
    return list(_why(why, now))


def _why(why: Why, now: datetime) -> Iterator[Block]:
    node = why.status
    yield Heading(f"Node {node.name}: {node.phase.value}", 1)
    yield Para(why_sentence(node, now), NODE_TONES[node.phase])
    rows = [("steps done", f"{node.done} of {node.steps}"), ("wave", str(node.wave))]
    if why.deadline is not None and why.left is not None:
        rows.append(("deadline", f"{until(why.left)} ({moment(why.deadline)}); then the step counts as failed"))
    yield Pairs(tuple(rows))
    if node.hint:
        yield Heading("Next")
        yield Commands((node.hint,))
    yield Heading("History")
    if not why.history:
        yield Para("nothing was done to it yet")
        return
    yield Table(("time", "what"), tuple((moment(e.at), told(e.body)) for e in why.history))


def why_sentence(node: NodeStatus, now: datetime) -> str:
    """Why a node is where it is, in one sentence."""
    what = f"it is {node.phase.value}" + (f" in {node.step}" if node.step else "")
    how_long = f" for {since(node.since, now)}" if node.since else ""
    return f"{what}{how_long}" + (f": {node.reason}" if node.reason else "")


def rollouts_page(rows: tuple[tuple[RolloutRecord, RolloutPhase], ...]) -> Page:
    """All rollouts of a state."""
    headers = ("rollout", "phase", "purpose", "planned", "started")
    cells = tuple((r.id, phase.value, r.purpose, moment(r.created), moment(r.started)) for r, phase in rows)
    return [Heading("Rollouts", 1), Table(headers, cells) if cells else Para("there is none yet: rollout plan")]
