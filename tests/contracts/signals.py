"""What every `Signals` has to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from rollout.domain.policy import ExternalGate, GateScope, GateSource
from rollout.domain.signal import SignalAnswer, Subjects
from rollout.ports.signals import ANSWER_LIMIT, Signals

SUBJECTS = Subjects("canary", ("n1.example", "n2"), "n2")


@dataclass(frozen=True)
class Scene:
    """A `Signals`, the base URL of a system that answers, and one where nobody listens.

    `arrange` sets what the system answers next: status and body, or seconds of silence before it.
    """

    signals: Signals
    url: str
    nobody: str
    arrange: Callable[[int, str, float], None]


def http(url: str) -> ExternalGate:
    return ExternalGate("errors", GateSource.HTTP, url, GateScope.NODE, timeout_s=2)


def prometheus(url: str, query: str = "up") -> ExternalGate:
    return ExternalGate("errors", GateSource.PROMETHEUS, url, GateScope.WAVE, query, "< 1", "> 5", 2)


class SignalsContract:
    """Subclasses give the fixture `scene`."""

    @pytest.mark.parametrize(("status", "body"), [(200, '{"decision": "hold"}'), (204, ""), (404, "no"), (503, "busy")])
    def test_status_and_body_come_back_unjudged(self, scene: Scene, status: int, body: str) -> None:
        scene.arrange(status, body, 0)
        assert scene.signals.ask(http(scene.url), SUBJECTS) == SignalAnswer(status, body)
        assert scene.signals.ask(prometheus(scene.url), SUBJECTS) == SignalAnswer(status, body)

    def test_nobody_there_is_an_answer_in_words(self, scene: Scene) -> None:
        for gate in (http(scene.nobody), prometheus(scene.nobody)):
            answer = scene.signals.ask(gate, SUBJECTS)
            assert (answer.status, answer.body) == (0, "")
            assert answer.error

    def test_silence_ends_at_the_gates_time(self, scene: Scene) -> None:
        scene.arrange(200, "late", 30)
        answer = scene.signals.ask(replace(http(scene.url), timeout_s=1), SUBJECTS)
        assert (answer.status, answer.body) == (0, "")
        assert "within 1 s" in answer.error

    def test_an_endless_answer_is_none(self, scene: Scene) -> None:
        scene.arrange(200, "x" * (ANSWER_LIMIT + 1), 0)
        answer = scene.signals.ask(http(scene.url), SUBJECTS)
        assert (answer.status, answer.body) == (0, "")
        assert "longer than" in answer.error

    def test_the_longest_answer_is_whole(self, scene: Scene) -> None:
        scene.arrange(200, "x" * ANSWER_LIMIT, 0)
        assert len(scene.signals.ask(http(scene.url), SUBJECTS).body) == ANSWER_LIMIT
