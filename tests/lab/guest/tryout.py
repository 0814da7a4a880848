"""Sent to a guest: tries connections from inside network namespaces, all at once, and prints what came of them.

Argument: JSON, a list of [from, kind, address, port, what]: `from` is a pod's address, "" for the node itself. Kinds:
tcp and udp (echo of `what` bytes), connect, ping (payload of `what` bytes, not to be fragmented), dns-udp and dns-tcp
(a question for the name `what`), burst (`what` small datagrams to an echo). Prints a list: null for silence, else
true, and for a burst [datagrams lost, median of the answers in us].
"""

import contextlib
import ctypes
import json
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE = 1.5
BATCH = 20
CLONE_NEWNET = 0x40000000


def enter(address: str) -> None:
    """Move the calling thread into the namespace that holds the address."""
    for place in Path("/run/netns").iterdir():
        words = ["ip", "-n", place.name, "-4", "-o", "address"]
        found = subprocess.run(words, capture_output=True, text=True, check=False)
        if f" {address}/" in found.stdout:
            with place.open() as held:
                assert ctypes.CDLL(None).setns(held.fileno(), CLONE_NEWNET) == 0
            return
    raise OSError(f"no namespace has {address}")


def receive(sock: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count:
        got += sock.recv(65536) or cut_short()
    return got


def cut_short() -> bytes:
    raise OSError("cut short")


def tcp(address: str, port: int, size: int) -> None:
    with socket.create_connection((address, port), PATIENCE) as sock:
        sock.sendall(b"x" * size)
        receive(sock, size)


def udp(address: str, port: int, size: int) -> None:
    with datagrams() as sock:
        sock.sendto(b"x" * size, (address, port))
        assert len(sock.recv(65536)) == size


def datagrams() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(PATIENCE)
    return sock


def connect(address: str, port: int, _what: object) -> None:
    with contextlib.suppress(ConnectionRefusedError):
        socket.create_connection((address, port), PATIENCE).close()


def ping(address: str, _port: int, size: int) -> None:
    words = ["ping", "-c1", f"-W{PATIENCE}", "-M", "do", "-s", str(size), address]
    subprocess.run(words, capture_output=True, check=True)


def question(name: str) -> bytes:
    labels = b"".join(bytes([len(each)]) + each.encode() for each in name.split("."))
    return struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)


def check_answer(raw: bytes) -> None:
    assert raw[:2] == b"\0\7" and struct.unpack(">H", raw[6:8])[0] == 1


def dns_udp(address: str, port: int, name: str) -> None:
    with datagrams() as sock:
        sock.sendto(question(name), (address, port))
        check_answer(sock.recv(4096))


def dns_tcp(address: str, port: int, name: str) -> None:
    with socket.create_connection((address, port), PATIENCE) as sock:
        asked = question(name)
        sock.sendall(struct.pack(">H", len(asked)) + asked)
        check_answer(receive(sock, 2 + len(asked) + 16)[2:])


def burst(address: str, port: int, count: int) -> list[float]:
    times: list[float] = []
    with datagrams() as sock:
        for number in range(count):
            sock.sendto(struct.pack("=d", time.monotonic()), (address, port))
            if number % BATCH == BATCH - 1:
                drain(sock, times, BATCH)
        sock.settimeout(0.5)
        drain(sock, times, count)
    return [count - len(times), round(statistics.median(times) * 1e6)]


def drain(sock: socket.socket, times: list[float], most: int) -> None:
    """Up to `most` answers; those that do not come soon are left."""
    sock.settimeout(0.1)
    with contextlib.suppress(TimeoutError):
        for _ in range(most):
            times.append(time.monotonic() - struct.unpack("=d", sock.recv(64))[0])


KINDS: dict[str, Callable[..., Any]] = {
    "tcp": tcp,
    "udp": udp,
    "connect": connect,
    "ping": ping,
    "dns-udp": dns_udp,
    "dns-tcp": dns_tcp,
    "burst": burst,
}


def attempt(each: list[Any], found: list[Any], number: int) -> None:
    source, kind, *rest = each
    try:
        if source:
            enter(source)
        found[number] = KINDS[kind](*rest) or True
    except (OSError, AssertionError, subprocess.CalledProcessError, statistics.StatisticsError):
        found[number] = None


def main() -> None:
    asked = json.loads(sys.argv[1])
    found: list[Any] = [None] * len(asked)
    threads = [threading.Thread(target=attempt, args=(each, found, n)) for n, each in enumerate(asked)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
