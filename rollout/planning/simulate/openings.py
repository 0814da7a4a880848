"""Windows and freezes as the timeline asks for them: in seconds since the start."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from rollout.domain.policy import Policy
from rollout.domain.windows import next_open, opening
from rollout.planning.simulate.timeline import Opening

NEVER_S = 10 * 366 * 86_400
"""When no moment is open in sight."""
_ANY_MONDAY = datetime(2024, 1, 1, tzinfo=UTC)


def openings(policy: Policy, start: datetime | None) -> Opening:
    """When nodes may begin. Without a start: as if the rollout began when a week's first window opens, no freeze near.

    Raises nothing: a rollout that starts while all is closed waits, and that time counts.
    """
    if not policy.windows and (start is None or not policy.freezes):
        return lambda second: second
    begin = start or _first_window(policy)
    rules = policy if start is not None else _without_freezes(policy)

    open_until = -1

    def opens(second: int) -> int:
        nonlocal open_until
        if second < open_until:
            return second
        found = opening(rules, begin + timedelta(seconds=second))
        if found.open:
            open_until = NEVER_S if found.until is None else _second(begin, found.until)
            return second
        return NEVER_S if found.until is None else max(second, _second(begin, found.until))

    return opens


def closed_spans(policy: Policy, length_s: int) -> tuple[tuple[int, int], ...]:
    """Times in which no node begins, in seconds since the start that an estimate without one supposes."""
    if not policy.windows:
        return ()
    rules, begin = _without_freezes(policy), _first_window(policy)
    found: list[tuple[int, int]] = []
    second = 0
    while second < length_s:
        now = opening(rules, begin + timedelta(seconds=second))
        until = length_s if now.until is None else min(length_s, max(second + 1, _second(begin, now.until)))
        if not now.open:
            found.append((second, until))
        second = until
    return tuple(found)


def _first_window(policy: Policy) -> datetime:
    return next_open(_without_freezes(policy), _ANY_MONDAY) or _ANY_MONDAY


def _second(begin: datetime, at: datetime) -> int:
    return -(-int((at - begin).total_seconds() * 1000) // 1000)


def _without_freezes(policy: Policy) -> Policy:
    return replace(policy, freezes=())
