"""Progress for people, on standard error: plain lines, or a live table on a terminal.

A reporter never fails a rollout. A closed pipe, a terminal that went away or a fault in our own drawing ends the
report, and the rollout goes on. Words come from outside (`describe`): what is said is the command line's matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock
from typing import TextIO

from rollout.domain.journal import Entry, Outcome, RolloutState, Waiting

Describe = Callable[[Entry], str]
"""A journal entry as one line that holds no control characters."""

Row = tuple[str, str, str, str, str]
"""Node, phase, step, steps done, why."""

Rows = Callable[[RolloutState], tuple[Row, ...]]


class PlainReporter:
    """One line per entry."""

    def __init__(self, stream: TextIO, describe: Describe) -> None:
        self._stream, self._describe = stream, describe
        self._lock = Lock()

    def entries(self, entries: tuple[Entry, ...], state: RolloutState) -> None:  # noqa: ARG002
        """Write each entry's line."""
        for entry in entries:
            self._write(lambda entry=entry: self._describe(entry))  # type: ignore[misc]

    def note(self, message: str) -> None:
        """Write one line. `message` must hold no control characters."""
        self._write(lambda: message)

    def close(self) -> None:
        """Nothing is held."""

    def _write(self, words: Callable[[], str]) -> None:
        try:
            with self._lock:
                self._stream.write(words() + "\n")
                self._stream.flush()
        except Exception:  # noqa: BLE001, S110 - a report never ends a rollout
            pass


class LiveReporter:
    """A table that is drawn over itself, with what happened scrolling above it.

    `rows` turns the state into lines; `colours` names a style by phase.
    """

    def __init__(self, stream: TextIO, describe: Describe, rows: Rows, colours: Mapping[str, str]) -> None:
        self._plain = PlainReporter(stream, describe)
        self._stream, self._describe, self._rows, self._colours = stream, describe, rows, colours
        self._live: _Live | None = None
        self._broken = False

    def entries(self, entries: tuple[Entry, ...], state: RolloutState) -> None:
        """Redraw; what ended and what waits also gets a line that stays."""
        telling = tuple(e for e in entries if isinstance(e.body, Outcome | Waiting) or not hasattr(e.body, "node"))
        if self._broken:
            self._plain.entries(telling, state)
            return
        try:
            if self._live is None:
                self._live = _Live(self._stream, self._colours)
            for entry in telling:
                self._live.say(self._describe(entry))
            self._live.draw(self._rows(state))
        except Exception:  # noqa: BLE001 - a report never ends a rollout
            self._break()

    def note(self, message: str) -> None:
        """One line that stays."""
        if self._live is None or self._broken:
            self._plain.note(message)
            return
        try:
            self._live.say(message)
        except Exception:  # noqa: BLE001 - a report never ends a rollout
            self._break()

    def close(self) -> None:
        """Leave the last table on the screen and give the terminal back."""
        if self._live is None:
            return
        try:
            self._live.stop()
        except Exception:  # noqa: BLE001 - a report never ends a rollout
            self._broken = True
        self._live = None

    def _break(self) -> None:
        self.close()
        self._broken = True


class _Live:
    """rich, loaded only when there is a terminal to draw on."""

    def __init__(self, stream: TextIO, colours: Mapping[str, str]) -> None:
        from rich.console import Console
        from rich.live import Live

        class SteadyConsole(Console):
            """rich's own answer to a closed pipe is to end the process."""

            def on_broken_pipe(self) -> None:
                raise BrokenPipeError

        self._colours = colours
        self._console = SteadyConsole(file=stream, highlight=False, markup=False, emoji=False)
        self._live = Live(console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        self._live.start()

    def say(self, line: str) -> None:
        """A line above the table."""
        self._console.print(line, markup=False, soft_wrap=True)

    def draw(self, rows: tuple[Row, ...]) -> None:
        """The table."""
        from rich.table import Table
        from rich.text import Text

        table = Table("node", "phase", "step", "done", "why", box=None, pad_edge=False)
        for row in rows:
            style = self._colours.get(row[1], "")
            table.add_row(*(Text(cell, style=style, overflow="ellipsis", no_wrap=True) for cell in row))
        self._live.update(table, refresh=True)

    def stop(self) -> None:
        """Give the terminal back."""
        self._live.stop()
