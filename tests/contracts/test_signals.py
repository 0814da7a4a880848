"""The contract of `Signals` on the fake and on the adapter over HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rollout.adapters.signals import HttpSignals
from rollout.domain.policy import ExternalGate
from rollout.domain.signal import SignalAnswer, Subjects
from tests.contracts.signals import Scene, SignalsContract
from tests.fakes.signals import FakeSignals
from tests.support.sshd import free_port
from tests.support.webhost import web_host


class TestFake(SignalsContract):
    @pytest.fixture
    def scene(self) -> Scene:
        arranged: list[tuple[int, str, float]] = [(200, "", 0)]

        def answer(gate: ExternalGate, _subjects: Subjects) -> SignalAnswer:
            status, body, silence = arranged[-1]
            if not gate.url.startswith("http://there"):
                return SignalAnswer(error="connection refused")
            if silence > gate.timeout_s:
                return SignalAnswer(error=f"there did not answer within {gate.timeout_s} s")
            return SignalAnswer(status, body)

        return Scene(FakeSignals(answer), "http://there", "http://nobody", lambda *what: arranged.append(what))


class TestHttp(SignalsContract):
    @pytest.fixture
    def scene(self) -> Iterator[Scene]:
        with web_host() as host:
            yield Scene(HttpSignals(), host.url, f"http://127.0.0.1:{free_port()}", host.arrange)
