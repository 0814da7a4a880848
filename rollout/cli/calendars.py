"""Calendars become freezes when a plan is made: the plan holds the times, never only the name of a file."""

from __future__ import annotations

import dataclasses
from datetime import datetime

from rollout.cli.wiring import calendar_freezes
from rollout.domain.policy import Policy


def with_freezes(policy: Policy, now: datetime) -> Policy:
    """The policy with the events of its calendars among its freezes. Raises `UsageError` for a malformed calendar."""
    if not policy.calendars:
        return policy
    found = {*policy.freezes, *calendar_freezes(policy.calendars, now)}
    return dataclasses.replace(policy, freezes=tuple(sorted(found, key=lambda f: (f.start, f.end, f.name, f.calendar))))
