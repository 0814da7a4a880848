"""lab-http: a workload that answers HTTP with its pod, node and a count, on one thread and little memory.

On SIGTERM it accepts what is still queued, answers what has been asked, and ends: no request is lost.
`?delay=0.5` holds the answer back, for tests that need one in flight.
"""

import contextlib
import heapq
import json
import os
import selectors
import signal
import socket
import time
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

_LONGEST_HEAD = 16384
# After SIGTERM: how long silence must last before the listening socket closes, and the end of patience.
_QUIET_SECONDS = 0.2


class Connection:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = b""
        self.to_send = b""
        self.waiting = False
        self.keep = True


class WebServer:
    def __init__(self, listener: socket.socket, pod: str, node: str) -> None:
        self._listener = listener
        self._facts = {"pod": pod, "node": node}
        self._count = 0
        self._open: set[Connection] = set()
        self._held: list[tuple[float, int, Connection]] = []
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ, None)
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        os.set_blocking(self._wake_read, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, "wake")
        self._stopping = False
        self._last_activity = 0.0

    def stop(self, *_: object) -> None:
        self._stopping = True
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"x")

    def serve(self) -> None:
        """Until stopped and quiet. Sleeps in the kernel while there is nothing to do."""
        while not self._finished():
            for key, _ in self._selector.select(self._timeout()):
                if key.data is None:
                    self._accept()
                elif isinstance(key.data, Connection):
                    self._progress(key.data)
                else:
                    os.read(self._wake_read, 64)
                    self._last_activity = time.monotonic()
            self._release_held()

    def _finished(self) -> bool:
        if not self._stopping:
            return False
        busy = any(each.waiting or each.to_send or each.received for each in self._open)
        return not busy and time.monotonic() - self._last_activity >= _QUIET_SECONDS

    def _timeout(self) -> float | None:
        due = [self._held[0][0] - time.monotonic()] if self._held else []
        if self._stopping:
            due.append(_QUIET_SECONDS)
        return max(0.0, min(due)) if due else None

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                sock, _ = self._listener.accept()
                sock.setblocking(False)
                connection = Connection(sock)
                self._open.add(connection)
                self._selector.register(sock, selectors.EVENT_READ, connection)
                self._last_activity = time.monotonic()

    def _progress(self, connection: Connection) -> None:
        try:
            if connection.to_send:
                self._send(connection)
                return
            chunk = connection.sock.recv(_LONGEST_HEAD)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        self._last_activity = time.monotonic()
        if not chunk or len(connection.received) > _LONGEST_HEAD:
            self._close(connection)
            return
        connection.received += chunk
        self._answer_next(connection)

    def _answer_next(self, connection: Connection) -> None:
        head, found, rest = connection.received.partition(b"\r\n\r\n")
        if not found or connection.waiting:
            return
        connection.received = rest
        first, _, fields = head.decode("latin-1").partition("\r\n")
        target = [*first.split(" "), "/"][1]
        connection.keep = "HTTP/1.1" in first and "connection: close" not in fields.lower()
        delay = _delay(target)
        if delay > 0:
            connection.waiting = True
            heapq.heappush(self._held, (time.monotonic() + delay, id(connection), connection))
        else:
            self._answer(connection)

    def _release_held(self) -> None:
        while self._held and self._held[0][0] <= time.monotonic():
            connection = heapq.heappop(self._held)[2]
            connection.waiting = False
            if connection in self._open:
                self._answer(connection)

    def _answer(self, connection: Connection) -> None:
        self._count += 1
        body = json.dumps(self._facts | {"count": self._count}).encode() + b"\n"
        connection.keep = connection.keep and not self._stopping
        fate = "keep-alive" if connection.keep else "close"
        fields = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: {fate}"
        connection.to_send = f"HTTP/1.1 200 OK\r\n{fields}\r\n\r\n".encode() + body
        with contextlib.suppress(BlockingIOError):
            self._send(connection)

    def _send(self, connection: Connection) -> None:
        try:
            sent = connection.sock.send(connection.to_send)
        except BlockingIOError:
            self._selector.modify(connection.sock, selectors.EVENT_WRITE, connection)
            return
        except OSError:
            self._close(connection)
            return
        connection.to_send = connection.to_send[sent:]
        if connection.to_send:
            self._selector.modify(connection.sock, selectors.EVENT_WRITE, connection)
        elif not connection.keep:
            self._close(connection)
        else:
            self._selector.modify(connection.sock, selectors.EVENT_READ, connection)
            self._answer_next(connection)

    def _close(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._selector.unregister(connection.sock)
        connection.sock.close()


def _delay(target: str) -> float:
    asked = parse_qs(urlsplit(target).query).get("delay", ["0"])[0]
    try:
        return min(60.0, float(asked))
    except ValueError:
        return 0.0


def listen(address: str, port: int) -> socket.socket:
    listener = socket.create_server((address, port), backlog=512)
    listener.setblocking(False)
    return listener


def _port(argv: list[str]) -> int:
    for word in argv:
        if word.startswith("--port="):
            return int(word.removeprefix("--port="))
    return 8080


def main(argv: list[str], environment: Mapping[str, str]) -> int:
    server = WebServer(listen("", _port(argv)), environment.get("POD_NAME", ""), environment.get("NODE_NAME", ""))
    signal.signal(signal.SIGTERM, server.stop)
    server.serve()
    return 0
