"""Results as JSON: sorted keys, ASCII only, so that no name steers a terminal."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rollout.app.make_plan import PlanResult
from rollout.app.status import NodeStatus, RolloutStatus, Why
from rollout.app.verify import NodeProof
from rollout.cli.render.approvals import consent_values
from rollout.domain.approval import Approval
from rollout.domain.codec import to_plain
from rollout.domain.consent import Consent
from rollout.domain.journal import Entry, encode_body
from rollout.domain.plan import Finding, Plan
from rollout.ports.store import RolloutRecord


def render_json(value: Any) -> str:
    """Plain values as JSON, ending in one newline."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=True, allow_nan=False) + "\n"


@dataclass(frozen=True, slots=True)
class ShownPlan:
    """A plan with its digest and who approved it: what `show`, `plan` and `rollback` print."""

    id: str
    """The first 12 characters of the digest."""
    digest: str
    """SHA-256 over the canonical text of `plan`: sorted keys, no spaces, UTF-8."""
    plan: Plan
    approvals: tuple[Approval, ...] = ()
    """All that were given, oldest first, also those that do not count."""
    consent: Consent | None = None
    """Which of them count and how many are missing; null where that was not judged."""


def plan_values(
    plan: Plan, digest: str, approvals: tuple[Approval, ...], consent: Consent | None = None
) -> dict[str, Any]:
    """A `ShownPlan` as plain values."""
    return dict(to_plain(ShownPlan(digest[:12], digest, plan, approvals, consent)))


def planned_values(result: PlanResult) -> dict[str, Any]:
    """`plan` and `rollback`."""
    return plan_values(result.plan, result.record.digest, ())


def findings_values(findings: tuple[Finding, ...]) -> dict[str, Any]:
    """`preflight`."""
    return {"findings": to_plain(findings)}


def record_values(record: RolloutRecord) -> dict[str, Any]:
    """A rollout's heading."""
    return dict(to_plain(record))


def status_values(status: RolloutStatus) -> dict[str, Any]:
    """`status`."""
    state = status.state
    return {
        "rollout": record_values(status.record),
        "phase": state.phase.value,
        "reason": state.reason,
        "approvals": consent_values(status.consent),
        "wave": status.wave,
        "waves": to_plain(status.plan.waves),
        "gates": to_plain([state.gates[n] for n in sorted(state.gates)]),
        "taking_back": dict(sorted(state.taking_back.items())),
        "counts": status.counts,
        "remaining": to_plain(status.remaining),
        "waiting": sorted(state.waiting.nodes),
        "pause": to_plain(state.pause),
        "abort": to_plain(state.abort),
        "run": to_plain(state.run),
        "started": _time(state.started),
        "ended": _time(state.ended),
        "nodes": [node_values(node) for node in status.nodes],
        "next": status.next_command,
    }


def node_values(node: NodeStatus) -> dict[str, Any]:
    """One node's line."""
    return dict(to_plain(node))


def why_values(why: Why) -> dict[str, Any]:
    """`why`."""
    return {
        "node": node_values(why.status),
        "deadline": _time(why.deadline),
        "left_s": int(why.left.total_seconds()) if why.left is not None else None,
        "history": [entry_values(entry) for entry in why.history],
    }


def entry_values(entry: Entry) -> dict[str, Any]:
    """A journal entry."""
    tag, content = encode_body(entry.body)
    return {"seq": entry.seq, "at": entry.at.isoformat(), "type": tag, **content}


def proofs_values(proofs: tuple[NodeProof, ...]) -> dict[str, Any]:
    """`verify`."""
    return {
        "nodes": [
            {
                "node": proof.node,
                "expected": proof.expected.value,
                "status": proof.status.value,
                "links": proof.links.counts() if proof.links else None,
                "verdicts": to_plain(proof.verdicts),
            }
            for proof in proofs
        ]
    }


def _time(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
