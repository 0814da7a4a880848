"""Port to the systems that external gates ask."""

from __future__ import annotations

from typing import Protocol

from rollout.domain.policy import ExternalGate
from rollout.domain.signal import SignalAnswer, Subjects

ANSWER_LIMIT = 1 << 20
"""Longest body of an answer in bytes; a longer one is no answer."""


class Signals(Protocol):
    """Asks, and hands back what was said without judging it.

    `ask` never raises for what the other system does or fails to do: that is an answer with `error` in words. It
    follows no redirect, tries once, and takes at most about `gate.timeout_s` seconds. No answer and no error ever holds
    a secret.
    """

    def ask(self, gate: ExternalGate, subjects: Subjects) -> SignalAnswer:
        """What the gate's system says about `subjects`; `$node` and `$wave` are filled in as checks.signals says."""
        ...
