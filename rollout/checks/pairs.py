"""Do NetworkPolicies keep their verdicts? A denied pair that opens is the worst: nobody notices it."""

from __future__ import annotations

from collections.abc import Mapping

from rollout.checks.finding import named
from rollout.checks.material import Case
from rollout.domain.observed import PROBE_POLICY, Pair, parse_pairs
from rollout.domain.verdict import Status, Verdict

OPENED = "policy-opened"
CLOSED = "policy-closed"

_OPEN, _CLOSED = "open", "closed"
_Claim = tuple[str, str, str, str]
_CLAIMS: Mapping[str, _Claim] = {
    OPENED: (OPENED, _CLOSED, _OPEN, "denied at the baseline, passes now"),
    CLOSED: (CLOSED, _OPEN, _CLOSED, "allowed at the baseline, denied now"),
}


def judge_opened(case: Case) -> Verdict:
    """No pair that was denied at the baseline passes now."""
    return _judge(case, *_CLAIMS[OPENED])


def judge_closed(case: Case) -> Verdict:
    """Every pair that was allowed at the baseline still passes."""
    return _judge(case, *_CLAIMS[CLOSED])


def _judge(case: Case, check: str, was: str, broken: str, words: str) -> Verdict:
    now = parse_pairs(case.seen.get(PROBE_POLICY))
    if now is None:
        return case.unread(check, PROBE_POLICY)
    if case.baseline is None:
        return case.excuse(check, "there is no baseline that says what was denied and what allowed")
    before = parse_pairs(case.baseline.get(PROBE_POLICY))
    if before is None:
        why = case.unread(check, PROBE_POLICY, case.baseline).message
        return case.say(check, Status.INCONCLUSIVE, f"there is no baseline to compare with: {why}")
    held = [pair for pair in before.pairs if pair.result == was]
    if not held:
        return _nothing(case, check, before.pairs)
    return _compare(case, check, held, {pair.id: pair for pair in now.pairs}, (was, broken, words))


def _nothing(case: Case, check: str, before: tuple[Pair, ...]) -> Verdict:
    evidence = {"before": _counts(before)}
    known = [pair for pair in before if pair.result in (_OPEN, _CLOSED)]
    if not known:
        return case.say(check, Status.INCONCLUSIVE, "the baseline tells of no pair whether it passes", evidence)
    if check == OPENED:
        why = "no pair was denied at the baseline: the cluster does not enforce NetworkPolicies"
        return case.excuse(check, why, evidence)
    return case.say(check, Status.INCONCLUSIVE, "no pair was allowed at the baseline", evidence)


def _compare(case: Case, check: str, held: list[Pair], now: Mapping[str, Pair], claim: tuple[str, str, str]) -> Verdict:
    was, broken, words = claim
    fallen = [pair for pair in held if pair.id in now and now[pair.id].result == broken]
    untold = [pair.id for pair in held if pair.id not in now or now[pair.id].result not in (_OPEN, _CLOSED)]
    evidence = {
        "pairs": len(held),
        "before": was,
        "changed": {pair.id: now[pair.id].detail for pair in fallen},
        "untold": untold,
    }
    if fallen:
        told = [
            f"{pair.id} ({pair.policy}: {pair.source} to {pair.to}, {pair.protocol} {pair.port})" for pair in fallen
        ]
        return case.say(check, Status.FAIL, f"{named(told)}: {words}", evidence)
    if untold:
        return case.say(check, Status.INCONCLUSIVE, f"could not be told now: {named(untold)}", evidence)
    return case.say(check, Status.PASS, f"{len(held)} pairs are still {was}", evidence)


def _counts(pairs: tuple[Pair, ...]) -> dict[str, int]:
    found: dict[str, int] = {}
    for pair in pairs:
        found[pair.result] = found.get(pair.result, 0) + 1
    return found
