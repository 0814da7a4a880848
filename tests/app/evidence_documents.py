"""Documents of probes and whole rollouts for the report's tests: literals by shape, numbers from a seed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from rollout.domain.codec import to_plain
from rollout.domain.inventory import Observation
from rollout.domain.journal import (
    Approved,
    Body,
    GateDecided,
    Intent,
    NodeDecided,
    Outcome,
    Result,
    RolloutDecided,
    RunEnded,
    RunStarted,
)
from rollout.domain.lifecycle import NodeEvent, RolloutEvent
from rollout.domain.plan import NodePlan, Plan
from rollout.domain.step import StepKind, Track
from rollout.domain.verdict import Status, Verdict
from rollout.ports.store import JournalStore
from tests import builders

Document = dict[str, Any]

FRAME: Document = {
    "schema": 1,
    "window_ms": 4000,
    "selftest": {"sent": 64, "seen": 64, "ok": True, "message": ""},
    "cost": {
        "compile_ms": 900,
        "attach_ms": 40,
        "programs": [{"name": "count_hop", "runs": 25000, "run_ns": 2_100_000}],
    },
    "reader": "bcc 0.31.0",
    "lost_events": 0,
}


def round_trips(rng: random.Random, median_us: int, number: int) -> list[int]:
    return [max(20, int(rng.lognormvariate(0, 0.25) * median_us)) for _ in range(number)]


def reach_document(
    seed: int, median_us: int, *, lost: int = 0, packets: int = 400, peer_kind: str = "veth", **more: Any
) -> Document:
    rng = random.Random(seed)
    bursts, cells = [], []
    for path, factor in (("same-node", 1), ("cross-node", 3)):
        peer = "n9" if path == "cross-node" else ""
        bursts.append(
            {
                "id": f"{path}/udp/v4",
                "path": path,
                "protocol": "udp",
                "family": 4,
                "size": 64,
                "peer": peer,
                "peer_kind": peer_kind if peer else "",
                "sent": packets,
                "received": packets - lost,
                "reordered": 0,
                "rtt_us": round_trips(rng, median_us * factor, packets - lost),
            }
        )
        for size in (64, 1400):
            cells.append(
                {
                    "id": f"{path}/tcp/v4/{size}",
                    "path": path,
                    "protocol": "tcp",
                    "family": 4,
                    "size": size,
                    "peer": peer,
                    "peer_kind": peer_kind if peer else "",
                    "target": "10.244.2.9:8791",
                    "tries": 3,
                    "ok": 3,
                    "error": "",
                    "rtt_us": round_trips(rng, median_us * factor, 3),
                }
            )
    skipped = [{"path": "same-node", "family": 6, "why": "the probe pod has no IPv6 address"}]
    return {"schema": 1, "probe": "reach", "cells": cells, "bursts": bursts, "skipped": skipped} | more


def log2_counts(seed: int, middle: int, number: int) -> list[int]:
    rng = random.Random(seed)
    counts = [0] * (middle + 6)
    for _ in range(number):
        counts[min(len(counts) - 1, max(0, round(rng.gauss(middle, 0.9))))] += 1
    return counts


def path_document(seed: int, kind: str, middle: int, **more: Any) -> Document:
    number = 400
    hops = [
        {"kind": kind, "direction": direction, "count": number, "log2_ns": log2_counts(seed + i, middle, number)}
        for i, direction in enumerate(("from-pod", "to-pod"))
    ]
    links = [
        {
            "name": f"lxc{i}",
            "ifindex": 10 + i,
            "kind": kind,
            "to_pod": {"packets": 2100 + seed % 100, "bytes": 190000},
            "from_pod": {"packets": 2050 + seed % 90, "bytes": 180000},
        }
        for i in range(2)
    ]
    return FRAME | {"probe": "path", "links": links, "hops": hops} | more


def tcp_document(seed: int, middle: int, **more: Any) -> Document:
    endpoint = {
        "address": "10.244.1.5",
        "connects": 180 + seed % 20,
        "connect_failures": 0,
        "connect_log2_us": log2_counts(seed, middle, 180),
        "srtt_log2_us": log2_counts(seed + 7, middle - 1, 180),
        "segments": 5200,
        "retransmits": seed % 3,
        "resets_sent": 0,
        "resets_received": 1,
    }
    return FRAME | {"probe": "tcp", "endpoints": [endpoint]} | more


def drops_document(rows: Mapping[str, int], **more: Any) -> Document:
    drops = [
        {"reason": reason, "link": "lxc1", "ifindex": 11, "protocol": "ipv4/udp", "packets": packets}
        for reason, packets in rows.items()
    ]
    return FRAME | {"probe": "drops", "drops": drops, "reasons_from": "btf"} | more


def policy_document(**results: str) -> Document:
    pairs = [
        {
            "id": f"nkr-guard/{name.replace('_', '-')}",
            "policy": "nkr-guard",
            "from": "a",
            "to": "b",
            "protocol": "tcp",
            "port": 8793,
            "result": result,
            "detail": "",
        }
        for name, result in results.items()
    ]
    return {"schema": 1, "probe": "policy", "pairs": pairs, "skipped": []}


def full_set(seed: int, kind: str, *, median_us: int, middle: int, lost: int = 0) -> dict[str, Document]:
    """One look of all probes at a node whose links are of `kind`."""
    mode = "veth" if kind == "veth" else "netkit"
    agent_drops = [{"reason": "Unsupported L3 protocol", "direction": "egress", "packets": 12}]
    return {
        "links": builders.links_document(kind, 4),
        "agent": builders.agent_document(mode, drops=agent_drops),
        "reach": reach_document(seed, median_us, lost=lost),
        "policy": policy_document(a_to_b_8792="open", a_to_b_8793="closed"),
        "path": path_document(seed, kind, middle),
        "drops": drops_document({"NO_SOCKET": 3 + seed % 4}),
        "tcp": tcp_document(seed, 9 if kind == "veth" else 8),
    }


def observations(node: str, at: datetime, documents: Mapping[str, Document]) -> list[Observation]:
    return [Observation(node, probe, at, document) for probe, document in documents.items()]


class Telling:
    """Writes a rollout into a store as its process would: the clock moves with what is told."""

    def __init__(self, store: JournalStore, plan: Plan) -> None:
        self.store, self.plan, self.at = store, plan, builders.NOW
        self.rollout = store.save_plan(
            plan.encode(), digest=plan.digest, cluster="cluster-1", purpose=plan.purpose, now=self.at
        ).id

    def say(self, *bodies: Body, after_s: float = 0) -> None:
        self.at += timedelta(seconds=after_s)
        self.store.append(self.rollout, bodies, now=self.at)

    def begin(self, by: str = "Bob Reviewer", ticket: str = "CHG-4711") -> None:
        expires = self.at + timedelta(hours=8)
        self.say(Approved(self.plan.digest, by, ticket, expires), RolloutDecided(RolloutEvent.APPROVE, by), after_s=300)
        self.say(RunStarted("ann", "ops-1", 4242, 1), RolloutDecided(RolloutEvent.START), after_s=600)

    def step(
        self,
        node: str,
        kind: StepKind,
        seconds: float,
        result: Result = Result.DONE,
        *,
        track: Track = Track.FORWARD,
        verdicts: Sequence[Verdict] = (),
        documents: Mapping[str, Document] | None = None,
        code: str = "",
        reason: str = "",
        hint: str = "",
    ) -> None:
        self.say(Intent(node, track, kind, 1, {}, self.at + timedelta(hours=1), 1))
        if documents:
            attempt = f"{track.value}/{kind.value}/1"
            moment = self.at + timedelta(seconds=seconds)
            self.store.save_observations(self.rollout, attempt, observations(node, moment, documents))
        evidence = {"verdicts": [to_plain(verdict) for verdict in verdicts]} if verdicts else {}
        self.say(Outcome(node, track, kind, 1, result, code, reason, hint, evidence), after_s=seconds)

    def move(self, node: NodePlan, seed: int, *, failing: bool = False) -> None:
        """One node's whole way; `failing`: latency fails, and it is led back."""
        self.say(NodeDecided(node.name, NodeEvent.START))
        before = full_set(seed, "veth", median_us=210, middle=11)
        slow = 20_200 if failing else 190
        after = full_set(seed + 1000, "netkit/l3", median_us=slow, middle=10, lost=9 if failing else 0)
        for planned in node.steps:
            kind = planned.kind
            if kind is StepKind.BASELINE:
                self.step(node.name, kind, 9, documents=before)
            elif kind is StepKind.VERIFY:
                self.step(
                    node.name,
                    kind,
                    12,
                    Result.FAILED if failing else Result.DONE,
                    verdicts=verdicts_of(node.name, failing=failing),
                    documents=after,
                    code="check-latency" if failing else "",
                    reason="same-node p50 rose from 210 us to 20200 us" if failing else "",
                )
                if failing:
                    self.lead_back(node, seed)
                    return
            else:
                self.step(node.name, kind, {StepKind.DRAIN: 38, StepKind.SOAK: 60}.get(kind, 4 + seed % 3))
        self.say(NodeDecided(node.name, NodeEvent.FINISH))

    def lead_back(self, node: NodePlan, seed: int) -> None:
        self.say(NodeDecided(node.name, NodeEvent.ROLL_BACK, "policy: a failed node is led back at once"))
        for planned in node.backing:
            proof = planned.kind is StepKind.VERIFY
            self.step(
                node.name,
                planned.kind,
                9 if proof else 5,
                track=Track.BACK,
                verdicts=verdicts_of(node.name, failing=False) if proof else (),
                documents=full_set(seed + 2000, "veth", median_us=212, middle=11) if proof else None,
            )
        self.say(NodeDecided(node.name, NodeEvent.FINISH))

    def end(self) -> None:
        for wave in self.plan.waves:
            self.say(GateDecided(wave.number, "proceed", f"{len(wave.nodes)} node(s) well under load"), after_s=60)
        self.say(RolloutDecided(RolloutEvent.COMPLETE), RunEnded("completed"), after_s=1)


def verdicts_of(node: str, *, failing: bool) -> tuple[Verdict, ...]:
    numbers = {"before_us": 210, "now_us": 20200 if failing else 190, "tolerance_us": 5000}
    compared = {"compared": {"same-node/udp/v4 p50": numbers}, "error_ppm": 1000}
    latency = (
        Verdict("latency", node, Status.FAIL, "same-node p50 rose from 210 us to 20200 us", compared)
        if failing
        else Verdict("latency", node, Status.PASS, "no quantile rose by more than is tolerated", compared)
    )
    return (
        Verdict("links", node, Status.PASS, "all 5 endpoint links are as wanted", {"counts": {"netkit/l3": 5}}),
        Verdict("loss", node, Status.PASS, "0 of 800 lost", {"lost": 0, "sent": 800}),
        latency,
        Verdict("tcp", node, Status.SKIPPED, "advisory, and nothing to compare"),
    )
