"""A plan in which every field that a page shows is filled, with any words wherever a cluster or a person puts them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from rollout.cli.render.plan_view import PlanView
from rollout.domain.approval import Approval
from rollout.domain.consent import judge_consent
from rollout.domain.node import DatapathMode, Method, PodRef
from rollout.domain.plan import (
    BlastRadius,
    ConfigOwner,
    Estimate,
    Excluded,
    Finding,
    Going,
    Hook,
    Limit,
    Plan,
    PlannedPod,
    PlannedPool,
    SelectionChange,
    Wave,
    WaveEstimate,
)
from rollout.domain.policy import ApprovalRules, Freeze, Policy, Waiver, Window
from tests import builders


def full_plan(words: str = "plain") -> Plan:
    """Two waves of three nodes, with something in every list."""
    plan = builders.plan_of(("n1", "n2", "n3"), Policy(target=DatapathMode.NETKIT, cohorts=()))
    first, second, third = plan.nodes
    facts = replace(first.facts, kernel=words, internal_ip=words, effective={"routing-mode": words})
    nodes = (
        replace(
            first,
            facts=facts,
            evictions=_evictions(words),
            daemon_pods=(PlannedPod(PodRef(words, f"logd-{words}", "u8"), f"DaemonSet/{words}", (), words),),
            stragglers=(PlannedPod(PodRef(words, words, "u9"), words),),
            config_change={"datapath-mode": ("veth", words)},
            config_sources={"datapath-mode": (words, words)},
            risks=(words, words),
            cohort=words,
            pool=words,
            zone=words,
        ),
        replace(second, method=Method.REBOOT),
        replace(third, zone="zone-b"),
    )
    return replace(
        plan,
        purpose=words,
        rollback=words,
        policy=_policy(plan.policy, words),
        cluster=replace(plan.cluster, agent_image=words, budgets={words: words}),
        waves=(Wave(0, words, ("n1",), words), Wave(1, "wave 1", ("n2", "n3"), words)),
        nodes=nodes,
        excluded=(Excluded(words, (words, words), words), Excluded("n9", ("no netkit",))),
        findings=(
            Finding("row", "", "pass", words),
            Finding("row", "n1", "warn", words, words, words),
            Finding("row", words, "warn", words, words, words),
            Finding("other", "", "waived", words, "", words),
        ),
        limits=(
            Limit(words, ("n1", "n2"), 1, words, "zones", 1),
            Limit("capacity", ("n1", "n2", "n3"), 2, words),
        ),
        blast=_blast(words),
        estimate=_estimate(words),
        pools=(PlannedPool(words, 3, ("u1", words)),),
        hooks=(Hook(words, "a" * 64, False),),
        playbooks={words: "b" * 64},
        sources={"nodes": words, "waits": words},
    )


def _policy(policy: Policy, words: str) -> Policy:
    return replace(
        policy,
        waivers=(Waiver("other", words, words, (words,)),),
        windows=(Window(("mon",), "22:00", "06:00", "Europe/Berlin"),),
        freezes=(Freeze(words, "2026-12-20T00:00:00+00:00", "2027-01-04T00:00:00+00:00", words),),
        approval=ApprovalRules(2, approvers=(words, "bob")),
    )


def _evictions(words: str) -> tuple[PlannedPod, ...]:
    return (
        PlannedPod(
            PodRef("shop", "web-6d4-x1", "u1"), "ReplicaSet/web-6d4", ("shop/web",), "", lands_on="n2", replicas=3
        ),
        PlannedPod(
            PodRef(words, f"{words}-x2", "u2"), f"ReplicaSet/{words}", (words, "shop/web"), words, Going.WAITS, words,
            words, words, 1,
        ),
        PlannedPod(PodRef("shop", "lone", "u3"), "", ("shop/web",), "", Going.WAITS, "a pod to be ready", "", "n77"),
    )  # fmt: skip


def _blast(words: str) -> BlastRadius:
    change = SelectionChange("NetworkPolicy", words, words, words, (words,), (words, "n2"), words, 4)
    return BlastRadius(
        changes=(change,),
        looked_at={words: 3},
        unseen={words: words},
        owners=(ConfigOwner("helm", words, words, True, words),),
        api_requests={words: 1200, "watches": 2},
    )


def _estimate(words: str) -> Estimate:
    return Estimate(
        1800,
        5400,
        words,
        words,
        (
            WaveEstimate(0, 600, 1800, 3, 0, 1, 1, 40, -1, words),
            WaveEstimate(1, 1200, 3600, 1, 1, 0, 1, 35, 50, "capacity"),
        ),
        evictions=4,
        pods=3,
    )


def full_view(words: str = "plain") -> PlanView:
    """The plan with one approval that counts and one that does not."""
    plan = full_plan(words)
    approvals = (
        Approval(plan.digest, words, words, builders.NOW, builders.NOW + timedelta(hours=8)),
        Approval(plan.digest, "eve", words, builders.NOW, builders.NOW + timedelta(hours=8)),
    )
    rules = (plan.policy.approval,)
    consent = judge_consent(approvals, plan.digest, rules, makers=(), now=builders.NOW, checks={})
    return PlanView(plan, plan.digest, approvals, consent)
