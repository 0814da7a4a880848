"""The kernel's bpf(2) and its neighbours, by number: what programs cost, and whole maps in one call.

Numbers and layouts are those of uapi/linux/bpf.h, which never change. BCC's own readers make one call for each key, and
have none for the cost of a program.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from typing import Any, NamedTuple

_NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "loongarch64": 280, "ppc64le": 361, "s390x": 351}
_MAP_LOOKUP, _PROG_NEXT, _PROG_FD, _INFO, _RAW_TRACEPOINT, _BATCH, _BATCH_DELETE, _STATS = 1, 11, 13, 15, 17, 24, 25, 32
_RUN_TIME_STATS = 0
_PROG_INFO_BYTES = 224
_NAME_AT, _COST_AT, _ID_AT = 64, 192, 4

_libc = ctypes.CDLL(None, use_errno=True)


class Cost(NamedTuple):
    """What the kernel has counted for a program: runs, their time in ns, runs it skipped as nested in themselves."""

    runs: int
    run_ns: int
    missed: int


def _call(command: int, attributes: ctypes.Array[ctypes.c_char]) -> int:
    number = _NUMBERS.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, f"cannot use bpf(2): its number on {platform.machine()} is not known here")
    result = _libc.syscall(number, command, attributes, len(attributes))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(result)


def _attributes(layout: str, *values: int) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(struct.pack("=" + layout, *values), struct.calcsize("=" + layout))


def enable_stats() -> int:
    """Have the kernel measure every program while the returned descriptor is open (two clock reads for each run)."""
    return _call(_STATS, _attributes("I", _RUN_TIME_STATS))


def attach_raw_tracepoint(program: int, name: str) -> int:
    """Attach to a raw tracepoint while the returned descriptor is open.

    Raises OSError: EINVAL when the program reads more arguments than the tracepoint has, ENOENT when there is none.
    """
    text = ctypes.create_string_buffer(name.encode())
    return _call(_RAW_TRACEPOINT, _attributes("QII", ctypes.addressof(text), program, 0))


def _information(descriptor: int) -> bytes:
    answer = ctypes.create_string_buffer(_PROG_INFO_BYTES)
    _call(_INFO, _attributes("IIQ", descriptor, len(answer), ctypes.addressof(answer)))
    return answer.raw


def cost(descriptor: int) -> Cost:
    """What the program has cost so far; zeros while nobody has the measuring enabled."""
    run_ns, runs, missed = struct.unpack_from("=QQQ", _information(descriptor), _COST_AT)
    return Cost(runs, run_ns, missed)


def program_names() -> dict[int, str]:
    """Every program loaded in the kernel, by its number. Needs root."""
    found: dict[int, str] = {}
    number = 0
    while True:
        attributes = _attributes("III", number, 0, 0)
        try:
            _call(_PROG_NEXT, attributes)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return found
            raise
        number = struct.unpack_from("=I", attributes.raw, 4)[0]
        try:
            descriptor = _call(_PROG_FD, _attributes("III", number, 0, 0))
        except OSError as error:
            if error.errno == errno.ENOENT:  # gone since
                continue
            raise
        try:
            information = _information(descriptor)
        finally:
            os.close(descriptor)
        found[number] = information[_NAME_AT : _NAME_AT + 16].split(b"\0", 1)[0].decode("ascii", "replace")


def possible_cpus() -> int:
    """How many values an entry of a per-CPU map has."""
    with open("/sys/devices/system/cpu/possible", encoding="ascii") as file:  # noqa: PTH123 - as in btf
        return int(file.read().strip().replace(",", "-").rsplit("-", 1)[-1]) + 1


class Layout(NamedTuple):
    """How a hash map's keys and values are to be read, as formats of `struct` with native order."""

    key: str
    value: str
    entries: int
    per_cpu: bool = False


def entries(descriptor: int, layout: Layout, *, delete: bool = False) -> list[tuple[tuple[Any, ...], tuple[int, ...]]]:
    """Every entry of a hash map, of a per-CPU map one for each CPU that has counted; `delete`: they are taken out."""
    key_size, value_size = struct.calcsize("=" + layout.key), struct.calcsize("=" + layout.value)
    copies = possible_cpus() if layout.per_cpu else 1
    stride = (value_size + 7) & ~7 if layout.per_cpu else value_size
    keys = ctypes.create_string_buffer(key_size * layout.entries)
    values = ctypes.create_string_buffer(stride * copies * layout.entries)
    batch = ctypes.create_string_buffer(8)
    pointers = (0, ctypes.addressof(batch), ctypes.addressof(keys), ctypes.addressof(values))
    attributes = _attributes("QQQQIIQQ", *pointers, layout.entries, descriptor, 0, 0)
    try:
        _call(_BATCH_DELETE if delete else _BATCH, attributes)
    except OSError as error:
        if error.errno != errno.ENOENT:  # it only says that this was all
            raise
    count = struct.unpack_from("=I", attributes.raw, 32)[0]
    read_key, read_value = struct.Struct("=" + layout.key), struct.Struct("=" + layout.value)
    found = []
    for one in range(count):
        key = read_key.unpack_from(keys, one * key_size)
        for copy in range(copies):
            value = read_value.unpack_from(values, (one * copies + copy) * stride)
            if not layout.per_cpu or any(value):
                found.append((key, value))
    return found


def number_at(descriptor: int, index: int) -> int:
    """The 64-bit number at an index of an array map."""
    key, value = ctypes.create_string_buffer(struct.pack("=I", index), 4), ctypes.create_string_buffer(8)
    pointers = (ctypes.addressof(key), ctypes.addressof(value))
    _call(_MAP_LOOKUP, _attributes("IIQQQ", descriptor, 0, *pointers, 0))
    number: int = struct.unpack("=Q", value.raw)[0]
    return number
