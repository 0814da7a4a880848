"""What every program here does alike: take a request, bound its own life, print one document."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

SCHEMA = 1
Document = dict[str, Any]

_READING_FAILURES = (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError)


class Refusal(Exception):
    """The program will not go on; `code`, message and hint reach the operator as they are."""

    def __init__(self, code: str, message: str, hint: str = "", **facts: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.facts = facts


def run(program: str, main: Callable[[Document], Document], request: Document) -> None:
    """Run `main` and print its document. A refusal is printed as a document with `failed`.

    Nobody can stop a program on a node once the connection is gone, so it ends itself: after `limit_s` the kernel's
    alarm kills it, and `require_listener` lets it stop before a change.
    """
    signal.alarm(max(1, int(request.get("limit_s") or 300)))
    begun = time.monotonic()
    try:
        body = main(request)
    except Refusal as refusal:
        body = {"failed": True, "code": refusal.code, "message": refusal.message, "hint": refusal.hint}
        body.update(refusal.facts)
    except _READING_FAILURES as error:
        body = {
            "failed": True,
            "code": "program-error",
            "message": f"cannot finish {program}: {type(error).__name__}: {error}",
            "hint": "this is a fault of the program or of something it needs on the node; see `trace`",
            "trace": traceback.format_exc(limit=-4),
        }
    print(json.dumps(document(program, begun, body), separators=(",", ":"), sort_keys=True))
    sys.stdout.flush()


def document(probe: str, begun: float, body: Document) -> Document:
    """`body` with the fields that every document has."""
    took = round((time.monotonic() - begun) * 1000)
    return {"schema": SCHEMA, "probe": probe, "host": socket.gethostname(), "took_ms": took, **body}


def guarded(probe: str, read: Callable[[], Document]) -> Document:
    """The document of one probe among several: what goes wrong is its `message`, the others go on."""
    begun = time.monotonic()
    try:
        return document(probe, begun, read())
    except Refusal as refusal:
        text = f"{refusal.message}. {refusal.hint}" if refusal.hint else refusal.message
        return document(probe, begun, {"failed": True, "code": refusal.code, "message": text, **refusal.facts})
    except _READING_FAILURES as error:
        text = f"cannot run probe {probe}: {type(error).__name__}: {error}"
    return document(probe, begun, {"failed": True, "code": "program-error", "message": text})


def require_listener() -> None:
    """Refuse when nobody reads our output any more: who started us is gone, so we must not change the node.

    sshd closes its end of our standard output when the connection or the session ends.
    """
    watch = select.poll()
    watch.register(sys.stdout.fileno(), 0)
    if any(events & (select.POLLERR | select.POLLHUP | select.POLLNVAL) for _, events in watch.poll(0)):
        raise Refusal("nobody-listens", "cannot go on: the connection that started this is gone")


def boot_id() -> str:
    """Identity of this boot; the same value is in the Node object."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def kernel_release() -> str:
    """What `uname -r` prints."""
    return os.uname().release
