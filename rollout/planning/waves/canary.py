"""The canary: nodes that go first, so that what goes wrong goes wrong on few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rollout.domain.errors import Refused
from rollout.domain.policy import Policy
from rollout.planning.waves.candidate import Candidate


def choose_canary(order: Sequence[Candidate], policy: Policy, last_of: Mapping[str, str]) -> tuple[Candidate, ...]:
    """The first wave out of `order` (emptiest first), itself in that order.

    With `canary_per_cohort` the emptiest node of each cohort, and more until `canary` is reached; `last_of` names nodes
    that are the last of a set to keep, with the set: such a node is no canary. Raises `Refused` for a cohort of such
    nodes only.
    """
    chosen = _one_per_cohort(order, last_of) if policy.canary_per_cohort else []
    names = {one.node.name for one in chosen}
    for one in order:
        if len(names) >= max(1, policy.canary):
            break
        if one.node.name not in last_of:
            names.add(one.node.name)
    # A fleet of nothing but such nodes still has to begin somewhere when no cohort asks for its own canary.
    names |= {order[0].node.name} if order and not names else set()
    return tuple(one for one in order if one.node.name in names)


def _one_per_cohort(order: Sequence[Candidate], last_of: Mapping[str, str]) -> list[Candidate]:
    cohorts: dict[str, list[Candidate]] = {}
    for one in order:
        cohorts.setdefault(one.cohort, []).append(one)
    chosen = []
    for cohort, members in sorted(cohorts.items()):
        able = next((one for one in members if one.node.name not in last_of), None)
        if able is None:
            raise _no_canary(cohort, members, last_of)
        chosen.append(able)
    return chosen


def _no_canary(cohort: str, members: Sequence[Candidate], last_of: Mapping[str, str]) -> Refused:
    rows = [f"{one.node.name} hosts what {last_of[one.node.name]} cannot miss" for one in members]
    more = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
    return Refused(
        "no-canary",
        f"cannot plan: cohort {cohort or '(all alike)'} has no node fit to be its canary: {'; '.join(rows[:3])}{more}",
        hint="give that set one member more, or plan without a canary for each cohort: --no-canary-per-cohort",
    )
