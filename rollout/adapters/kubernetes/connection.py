"""Requests over the client's connection pool: time-outs, throttle, counts, and credentials renewed when refused.

Decision: no request is ever repeated here but a GET whose kept-alive connection turned out to be closed, and one that
was answered 401, after the credentials were read again. Repeating a write is for those who know what it rests on.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock
from typing import Any
from urllib.parse import urlencode

import msgspec
import urllib3
from kubernetes.client.rest import RESTClientObject
from kubernetes.config import ConfigException

from rollout import __version__
from rollout.adapters.kubernetes.errors import FOREIGN, Answer, answered_error, broken_error
from rollout.adapters.kubernetes.kubeconfig import Target, load_target
from rollout.adapters.kubernetes.request import Request
from rollout.adapters.kubernetes.throttle import Throttle
from rollout.domain.errors import NotPermitted, Unavailable, UsageError

MERGE_PATCH = "application/merge-patch+json"
_JSON = "application/json"
_PIECE = 256 * 1024
_CONNECT_S = 10.0
_RENEW_S = 30.0
"""Credentials are read again at most this often: a wrong password must not become a storm of log-ins."""


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Which cluster and how to treat it. `qps` and `burst` limit our own requests."""

    kubeconfig: Path | None = None
    context: str | None = None
    agent_namespace: str | None = None
    qps: float = 20.0
    burst: int = 40
    request_timeout_s: float = 30.0
    lease_name: str = "netkit-rollout"
    lease_namespace: str | None = None
    """Namespace of the lease; the agent's when None."""


class Connection:
    """One cluster's API, spoken to from any thread."""

    def __init__(self, settings: ClusterSettings) -> None:
        self._settings = settings
        self._target = load_target(settings.kubeconfig, settings.context)
        self._client = RESTClientObject(self._target.configuration)
        self._throttle = Throttle(settings.qps, settings.burst)
        self._lock = Lock()
        self._counts: Counter[str] = Counter()
        self._renewed_at = -_RENEW_S
        self._generation = 0
        self.stop = Event()
        """Set by `close`; ends waits."""

    @property
    def target(self) -> Target:
        """The cluster and how we are known there."""
        return self._target

    def call(
        self,
        request: Request,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        kind: str = _JSON,
        free: bool = False,
    ) -> bytes:
        """Send and return the body of a success. Raises our errors otherwise."""
        answer = self.send(request, query=query, body=body, kind=kind, free=free)
        if not answer.ok:
            raise answered_error(request, answer)
        return answer.body

    def send(
        self,
        request: Request,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        kind: str = _JSON,
        free: bool = False,
    ) -> Answer:
        """Send and return whatever is answered; `free` passes the throttle by. Raises `Unavailable` when nothing is."""
        if not free:
            self._throttle.take(self.stop)
        generation = self._generation
        answer = self._exchange(request, query, body, kind)
        if answer.code == 401 and self._renew(generation):
            answer = self._exchange(request, query, body, kind)
        return answer

    def stream(self, request: Request, query: Mapping[str, Any], quiet_s: float) -> urllib3.BaseHTTPResponse:
        """Open an answer that is read as it comes; reading raises after `quiet_s` of silence. The caller closes it."""
        self._throttle.take(self.stop)
        timeout = urllib3.Timeout(connect=_CONNECT_S, read=quiet_s)
        try:
            response = self._open(request, query, None, _JSON, timeout, encoding="identity")
        except FOREIGN as error:
            raise broken_error(request, self._target.server, error) from error
        if 200 <= response.status < 300:
            return response
        answer = self._read(request, response, time.monotonic() + self._settings.request_timeout_s)
        if answer.code == 401:
            self._renew(self._generation)
        raise answered_error(request, answer)

    def counts(self) -> dict[str, int]:
        """Requests sent so far, by verb and resource."""
        with self._lock:
            return dict(self._counts)

    def close(self) -> None:
        """End waits and close idle connections; those in use close when their answer has been read."""
        self.stop.set()
        self._client.close()

    # -- one exchange ------------------------------------------------------------------------------------------------

    def _exchange(self, request: Request, query: Mapping[str, Any] | None, body: Any, kind: str) -> Answer:
        wait = self._settings.request_timeout_s
        deadline = time.monotonic() + wait
        timeout = urllib3.Timeout(connect=min(wait, _CONNECT_S), read=wait)
        tries = 2 if request.method == "GET" else 1
        while True:
            tries -= 1
            try:
                response = self._open(request, query or {}, body, kind, timeout, encoding="gzip")
                return self._read(request, response, deadline)
            except FOREIGN as error:
                stale = isinstance(error, urllib3.exceptions.ProtocolError)
                if not (stale and tries):
                    raise broken_error(request, self._target.server, error) from error

    def _open(
        self, request: Request, query: Mapping[str, Any], body: Any, kind: str, timeout: urllib3.Timeout, encoding: str
    ) -> urllib3.BaseHTTPResponse:
        if self.stop.is_set():
            raise Unavailable("closed", f"cannot {request}: the connection was closed")
        url = str(self._target.configuration.host).rstrip("/") + request.path
        if query:
            url += "?" + urlencode(query)
        headers = {"Accept": _JSON, "Accept-Encoding": encoding, "User-Agent": f"netkit-rollout/{__version__}"}
        token = self._authorization(request)
        if token:
            headers["Authorization"] = token
        data = None
        if body is not None:
            data, headers["Content-Type"] = msgspec.json.encode(body), kind
        with self._lock:
            self._counts[request.counted] += 1
        response: urllib3.BaseHTTPResponse = self._client.pool_manager.request(
            request.method,
            url,
            body=data,
            headers=headers,
            timeout=timeout,
            preload_content=False,
            retries=False,
            redirect=False,
        )
        return response

    def _read(self, request: Request, response: urllib3.BaseHTTPResponse, deadline: float) -> Answer:
        """Read to the end. A server that sends a byte now and then is as slow as one that sends none."""
        pieces: list[bytes] = []
        try:
            while piece := response.read1(_PIECE):
                pieces.append(piece)
                if time.monotonic() > deadline:
                    raise Unavailable("timed-out", f"cannot {request}: the answer did not end in time")
        except BaseException:
            response.close()
            raise
        response.release_conn()
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, b"".join(pieces), headers)

    # -- credentials -------------------------------------------------------------------------------------------------

    def _authorization(self, request: Request) -> str | None:
        """The Authorization header; a credential plugin may run here."""
        with self._lock:
            try:
                configuration = self._target.configuration
                token: str | None = configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
            except (ConfigException, OSError, ValueError, KeyError, TypeError):
                text = f"cannot {request}: the credentials of context {self._target.context} cannot be renewed"
                raise NotPermitted("no-credentials", text, hint="log in again") from None
        return token

    def _renew(self, seen: int) -> bool:
        """Read the credentials again after a 401. True when it is worth trying once more."""
        with self._lock:
            if self._generation != seen:
                return True
            if time.monotonic() - self._renewed_at < _RENEW_S:
                return False
            self._renewed_at = time.monotonic()
            try:
                target = load_target(self._settings.kubeconfig, self._settings.context)
            except UsageError:
                # The refusal itself says more than a kubeconfig that went away meanwhile.
                return False
            if target.server != self._target.server:
                # The file now means another cluster: never follow it there.
                return False
            old, self._client = self._client, RESTClientObject(target.configuration)
            self._target = target
            self._generation += 1
        old.close()
        return True
