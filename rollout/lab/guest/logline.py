"""Log lines in the agent's format: Go's slog text, with the order of the fields kept."""

import json
import sys
import time
from typing import TextIO

# Go quotes a value that a reader could not otherwise split at the next space or equals sign.
_QUOTED = set(' ="\\')


def timestamp(nanoseconds: int | None = None) -> str:
    """UTC with nine digits, as Go prints it (trailing zeros dropped)."""
    at = time.time_ns() if nanoseconds is None else nanoseconds
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at // 1_000_000_000))
    fraction = f"{at % 1_000_000_000:09d}".rstrip("0")
    return f"{whole}.{fraction}Z" if fraction else f"{whole}Z"


def render_value(value: object) -> str:
    text = str(value)
    if text and text.isprintable() and not _QUOTED & set(text):
        return text
    return json.dumps(text, ensure_ascii=False)


def render(level: str, message: str, fields: dict[str, object], at: str | None = None) -> str:
    head = f"time={at or timestamp()} level={level} msg={render_value(message)}"
    return " ".join([head, *(f"{name}={render_value(value)}" for name, value in fields.items())])


class Log:
    """Writes lines to one stream; `common` fields come first in each."""

    def __init__(self, stream: TextIO | None = None, **common: object) -> None:
        self._stream = stream
        self._common: dict[str, object] = common

    def line(self, level: str, message: str, **fields: object) -> None:
        named = {name.replace("_", "-"): value for name, value in (self._common | fields).items()}
        # Standard output is looked up late: a container's is set after the fork.
        print(render(level, message, named), file=self._stream or sys.stdout, flush=True)

    def info(self, message: str, **fields: object) -> None:
        self.line("info", message, **fields)

    def warning(self, message: str, **fields: object) -> None:
        self.line("warn", message, **fields)

    def error(self, message: str, **fields: object) -> None:
        self.line("error", message, **fields)

    def fatal(self, message: str, **fields: object) -> None:
        self.line("fatal", message, **fields)
