"""A small web server for tests: answers as arranged and keeps what it was asked."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any


class WebHost:
    """`answer` is status, body, seconds of silence; `drip`: seconds between single bytes of the body."""

    def __init__(self) -> None:
        self.status, self.body, self.silence, self.drip = 200, "", 0.0, 0.0
        self.headers: dict[str, str] = {}
        self.asked: list[tuple[str, Mapping[str, str]]] = []
        self.url = ""
        self.over = Event()

    def arrange(self, status: int, body: str, silence: float = 0) -> None:
        self.status, self.body, self.silence = status, body, silence


@contextmanager
def web_host(tls: ssl.SSLContext | None = None) -> Iterator[WebHost]:
    """A server on a free port of this machine, gone at the end."""
    host = WebHost()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host.asked.append((self.path, dict(self.headers.items())))
            host.over.wait(host.silence)
            with suppress(OSError):  # the one who asked may have gone
                self._answer()

        def _answer(self) -> None:
            body = host.body.encode()
            self.send_response(host.status)
            for name, value in host.headers.items():
                self.send_header(name, value)
            if host.status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if not host.drip:
                self.wfile.write(body)
                return
            for byte in body:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                host.over.wait(host.drip)

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_args: None  # type: ignore[method-assign]  # a broken TLS handshake is expected
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    host.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield host
    finally:
        host.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
