"""Does everything that worked at the baseline still work? Judged by single requests, each tried a few times."""

from __future__ import annotations

from collections.abc import Callable

from rollout.checks.cells import DNS_PATH, Sorted, names, partials, sort_cells
from rollout.checks.diagnosis import diagnose
from rollout.checks.finding import named
from rollout.checks.material import Case, Seen
from rollout.domain.observed import PROBE_REACH, Cell, parse_reach
from rollout.domain.verdict import Status, Verdict

REACH = "reach"
DNS = "dns"


def judge_reach(case: Case) -> Verdict:
    """All cells but those of DNS."""
    return _judge(case, REACH, lambda cell: cell.path != DNS_PATH)


def judge_dns(case: Case) -> Verdict:
    """The cells of DNS; excused where DNS was not asked at the baseline either."""
    verdict = _judge(case, DNS, lambda cell: cell.path == DNS_PATH)
    if verdict.status is Status.INCONCLUSIVE and not asks_dns(case.baseline) and not asks_dns(case.seen):
        return case.excuse(DNS, "DNS was not asked: no server is known") if _was_read(case) else verdict
    return verdict


def asks_dns(seen: Seen | None) -> bool:
    """Whether a look has cells of DNS."""
    found = parse_reach((seen or {}).get(PROBE_REACH))
    return found is not None and any(cell.path == DNS_PATH for cell in found.cells)


def _was_read(case: Case) -> bool:
    return parse_reach(case.seen.get(PROBE_REACH)) is not None


def _judge(case: Case, check: str, mine: Callable[[Cell], bool]) -> Verdict:
    now = parse_reach(case.seen.get(PROBE_REACH))
    if now is None:
        return case.unread(check, PROBE_REACH)
    before = None
    if case.baseline is not None:
        baseline = parse_reach(case.baseline.get(PROBE_REACH))
        if baseline is None:
            verdict = case.unread(check, PROBE_REACH, case.baseline)
            return case.say(check, Status.INCONCLUSIVE, f"there is no baseline: {verdict.message}")
        before = [cell for cell in baseline.cells if mine(cell)]
    earlier = parse_reach(case.history[-1].get(PROBE_REACH)) if case.history else None
    return _say(case, check, sort_cells(filter(mine, now.cells), before, partials(earlier)))


def _say(case: Case, check: str, found: Sorted) -> Verdict:
    evidence = found.evidence()
    if found.broken:
        words = diagnose(found.broken, found.works)
        evidence["diagnosis"] = words
        total = len(found.broken) + len(found.works)
        told = f"{len(found.broken)} of {total} requests do not pass: {named(names(found.broken))}"
        return case.say(check, Status.FAIL, f"{words}; {told}" if words else told, evidence)
    if found.narrowed:
        return case.say(check, Status.FAIL, f"MTU: routes allow less than before: {named(found.narrowed)}", evidence)
    doubts = [
        (found.starting, "refused by a probe pod that is not ready yet"),
        (found.partial, "answered by less than half of the tries"),
        (found.unknown, "does not pass, and no baseline says that it ever did"),
    ]
    for cells, why in doubts:
        if cells:
            return case.say(check, Status.INCONCLUSIVE, f"{named(names(cells))}: {why}", evidence)
    if found.missing:
        return case.say(check, Status.INCONCLUSIVE, f"not tried now: {named(list(found.missing))}", evidence)
    if not found.works:
        why = "every request failed at the baseline too" if found.excluded else "nothing was tried"
        return case.say(check, Status.INCONCLUSIVE, why, evidence)
    aside = f"; left out, as they failed at the baseline too: {named(list(found.excluded))}" if found.excluded else ""
    return case.say(check, Status.PASS, f"{len(found.works)} requests pass{aside}", evidence)
