"""The agent's programs on links: bpf(2) by hand, since a guest has no loader.

Each is the smallest program that does its job: on netkit the peer drops everything until one is attached, and with one
attached the program's verdict counts. It returns "next", so that a probe attached behind it still sees the packets.
"""

import contextlib
import ctypes
import os
import platform
import struct
from collections.abc import Iterable
from pathlib import Path

_PROG_LOAD, _OBJ_PIN, _LINK_CREATE = 5, 6, 28
_SCHED_CLS = 3
_SYSCALL = {"x86_64": 321, "aarch64": 280}
# Where a program goes (uapi/linux/bpf.h, enum bpf_attach_type). The pod's device is netkit's peer.
_POINTS = {"tcx-ingress": 46, "tcx-egress": 47, "netkit-primary": 54, "netkit-peer": 55}
# mov r0, -1 (TCX_NEXT, also NETKIT_NEXT); exit
_NEXT = struct.pack("<BBhi", 0xB7, 0, 0, -1) + struct.pack("<BBhi", 0x95, 0, 0, 0)
# The kernel keeps fifteen characters of a program's name, as it does of the real ones.
_NAME_LENGTH = 15
FROM_POD, TO_POD = "cil_from_container", "cil_to_container"
HOST_PROGRAMS = (("cil_to_host", "tcx-ingress"), ("cil_from_host", "tcx-egress"))
DEVICE_PROGRAMS = (("cil_from_netdev", "tcx-ingress"), ("cil_to_netdev", "tcx-egress"))
"""Of cilium_host, and of the device that carries the node's address: names and places as Cilium's loader has them."""
_libc = ctypes.CDLL(None, use_errno=True)


def _bpf(command: int, attributes: bytes) -> int:
    # Zeros behind the last field are always accepted; 128 bytes cover every command used here.
    block = ctypes.create_string_buffer(attributes.ljust(128, b"\0"), 128)
    result: int = _libc.syscall(_SYSCALL[platform.machine()], command, block, 128)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot use bpf command {command}: {os.strerror(number)}")
    return result


def drop_longer(length: int) -> bytes:
    """A program that drops packets of more bytes than `length` and leaves the others to the next one."""
    take = struct.pack("<BBhi", 0x61, 0x10, 0, 0)  # r0 = skb->len
    keep = struct.pack("<BBhi", 0xB5, 0, 2, length)  # if r0 <= length, go on behind the drop
    drop = struct.pack("<BBhi", 0xB7, 0, 0, 2) + struct.pack("<BBhi", 0x95, 0, 0, 0)  # TCX_DROP
    return take + keep + drop + _NEXT


def load(name: str, code: bytes = _NEXT) -> int:
    """Load a program; returns its descriptor."""
    held = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"Dual BSD/GPL")
    head = struct.pack("=IIQQ", _SCHED_CLS, len(code) // 8, ctypes.addressof(held), ctypes.addressof(licence))
    logs = struct.pack("=IIQII", 0, 0, 0, 0, 0)
    return _bpf(_PROG_LOAD, head + logs + name.encode()[:_NAME_LENGTH].ljust(16, b"\0"))


def pod_programs(mode: str) -> tuple[tuple[str, str], ...]:
    """Of a pod's link, each with its place: what the pod sends, and what is sent to it."""
    if mode == "veth":
        return (FROM_POD, "tcx-ingress"), (TO_POD, "tcx-egress")
    return (FROM_POD, "netkit-peer"), (TO_POD, "netkit-primary")


def attach_all(index: int, programs: Iterable[tuple[str, str]], folder: Path) -> None:
    """Attach what is not pinned in the folder yet."""
    for name, point in programs:
        if not (folder / name).exists():
            attach(index, point, name, folder / name)


def attach(index: int, point: str, name: str, pin: Path, code: bytes = _NEXT) -> None:
    """Attach a program to the host's link, and pin the attachment so that it outlives this process."""
    program = load(name, code)
    try:
        link = _bpf(_LINK_CREATE, struct.pack("=IIII", program, index, _POINTS[point], 0))
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
    """Unpin whatever is pinned in the folder, and drop it. Repeat-safe."""
    if not folder.exists():
        return
    for pin in folder.iterdir():
        pin.unlink()
    folder.rmdir()
    with contextlib.suppress(OSError):  # another folder of the same owner is still there
        folder.parent.rmdir()
