"""Signals. While a rollout is applied Ctrl-C once pauses, twice stops; SIGTERM stops."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol


class Steered(Protocol):
    """What is paused or stopped; both may be called from a signal handler."""

    def request_pause(self, by: str) -> None:
        """No new node; the running ones stop where they may rest."""
        ...

    def request_stop(self) -> None:
        """Stop waiting for anything."""
        ...


@contextmanager
def steering(rounds: Steered, note: Callable[[str], None]) -> Iterator[None]:
    """Handle signals inside, and give the handlers back behind it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def say(message: str) -> None:
        # From a thread of its own: the interrupted code may hold the very lock that a note needs.
        threading.Thread(target=note, args=(message,), daemon=True).start()

    def on_interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            on_terminate(_number, _frame)
            return
        asked = True
        rounds.request_pause("Ctrl-C")
        say("pausing: no new node begins, running ones stop where they may rest; Ctrl-C again stops at once")

    def on_terminate(_number: int, _frame: FrameType | None) -> None:
        rounds.request_stop()
        say("stopping: what is under way gets a few seconds to be recorded; go on later with: rollout resume")

    before: dict[int, Any] = {
        signal.SIGINT: signal.signal(signal.SIGINT, on_interrupt),
        signal.SIGTERM: signal.signal(signal.SIGTERM, on_terminate),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Inside, SIGTERM ends as Ctrl-C does, so that what was made is removed again."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
