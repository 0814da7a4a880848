"""What every check that rests on an eBPF probe asks first: could it run, and does it count right?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from rollout.checks.material import Case
from rollout.domain.inventory import Observation
from rollout.domain.observed import BPF_UNAVAILABLE, Frame
from rollout.domain.policy import WithoutBpf
from rollout.domain.verdict import Status, Verdict


class Framed(Protocol):
    """A document of an eBPF probe."""

    @property
    def frame(self) -> Frame:
        """What the probe says of itself."""


F = TypeVar("F", bound=Framed)


def read(case: Case, check: str, probe: str, parse: Callable[[Observation | None], F | None]) -> F | Verdict:
    """The present document, or the verdict that says why nothing can be concluded from it."""
    found = case.seen.get(probe)
    if found is not None and found.code == BPF_UNAVAILABLE:
        if case.policy.probes.without_bpf is WithoutBpf.ACCEPT:
            return case.excuse(check, f"no eBPF on {case.node}, which the policy accepts: {found.error}")
        hint = "; the policy may accept that: probes.without_bpf"
        return case.say(check, Status.INCONCLUSIVE, f"{found.error}{hint}", {"code": found.code})
    document = parse(found)
    if document is None:
        return case.unread(check, probe)
    return miscounts(case, check, probe, document.frame) or document


def miscounts(case: Case, check: str, probe: str, frame: Frame) -> Verdict | None:
    """Inconclusive when the probe's self-test failed, with both numbers; None when it holds."""
    if frame.selftest.ok:
        return None
    test = frame.selftest
    why = f"; {test.message}" if test.message else ""
    words = f"the probe {probe} miscounts: of {test.sent} known packets it saw {test.seen}{why}"
    return case.say(check, Status.INCONCLUSIVE, words, {"selftest_sent": test.sent, "selftest_seen": test.seen})


def earlier(case: Case, probe: str, parse: Callable[[Observation | None], F | None]) -> list[F]:
    """The documents of earlier windows that may be counted."""
    found = [parse(window.get(probe)) for window in case.history]
    return [document for document in found if document is not None and document.frame.selftest.ok]


def baseline(case: Case, probe: str, parse: Callable[[Observation | None], F | None]) -> F | None:
    """The baseline's document, if it may be counted."""
    document = parse((case.baseline or {}).get(probe))
    return document if document is not None and document.frame.selftest.ok else None
