"""The agent's API on its unix socket, and its health on a local TCP port."""

import json
import socket
import socketserver
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

Answer = tuple[int, Any]
Route = Callable[[str, dict[str, Any]], Answer]
"""From what follows the matched prefix, and the request's body, to a status and a JSON value."""


def _request_class(routes: dict[tuple[str, str], Route]) -> type[BaseHTTPRequestHandler]:
    class Request(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # An idle client must not hold a thread for ever.
        timeout = 120

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            status, value = self._route(unquote(urlsplit(self.path).path), body)
            raw = b"" if value is None else json.dumps(value).encode() + b"\n"
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def _route(self, path: str, body: dict[str, Any]) -> Answer:
            for (method, prefix), route in routes.items():
                if method == self.command and (path == prefix or path.startswith(f"{prefix}/")):
                    try:
                        return route(path.removeprefix(prefix).strip("/"), body)
                    except (OSError, KeyError, ValueError) as error:
                        return 500, f"{type(error).__name__}: {error}"
            return 404, f"path {path} was not found"

        do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = _answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Requests are not logged: the real agent does not either."""

        def address_string(self) -> str:
            return "local"

    return Request


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


def serve_socket(path: Path, routes: dict[tuple[str, str], Route]) -> UnixServer:
    """Serve on the unix socket from a thread of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    server = UnixServer(str(path), _request_class(routes))
    threading.Thread(target=server.serve_forever, args=(3600,), name="api", daemon=True).start()
    return server


def serve_port(
    port: int, routes: dict[tuple[str, str], Route], address: str = "127.0.0.1"
) -> ThreadingHTTPServer | None:
    """Serve on a TCP port; None if it is taken (a node has one agent, a test host may have others)."""
    try:
        server = ThreadingHTTPServer((address, port), _request_class(routes))
    except OSError:
        return None
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(3600,), name=f"port-{port}", daemon=True).start()
    return server


class UnixClient:
    """One request at a time to the agent."""

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._timeout = timeout

    def request(self, method: str, target: str, body: Any = None) -> Answer:
        """Raises OSError while there is no agent."""
        payload = b"" if body is None else json.dumps(body).encode()
        fields = f"Host: localhost\r\nConnection: close\r\nContent-Length: {len(payload)}"
        head = f"{method} {target} HTTP/1.1\r\n{fields}\r\n\r\n"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(self._timeout)
            sock.connect(str(self._path))
            sock.sendall(head.encode() + payload)
            with sock.makefile("rb") as stream:
                raw = stream.read()
        first, _, content = raw.partition(b"\r\n\r\n")
        if not first:
            raise ConnectionError("EOF")
        return int(first.split(b" ", 2)[1]), json.loads(content) if content.strip() else None
