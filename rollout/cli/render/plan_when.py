"""Waves, limits and times of a plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rollout.cli.render.blocks import Bullets, Heading, Pairs, Para
from rollout.cli.render.plan_view import PlanView, lasts, names
from rollout.cli.render.report_parts import Part
from rollout.cli.render.words import count
from rollout.domain.plan import Limit, Wave, WaveEstimate


def waves(view: PlanView) -> Iterator[Part]:
    """Which nodes in which order, and how long each wave takes."""
    found = {each.wave: each for each in view.plan.estimate.waves} if view.plan.estimate else {}
    rows = [_wave(wave, found.get(wave.number)) for wave in view.plan.waves]
    headers: tuple[str, ...] = ("wave", "name", "nodes", "takes", "evictions", "held back by", "which")
    if not found:
        headers, rows = (*headers[:3], "which"), [(*row[:3], row[-1]) for row in rows]
    yield from view.table(headers, rows, "waves")


def _wave(wave: Wave, found: WaveEstimate | None) -> tuple[str, ...]:
    told = (lasts(found.low_s, found.high_s), f"{found.evictions:,}", found.binding) if found else ("", "", "")
    return (str(wave.number), wave.name, f"{len(wave.nodes):,}", *told, names(wave.nodes))


def limits(view: PlanView) -> Iterator[Part]:
    """Every limit that the engine obeys, those that hold the rollout back first."""
    plan = view.plan
    yield Heading("Limits")
    most = plan.policy.most_unavailable(plan.cluster.fleet)
    own = Limit("max_unavailable", (), most, f"max_unavailable of the policy: {plan.policy.max_unavailable}")
    binding = binding_limits(view)
    ordered = sorted(plan.limits, key=lambda limit: (not _binds(limit, binding), limit.name))
    fleet = plan.cluster.fleet
    rows = [_limit(limit, len(limit.nodes) or fleet, _binds(limit, binding)) for limit in [own, *ordered]]
    yield from view.table(("limit", "at most out", "of nodes", "holds back", "why"), rows, "limits")
    if any(limit.group for limit in plan.limits):
        groups = sorted({(limit.group, limit.groups_at_once) for limit in plan.limits if limit.groups_at_once})
        yield Bullets(tuple(f"of {group}: {count(most, 'one')} at a time with nodes out" for group, most in groups))


def binding_limits(view: PlanView) -> tuple[str, ...]:
    """What the estimate names as holding back, the whole first, then wave by wave."""
    estimate = view.plan.estimate
    if estimate is None:
        return ()
    return tuple(dict.fromkeys(t for t in (estimate.binding, *(w.binding for w in estimate.waves)) if t))


def _binds(limit: Limit, binding: Sequence[str]) -> bool:
    return any(limit.name == text or (limit.group and text == f"{limit.group} at once") for text in binding)


def _limit(limit: Limit, of: int, binds: bool) -> tuple[str, ...]:
    return limit.name, str(limit.most_out), f"{of:,}", "yes" if binds else "-", limit.why


def schedule(view: PlanView) -> Iterator[Part]:
    """How long it takes, from what, and what would make it shorter."""
    yield Heading("How long it takes")
    estimate = view.plan.estimate
    if estimate is None:
        yield Para("nothing is known of how long its steps take, so no time is told")
    else:
        moved = f"{estimate.evictions:,} evictions of {count(estimate.pods, 'pod')}"
        yield Pairs(
            (
                ("takes", lasts(estimate.low_s, estimate.high_s)),
                ("held back by", estimate.binding or "nothing"),
                ("times from", estimate.basis),
                ("moves", f"{moved}: {_times(estimate.evictions, estimate.pods)} for each"),
            )
        )
        yield from _waves_in_detail(view, estimate.waves)
    freezes = view.plan.policy.freezes
    if freezes:
        yield Heading("Freezes")
        rows = [(f.name, f.start, f.end, f.calendar) for f in sorted(freezes, key=lambda f: (f.start, f.name))]
        yield from view.table(("freeze", "from", "to", "calendar"), rows, "freezes")


def _waves_in_detail(view: PlanView, found: Sequence[WaveEstimate]) -> Iterator[Part]:
    why = {wave.number: wave.why for wave in view.plan.waves}
    rows = [
        (
            str(w.wave),
            str(w.most_out),
            f"{w.moved_again:,}",
            f"{w.refusals:,}",
            _percent(w.headroom_cpu_percent),
            _percent(w.headroom_memory_percent),
            why.get(w.wave, ""),
        )
        for w in found
    ]
    headers = ("wave", "most out", "moved again", "refused at first", "CPU left", "memory left", "why so many nodes")
    yield from view.table(headers, rows, "waves")


def _percent(value: int) -> str:
    return f"{value} %" if value >= 0 else "not told"


def _times(evictions: int, pods: int) -> str:
    """How often a pod moves, in hundredths."""
    if not pods:
        return "none"
    hundredths = (evictions * 100 + pods // 2) // pods
    return f"{hundredths // 100}.{hundredths % 100:02}"
