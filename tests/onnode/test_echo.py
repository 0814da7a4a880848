"""The probe pod's server, run as a pod runs it."""

from __future__ import annotations

import ast
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout.onnode import echo

SOURCE = Path(echo.__file__).read_text()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def ports() -> tuple[int, int]:
    return free_port(), free_port()


@pytest.fixture(scope="module")
def server(ports: tuple[int, int]) -> Iterator[subprocess.Popen[bytes]]:
    words = [sys.executable, "-I", "-c", SOURCE, "--token", "t0ken", "--ports", ",".join(map(str, ports))]
    with subprocess.Popen(words) as running:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", ports[1]), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield running
        running.kill()


def ask(port: int, sent: bytes, size: int, host: str = "127.0.0.1") -> bytes:
    """Send, and read until `size` bytes are there or the server closes."""
    with socket.create_connection((host, port), 5) as one:
        one.sendall(sent)
        received = b""
        while len(received) < size:
            part = one.recv(65536)
            if not part:
                break
            received += part
        return received


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_echo(ports: tuple[int, int], host: str) -> None:
    data = bytes(range(256)) * 1000
    for port in ports:
        assert ask(port, data, len(data), host) == data
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.settimeout(5)
            one.sendto(b"datagram", (host, port))
            assert one.recv(100) == b"datagram"


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    "junk", [b"\xff\xfe" * 5000, b"CONNECTED\n", b"PINGPONG\n", b"CONNECT " + b"x" * 600 + b"\n", b"P", b"CON"]
)
def test_anything_else_is_echoed(ports: tuple[int, int], junk: bytes) -> None:
    tail = b"! that is no control line\n"
    assert ask(ports[0], junk + tail, len(junk + tail)) == junk + tail


@pytest.mark.usefixtures("server")
def test_control_lines(ports: tuple[int, int]) -> None:
    control, plain = ports
    assert ask(control, b"PING t0ken\n", 99) == b"PONG\n"
    assert ask(control, b"PING wrong\n", 99) == b"ERR denied\n"
    assert ask(control, b"CONNECT wrong 127.0.0.1 %d 64\n" % plain, 99) == b"ERR denied\n"
    assert ask(plain, b"PING t0ken\n", 11) == b"PING t0ken\n"
    word, microseconds = ask(control, b"CONNECT t0ken 127.0.0.1 %d 100000\n" % plain, 99).split()
    assert (word, int(microseconds) > 0) == (b"OK", True)
    assert ask(control, b"CONNECT t0ken ::1 %d 64\n" % plain, 99).startswith(b"OK ")
    assert ask(control, b"CONNECT t0ken 127.0.0.1 %d 64\n" % free_port(), 99) == b"ERR refused\n"


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    "operands",
    [
        "",
        "nowhere 1 1",
        "127.0.0.1 0 1",
        "127.0.0.1 99999 1",
        "127.0.0.1 1 -1",
        "::1 x y",
        "::1 1 999999999",
        "::1 1 1 0",
    ],
)
def test_bad_errands(ports: tuple[int, int], operands: str) -> None:
    assert ask(ports[0], f"CONNECT t0ken {operands}\n".encode(), 99) == b"ERR bad request\n"


@pytest.mark.usefixtures("server")
def test_an_errand_that_gets_no_answer_ends_in_time(ports: tuple[int, int]) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        begun = time.monotonic()
        line = f"CONNECT t0ken 127.0.0.1 {silent.getsockname()[1]} 64 300\n"
        assert ask(ports[0], line.encode(), 99) == b"ERR timeout\n"
        assert 0.25 < time.monotonic() - begun < 2


@pytest.mark.usefixtures("server")
def test_a_line_in_pieces(ports: tuple[int, int]) -> None:
    with socket.create_connection(("127.0.0.1", ports[0]), 5) as one:
        for piece in (b"PI", b"NG t0", b"ken\n"):
            one.sendall(piece)
            time.sleep(0.05)
        assert one.recv(99) == b"PONG\n"


def test_who_does_not_read_does_not_fill_memory(server: subprocess.Popen[bytes], ports: tuple[int, int]) -> None:
    with socket.create_connection(("127.0.0.1", ports[1]), 5) as one:
        one.setblocking(False)
        sent = 0
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            try:
                sent += one.send(bytes(1 << 16))
            except BlockingIOError:
                time.sleep(0.02)
        status = Path(f"/proc/{server.pid}/status").read_text()
    assert sent > 1 << 17
    assert int(status.split("VmRSS:")[1].split()[0]) < 40_000


@pytest.mark.usefixtures("server")
def test_many_clients_and_one_more(ports: tuple[int, int]) -> None:
    crowd = [socket.create_connection(("127.0.0.1", ports[1]), 5) for _ in range(300)]
    try:
        for one in crowd[:200]:
            one.sendall(b"x")
        assert all(one.recv(1) == b"x" for one in crowd[:200])
    finally:
        for one in crowd:
            one.close()
    time.sleep(0.2)
    assert ask(ports[1], b"still here", 10) == b"still here"


def test_sigterm_ends_it_at_once() -> None:
    port = free_port()
    with subprocess.Popen([sys.executable, "-I", "-c", SOURCE, "--token", "t", "--ports", str(port)]) as running:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        begun = time.monotonic()
        running.send_signal(signal.SIGTERM)
        assert running.wait(5) == 0
        assert time.monotonic() - begun < 1


@pytest.mark.parametrize("arguments", [[], ["--token", "t"], ["--ports", "1"], ["--token", "t", "--port", "1"], ["x"]])
def test_wrong_arguments(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="usage"):
        echo.main(arguments)


def test_one_file_on_the_standard_library() -> None:
    tree = ast.parse(SOURCE, feature_version=(3, 9))
    for node in ast.walk(tree):
        assert not (isinstance(node, ast.ImportFrom) and node.level), "it is sent alone"
    assert len(SOURCE) < 16_000, "it has to fit into a pod's command"
