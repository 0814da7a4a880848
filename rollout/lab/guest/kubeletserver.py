"""The kubelet's own HTTP: container logs, health, the pods of the node. Plain, since the lab's network is private."""

import json
import socketserver
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from podstate import PodState

PORT = 10250
Answer = tuple[int, str, bytes]


def read_log(states: list[PodState], path: str, query: str) -> Answer:
    """`/containerLogs/{namespace}/{pod}/{container}`."""
    parts = path.strip("/").split("/")
    asked = {key: held[-1] for key, held in parse_qs(query).items()}
    if len(parts) != 4:
        return 400, "text/plain", b"want /containerLogs/{namespace}/{pod}/{container}\n"
    _, namespace, name, container = parts
    previous = asked.get("previous", "").lower() in ("true", "1")
    for state in states:
        if (state.namespace, state.name) != (namespace, name):
            continue
        for record in state.records:
            if record.name == container:
                # While a container waits for its restart, its last instance is both the current and the previous one.
                before = previous and not (record.last and not record.running and not record.state.get("terminated"))
                file = state.log_file(record, before)
                if not file.exists():
                    break
                return 200, "text/plain", _tail(file.read_bytes(), asked.get("tailLines"))
        kind = "previous terminated container" if previous else "container"
        return 400, "text/plain", f'{kind} "{container}" in pod "{name}" not found\n'.encode()
    return 404, "text/plain", f'pod "{name}" not found\n'.encode()


def _tail(content: bytes, lines: str | None) -> bytes:
    if lines is None or not lines.isdigit():
        return content
    return b"".join(content.splitlines(keepends=True)[-int(lines) :]) if int(lines) else b""


def serve(states: Callable[[], list[PodState]], pods: Callable[[], list[object]]) -> socketserver.BaseServer:
    class Request(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60

        def do_GET(self) -> None:
            status, kind, raw = self._answer()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def _answer(self) -> Answer:
            parts = urlsplit(self.path)
            if parts.path == "/healthz":
                return 200, "text/plain", b"ok"
            if parts.path.startswith("/containerLogs/"):
                return read_log(states(), parts.path, parts.query)
            if parts.path.rstrip("/") in ("/pods", "/runningpods"):
                body = {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods()}
                return 200, "application/json", json.dumps(body).encode()
            return 404, "text/plain", b"404 page not found\n"

        def log_message(self, *_: object) -> None:
            """Requests are not logged."""

    server = ThreadingHTTPServer(("", PORT), Request)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(3600,), name="kubelet-http", daemon=True).start()
    return server
