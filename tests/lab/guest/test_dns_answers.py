"""The lab's DNS, by its messages."""

import socket
import struct

import pytest
from dnsanswer import answer

ADDRESSES = {"web.default.svc.cluster.local": "10.96.0.11"}
A, AAAA = 1, 28


def ask(name: str, kind: int = A, count: int = 1) -> bytes:
    labels = b"".join(bytes([len(each)]) + each.encode() for each in name.split("."))
    return struct.pack(">HHHHHH", 7, 0x0100, count, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)


def code_of(reply: bytes) -> int:
    return int(struct.unpack(">H", reply[2:4])[0]) & 15


@pytest.mark.parametrize("name", ["web.default.svc.cluster.local", "Web.Default.SVC.cluster.local"])
def test_a_service_has_its_address(name: str) -> None:
    asked = ask(name)
    reply = answer(asked, ADDRESSES)
    assert reply.startswith(b"\0\7")
    assert struct.unpack(">HHHH", reply[4:12]) == (1, 1, 0, 0)
    assert reply[12 : len(asked)] == asked[12:]
    assert socket.inet_ntoa(reply[-4:]) == "10.96.0.11"
    assert code_of(reply) == 0


def test_a_service_has_no_other_kind_of_address() -> None:
    reply = answer(ask("web.default.svc.cluster.local", AAAA), ADDRESSES)
    assert struct.unpack(">HHHH", reply[4:12]) == (1, 0, 0, 0)
    assert code_of(reply) == 0


@pytest.mark.parametrize(("name", "code"), [("nope.default.svc.cluster.local", 3), ("svc.cluster.local", 0)])
def test_other_names(name: str, code: int) -> None:
    reply = answer(ask(name), ADDRESSES)
    assert code_of(reply) == code
    assert struct.unpack(">H", reply[6:8]) == (0,)


@pytest.mark.parametrize(
    "message",
    [b"", b"\0" * 5, ask("web.default", count=2), ask("web.default")[:-6], b"\0\7\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1"],
)
def test_what_is_no_question_gets_no_answer(message: bytes) -> None:
    assert answer(message, ADDRESSES) == b""
