"""Bursts of several windows put together, and the same bursts at the baseline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rollout.checks.material import Case, Seen
from rollout.checks.stats.counts import Count
from rollout.domain.observed import PROBE_REACH, Burst, Reach, parse_reach

Key = tuple[str, str]
Way = tuple[str, str, int]
"""Path, protocol and family: what bursts of different nodes have in common, whose peers differ."""


@dataclass(frozen=True, slots=True)
class Series:
    """One burst over all windows: what was lost, and the round trips of each window in the order of time."""

    key: Key
    windows: tuple[Burst, ...]

    @property
    def name(self) -> str:
        """The burst's name, with its peer."""
        return f"{self.key[0]} ({self.key[1]})" if self.key[1] else self.key[0]

    @property
    def latest(self) -> Burst:
        """The newest window's."""
        return self.windows[-1]


@dataclass(frozen=True, slots=True)
class Bursts:
    """What can be compared. `before` None: there never was a baseline."""

    now: tuple[Series, ...]
    before: dict[Key, Burst] | None
    excluded: tuple[str, ...] = ()
    """Bursts of which nothing came back at the baseline either."""
    look: int = 1
    """How many windows were looked at so far."""
    controls: dict[Way, list[tuple[Burst, Burst]]] = field(default_factory=dict)
    """The controls' bursts of the same way, at their baselines and now."""


def loss_of(bursts: Iterable[Burst]) -> Count:
    """Lost packets of several bursts."""
    total = Count(0, 0)
    for burst in bursts:
        total += Count(burst.lost, burst.sent)
    return total


def pool(case: Case, now: Reach) -> Bursts:
    """Put together the bursts of the present window with those of earlier ones and the baseline's.

    Only bursts of the present window count: a path that is no longer tried proves nothing about now.
    """
    earlier = [found for window in case.history if (found := parse_reach(window.get(PROBE_REACH)))]
    before = _by_key(case.baseline) if case.baseline is not None else None
    excluded, series = [], []
    for burst in now.bursts:
        then = before.get(burst.key) if before is not None else None
        if not burst.sent or (before is not None and (then is None or not then.received)):
            excluded.append(burst.id)
            continue
        windows = [old for window in earlier for old in window.bursts if old.key == burst.key and old.sent]
        series.append(Series(burst.key, (*windows, burst)))
    return Bursts(tuple(series), before, tuple(excluded), len(earlier) + 1, _controls(case))


def _by_key(seen: Seen | None) -> dict[Key, Burst]:
    found = parse_reach((seen or {}).get(PROBE_REACH))
    return {burst.key: burst for burst in found.bursts} if found else {}


def _controls(case: Case) -> dict[Way, list[tuple[Burst, Burst]]]:
    pairs: dict[Way, list[tuple[Burst, Burst]]] = {}
    for control in case.controls:
        before, now = _by_way(control.baseline), _by_way(control.seen)
        for name in before.keys() & now.keys():
            pairs.setdefault(name, []).append((before[name], now[name]))
    return pairs


def _by_way(seen: Seen) -> dict[Way, Burst]:
    return {way_of(burst): burst for burst in _by_key(seen).values()}


def way_of(burst: Burst) -> Way:
    """What it has in common with bursts of other nodes."""
    return (burst.path, burst.protocol, burst.family)


def controls_of(bursts: Bursts, series: Sequence[Series]) -> list[tuple[list[Burst], list[Burst]]]:
    """The controls' bursts of the same names: per control, what it showed before and now."""
    depth = max((len(pairs) for pairs in bursts.controls.values()), default=0)
    found: list[tuple[list[Burst], list[Burst]]] = [([], []) for _ in range(depth)]
    for each in series:
        for place, (before, now) in zip(found, bursts.controls.get(way_of(each.latest), ()), strict=False):
            place[0].append(before)
            place[1].append(now)
    return [pair for pair in found if pair[0]]
