"""A running API stand-in and a bare HTTP client for it."""

import http.client
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rollout.lab.apiserver import ApiServer, Identity, Rule, ServerSettings, ServerTls, admin, viewer
from rollout.lab.apiserver.subresources import LogProvider
from rollout.lab.apiserver.threaded import ThreadedServer
from rollout.lab.pki import create_pki

Obj = dict[str, Any]
ADMIN, VIEWER, TEAM = "admin-token", "viewer-token", "team-token"
_TEAM_RULE = Rule(("get", "list", "create"), ("", "apps"), ("pods", "pods/eviction", "deployments"), ("team",))
TOKENS: dict[str, Identity] = {ADMIN: admin(), VIEWER: viewer(), TEAM: Identity("team", (), (_TEAM_RULE,))}
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"


@dataclass
class Answer:
    code: int
    body: Any
    headers: dict[str, str]

    @property
    def message(self) -> str:
        return str(self.body["message"])


class Api:
    """Serves while the `with` block lasts. `store` calls run on the server's loop."""

    def __init__(
        self,
        *,
        log_provider: LogProvider | None = None,
        settings: ServerSettings | None = None,
        tls_directory: Path | None = None,
    ) -> None:
        # client-go sends no token over plain HTTP, so kubectl needs TLS.
        self.files = create_pki(tls_directory) if tls_directory else None
        tls = ServerTls(self.files.certificate, self.files.key, self.files.ca) if self.files else None
        settings = settings or ServerSettings(bookmark_seconds=0.2, definition_delay=0.01)
        self.server = ApiServer(tokens=TOKENS, log_provider=log_provider, settings=settings, tls=tls)
        self._threaded = ThreadedServer(self.server, scheme="https" if tls else "http")
        self.url = self._threaded.url

    def __enter__(self) -> "Api":
        self._threaded.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._threaded.__exit__(None, None, None)

    def call(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        return self._threaded.call(function, *arguments, **named)

    def create(self, obj: Obj, **named: Any) -> Any:
        return self.call(self.server.store.create, obj, **named)

    def connect(self) -> http.client.HTTPConnection:
        if self.files is None:
            return http.client.HTTPConnection("127.0.0.1", self._threaded.port, timeout=10)
        context = ssl.create_default_context(cafile=str(self.files.ca))
        return http.client.HTTPSConnection("127.0.0.1", self._threaded.port, timeout=10, context=context)

    def request(
        self, method: str, path: str, body: Any = None, *, token: str = ADMIN, content: str = "application/json",
        accept: str = "application/json", headers: dict[str, str] | None = None,
    ) -> Answer:  # fmt: skip
        sent = {"Accept": accept, "User-Agent": "probe/1", **(headers or {})}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        data: bytes | None = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent["Content-Type"] = content
        connection = self.connect()
        try:
            connection.request(method, path, data, sent)
            answer = connection.getresponse()
            raw = answer.read()
            parsed = json.loads(raw) if raw[:1] in (b"{", b"[") else raw
            return Answer(answer.status, parsed, dict(answer.getheaders()))
        finally:
            connection.close()

    def get(self, path: str, **named: Any) -> Answer:
        return self.request("GET", path, **named)

    def post(self, path: str, body: Any, **named: Any) -> Answer:
        return self.request("POST", path, body, **named)

    def put(self, path: str, body: Any, **named: Any) -> Answer:
        return self.request("PUT", path, body, **named)

    def patch(self, path: str, body: Any, content: str = MERGE, **named: Any) -> Answer:
        return self.request("PATCH", path, body, content=content, **named)

    def delete(self, path: str, body: Any = None, **named: Any) -> Answer:
        return self.request("DELETE", path, body, **named)

    def watch(self, path: str, *, accept: str = "application/json") -> list[Obj]:
        """All events until the server ends the stream."""
        connection = self.connect()
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {ADMIN}", "Accept": accept})
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            return [json.loads(line) for line in answer.read().splitlines()]
        finally:
            connection.close()


NODES, PODS, MAPS = "/api/v1/nodes", "/api/v1/namespaces/default/pods", "/api/v1/namespaces/default/configmaps"


def node(name: str, **labels: str) -> Obj:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}


def config_map(name: str, **data: str) -> Obj:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def pod(name: str, node_name: str = "", **labels: str) -> Obj:
    spec: Obj = {"containers": [{"name": "c", "image": "x:1"}]}
    if node_name:
        spec["nodeName"] = node_name
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": spec,
    }


def running_pod(name: str, *, ready: bool = True, **labels: str) -> Obj:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {**pod(name, "n1", **labels), "status": {"phase": "Running", "conditions": conditions}}
