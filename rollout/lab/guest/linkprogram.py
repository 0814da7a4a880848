"""The agent's program on a pod's link: bpf(2) by hand, since a guest has no loader.

It is the smallest program that does its job: on netkit the peer drops everything until one is attached, and with one
attached the program's verdict counts. It returns "next", so that a probe attached behind it still sees the packets.
"""

import ctypes
import os
import platform
import struct
from pathlib import Path

_PROG_LOAD, _OBJ_PIN, _LINK_CREATE = 5, 6, 28
_SCHED_CLS = 3
_TCX_INGRESS, _NETKIT_PEER = 46, 55
_SYSCALL = {"x86_64": 321, "aarch64": 280}
# mov r0, -1 (TCX_NEXT, also NETKIT_NEXT); exit
_NEXT = struct.pack("<BBhi", 0xB7, 0, 0, -1) + struct.pack("<BBhi", 0x95, 0, 0, 0)
# The kernel keeps fifteen characters of a program's name, as it does of the real one.
_NAME = b"cil_from_contai"
PIN_NAME = "cil_from_container"
_libc = ctypes.CDLL(None, use_errno=True)


def _bpf(command: int, attributes: bytes) -> int:
    # Zeros behind the last field are always accepted; 128 bytes cover every command used here.
    block = ctypes.create_string_buffer(attributes.ljust(128, b"\0"), 128)
    result: int = _libc.syscall(_SYSCALL[platform.machine()], command, block, 128)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot use bpf command {command}: {os.strerror(number)}")
    return result


def load() -> int:
    """Load the program; returns its descriptor."""
    code = ctypes.create_string_buffer(_NEXT, len(_NEXT))
    licence = ctypes.create_string_buffer(b"Dual BSD/GPL")
    head = struct.pack("=IIQQ", _SCHED_CLS, len(_NEXT) // 8, ctypes.addressof(code), ctypes.addressof(licence))
    logs = struct.pack("=IIQII", 0, 0, 0, 0, 0)
    return _bpf(_PROG_LOAD, head + logs + _NAME.ljust(16, b"\0"))


def attach(index: int, mode: str, pin: Path) -> None:
    """Attach to what the pod sends, seen from the host's link, and pin the link so that it outlives this process."""
    kind = _TCX_INGRESS if mode == "veth" else _NETKIT_PEER
    program = load()
    try:
        link = _bpf(_LINK_CREATE, struct.pack("=IIII", program, index, kind, 0))
    finally:
        os.close(program)
    try:
        pin.parent.mkdir(parents=True, exist_ok=True)
        pin.unlink(missing_ok=True)
        path = ctypes.create_string_buffer(str(pin).encode())
        _bpf(_OBJ_PIN, struct.pack("=QII", ctypes.addressof(path), link, 0))
    finally:
        os.close(link)


def detach(folder: Path) -> None:
    """Unpin whatever is pinned for one endpoint, and drop its directory. Repeat-safe."""
    if not folder.exists():
        return
    for pin in folder.iterdir():
        pin.unlink()
    folder.rmdir()
    if folder.name == "links":
        folder.parent.rmdir()
