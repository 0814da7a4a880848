"""The error tree.

    RolloutError
    ├── UsageError            2  the command or the configuration is wrong
    ├── Refused               4  stale plan, no approval, lease taken, foreign owner
    ├── StepFailed            5  an effect did not reach what it was for
    ├── Cancelled           130  a wait was ended from outside
    └── Foreign               -  a collaborator said no; carries what it said
        ├── NotPermitted      4  401, 403: names verb and resource
        ├── NotFound          5  the object is not there (any more)
        ├── Conflict          5  somebody else wrote first, or a precondition failed
        ├── Invalid           5  the API refused the content
        ├── TooManyRequests   5  429, with how long to wait
        └── Unavailable       5  time-out, refused connection, 5xx: nothing can be concluded

A failed check is a verdict, not an error. A bug is allowed to crash.
Numbers are exit codes (`ExitCode`). Messages start with "cannot", name the object, and the hint says what to do next.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Every exit code of the program."""

    DONE = 0
    INTERNAL = 1
    USAGE = 2
    HELD = 3
    REFUSED = 4
    STEP_FAILED = 5
    UNSETTLED = 6
    INTERRUPTED = 130


class RolloutError(Exception):
    """Base of all our errors.

    Takes a kebab-case code, a message that starts with "cannot", and a hint that says what to do next.
    """

    exit_code = ExitCode.INTERNAL

    def __init__(self, code: str, message: str, *, hint: str = "", context: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.context = context


class UsageError(RolloutError):
    """The command line or the configuration cannot be acted on."""

    exit_code = ExitCode.USAGE


class Refused(RolloutError):
    """Not like this: a stale plan, a missing approval, a lease in other hands."""

    exit_code = ExitCode.REFUSED


class StepFailed(RolloutError):
    """An effect did not reach what it was for."""

    exit_code = ExitCode.STEP_FAILED


class Cancelled(RolloutError):
    """A wait was ended from outside before its condition or deadline."""

    exit_code = ExitCode.INTERRUPTED


class Foreign(RolloutError):
    """A collaborator (API server, host, database) said no."""

    exit_code = ExitCode.STEP_FAILED


class NotPermitted(Foreign):
    """401 or 403; the message names the verb and the resource."""

    exit_code = ExitCode.REFUSED


class NotFound(Foreign):
    """The object does not exist (any more)."""


class Conflict(Foreign):
    """Somebody else wrote first, or a precondition (uid, resourceVersion) did not hold."""


class Invalid(Foreign):
    """The collaborator refused the content of the request."""


class TooManyRequests(Foreign):
    """The collaborator asks to wait; `retry_after` in seconds, None when it did not say."""

    def __init__(self, code: str, message: str, *, retry_after: int | None = None, hint: str = "") -> None:
        super().__init__(code, message, hint=hint)
        self.retry_after = retry_after


class Unavailable(Foreign):
    """Time-out, refused connection or 5xx. Nothing may be concluded about the state behind it."""
