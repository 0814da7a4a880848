"""Step times from journals."""

from __future__ import annotations

from rollout.domain.journal import Body, Entry, Intent, Outcome, Result
from rollout.domain.step import StepKind, Track
from rollout.domain.times import StepTime
from rollout.planning.history import step_times
from tests.builders import at

DRAIN = StepKind.DRAIN


def ran(
    name: str, start: float, seconds: float, result: Result = Result.DONE, *, settled: bool = False,
    track: Track = Track.FORWARD, step: StepKind = DRAIN,
) -> list[tuple[float, Body]]:  # fmt: skip
    return [
        (start, Intent(name, track, step, 1, {}, at(10**6), 1)),
        (start + seconds, Outcome(name, track, step, 1, result, settled=settled)),
    ]


def journal(*rows: list[tuple[float, Body]]) -> list[Entry]:
    flat = sorted((row for part in rows for row in part), key=lambda row: row[0])
    return [Entry(number, at(second), body) for number, (second, body) in enumerate(flat, 1)]


def test_median_and_p90_per_cohort_and_over_all() -> None:
    small = [ran(f"s{n}", n * 1000, n) for n in range(1, 11)]
    big = ran("b1", 50_000, 99.2)
    cohorts = {f"s{n}": "small" for n in range(1, 11)} | {"b1": "big"}
    assert step_times([(cohorts, journal(*small, big))]) == (
        StepTime("", DRAIN, 11, 6, 10),
        StepTime("big", DRAIN, 1, 100, 100),
        StepTime("small", DRAIN, 10, 5, 9),
    )


def test_nodes_side_by_side_are_kept_apart() -> None:
    (found,) = step_times([({}, journal(ran("a", 0, 10), ran("b", 5, 20)))])
    assert (found.nodes, found.p50_s, found.p90_s) == (2, 10, 20)


def test_only_what_ended_well_in_the_process_that_began_it_counts() -> None:
    rows = journal(
        ran("a", 0, 10, Result.FAILED),
        ran("b", 0, 10, Result.INTERRUPTED),
        ran("c", 0, 10, settled=True),
        ran("d", 0, 10, track=Track.BACK),
    )
    assert step_times([({}, rows)]) == ()


def test_a_second_try_counts_from_its_own_intent() -> None:
    rows = journal(ran("a", 0, 500, Result.INTERRUPTED), ran("a", 1000, 7))
    (found,) = step_times([({"a": ""}, rows)])
    assert (found.p50_s, found.nodes) == (7, 1)


def test_several_rollouts_are_taken_together() -> None:
    found = step_times([({"a": "x"}, journal(ran("a", 0, 2))), ({"a": "x"}, journal(ran("a", 0, 4)))])
    assert found[1] == StepTime("x", DRAIN, 2, 2, 4)
