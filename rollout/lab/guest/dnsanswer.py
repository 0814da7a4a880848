"""Answers to DNS questions (RFC 1035): A records of Services, and nothing else."""

import socket
import struct
from collections.abc import Mapping

_A, _IN = 1, 1
_QUESTION_BIT_MASK, _ANSWER_BITS, _RECURSION_DESIRED = 0x7800, 0x8480, 0x0100  # QR, AA, RA
_NAME_ERROR = 3
_TTL = 5


def answer(question: bytes, addresses: Mapping[str, str]) -> bytes:
    """The whole answer to one question; empty if it cannot be read. `addresses` are by lower-case name, no last dot."""
    try:
        number, flags, count = struct.unpack(">HHH", question[:6])
        name, end = _read_name(question, 12)
        kind, group = struct.unpack(">HH", question[end : end + 4])
    except (struct.error, IndexError, UnicodeDecodeError):
        return b""
    if count != 1 or flags & 0x8000:
        return b""
    address = addresses.get(name.lower())
    record = b""
    if address and (kind, group) == (_A, _IN):
        # The name is the question's, at offset 12.
        record = struct.pack(">HHHIH", 0xC00C, _A, _IN, _TTL, 4) + socket.inet_aton(address)
    code = 0 if address or _is_suffix(name.lower(), addresses) else _NAME_ERROR
    bits = _ANSWER_BITS | flags & (_QUESTION_BIT_MASK | _RECURSION_DESIRED) | code
    return struct.pack(">HHHHHH", number, bits, 1, bool(record), 0, 0) + question[12 : end + 4] + record


def _is_suffix(name: str, addresses: Mapping[str, str]) -> bool:
    """A name with others below it exists, though it has no address."""
    return any(each.endswith(f".{name}") for each in addresses)


def _read_name(message: bytes, at: int) -> tuple[str, int]:
    labels = []
    while length := message[at]:
        if length > 63:
            raise IndexError("a question has no compressed name")
        labels.append(message[at + 1 : at + 1 + length].decode("ascii"))
        at += 1 + length
    return ".".join(labels), at + 1
