"""The probe pod's server: echoes TCP and UDP, and connects outwards when it is asked to with the right token.

One file on the standard library, since a probe pod runs it as `python3 -I -c SOURCE --token T --ports 8791,8792,8793`
on any image that has Python 3.9 or newer: unprivileged, with a read-only root, in a few megabytes.
On the first port a TCP client may send one line instead of data to echo:

- `PING TOKEN` is answered `PONG`;
- `CONNECT TOKEN ADDRESS PORT SIZE [TIMEOUT_MS]` opens a TCP echo of SIZE bytes to ADDRESS:PORT and is answered
  `OK MICROSECONDS`, or `ERR ` and words: `refused`, `timeout`, `reset`, `unreachable ...`, `garbled`, `denied`,
  `busy`, `bad request`. So connections towards a node are tried without access to the host they come from.

Anything else is echoed. SIGTERM ends the server at once, although it is the first process of its container.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import sys
import threading
import time

CONTROL_WORDS = (b"PING ", b"CONNECT ")
_LINE_BYTES = 512
_CHUNK = 65536
_MOST_CONNECTIONS = 256
_MOST_ERRANDS = 32
_IDLE_S = 30.0
_SWEEP_S = 5.0
_ERRAND_MS = 2000
_LONGEST_ERRAND_MS = 10_000
_MOST_BYTES = 1 << 20


class Connection:
    """A client: what it sent that is not echoed yet, and whether its first bytes may still become a control line."""

    def __init__(self, connection: socket.socket, control: bool) -> None:
        self.socket = connection
        self.control = control
        self.pending = b""
        self.used = time.monotonic()


class Server:
    """Serves `ports` in one thread; each errand (CONNECT) gets a short-lived thread of its own."""

    def __init__(self, token: str, ports: list[int]) -> None:
        self._token = token.encode()
        self._poll = select.epoll()
        self._listeners: dict[int, tuple[socket.socket, bool]] = {}
        self._datagrams: dict[int, socket.socket] = {}
        self._connections: dict[int, Connection] = {}
        self._errands = threading.BoundedSemaphore(_MOST_ERRANDS)
        for position, port in enumerate(ports):
            self._open(port, position == 0)

    def _open(self, port: int, control: bool) -> None:
        """Listen on both families; a pod without IPv6 has only the first."""
        for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):  # noqa: S104 - a pod's own
            try:
                stream, datagram = _bound(family, address, port)
            except OSError:
                if family == socket.AF_INET6:
                    continue
                raise
            self._listeners[stream.fileno()] = (stream, control)
            self._datagrams[datagram.fileno()] = datagram
            self._poll.register(stream, select.EPOLLIN)
            self._poll.register(datagram, select.EPOLLIN)

    def serve(self) -> None:
        """Until the process is ended."""
        sweep = time.monotonic() + _SWEEP_S
        while True:
            for number, events in self._poll.poll(_SWEEP_S):
                if number in self._datagrams:
                    _echo_datagrams(self._datagrams[number])
                elif number in self._listeners:
                    self._accept(*self._listeners[number])
                elif number in self._connections:
                    self._turn(self._connections[number], events)
            if time.monotonic() > sweep:
                self._drop_idle()
                sweep = time.monotonic() + _SWEEP_S

    def _accept(self, listener: socket.socket, control: bool) -> None:
        try:
            accepted, _ = listener.accept()
        except OSError:
            return  # the client went away, or descriptors ran out: the next one may fare better
        if len(self._connections) >= _MOST_CONNECTIONS:
            accepted.close()
            return
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections[accepted.fileno()] = Connection(accepted, control)
        self._poll.register(accepted, select.EPOLLIN)

    def _turn(self, one: Connection, events: int) -> None:
        """Read when nothing waits to be written, else write: so a client that does not read cannot fill memory."""
        one.used = time.monotonic()
        try:
            if not events & select.EPOLLOUT:
                received = one.socket.recv(_CHUNK)
                if not received:
                    self._drop(one)
                    return
                one.pending += received
                if one.control and self._control(one):
                    return
            one.pending = one.pending[one.socket.send(one.pending) :]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._drop(one)
            return
        self._poll.modify(one.socket, select.EPOLLOUT if one.pending else select.EPOLLIN)

    def _control(self, one: Connection) -> bool:
        """True when the bytes so far are taken, or awaited, as a control line."""
        if one.pending.startswith(CONTROL_WORDS):
            line, ended, _ = one.pending[:_LINE_BYTES].partition(b"\n")
            if ended:
                self._obey(one, line.split())
                return True
            if len(one.pending) < _LINE_BYTES:
                return True
        elif any(word.startswith(one.pending) for word in CONTROL_WORDS):
            return True
        one.control = False
        return False

    def _obey(self, one: Connection, words: list[bytes]) -> None:
        """Answer one control line in a thread of its own; the connection ends with the answer."""
        self._poll.unregister(one.socket)
        del self._connections[one.socket.fileno()]
        if len(words) < 2 or words[1] != self._token:
            _answer(one.socket, "ERR denied")
        elif words[0] == b"PING":
            _answer(one.socket, "PONG")
        elif not self._errands.acquire(blocking=False):
            _answer(one.socket, "ERR busy")
        else:
            threading.Thread(target=self._errand, args=(one.socket, words[2:]), daemon=True).start()

    def _errand(self, client: socket.socket, words: list[bytes]) -> None:
        try:
            _answer(client, run_errand(words))
        finally:
            self._errands.release()

    def _drop_idle(self) -> None:
        oldest = time.monotonic() - _IDLE_S
        for one in [one for one in self._connections.values() if one.used < oldest]:
            self._drop(one)

    def _drop(self, one: Connection) -> None:
        del self._connections[one.socket.fileno()]
        one.socket.close()


def _bound(family: int, address: str, port: int) -> tuple[socket.socket, socket.socket]:
    stream = socket.socket(family, socket.SOCK_STREAM)
    datagram = socket.socket(family, socket.SOCK_DGRAM)
    try:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for one in (stream, datagram):
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.setblocking(False)
            one.bind((address, port))
        stream.listen(128)
    except OSError:
        stream.close()
        datagram.close()
        raise
    return stream, datagram


def _echo_datagrams(one: socket.socket) -> None:
    """Echo one: the poll reports the next, and asking in vain whether there is one costs more than that."""
    with contextlib.suppress(OSError):  # an error that an earlier answer drew upon us, or no room: lost on the way
        received, sender = one.recvfrom(_CHUNK)
        one.sendto(received, sender)


def _answer(client: socket.socket, words: str) -> None:
    try:
        client.settimeout(2)
        client.sendall(words.encode() + b"\n")
    except OSError:
        pass  # who asked is gone
    finally:
        client.close()


def run_errand(words: list[bytes]) -> str:
    """The answer to CONNECT with these operands."""
    try:
        address, port, size = words[0].decode(), int(words[1]), int(words[2])
        limit_ms = min(int(words[3]) if len(words) > 3 else _ERRAND_MS, _LONGEST_ERRAND_MS)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        socket.inet_pton(family, address)
    except (IndexError, ValueError, OSError):
        return "ERR bad request"
    if not (0 < port < 65536 and 0 <= size <= _MOST_BYTES and limit_ms > 0):
        return "ERR bad request"
    try:
        return echo_once(family, (address, port), size, limit_ms / 1000)
    except socket.timeout:  # noqa: UP041 - another class before Python 3.10
        return "ERR timeout"
    except ConnectionRefusedError:
        return "ERR refused"
    except ConnectionError:
        return "ERR reset"
    except OSError as error:
        if error.errno == errno.ETIMEDOUT:
            return "ERR timeout"
        return f"ERR unreachable {error.strerror}"


def echo_once(family: int, address: tuple[str, int], size: int, limit_s: float) -> str:
    """Connect, send `size` bytes, receive them again; raises OSError."""
    begun = time.monotonic()
    payload = (b"netkit-rollout." * (size // 15 + 1))[:size]
    received = b""
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(limit_s)
        connection.connect(address)
        connection.sendall(payload)
        while len(received) < size:
            left = begun + limit_s - time.monotonic()
            if left <= 0:
                return "ERR timeout"
            connection.settimeout(left)
            part = connection.recv(_CHUNK)
            if not part:
                return "ERR reset"
            received += part
    if received != payload:
        return "ERR garbled"
    return f"OK {round((time.monotonic() - begun) * 1_000_000)}"


def main(arguments: list[str]) -> None:
    """Serve as the arguments say; argparse is left out, since it costs a slow node more than the rest of the start."""
    options = dict(zip(arguments[::2], arguments[1::2]))
    unknown = sorted(set(options) - {"--token", "--ports"})
    if unknown or len(arguments) % 2 or not options.get("--token") or not options.get("--ports"):
        raise SystemExit("usage: echo --token TOKEN --ports PORT,PORT,...")
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    Server(options["--token"], [int(port) for port in options["--ports"].split(",")]).serve()


if __name__ == "__main__":
    main(sys.argv[1:])
