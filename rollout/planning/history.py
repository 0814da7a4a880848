"""Step times from journals: what an estimate rests on once this state has led nodes before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rollout.domain.journal import Entry, Intent, Outcome, Result
from rollout.domain.step import StepKind, Track
from rollout.domain.times import StepTime

Spent = dict[tuple[str, StepKind], list[int]]


def step_times(journals: Iterable[tuple[Mapping[str, str], Sequence[Entry]]]) -> tuple[StepTime, ...]:
    """Median and p90 per cohort and step, and over all nodes (cohort empty), in whole seconds, rounded up.

    Each journal comes with the cohort of each of its nodes. Only forward steps count that ended well in the process
    that began them: after a crash nobody knows how long the effect took.
    """
    spent: Spent = {}
    for cohorts, entries in journals:
        _collect(cohorts, entries, spent)
    order = {kind: number for number, kind in enumerate(StepKind)}
    keys = sorted(spent, key=lambda key: (key[0], order[key[1]]))
    return tuple(_summed(key, sorted(spent[key])) for key in keys)


def _collect(cohorts: Mapping[str, str], entries: Sequence[Entry], spent: Spent) -> None:
    begun: dict[str, Entry] = {}
    for entry in entries:
        body = entry.body
        if isinstance(body, Intent):
            begun[body.node] = entry
        elif isinstance(body, Outcome):
            start = begun.pop(body.node, None)
            if start is None or not _counts(body) or not _belongs(start.body, body):
                continue
            seconds = -(-int((entry.at - start.at).total_seconds() * 1000) // 1000)
            for cohort in dict.fromkeys(("", cohorts.get(body.node, ""))):
                spent.setdefault((cohort, body.step), []).append(max(0, seconds))


def _counts(body: Outcome) -> bool:
    return body.result is Result.DONE and body.track is Track.FORWARD and not body.settled


def _belongs(intent: object, outcome: Outcome) -> bool:
    return isinstance(intent, Intent) and (intent.step, intent.track) == (outcome.step, outcome.track)


def _summed(key: tuple[str, StepKind], times: Sequence[int]) -> StepTime:
    return StepTime(key[0], key[1], len(times), _rank(times, 50), _rank(times, 90))


def _rank(times: Sequence[int], percent: int) -> int:
    """The nearest rank: a time that was really seen."""
    return times[max(0, -(-len(times) * percent // 100) - 1)]
