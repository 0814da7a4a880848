"""A plan for its reviewers: page one for who decides, then every node for who knows the cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rollout.cli.render.blocks import Block, Bullets, Commands, Heading, Page, Pairs, Para, Table, Tone
from rollout.cli.render.rules_page import FAILS, rules
from rollout.cli.render.words import count, moment, span
from rollout.domain.approval import Approval
from rollout.domain.node import Method
from rollout.domain.plan import Finding, NodePlan, Plan, PlannedPod, PlannedStep
from rollout.domain.policy import GateScope
from rollout.domain.step import STEPS


def plan_page(plan: Plan, digest: str, approvals: tuple[Approval, ...]) -> Page:
    """The whole plan."""
    return [
        *summary(plan, digest),
        *_approvals(approvals),
        *_excluded(plan),
        *_findings(plan),
        *_cluster(plan),
        *rules(plan),
        *_ways(plan),
        *(block for node in plan.nodes for block in _node(node)),
    ]


def planned_page(plan: Plan, digest: str) -> Page:
    """What `plan` and `rollback` print: page one, and what comes next."""
    rollout = digest[:12]
    steps = (
        f"rollout show {rollout}",
        f"rollout approve {rollout} --by NAME --ticket ID",
        f"rollout apply {rollout}",
    )
    return [*summary(plan, digest), *_excluded(plan), *_findings(plan), Heading("Next"), Commands(steps)]


def summary(plan: Plan, digest: str) -> Iterator[Block]:
    """Page one: what happens to whom, when, how it stops, how it is undone."""
    yield Heading(f"Plan {digest[:12]}: {plan.purpose}", 1)
    yield Pairs(
        (
            ("id", digest[:12]),
            ("digest", digest),
            ("cluster", f"{plan.cluster.uid}, {count(plan.cluster.fleet, 'node')}"),
            ("agent", f"{plan.cluster.agent_daemonset}, image {plan.cluster.agent_image}"),
            ("made by", f"netkit-rollout {plan.program}, schema {plan.schema}, serial {plan.serial}"),
        )
    )
    yield Heading("What happens")
    yield Bullets(tuple(_what(plan)))
    yield Heading("When")
    yield Table(
        ("wave", "name", "nodes", "which"),
        tuple((str(w.number), w.name, str(len(w.nodes)), ", ".join(w.nodes)) for w in plan.waves),
    )
    yield Bullets(tuple(_when(plan)))
    yield Heading("How it stops")
    yield Bullets(tuple(_stops(plan)))
    yield Heading("How it is undone")
    yield Bullets((plan.rollback, "that plan is approved like this one, and may take back one wave or single nodes"))


def _what(plan: Plan) -> Iterator[str]:
    moves = sorted({(n.source.value, n.target.value) for n in plan.nodes})
    for source, target in moves:
        own = [n for n in plan.nodes if (n.source.value, n.target.value) == (source, target)]
        reboots = sum(1 for n in own if n.method is Method.REBOOT)
        yield (
            f"{count(len(own), 'node')} of {plan.cluster.fleet} from {source} to {target}: "
            f"{len(own) - reboots} by restarting the agent, {reboots} by a reboot"
        )
    evictions = [pod for n in plan.nodes for pod in n.evictions]
    bounded = sum(1 for pod in evictions if pod.budgets)
    yield f"evicted, to start again elsewhere: {count(len(evictions), 'pod')}, {bounded} of them under a budget"
    daemons = sum(len(n.daemon_pods) for n in plan.nodes)
    yield f"stopped, to come back on their own nodes: {count(daemons, 'DaemonSet pod')}"
    stragglers = sum(len(n.stragglers) for n in plan.nodes)
    if stragglers:
        yield f"deleted while the agent is down, if it names them: {count(stragglers, 'pod')} that tolerate every taint"
    if plan.excluded:
        yield f"left out, with reasons below: {count(len(plan.excluded), 'node')}"
    hooks = [f"{h.name} ({h.sha256[:12]})" for h in plan.hooks if not h.empty]
    if hooks:
        yield f"your playbooks run around each node: {', '.join(hooks)}"


def _when(plan: Plan) -> Iterator[str]:
    policy = plan.policy
    limit = policy.most_unavailable(plan.cluster.fleet)
    yield f"at most {count(limit, 'node')} out of service at once ({policy.max_unavailable}); foreign outages use it up"
    yield f"each node is watched for {span(policy.soak_fenced_s)} before it takes pods again"
    yield f"each wave is watched under load for {span(policy.soak_loaded_s)}; the next begins when its gate is sure"
    yield "no time of day is planned: it begins with `rollout apply` and a step ends early when its work is done"


def _stops(plan: Plan) -> Iterator[str]:
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


def _approvals(approvals: tuple[Approval, ...]) -> Iterator[Block]:
    yield Heading("Approvals")
    if not approvals:
        yield Para("nobody has approved it")
        return
    rows = tuple((a.by, a.ticket, moment(a.at), moment(a.expires)) for a in approvals)
    yield Table(("by", "ticket", "at", "valid until"), rows)


def _excluded(plan: Plan) -> Iterator[Block]:
    if plan.excluded:
        yield Heading("Nodes left out")
        rows = ((e.node, reason) for e in plan.excluded for reason in e.reasons)
        yield Table(("node", "why"), tuple(rows))


def _findings(plan: Plan) -> Iterator[Block]:
    telling = [f for f in plan.findings if f.status in ("warn", "waived")]
    passed = sum(1 for f in plan.findings if f.status == "pass")
    yield Heading("Preflight")
    yield Para(f"{passed} passed; those that warned or were waived:" if telling else f"all {passed} passed")
    if telling:
        yield Table(
            ("rule", "node", "status", "finding", "remedy"),
            tuple((f.rule, f.node or "cluster", f.status, f.message, f.remedy) for f in telling),
            tuple(_TONES.get(f.status, Tone.PLAIN) for f in telling),
        )


_TONES = {"warn": Tone.CARE, "waived": Tone.CARE, "block": Tone.BAD, "unknown": Tone.BAD, "pass": Tone.GOOD}


def findings_page(findings: tuple[Finding, ...]) -> Page:
    """What `preflight` prints: what is in the way first, then warnings, then a count of the rest."""
    order = {"block": 0, "unknown": 1, "waived": 2, "warn": 3}
    telling = sorted((f for f in findings if f.status != "pass"), key=lambda f: order[f.status])
    blocking = sum(1 for f in telling if f.status in ("block", "unknown"))
    passed = sum(1 for f in findings if f.status == "pass")
    page: list[Block] = [Heading("Preflight", 1)]
    page.append(Para(f"{blocking} blocking, {len(telling) - blocking} to know about, {passed} passed"))
    if telling:
        rows = tuple((f.status, f.rule, f.node or "cluster", f.message, f.remedy) for f in telling)
        tones = tuple(_TONES[f.status] for f in telling)
        page.append(Table(("status", "rule", "node", "finding", "remedy"), rows, tones))
    if blocking:
        page.append(Para("unknown blocks like block: what could not be told is never taken for fine"))
    return page


def _cluster(plan: Plan) -> Iterator[Block]:
    yield Heading("What it rests on")
    yield Para(
        "read again just before each node is touched; when one moved, the node is left alone and counts as failed"
    )
    yield Pairs(
        (
            ("inventory", plan.inventory_digest),
            ("agent settings", plan.cluster.config_digest),
            ("other CiliumNodeConfigs", plan.cluster.node_config_digest),
            *((f"budget {name}", text) for name, text in sorted(plan.cluster.budgets.items())),
            *((f"playbook {name}", digest) for name, digest in sorted(plan.playbooks.items())),
        )
    )
    if plan.node_configs:
        yield Heading("Objects it creates")
        rows = tuple(
            (f"CiliumNodeConfig {c.namespace}/{c.name}", c.version, c.label_value, _settings(c.defaults.items()))
            for c in plan.node_configs
        )
        yield Table(("object", "version", "for nodes labelled", "sets"), rows)


def _ways(plan: Plan) -> Iterator[Block]:
    """Nodes of one method go one way, so each way is shown once."""
    ways: dict[tuple[PlannedStep, ...], list[NodePlan]] = {}
    for node in plan.nodes:
        ways.setdefault(node.steps, []).append(node)
    for steps, nodes in ways.items():
        first = nodes[0]
        yield Heading(f"The way of a node by {first.method.value}: {count(len(nodes), 'node')}, {_deadlines(steps)}")
        yield Table(("#", "step", "what it does", "deadline"), tuple(_step(n, s) for n, s in enumerate(steps, 1)))
        yield Para(f"if it fails before its mode was assigned: {_way(first.returning)}")
        yield Para(f"back from its new mode: {_way(first.backing)}")


def _deadlines(steps: tuple[PlannedStep, ...]) -> str:
    return f"{len(steps)} steps with deadlines of {span(sum(s.deadline_s for s in steps))} in all"


def _node(node: NodePlan) -> Iterator[Block]:
    yield Heading(f"Node {node.name}: {node.source.value} to {node.target.value} by {node.method.value}")
    assign = f"set to {node.assign}" if node.assign else "removed: the cluster's own setting gives the mode"
    facts = node.facts
    yield Pairs(
        (
            ("way", f"by {node.method.value}, {_deadlines(node.steps)}"),
            ("kernel", facts.kernel),
            ("address", facts.internal_ip),
            ("mode label", assign),
            ("endpoint links now", _settings((k, str(v)) for k, v in facts.links.items()) or "none seen"),
            *((f"setting {key}", change) for key, change in _changes(node)),
        )
    )
    if node.risks:
        yield Bullets(tuple(f"risk: {risk}" for risk in node.risks), Tone.CARE)
    pods = (("evicted", node.evictions), ("DaemonSet", node.daemon_pods), ("straggler", node.stragglers))
    rows = tuple(row for fate, found in pods for row in _pods(fate, found))
    if rows:
        yield Table(("pod", "what", "owner", "budgets", "note"), rows)


def _changes(node: NodePlan) -> Iterator[tuple[str, str]]:
    for key, (before, after) in sorted(node.config_change.items()):
        yield key, f"{before or '(unset)'} -> {after or '(unset)'}"


def _step(number: int, step: PlannedStep) -> tuple[str, ...]:
    return str(number), step.kind.value, STEPS[step.kind].does, span(step.deadline_s)


def _way(steps: tuple[PlannedStep, ...]) -> str:
    return ", ".join(step.kind.value for step in steps)


def _pods(fate: str, pods: tuple[PlannedPod, ...]) -> Iterator[tuple[str, ...]]:
    for pod in pods:
        yield str(pod.ref), fate, pod.owner or "nobody", ", ".join(pod.budgets) or "-", pod.note


def _settings(items: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(items))
