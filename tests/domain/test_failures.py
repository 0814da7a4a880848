"""Classes of failure: each phase and code counts as one thing, and codes are those that adapters give."""

from __future__ import annotations

import pytest

from rollout.adapters.ansible.outcome import CONNECTION_TROUBLES
from rollout.domain.failures import (
    UNREACHABLE_CODES,
    FailureClass,
    failed_check,
    failure_class,
    failures_in_words,
    is_undecided,
    undecided_code,
)
from rollout.domain.journal import GateDecided, WaveTakenBack, decode_body, encode_body
from rollout.domain.lifecycle import NodePhase


@pytest.mark.parametrize(
    ("phase", "code", "failed", "taken_back", "expected"),
    [
        (NodePhase.LOST, "node-lost", False, False, FailureClass.LOST),
        (NodePhase.QUARANTINED, "check-links", True, False, FailureClass.QUARANTINED),
        (NodePhase.QUARANTINED, "ssh-timeout", True, False, FailureClass.UNREACHABLE),
        (NodePhase.HELD, "check-links-inconclusive", False, False, FailureClass.UNDECIDED),
        (NodePhase.HELD, "gate-slo-inconclusive", False, False, FailureClass.UNDECIDED),
        (NodePhase.HELD, "bpf-unavailable", False, False, FailureClass.UNDECIDED),
        (NodePhase.HELD, "ssh-auth", False, False, FailureClass.UNREACHABLE),
        (NodePhase.HELD, "uncordoned-by-other", False, False, None),
        (NodePhase.SKIPPED, "not-observed", True, False, FailureClass.UNREACHABLE),
        (NodePhase.SKIPPED, "stale-facts", True, False, FailureClass.FAILED),
        (NodePhase.SKIPPED, "", False, False, None),
        (NodePhase.RETURNED, "drain-timeout", True, False, FailureClass.FAILED),
        (NodePhase.RETURNED, "ssh-refused", True, False, FailureClass.UNREACHABLE),
        (NodePhase.ROLLED_BACK, "", False, False, FailureClass.FAILED),
        (NodePhase.ROLLED_BACK, "", False, True, FailureClass.TAKEN_BACK),
        (NodePhase.QUARANTINED, "drain-timeout", True, True, FailureClass.QUARANTINED),
        (NodePhase.PENDING, "", False, False, None),
        (NodePhase.RUNNING, "not-observed", True, False, None),
        (NodePhase.DONE, "", False, True, None),
    ],
)
def test_classes(phase: NodePhase, code: str, failed: bool, taken_back: bool, expected: FailureClass | None) -> None:
    assert failure_class(phase, code, failed=failed, taken_back=taken_back) is expected


def test_every_way_a_connection_fails_is_unreachable() -> None:
    assert {trouble.code for trouble in CONNECTION_TROUBLES} <= UNREACHABLE_CODES


def test_codes_of_checks_and_gates() -> None:
    assert failed_check("check-agent-mode") == "agent-mode"
    assert failed_check("check-links-inconclusive") == failed_check("gate-slo") == failed_check("drain-timeout") == ""
    assert is_undecided(undecided_code("check", "links")) and is_undecided(undecided_code("gate", "slo"))
    assert not is_undecided("check-links") and not is_undecided("very-inconclusive")


def test_words_name_the_gravest_first() -> None:
    found = {
        "n3": FailureClass.FAILED,
        "n2": FailureClass.UNDECIDED,
        "n9": FailureClass.LOST,
        "n1": FailureClass.FAILED,
    }
    assert failures_in_words(found) == "lost: n9; undecided: n2; failed: n1, n3"


def test_entries_survive_the_journal() -> None:
    for body in (WaveTakenBack(1, ("n1", "n2"), "why"), GateDecided(0, "roll-back", "why", ("n1",))):
        assert decode_body(*encode_body(body)) == body
    assert decode_body("gate-decided", {"wave": 0, "decision": "hold"}) == GateDecided(0, "hold")
