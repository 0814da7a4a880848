"""A small Kubernetes API client: requests over kept connections, and list-then-watch with back-off."""

import http.client
import json
import random
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

Json = dict[str, Any]

MERGE_PATCH = "application/merge-patch+json"
_REQUEST_SECONDS = 60.0
_BROKEN = (http.client.HTTPException, ConnectionError, TimeoutError, OSError)


class ApiError(Exception):
    """The server answered, and refused."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason

    @property
    def passing(self) -> bool:
        """The server's trouble, not the request's: the same may be accepted later."""
        return self.status >= 500 or self.status == 429


class ApiUnreachable(Exception):
    """No answer: nothing is known about whether the request took effect."""


@dataclass(frozen=True)
class Server:
    url: str
    ca_file: Path | None
    token: str


def server_from(folder: Path, url: str) -> Server:
    """The server's address with the credentials in the seed's folder; each is optional."""
    ca_file, token = folder / "ca.crt", folder / "token"
    return Server(url, ca_file if ca_file.exists() else None, token.read_text().strip() if token.exists() else "")


class Api:
    """Thread-safe: each request takes an idle connection or opens one."""

    def __init__(self, server: Server, user_agent: str = "lab-node") -> None:
        parts = urlsplit(server.url)
        self._host = parts.hostname or "localhost"
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = ssl.create_default_context(cafile=server.ca_file) if parts.scheme == "https" else None
        self._headers = {"Accept": "application/json", "User-Agent": user_agent}
        if server.token:
            self._headers["Authorization"] = f"Bearer {server.token}"
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()

    def get(self, path: str, **query: str) -> Json:
        return self.request("GET", f"{path}?{urlencode(query)}" if query else path)

    def create(self, path: str, body: Json) -> Json:
        return self.request("POST", path, body)

    def replace(self, path: str, body: Json) -> Json:
        return self.request("PUT", path, body)

    def patch(self, path: str, body: Json) -> Json:
        return self.request("PATCH", path, body, content_type=MERGE_PATCH)

    def delete(self, path: str, options: Json | None = None) -> Json:
        return self.request("DELETE", path, options)

    def find(self, path: str) -> Json | None:
        """The object, or None if the server says there is none."""
        try:
            return self.get(path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def request(self, method: str, path: str, body: Json | None = None, content_type: str = "application/json") -> Json:
        payload = None if body is None else json.dumps(body).encode()
        headers = self._headers | ({"Content-Type": content_type} if payload is not None else {})
        status, raw = self._exchange(method, path, payload, headers)
        answer: Json = json.loads(raw) if raw[:1] == b"{" else {}
        if status >= 400:
            text = answer.get("message") or raw[:200].decode(errors="replace")
            raise ApiError(status, answer.get("reason", ""), text)
        return answer

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    def connect(self, timeout: float) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        return http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=self._tls)

    def open_stream(self, path: str, timeout: float) -> http.client.HTTPResponse:
        """A GET whose body the caller reads line by line; its connection is its own."""
        connection = self.connect(timeout)
        connection.request("GET", path, headers=self._headers)
        return connection.getresponse()

    def _exchange(self, method: str, path: str, payload: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        # The server closes idle connections at will: a kept one that fails is given one fresh try.
        while True:
            with self._lock:
                kept = bool(self._idle)
                connection = self._idle.pop() if kept else self.connect(_REQUEST_SECONDS)
            try:
                connection.request(method, path, body=payload, headers=headers)
                response = connection.getresponse()
                raw = response.read()
            except _BROKEN as error:
                connection.close()
                if kept and not isinstance(error, TimeoutError):
                    continue
                raise ApiUnreachable(f"{method} {path}: {error!r}") from error
            with self._lock:
                self._idle.append(connection)
            return response.status, raw


@dataclass(frozen=True)
class Change:
    """One step of a watched list: kind is SYNC (objects = all there are), ADDED, MODIFIED or DELETED."""

    kind: str
    objects: list[Json]


class Watch:
    """Lists, then watches, for ever: reconnects with back-off, lists anew when the server has forgotten (410)."""

    def __init__(self, api: Api, path: str, stop: threading.Event, field_selector: str = "") -> None:
        self._api = api
        self._path = path
        self._stop = stop
        self._selector = {"fieldSelector": field_selector} if field_selector else {}
        self._version = ""
        self._failures = 0

    def changes(self) -> Iterator[Change]:
        while not self._stop.is_set():
            try:
                if not self._version:
                    listed = self._api.get(self._path, **self._selector)
                    self._version = str(listed.get("metadata", {}).get("resourceVersion", "0"))
                    yield Change("SYNC", listed.get("items") or [])
                yield from self._stream()
                self._failures = 0
            except ApiError as error:
                self._failed(forget=error.status in (404, 410))
            except (ApiUnreachable, *_BROKEN, ValueError):
                self._failed(forget=False)

    def _failed(self, forget: bool) -> None:
        if forget:
            self._version = ""
        self._failures += 1
        pause = min(30.0, 0.5 * 2.0 ** min(self._failures, 6)) * random.uniform(0.5, 1.0)
        self._stop.wait(pause)

    def _stream(self) -> Iterator[Change]:
        seconds = random.randint(240, 480)
        query = self._selector | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(seconds),
        }
        response = self._api.open_stream(f"{self._path}?{urlencode(query)}", timeout=seconds + 30.0)
        with response:
            if response.status >= 400:
                raise ApiError(response.status, "", response.read().decode(errors="replace")[:200])
            while line := response.readline():
                event = json.loads(line)
                change = self._advance(event["type"], event["object"])
                if change is not None:
                    self._failures = 0
                    yield change

    def _advance(self, kind: str, item: Json) -> Change | None:
        if kind == "ERROR":
            raise ApiError(int(item.get("code", 500)), item.get("reason", ""), item.get("message", ""))
        self._version = str(item.get("metadata", {}).get("resourceVersion", self._version))
        return None if kind == "BOOKMARK" else Change(kind, [item])


def pod_path(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(name)}"


def attempt(action: Callable[[], object], log: Callable[[str], object]) -> bool:
    """For writes that a later one repeats: reports the failure and goes on."""
    try:
        action()
    except (ApiError, ApiUnreachable) as error:
        log(str(error))
        return False
    return True
