"""Probe `programs`: which eBPF programs are attached to the links that pods' traffic takes.

Read from the kernel itself, not from the agent: an agent that is Ready may have lost them. On a netkit pair programs
belong to the primary, that is the host's side (`netkit-primary`: towards the pod, `netkit-peer`: what the pod sends);
on other links they are tcx programs or, with older agents and kernels, filters of a clsact qdisc.
Request: `endpoint_links`, names that the agent gave; `inputs.reach.node_address`.
What this kernel or this account cannot tell is under `unread`, with the reason.
"""

from __future__ import annotations

import errno
import os
from typing import Any

from . import attached, devices, entry, rtnetlink

_TCX = (("tcx-ingress", attached.TCX_INGRESS), ("tcx-egress", attached.TCX_EGRESS))
_NETKIT = (("netkit-primary", attached.NETKIT_PRIMARY), ("netkit-peer", attached.NETKIT_PEER))
_CLSACT = (("tc-ingress", rtnetlink.TC_CLSACT_INGRESS), ("tc-egress", rtnetlink.TC_CLSACT_EGRESS))

Row = dict[str, Any]


def main(request: entry.Document) -> entry.Document:
    """The probe as a program of its own."""
    with rtnetlink.Netlink() as kernel:
        address = str(((request.get("inputs") or {}).get("reach") or {}).get("node_address") or "")
        found = devices.devices(kernel, request.get("endpoint_links") or (), address)
        reading = Reading(kernel)
        rows = [reading.device(one) for one in found]
    return {"devices": rows, "unread": reading.unread}


class Reading:
    """One walk over the links. A program on many links is asked for its name once."""

    def __init__(self, kernel: rtnetlink.Netlink) -> None:
        self.unread: list[Row] = []
        self._kernel = kernel
        self._programs: dict[int, attached.Program] = {}

    def device(self, one: devices.Device) -> Row:
        """A link with everything attached to it, hook by hook in the order in which programs run."""
        link = one.link
        found: list[Row] = []
        for at, kind in (_NETKIT if link.kind == "netkit" else ()) + _TCX:
            found += self._hook(link, at, kind)
        for at, hook in _CLSACT:
            found += self._filters(link, at, hook)
        if link.xdp_program:
            found += self._rows(link, "xdp", [link.xdp_program])
        kind_shown = devices.kind_of(link)
        return {"name": link.name, "ifindex": link.ifindex, "kind": kind_shown, "role": one.role, "attached": found}

    def _hook(self, link: rtnetlink.Link, at: str, kind: int) -> list[Row]:
        try:
            return self._rows(link, at, attached.programs_on(link.ifindex, kind))
        except OSError as error:
            self._cannot(link, at, error)
            return []

    def _filters(self, link: rtnetlink.Link, at: str, hook: int) -> list[Row]:
        try:
            return self._rows(link, at, [one.program for one in self._kernel.filters(link.ifindex, hook)])
        except OSError as error:
            self._cannot(link, at, error)
            return []

    def _rows(self, link: rtnetlink.Link, at: str, numbers: list[int]) -> list[Row]:
        rows = []
        for number in numbers:
            try:
                known = self._programs[number] = self._programs.get(number) or attached.program(number)
            except OSError as error:
                self._cannot(link, f"the name of program {number} at {at}", error)
                known = attached.Program(number, "", "")
            rows.append({"at": at, "program": known.name, "id": known.id, "tag": known.tag})
        return rows

    def _cannot(self, link: rtnetlink.Link, what: str, error: OSError) -> None:
        words = error.strerror or os.strerror(error.errno or 0)
        if error.errno == errno.EINVAL:
            words = f"kernel {entry.kernel_release()} has no such hook"
        self.unread.append({"name": link.name, "why": f"cannot read {what}: {words}"})
