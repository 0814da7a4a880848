"""The lists of a big made-up cluster behind HTTP, in a process of its own: `python -m benchmarks.fleet_server 5000`.

Pages are rendered before the first answer, so that what a client waits for is the wire and itself. Prints its port.
"""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from rollout.adapters.kubernetes.lists import PAGE
from tests.support.fleet import make_fleet
from tests.support.fleet.shelf import Shelf

BUDGETS_PER_NODE = (2, 5)
"""2,000 budgets for 5,000 nodes."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    pages: dict[tuple[str, int], bytes]
    shelf: Shelf

    def do_GET(self) -> None:
        """One page, or one object."""
        parts = urlsplit(self.path)
        start = int(dict(parse_qsl(parts.query)).get("continue", "0"))
        body = self.pages.get((parts.path, start)) or self.shelf.answer_url(self.path)
        self.send_response(200 if body is not None else 404)
        body = body or b'{"kind":"Status","code":404,"reason":"NotFound","message":"not found"}'
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Silent."""


def main() -> None:
    """Serve until stopped."""
    nodes, per_node = int(sys.argv[1]), int(sys.argv[2])
    part, whole = BUDGETS_PER_NODE
    shelf = make_fleet(nodes, nodes * per_node, nodes * part // whole).shelf
    pages = {
        (path, start): rows.page(start, PAGE)
        for path, rows in shelf.lists.items()
        for start in range(0, max(1, rows.count), PAGE)
    }
    handler = type("Bound", (_Handler,), {"pages": pages, "shelf": shelf})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    sys.stdout.write(f"{server.server_port} {sum(map(len, pages.values()))}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
