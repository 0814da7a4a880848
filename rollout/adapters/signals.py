"""External gates over HTTP: Prometheus instant queries, and plain checks.

Source: GET /api/v1/query of https://prometheus.io/docs/prometheus/latest/querying/api/.
"""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError, NameResolutionError, NewConnectionError, SSLError
from urllib3.exceptions import TimeoutError as TimedOut

from rollout.checks.signals import promql, web_address
from rollout.domain.policy import ExternalGate, GateSource
from rollout.domain.signal import SignalAnswer, Subjects
from rollout.ports.signals import ANSWER_LIMIT

_CHUNK = 1 << 16
_LONGEST_TOKEN = 1 << 16


class HttpSignals:
    """The port `Signals`. The token is read anew for each question, since such tokens are exchanged while we run."""

    def __init__(self, token_file: Path | None = None) -> None:
        self._token_file = token_file
        # Certificates are checked against the system's authorities (or $SSL_CERT_FILE); proxies are not looked for.
        self._http = urllib3.PoolManager(cert_reqs="CERT_REQUIRED", retries=False)

    def ask(self, gate: ExternalGate, subjects: Subjects) -> SignalAnswer:
        """One GET. Never raises for what the other side does."""
        where = urlsplit(gate.url)
        host = where.hostname or gate.url
        try:
            return self._get(gate, self._headers(where.scheme), subjects)
        except _NoToken as missing:
            return SignalAnswer(error=str(missing))
        except NewConnectionError as error:  # which counts itself among the time-outs
            return SignalAnswer(error=f"cannot ask {host}: {_words(error)}")
        except TimedOut:
            return SignalAnswer(error=f"{host} did not answer within {gate.timeout_s} s")
        except (HTTPError, ValueError, OSError) as error:
            return SignalAnswer(error=f"cannot ask {host}: {_words(error)}")

    def _get(self, gate: ExternalGate, headers: dict[str, str], subjects: Subjects) -> SignalAnswer:
        ends = time.monotonic() + gate.timeout_s
        if gate.source is GateSource.PROMETHEUS:
            url = gate.url.rstrip("/") + "/api/v1/query"
            fields = {"query": promql(gate.query, subjects), "timeout": f"{gate.timeout_s}s"}
        else:
            url, fields = web_address(gate.url, subjects), None
        response = self._http.request(
            "GET",
            url,
            fields=fields,
            headers=headers,
            timeout=urllib3.Timeout(total=gate.timeout_s),
            redirect=False,
            preload_content=False,
        )
        try:
            body = _read(response, ends)
        finally:
            response.close()
        if body is None:
            return SignalAnswer(error=f"its answer is longer than {ANSWER_LIMIT} bytes")
        return SignalAnswer(response.status, body.decode("utf-8", "replace"))

    def _headers(self, scheme: str) -> dict[str, str]:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "netkit-rollout"}
        if self._token_file is not None and scheme == "https":
            headers["Authorization"] = f"Bearer {_token(self._token_file)}"
        return headers


class _NoToken(Exception):
    """There is no usable token. The message holds none either."""


def _token(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            raw = stream.read(_LONGEST_TOKEN)
    except OSError as error:
        raise _NoToken(f"cannot read the token in {file}: {error.strerror}") from error
    token = raw.strip()
    if not token or not all(0x21 <= byte < 0x7F for byte in token):
        raise _NoToken(f"the file {file} does not hold a token in one line")
    return token.decode("ascii")


def _read(response: urllib3.BaseHTTPResponse, ends: float) -> bytes | None:
    """The body; None when it is too long. A server that never comes to its end is stopped at `ends` (monotonic)."""
    found = bytearray()
    while True:
        piece = response.read1(_CHUNK, decode_content=False)
        if not piece:
            return bytes(found)
        found += piece
        if len(found) > ANSWER_LIMIT:
            return None
        if time.monotonic() > ends:
            raise TimedOut("reading took too long")


def _words(error: Exception) -> str:
    if isinstance(error, NameResolutionError):
        return "its name cannot be resolved"
    if isinstance(error, NewConnectionError):
        return "it refuses connections, is down or cannot be reached"
    if isinstance(error, SSLError):
        return f"its certificate or TLS is not sound ({error})"
    return str(error) or type(error).__name__
