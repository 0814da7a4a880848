"""Foreign errors to ours.

Messages name the request that we made (the server's own text may name something else, or nothing) and carry the
server's text only when it is a Kubernetes Status: anything else may be a proxy's page with who knows what in it.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from typing import Any

import msgspec
import urllib3
from urllib3 import exceptions as http

from rollout.adapters.kubernetes.request import Request
from rollout.domain.errors import Conflict, Foreign, Invalid, NotFound, NotPermitted, TooManyRequests, Unavailable

_LONGEST_TEXT = 600
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


class Expired(Unavailable):
    """410: the version or continuation asked for is no longer kept. List again."""


class Cause(msgspec.Struct, frozen=True):
    """One cause inside a Status."""

    reason: str | None = None
    message: str | None = None
    field: str | None = None


class Details(msgspec.Struct, frozen=True):
    """A Status' details."""

    kind: str | None = None
    name: str | None = None
    causes: list[Cause] | None = None
    retryAfterSeconds: int | None = None  # noqa: N815


class Status(msgspec.Struct, frozen=True):
    """What the API answers instead of an object."""

    kind: str | None = None
    status: str | None = None
    message: str | None = None
    reason: str | None = None
    code: int | None = None
    details: Details | None = None

    @property
    def causes(self) -> tuple[Cause, ...]:
        """The causes, none when there are no details."""
        return tuple((self.details.causes if self.details else None) or ())

    def has_cause(self, reason: str) -> bool:
        """Whether one of the causes has this reason."""
        return any(cause.reason == reason for cause in self.causes)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, read to its end."""

    code: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether it is a success."""
        return 200 <= self.code < 300

    @property
    def status(self) -> Status | None:
        """The body as a Kubernetes Status, None when it is something else."""
        try:
            found = msgspec.json.decode(self.body, type=Status, strict=False)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        return found if found.kind == "Status" else None

    @property
    def retry_after(self) -> int | None:
        """Seconds to wait as the server asked, from the header or the Status."""
        text = self.headers.get("retry-after", "")
        if text.isascii() and text.isdigit():
            return int(text[:9])
        status = self.status
        return status.details.retryAfterSeconds if status and status.details else None


def plain(text: str) -> str:
    """Text from elsewhere made fit for one line of a message."""
    clean = _CONTROL.sub(" ", text).strip()
    return clean if len(clean) <= _LONGEST_TEXT else clean[:_LONGEST_TEXT] + " …"


def refusal_text(answer: Answer) -> str:
    """The server's message with its causes, which say more than the message does."""
    status = answer.status
    if status is None:
        return f"HTTP {answer.code}, not an answer of the Kubernetes API"
    parts = [status.message or status.reason or f"HTTP {answer.code}"]
    parts += [c.message for c in status.causes if c.message and c.message not in parts[0]]
    return plain(" ".join(parts))


def answered_error(request: Request, answer: Answer) -> Foreign:
    """Our error for an answer that is not a success."""
    text = refusal_text(answer)
    code = answer.code
    if code == 401:
        return NotPermitted(
            "not-authenticated",
            f"cannot {request}: the API server does not accept our credentials"
            f" (verb {request.verb}, resource {request.resource}): {text}",
            hint="log in again, or check the user of this kubeconfig context",
        )
    if code == 403:
        return NotPermitted(
            "not-permitted",
            f"cannot {request}: not permitted to {request.verb} {request.resource}: {text}",
            hint=f"bind a role that allows the verb {request.verb} on {request.resource}",
        )
    if code == 404:
        return NotFound("not-found", f"cannot {request}: {text}")
    if code == 409:
        return Conflict("conflict", f"cannot {request}: {text}")
    if code == 410:
        return Expired("expired", f"cannot {request}: {text}")
    if code == 429:
        return TooManyRequests("too-many-requests", f"cannot {request} now: {text}", retry_after=answer.retry_after)
    if 400 <= code < 500 and code != 408:
        return Invalid("invalid", f"cannot {request}: {text}")
    if 300 <= code < 400:
        return Unavailable(
            "redirected",
            f"cannot {request}: answered by a redirect (HTTP {code})",
            hint="check the server address of this kubeconfig context: a login page or proxy may be in between",
        )
    return Unavailable("server-error", f"cannot {request}: {text}", hint="see the API server's own health")


def broken_error(request: Request, server: str, error: Exception) -> Foreign:
    """Our error for an answer that did not come."""
    if isinstance(error, http.SSLError | ssl.SSLError):
        return _tls_error(request, server, error)
    if isinstance(error, http.ConnectTimeoutError) and not isinstance(error, http.NewConnectionError):
        return Unavailable("timed-out", f"cannot {request}: no connection to {server} in time", hint=_REACH)
    if isinstance(error, http.TimeoutError) and not isinstance(error, http.NewConnectionError):
        return Unavailable(
            "timed-out",
            f"cannot {request}: {server} did not answer in time; whether it acted is not known",
            hint="try again; a slow API server is no reason to conclude anything",
        )
    if isinstance(error, http.NameResolutionError):
        return Unavailable("unreachable", f"cannot {request}: the name of {server} cannot be resolved", hint=_REACH)
    if isinstance(error, http.NewConnectionError):
        return Unavailable("unreachable", f"cannot {request}: {server} refuses connections or is down", hint=_REACH)
    if isinstance(error, http.ProxyError):
        return Unavailable("proxy", f"cannot {request}: the proxy in front of {server} failed", hint=_REACH)
    return Unavailable(
        "connection-broken",
        f"cannot {request}: the connection to {server} broke ({type(error).__name__});"
        " whether the server acted is not known",
        hint=_REACH,
    )


_REACH = "check the server address of this kubeconfig context, and that it can be reached from here"


def _tls_error(request: Request, server: str, error: Exception) -> Foreign:
    inner: Any = next((a for a in error.args if isinstance(a, ssl.SSLError)), error)
    if isinstance(inner, ssl.SSLCertVerificationError):
        why = f"its certificate is not accepted: {inner.verify_message}"
        hint = "check certificate-authority in the kubeconfig"
    else:
        why = f"TLS failed ({getattr(inner, 'reason', None) or type(inner).__name__})"
        hint = "check that the server speaks https, and the client certificate of this context"
    return Unavailable("tls", f"cannot {request}: no trusted connection to {server}: {plain(why)}", hint=hint)


FOREIGN = (http.HTTPError, urllib3.exceptions.HTTPError, OSError)
"""What the HTTP library may raise."""
