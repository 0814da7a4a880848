"""lab-dns: the cluster's DNS, over UDP and TCP, for the names of Services; on little memory.

On SIGTERM it goes on for a moment, as clients that asked before they heard want their answer, and ends.
"""

import signal
import socket
import socketserver
import struct
import sys
import threading
from collections.abc import Mapping

import labpaths
from dnsanswer import answer
from kubeapi import Api, Change, Watch, server_from

_PORT = 53
_DOMAIN = "svc.cluster.local"
_LAME_SECONDS = 1.0
_IDLE_SECONDS = 10.0


class Names:
    """Addresses of Services by name, followed in the API."""

    def __init__(self, api: Api, stop: threading.Event) -> None:
        self._api = api
        self._stop = stop
        self.addresses: dict[str, str] = {}
        self.known = threading.Event()

    def follow(self) -> None:
        """For ever."""
        for change in Watch(self._api, "/api/v1/services", self._stop).changes():
            self._apply(change)
            self.known.set()

    def _apply(self, change: Change) -> None:
        addresses = {} if change.kind == "SYNC" else dict(self.addresses)
        for item in change.objects:
            name = f"{item['metadata']['name']}.{item['metadata']['namespace']}.{_DOMAIN}"
            address = (item.get("spec") or {}).get("clusterIP") or "None"
            if change.kind == "DELETED" or address == "None":
                addresses.pop(name, None)
            else:
                addresses[name] = address
        # Replaced whole: who reads it needs no lock.
        self.addresses = addresses


def _tcp_handler(names: Names) -> type[socketserver.StreamRequestHandler]:
    class Handler(socketserver.StreamRequestHandler):
        timeout = _IDLE_SECONDS

        def handle(self) -> None:
            try:
                while len(head := self.rfile.read(2)) == 2:
                    said = answer(self.rfile.read(struct.unpack(">H", head)[0]), names.addresses)
                    self.wfile.write(struct.pack(">H", len(said)) + said)
            except OSError:
                return

    return Handler


class _TcpServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def serve_udp(sock: socket.socket, names: Names) -> None:
    """For ever."""
    while True:
        try:
            question, client = sock.recvfrom(4096)
            if said := answer(question, names.addresses):
                sock.sendto(said, client)
        except OSError:
            # An answer that cannot be delivered is the asker's loss alone.
            continue


def main(_argv: list[str], environment: Mapping[str, str]) -> int:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    names = Names(Api(server_from(labpaths.etc(), environment["LAB_API"]), "lab-dns"), threading.Event())
    threading.Thread(target=names.follow, name="services", daemon=True).start()
    # Not Ready, that is, without a listening socket, until it knows what to answer.
    names.known.wait()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", _PORT))
        threading.Thread(target=serve_udp, args=(sock, names), name="udp", daemon=True).start()
        server = _TcpServer(("", _PORT), _tcp_handler(names))
        threading.Thread(target=server.serve_forever, args=(3600,), name="tcp", daemon=True).start()
        stop.wait()
        threading.Event().wait(_LAME_SECONDS)
    sys.stdout.flush()
    return 0
