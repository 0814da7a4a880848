"""A Kubernetes API as plain as the guest's programs can do with: objects by path, list, watch, merge patch, deletion.

It has no controllers, no schema and no authentication; the lab's own API stand-in is tested elsewhere.
"""

import copy
import json
import socket
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]


def merge(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


class Refused(Exception):
    def __init__(self, status: int, message: str = "") -> None:
        super().__init__(message)
        self.status = status


class PlainApi:
    def __init__(self, served: tuple[str, ...]) -> None:
        self._served = served
        self._objects: dict[str, Json] = {}
        self._history: list[tuple[int, str, str, Json]] = []
        self._version = 0
        self._changed = threading.Condition()

    def put(self, path: str, held: Json) -> Json:
        """Create or replace by the test."""
        with self._changed:
            return self._store("MODIFIED" if path in self._objects else "ADDED", path, held)

    def get(self, path: str) -> Json | None:
        with self._changed:
            return copy.deepcopy(self._objects.get(path))

    def listed(self, collection: str) -> list[Json]:
        with self._changed:
            return [copy.deepcopy(held) for path, held in self._objects.items() if within(path, collection)]

    def wait(self, path: str, wanted: Any, seconds: float) -> Json | None:
        """Until `wanted(object or None)` is true; returns the object. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: wanted(self._objects.get(path)), seconds):
                raise TimeoutError(f"{path}: {json.dumps((self._objects.get(path) or {}).get('status'))}")
            return copy.deepcopy(self._objects.get(path))

    def delete(self, path: str, grace: int = 0, uid: str = "") -> None:
        """As the API server: a pod waits for its kubelet unless the grace is 0."""
        with self._changed:
            held = self._objects.get(path)
            if held is None:
                raise Refused(404, f"{path} not found")
            if uid and held["metadata"]["uid"] != uid:
                raise Refused(409, "uid differs")
            if "/pods/" in path and grace:
                meta = {"deletionTimestamp": "2026-11-23T00:00:00Z", "deletionGracePeriodSeconds": grace}
                self._store("MODIFIED", path, merge(held, {"metadata": meta}))
                return
            del self._objects[path]
            self._note("DELETED", path, held)

    def create(self, collection: str, held: Json) -> Json:
        with self._changed:
            path = f"{collection}/{held['metadata']['name']}"
            if path in self._objects:
                raise Refused(409, f"{path} already exists")
            return self._store("ADDED", path, held)

    def patch(self, path: str, patch: Json) -> Json:
        with self._changed:
            target = path.removesuffix("/status")
            held = self._objects.get(target)
            if held is None:
                raise Refused(404, f"{target} not found")
            if patch.get("metadata", {}).get("uid", held["metadata"]["uid"]) != held["metadata"]["uid"]:
                raise Refused(409, "uid differs")
            return self._store("MODIFIED", target, merge(held, patch))

    def serves(self, path: str) -> bool:
        return not path.startswith("/apis/") or any(path.startswith(each) for each in self._served)

    def changes(self, collection: str, since: int, seconds: float) -> tuple[int, list[tuple[str, str, Json]]]:
        with self._changed:
            self._changed.wait_for(lambda: self._version > since, seconds)
            found = [(k, p, o) for at, k, p, o in self._history if at > since and within(p, collection)]
            return self._version, found

    @property
    def version(self) -> int:
        return self._version

    def _store(self, kind: str, path: str, held: Json) -> Json:
        held = copy.deepcopy(held)
        held.setdefault("metadata", {}).setdefault("uid", str(uuid.uuid4()))
        held["metadata"]["resourceVersion"] = str(self._version + 1)
        self._objects[path] = held
        self._note(kind, path, held)
        return copy.deepcopy(held)

    def _note(self, kind: str, path: str, held: Json) -> None:
        self._version += 1
        self._history.append((self._version, kind, path, copy.deepcopy(held)))
        self._changed.notify_all()


def within(path: str, collection: str) -> bool:
    """Also for a list over all namespaces: /api/v1/pods holds /api/v1/namespaces/x/pods/y."""
    head, _, plural = collection.rpartition("/")
    parts = path.rsplit("/", 2)
    return len(parts) == 3 and parts[1] == plural and parts[0].split("/namespaces/")[0] == head.split("/namespaces/")[0]


def serve(api: PlainApi, listener: socket.socket) -> ThreadingHTTPServer:
    class Request(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            parts = urlsplit(self.path)
            query = {key: held[0] for key, held in parse_qs(parts.query).items()}
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            try:
                if not api.serves(parts.path):
                    raise Refused(404, "the server could not find the requested resource")
                self._perform(parts.path, query, body)
            except Refused as refused:
                self._send(refused.status, {"kind": "Status", "code": refused.status, "message": str(refused)})

        do_GET = do_POST = do_PATCH = do_DELETE = _handle  # noqa: N815

        def _perform(self, path: str, query: dict[str, str], body: Json) -> None:
            match self.command:
                case "POST":
                    self._send(201, api.create(path, body))
                case "PATCH":
                    self._send(200, api.patch(path, body))
                case "DELETE":
                    uid = body.get("preconditions", {}).get("uid", "")
                    api.delete(path, body.get("gracePeriodSeconds", 30 if "/pods/" in path else 0), uid)
                    self._send(200, {"kind": "Status"})
                case _ if query.get("watch"):
                    self._watch(path, query)
                case _:
                    self._read(path, query)

        def _read(self, path: str, query: dict[str, str]) -> None:
            held = api.get(path)
            if held is not None:
                self._send(200, held)
            elif path.rsplit("/", 2)[1] in ("pods", "nodes", "leases", "configmaps", "ciliumnodes", "ciliumendpoints"):
                raise Refused(404, f"{path} not found")
            else:
                items = [each for each in api.listed(path) if selected(each, query)]
                self._send(200, {"items": items, "metadata": {"resourceVersion": str(api.version)}})

        def _watch(self, path: str, query: dict[str, str]) -> None:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            since = int(query["resourceVersion"])
            while True:
                since, found = api.changes(path, since, 60)
                for kind, _, held in found:
                    if selected(held, query):
                        line = json.dumps({"type": kind, "object": held}).encode() + b"\n"
                        self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                        self.wfile.flush()

        def _send(self, status: int, body: Json) -> None:
            raw = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that goes away is no event."""

    server = Server(("127.0.0.1", 0), Request, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    listener.listen(64)
    threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
    return server


def selected(held: Json, query: dict[str, str]) -> bool:
    name, _, value = query.get("fieldSelector", "").partition("=")
    return name != "spec.nodeName" or held.get("spec", {}).get("nodeName") == value
