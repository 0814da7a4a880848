"""A plan for its reviewers: page one for who decides, then every node for who knows the cluster."""

from __future__ import annotations

from collections.abc import Iterator

from rollout.cli.render.blocks import Block, Bullets, Commands, Heading, Page, Pairs, Para, Tone
from rollout.cli.render.plan_blast import blast
from rollout.cli.render.plan_facts import numbers, rests_on
from rollout.cli.render.plan_nodes import nodes, ways
from rollout.cli.render.plan_risks import RISKS, approvals, drain, excluded, findings, risks, waivers
from rollout.cli.render.plan_view import PlanView, lasts, names
from rollout.cli.render.plan_when import limits, schedule, waves
from rollout.cli.render.report_parts import Part, flat
from rollout.cli.render.rules_page import FAILS, rules
from rollout.cli.render.words import count, span
from rollout.domain.plan import Plan
from rollout.domain.policy import AtWindowEnd, GateScope


def plan_page(view: PlanView) -> Page:
    """The whole plan, as text and Markdown show it."""
    return flat([*page_one(view), *engineering(view), *nodes(view)])


def planned_page(plan: Plan, digest: str) -> Page:
    """What `plan` and `rollback` print: page one, and what comes next."""
    view = PlanView(plan, digest)
    return flat([*page_one(view), *excluded(view), *findings(view), *next_steps(view)])


def page_one(view: PlanView) -> Iterator[Part]:
    """What happens to whom, when, how it stops, how it is undone; risks on top."""
    yield from heading(view)
    yield Heading(RISKS)
    yield risks(view)
    yield Heading("What happens")
    yield Bullets(tuple(what(view)))
    yield Heading("When")
    yield Bullets(tuple(when(view)))
    yield from waves(view)
    yield Heading("How it stops")
    yield Bullets(tuple(stops(view.plan)))
    yield Heading("How it is undone")
    yield Bullets(tuple(undone(view.plan)))


def engineering(view: PlanView) -> Iterator[Part]:
    """Everything about the cluster as a whole; nodes follow."""
    yield from approvals(view)
    yield from excluded(view)
    yield from findings(view)
    yield from waivers(view)
    yield from drain(view)
    yield from limits(view)
    yield from schedule(view)
    yield from blast(view)
    yield from rests_on(view)
    yield from numbers(view)
    yield from rules(view.plan)
    yield from next_steps(view)
    yield from ways(view)


def heading(view: PlanView) -> Iterator[Block]:
    """Which plan this is."""
    plan = view.plan
    yield Heading(f"Plan {view.id}: {plan.purpose}", 1)
    yield Pairs(
        (
            ("id", view.id),
            ("digest", view.digest),
            ("cluster", f"{plan.cluster.uid}, {count(plan.cluster.fleet, 'node')}"),
            ("agent", f"{plan.cluster.agent_daemonset}, image {plan.cluster.agent_image}"),
            ("made by", f"netkit-rollout {plan.program}, schema {plan.schema}, serial {plan.serial}"),
        )
    )


def what(view: PlanView) -> Iterator[str]:
    """What happens to whom, in sentences."""
    plan, summary = view.plan, view.summary
    for move in summary.moves:
        yield (
            f"{count(move.nodes, 'node')} of {plan.cluster.fleet} from {move.source.value} to {move.target.value}: "
            f"{move.nodes - move.reboots - move.replaced} by restarting the agent, {move.reboots} by a reboot"
            + (f", {move.replaced} replaced by new ones of their pool" if move.replaced else "")
        )
    yield (
        f"evicted, to start again elsewhere: {count(summary.evictions, 'pod')}, {summary.bounded} of them "
        "under a budget" + (f", in {count(len(summary.namespaces), 'namespace')}" if summary.namespaces else "")
    )
    if summary.namespaces:
        yield "most evictions: " + names((f"{row[0]} {row[1]:,}" for row in summary.namespaces), 5)
    if summary.budget_waits:
        yield "most evictions that wait: " + names((f"{b.budget} {b.waits:,}" for b in summary.budget_waits), 3)
    yield f"stopped, to come back on their own nodes: {count(summary.daemon_pods, 'DaemonSet pod')}"
    if summary.stragglers:
        who = count(summary.stragglers, "pod")
        yield f"deleted while the agent is down, if it names them: {who} that tolerate every taint"
    if plan.excluded:
        yield f"left out, with reasons below: {count(len(plan.excluded), 'node')}"
    hooks = [f"{h.name} ({h.sha256[:12]})" for h in plan.hooks if not h.empty]
    if hooks:
        yield f"your playbooks run around each node: {', '.join(hooks)}"


def when(view: PlanView) -> Iterator[str]:
    """When, how many at once, how long each is watched."""
    plan, policy = view.plan, view.plan.policy
    if plan.estimate is not None:
        found = plan.estimate
        yield f"it takes {lasts(found.low_s, found.high_s)}; what holds it back: {found.binding or 'nothing'}"
    limit = policy.most_unavailable(plan.cluster.fleet)
    yield f"at most {count(limit, 'node')} out of service at once ({policy.max_unavailable}); foreign outages use it up"
    yield (
        f"each node is watched for {span(policy.soak_fenced_s)} before it takes pods again; each wave under load for "
        f"{span(policy.soak_loaded_s)}, and the next begins when its gate is sure"
    )
    yield from _hours(plan)


def _hours(plan: Plan) -> Iterator[str]:
    policy = plan.policy
    if not policy.windows and not policy.freezes:
        yield "no time of day is planned: it begins with `rollout apply` and a step ends early when its work is done"
        return
    for window in policy.windows:
        days = ", ".join(window.days) or "every day"
        yield f"nodes begin only {days} from {window.start} to {window.end} {window.timezone}"
    if policy.freezes:
        yield f"no node begins in {count(len(policy.freezes), 'freeze')}: {names((f.name for f in policy.freezes), 3)}"
    finish = policy.at_window_end is AtWindowEnd.FINISH
    yield "at the end of a window nodes in flight " + (
        "go on to their end" if finish else "that are not armed yet are given back as they were; armed ones finish"
    )


def stops(plan: Plan) -> Iterator[str]:
    """What ends it before its end."""
    budget = plan.policy.failure_budget
    yield (
        f"by itself: no further node begins when more than {count(budget, 'node')} failed, got lost, or could not be "
        "reached or told, or when a gate is not sure"
    )
    yield f"when a node fails after its mode was assigned, {FAILS[plan.policy.on_failure]}"
    for check, action in sorted(plan.policy.on_check_failure.items()):
        yield f"when it is the check {check} that fails, {FAILS[action]}"
    for gate in plan.policy.gates:
        yield f"the gate {gate.name} is asked for {'each node' if gate.scope is GateScope.NODE else 'each wave'}"
    yield "a node that fails before that is given back as it was"
    yield "by hand: rollout pause (goes on later), rollout abort (for good)"


def undone(plan: Plan) -> Iterator[str]:
    """How it is taken back."""
    yield plan.rollback
    yield "that plan is approved like this one, and may take back one wave or single nodes"


def next_steps(view: PlanView) -> Iterator[Block]:
    """The commands of a reviewer and of who applies."""
    yield Heading("Next")
    if not view.known:
        yield Para("this state does not know the plan: approve and apply it where it was made", Tone.CARE)
    yield Commands(
        (
            f"rollout show {view.id}",
            f"rollout approve {view.id} --by NAME --ticket ID",
            f"rollout apply {view.id}",
        )
    )
