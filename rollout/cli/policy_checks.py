"""What a policy says about checks, probes and external gates: whether it makes sense."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from urllib.parse import SplitResult, urlsplit

from rollout.checks.agent import MODE
from rollout.checks.catalog import CHECKS, levels
from rollout.checks.links import LINKS
from rollout.checks.reach import DNS
from rollout.checks.signals import names_node, parse_comparison
from rollout.cli.policy_schedule import schedule_faults
from rollout.cli.typed_yaml import near_miss
from rollout.domain.node import DatapathMode
from rollout.domain.policy import ApprovalRules, CheckLevel, ExternalGate, GateScope, GateSource, Policy

Fault = tuple[str, str, str]
"""Key, what is wrong with it, and a hint or nothing."""

_TRUTH = (LINKS, MODE)
"""What a migration is: without the kernel's word and the agent's, nothing was proven."""
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", re.ASCII)
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_LONGEST_WAIT_S = 120


def faults(policy: Policy) -> Iterator[Fault]:
    """All that makes no sense, in the order of the keys."""
    yield from _of_levels(policy)
    yield from _of_actions(policy)
    yield from _of_probes(policy)
    yield from _of_ranges(policy)
    yield from _of_gates(policy.gates)
    yield from _of_approval(policy.approval)
    yield from schedule_faults(policy)


def _of_approval(rules: ApprovalRules) -> Iterator[Fault]:
    if rules.count < 1:
        yield "approval.count", f"{rules.count} is too small, the least is 1", ""
    elif rules.approvers and len(set(rules.approvers)) < rules.count:
        why = f"{rules.count} people have to approve, and approval.approvers names {len(set(rules.approvers))}"
        yield "approval.count", why, "name more approvers, or ask for fewer"


def _of_levels(policy: Policy) -> Iterator[Fault]:
    for name, level in policy.checks.items():
        if name not in CHECKS:
            yield "checks", f"there is no check {name}", near_miss(name, CHECKS)
        elif name in _TRUTH and level is not CheckLevel.REQUIRED:
            why = "the kernel and the agent are what a migration is proven by"
            yield f"checks.{name}", f"it cannot be {level.value}: {why}", f"take {name} out of policy.checks"


def _of_actions(policy: Policy) -> Iterator[Fault]:
    # DNS counts where it was answered before, host routing for one of the targets: both may come to fail a node.
    counted = {**levels(DatapathMode.NETKIT, policy), DNS: CheckLevel.REQUIRED, **policy.checks}
    for name, action in policy.on_check_failure.items():
        level = counted.get(name, CheckLevel.REQUIRED)
        if name not in CHECKS:
            yield "on_check_failure", f"there is no check {name}", near_miss(name, CHECKS)
        elif level is not CheckLevel.REQUIRED:
            why = f"{action.value} can never happen, since the check {name} is {level.value}"
            yield f"on_check_failure.{name}", why, f"make policy.checks.{name} required, or take the action out"


def _of_probes(policy: Policy) -> Iterator[Fault]:
    rules = policy.probes
    if not _NAMESPACE.fullmatch(rules.namespace):
        yield "probes.namespace", f"{rules.namespace!r} is no name of a namespace", ""
    if not rules.image or any(c.isspace() or not c.isprintable() for c in rules.image):
        yield "probes.image", f"{rules.image!r} is no image", ""


def _of_ranges(policy: Policy) -> Iterator[Fault]:
    rules, bounds = policy.probes, policy.tolerances
    for key, value, least, most in (
        ("probes.packets", rules.packets, 20, 10_000),
        ("probes.window_s", rules.window_s, 1, 300),
        ("probes.peers", rules.peers, 0, 2),
        ("probes.controls", rules.controls, 0, 3),
        ("probes.policies", rules.policies, 0, 20),
        ("tolerances.latency_us", bounds.latency_us, 0, 60_000_000),
        ("tolerances.latency_percent", bounds.latency_percent, 0, 100_000),
        ("tolerances.loss_ppm", bounds.loss_ppm, 0, 1_000_000),
        ("tolerances.error_ppm", bounds.error_ppm, 1, 200_000),
    ):
        if not least <= value <= most:
            yield key, f"{value} is not between {least} and {most}", ""


def _of_gates(gates: tuple[ExternalGate, ...]) -> Iterator[Fault]:
    counts = Counter(gate.name for gate in gates)
    for number, gate in enumerate(gates):
        key = f"gates[{number}]"
        if not _NAME.fullmatch(gate.name):
            yield f"{key}.name", f"{gate.name!r} is no name of lower-case letters, digits and dashes, 40 at most", ""
        elif counts[gate.name] > 1:
            yield f"{key}.name", f"{counts[gate.name]} gates are called {gate.name}", "give each a name of its own"
        if not 1 <= gate.timeout_s <= _LONGEST_WAIT_S:
            yield f"{key}.timeout_s", f"{gate.timeout_s} is not between 1 and {_LONGEST_WAIT_S}", ""
        yield from ((f"{key}.url", why, hint) for why, hint in _of_url(gate))
        yield from ((f"{key}.{name}", why, hint) for name, why, hint in _of_source(gate))
        if gate.scope is not GateScope.NODE and names_node(gate):
            yield f"{key}.scope", "$node is known only to a gate of scope node", "use scope: node, or $wave"


def _of_url(gate: ExternalGate) -> Iterator[tuple[str, str]]:
    """Part of the plan, which many read: no secret may be in it."""
    try:
        parts = urlsplit(gate.url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        yield f"{gate.url!r} is no URL: {error}", ""
        return
    if parts.scheme not in ("http", "https") or not host:
        yield f"{gate.url!r} is no http or https URL", ""
    elif parts.username is not None or parts.password is not None:
        yield "a user or password does not belong into a plan", "put a bearer token into the file gates_token_file"
    elif any(c.isspace() or not c.isprintable() for c in gate.url) or parts.fragment or _filled_host(parts):
        yield f"{gate.url!r} has blanks, a fragment or a variable host", ""
    elif gate.source is GateSource.PROMETHEUS and (parts.query or "$" in parts.path):
        yield "a Prometheus URL ends before /api/v1/query", "the question itself goes into query"


def _filled_host(parts: SplitResult) -> bool:
    return "$" in parts.netloc


def _of_source(gate: ExternalGate) -> Iterator[Fault]:
    comparisons = (("proceed_when", gate.proceed_when), ("roll_back_when", gate.roll_back_when))
    if gate.source is GateSource.HTTP:
        for name, value in (("query", gate.query), *comparisons):
            if value:
                yield name, "an HTTP check has none: its status and its JSON decide", "use source: prometheus"
        return
    if not gate.query.strip():
        yield "query", "a Prometheus gate needs a query", ""
    if not gate.proceed_when.strip():
        yield "proceed_when", "without it the gate could never proceed", "a comparison such as '< 0.01'"
    for name, value in comparisons:
        if value.strip() and parse_comparison(value) is None:
            yield name, f"{value!r} is no comparison such as '< 0.01'", "one of <, <=, ==, !=, >=, > and a number"
