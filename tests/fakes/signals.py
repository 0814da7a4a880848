"""The port `Signals` in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from rollout.domain.policy import ExternalGate
from rollout.domain.signal import SignalAnswer, Subjects
from rollout.ports.signals import ANSWER_LIMIT


def nobody(_gate: ExternalGate, _subjects: Subjects) -> SignalAnswer:
    """No such system anywhere."""
    return SignalAnswer(error="connection refused")


@dataclass
class FakeSignals:
    """Asks `answer`; keeps what was asked."""

    answer: Callable[[ExternalGate, Subjects], SignalAnswer] = nobody
    asked: list[tuple[str, Subjects]] = field(default_factory=list)

    def ask(self, gate: ExternalGate, subjects: Subjects) -> SignalAnswer:
        """What was arranged."""
        self.asked.append((gate.name, subjects))
        found = self.answer(gate, subjects)
        if len(found.body.encode()) > ANSWER_LIMIT:
            return SignalAnswer(error=f"its answer is longer than {ANSWER_LIMIT} bytes")
        return found
