"""bpf(2) by hand, for reading: which programs are attached where, and what they are called.

Numbers and layouts are the kernel's (uapi/linux/bpf.h). Nothing is loaded or attached here, so neither a compiler nor
BCC is needed, and nothing can be left behind. Needs CAP_SYS_ADMIN, or CAP_BPF and CAP_NET_ADMIN.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

TCX_INGRESS, TCX_EGRESS, NETKIT_PRIMARY, NETKIT_PEER = 46, 47, 54, 55
_PROG_GET_NEXT_ID, _PROG_GET_FD_BY_ID, _OBJ_GET_INFO_BY_FD, _PROG_QUERY = 11, 13, 15, 16
_SYSCALL = {
    "x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351, "i686": 357, "armv7l": 386,
    "loongarch64": 280,
}  # fmt: skip
_ATTRIBUTES = 128
_INFO = 80
_TAG, _NAME = slice(8, 16), slice(64, 80)
_MOST_PROGRAMS = 64


class Program(NamedTuple):
    """A loaded program; the kernel keeps 15 characters of its name."""

    id: int
    name: str
    tag: str
    kind: int = 0
    """BPF_PROG_TYPE, a number of the kernel's."""


def call(command: int, attributes: ctypes.Array[ctypes.c_char]) -> int:
    """bpf(2). Raises OSError."""
    machine = os.uname().machine
    if machine not in _SYSCALL:
        raise OSError(38, f"cannot call bpf(2): its number on {machine} is not known here")
    libc = ctypes.CDLL(None, use_errno=True)
    result: int = libc.syscall(_SYSCALL[machine], command, attributes, len(attributes))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def programs_on(ifindex: int, kind: int) -> list[int]:
    """Ids of the programs on a link's hook `kind`, in the order in which they run. Raises OSError.

    Zeros behind the fields that an older kernel knows are accepted by it; a kind that it does not know is EINVAL.
    """
    ids = (ctypes.c_uint32 * _MOST_PROGRAMS)()
    fields = struct.pack("=IIIIQI", ifindex, kind, 0, 0, ctypes.addressof(ids), _MOST_PROGRAMS)
    attributes = ctypes.create_string_buffer(fields, _ATTRIBUTES)
    call(_PROG_QUERY, attributes)
    count = struct.unpack_from("=I", attributes.raw, 24)[0]
    return list(ids[:count])


def program(number: int) -> Program:
    """The program with this id. Raises OSError, ENOENT when it is gone meanwhile."""
    descriptor = call(_PROG_GET_FD_BY_ID, ctypes.create_string_buffer(struct.pack("=I", number), _ATTRIBUTES))
    try:
        info = ctypes.create_string_buffer(_INFO)
        fields = struct.pack("=IIQ", descriptor, _INFO, ctypes.addressof(info))
        call(_OBJ_GET_INFO_BY_FD, ctypes.create_string_buffer(fields, _ATTRIBUTES))
    finally:
        os.close(descriptor)
    name = info.raw[_NAME].split(b"\0", 1)[0].decode("ascii", "replace")
    return Program(number, name, info.raw[_TAG].hex(), struct.unpack_from("=I", info.raw)[0])


def every_program() -> Iterator[Program]:
    """All programs loaded in the kernel, whoever loaded them, oldest first. Raises OSError."""
    number = 0
    while True:
        attributes = ctypes.create_string_buffer(struct.pack("=I", number), _ATTRIBUTES)
        try:
            call(_PROG_GET_NEXT_ID, attributes)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return
            raise
        number = struct.unpack_from("=I", attributes.raw, 4)[0]
        try:
            yield program(number)
        except OSError as error:
            if error.errno != errno.ENOENT:  # it is gone since
                raise
