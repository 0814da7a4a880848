"""The policy in force: the configuration's, with what the command line says laid over it, and checked for sense."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from rollout.cli.policy_checks import faults
from rollout.cli.typed_yaml import near_miss
from rollout.domain.errors import UsageError
from rollout.domain.node import DatapathMode
from rollout.domain.policy import Policy, Waiver
from rollout.domain.step import StepKind
from rollout.planning.preflight import CATALOGUE, explain


def resolve_policy(base: Policy, flags: Mapping[str, Any]) -> Policy:
    """`base` with the flags that were given. Raises `UsageError` for a policy that makes no sense."""
    given = {key: value for key, value in flags.items() if value not in (None, (), {})}
    rules = given.pop("waive", ())
    by, reason = given.pop("waive_by", ""), given.pop("waive_reason", "")
    if (by or reason) and not rules:
        raise _wrong("waivers", "--waive-by and --waive-reason say nothing without --waive")
    waivers = (*base.waivers, *(Waiver(rule, by, reason) for rule in rules))
    policy = dataclasses.replace(base, **given, waivers=waivers)
    require_sane(policy)
    return policy


def require_sane(policy: Policy) -> None:
    """Raises `UsageError` for the first thing that makes no sense."""
    if policy.target is DatapathMode.AUTO:
        raise _wrong("target", "auto is no mode to move to; it settles on veth or netkit by itself")
    _require_share(policy.max_unavailable)
    for name, least in (
        ("canary", 1),
        ("growth", 1),
        ("failure_budget", 0),
        ("soak_fenced_s", 0),
        ("soak_loaded_s", 0),
        ("most_watched", 1),
    ):
        value = getattr(policy, name)
        if value < least:
            raise _wrong(name, f"{value} is too small, the least is {least}")
    if policy.replace.slack < 0:
        raise _wrong("replace.slack", f"{policy.replace.slack} is too small, the least is 0")
    if policy.drain.retry_s < 1:
        raise _wrong("drain.retry_s", f"{policy.drain.retry_s} is too small, the least is 1")
    _require_deadlines(policy.deadlines_s)
    for waiver in policy.waivers:
        _require_waiver(waiver)
    for key, why, hint in faults(policy):
        raise _wrong(key, why, hint)


def _require_share(text: str) -> None:
    match = re.fullmatch(r"(\d{1,9})(%?)", text)
    if match is None:
        raise _wrong("max_unavailable", f"{text!r} is neither a count such as 3 nor a percentage such as 10%")
    number = int(match[1])
    if number == 0:
        raise _wrong("max_unavailable", f"with {text} no node could ever move")
    if match[2] and number > 100:
        raise _wrong("max_unavailable", f"{text} is more than the whole fleet")


def _require_deadlines(deadlines: Mapping[str, int]) -> None:
    known = [kind.value for kind in StepKind]
    for name, seconds in deadlines.items():
        if name not in known:
            raise _wrong("deadlines_s", f"there is no step {name}", near_miss(name, known))
        if seconds < 1:
            raise _wrong(f"deadlines_s.{name}", f"{seconds} is too small, the least is 1")


def _require_waiver(waiver: Waiver) -> None:
    known = [row.id for row in CATALOGUE]
    if waiver.rule not in known:
        raise _wrong("waivers", f"there is no preflight rule {waiver.rule}", near_miss(waiver.rule, known))
    row = explain(waiver.rule)
    if row.fixed:
        raise _wrong("waivers", f"{waiver.rule} cannot be waived: {row.fixed}", row.remedy)
    if not waiver.by.strip() or not waiver.reason.strip():
        raise _wrong(
            "waivers",
            f"the waiver of {waiver.rule} says not who asked for it and why",
            "give both: --waive-by NAME --waive-reason TEXT",
        )


def _wrong(key: str, why: str, hint: str = "") -> UsageError:
    return UsageError(
        "policy-wrong",
        f"cannot use the policy: {key}: {why}",
        hint=hint or "where values come from: rollout config show; what they mean: rollout plan --help",
    )
