"""lab-http loses no request on SIGTERM."""

import socket
import threading

from webserver import WebServer, listen

ASK = b"GET /%s HTTP/1.0\r\n\r\n"


def ask(port: int, path: bytes = b"") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), 5)
    client.sendall(ASK % path)
    return client


def read(client: socket.socket) -> bytes:
    with client:
        received = b""
        while chunk := client.recv(4096):
            received += chunk
    return received


def test_requests_in_flight_and_queued_are_answered_after_stop() -> None:
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    server = WebServer(listener, "web-1", "n1")
    thread = threading.Thread(target=server.serve)
    slow = ask(port, b"?delay=0.6")
    thread.start()
    assert b'"pod": "web-1", "node": "n1", "count": 1' in read(ask(port))
    server.stop()
    late = [ask(port) for _ in range(20)]
    assert all(b"200 OK" in read(client) for client in [*late, slow])
    thread.join(5)
    assert not thread.is_alive()
    listener.close()


def test_a_kept_connection_is_answered_again() -> None:
    listener = listen("127.0.0.1", 0)
    server = WebServer(listener, "web-1", "n1")
    thread = threading.Thread(target=server.serve)
    thread.start()
    with socket.create_connection(listener.getsockname(), 5) as client:
        for count in (1, 2):
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert f'"count": {count}'.encode() in client.recv(4096)
    server.stop()
    thread.join(5)
    assert not thread.is_alive()
    listener.close()
