"""Probe `capability`: which netkit modes this kernel has, found by making a pair and deleting it.

The pair lives in a network namespace that only a child process holds, by `unshare`, never by a name. When the child
ends, however it ends, the kernel takes the namespace and what is in it away: nothing can be left behind.
No module is loaded by hand: the kernel loads a link kind's module when one is made, and netkit is built in or absent.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal

from . import entry, rtnetlink

MODES = {"netkit": rtnetlink.NETKIT_L3, "netkit-l2": rtnetlink.NETKIT_L2}
_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_TRIAL_SECONDS = 30
_MAC = bytes.fromhex("0a580a110001")


def main(_request: entry.Document) -> entry.Document:
    """The probe as a program of its own."""
    return read()


def read() -> entry.Document:
    """The document's body: `modes`, `scrub`, `error` (empty, or why a mode is missing).

    `mac`: an L2 pair keeps the address it is given; `headroom`: the kernel reports netkit's buffer margins.
    """
    body = _in_child()
    body.update(kernel=entry.kernel_release())
    return body


def _in_child() -> entry.Document:
    reading, writing = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        _child(parent, reading, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as answers:
        answer = answers.read()
    _, status = os.waitpid(child, 0)
    if not answer:
        return {"modes": [], "scrub": False, "error": f"cannot try: the trial process ended with status {status}"}
    body: entry.Document = json.loads(answer)
    return body


def _child(parent: int, reading: int, writing: int) -> None:
    """Try, answer through the pipe, and leave without the parent's clean-up."""
    try:
        os.close(reading)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        signal.alarm(_TRIAL_SECONDS)
        if os.getppid() == parent:
            os.write(writing, json.dumps(_trial()).encode())
    finally:
        os._exit(0)


def _trial() -> entry.Document:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        reason = os.strerror(ctypes.get_errno())
        text = f"cannot try: no network namespace of our own ({reason}); run as root"
        return {"modes": [], "scrub": False, "error": text}
    made: dict[str, rtnetlink.Link] = {}
    errors: dict[str, str] = {}
    with rtnetlink.Netlink() as kernel:
        for name, mode in MODES.items():
            try:
                made[name] = _make_and_delete(kernel, mode)
            except OSError as error:
                errors[name] = _words(error)
    kits = [link.netkit for link in made.values() if link.netkit is not None]
    return {
        "modes": [name for name in MODES if name not in errors],
        "scrub": bool(kits) and all(kit.scrub == 0 for kit in kits),
        "headroom": bool(kits) and all(kit.headroom is not None for kit in kits),
        "mac": "netkit-l2" in made and made["netkit-l2"].mac == _MAC.hex(":"),
        "error": "; ".join(f"{name}: {text}" for name, text in errors.items()),
    }


def _make_and_delete(kernel: rtnetlink.Netlink, mode: int) -> rtnetlink.Link:
    """The pair's primary as the kernel reported it. Raises when it does not make a pair in this mode.

    In L2 mode the pair is given an address, as the agent does since cilium 37265; older kernels refuse that, but still
    have the mode. In L3 mode there is none to give.
    """
    try:
        kernel.add_link(
            "nkr0", "netkit", rtnetlink.netkit_data(mode, "nkr1"), _MAC if mode == rtnetlink.NETKIT_L2 else b""
        )
    except OSError:
        if mode != rtnetlink.NETKIT_L2:
            raise
        kernel.add_link("nkr0", "netkit", rtnetlink.netkit_data(mode, "nkr1"))
    made = next(link for link in kernel.links() if link.name == "nkr0")
    kernel.delete_link(made.ifindex)
    if made.netkit is None or made.netkit.mode != mode:
        raise OSError(errno.EINVAL, f"the kernel made {made.kind} in mode {made.netkit and made.netkit.mode}")
    return made


def _words(error: OSError) -> str:
    if error.errno == errno.EOPNOTSUPP:
        return f"this kernel has no netkit driver (CONFIG_NETKIT): {error.strerror}"
    return f"{error.strerror} ({errno.errorcode.get(error.errno or 0, error.errno)})"
