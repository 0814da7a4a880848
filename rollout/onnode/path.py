"""Probe `path`: packets and bytes over each pod's link, by direction, and how long a packet takes from end to end.

`from_pod` is what the pod's device has transmitted, `to_pod` what the host link has. A packet that a netkit program
redirects to a NIC is in `from_pod`, though the host link never receives it. `refused` were not taken by the driver: a
netkit link whose program is gone drops them so.
bpf_redirect_peer puts a packet into the pod without any transmit, and no tracepoint sees that: what the pod's device
has received beyond the transmits, by the kernel's own counter, is added to `to_pod` and given as `redirected`.
`hops`: from the transmit on one end to the receive on the other, [2^i, 2^(i+1)) ns in place i; only between the two
ends of one pair, and only samples (packets that overtake each other in the probe's table are left out).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import bpfcalls
from .bpfcompile import Program
from .bpflinks import POD, Place, Received
from .bpfprobe import PLACE_FIELDS, Probe, SelfTest, Window, compared, settled, trimmed
from .bpftrial import Ground, Trial

Transmitted = dict[str, int]
_HOP_SHARE = 4  # of the self-test's packets at most one in so many may have lost its slot to other traffic


class Path(Probe):
    """See above."""

    name = "path"
    index = 0
    fields = PLACE_FIELDS
    programs = (
        Program("path_begun", "net_dev_start_xmit"),
        Program("path_sent", "net_dev_xmit"),
        Program("path_arrived", "netif_receive_skb"),
    )
    layouts: Mapping[str, bpfcalls.Layout] = {
        "path_devices": bpfcalls.Layout("II", "QQQQ", 2048, per_cpu=True),
        "path_hops": bpfcalls.Layout("QQ", "IIII32Q", 2048),
    }

    def prove(self, trial: Trial) -> SelfTest:
        """Datagrams across each pair: transmits must be exactly as many, receives nearly."""
        ground = trial.await_ground()
        done = trial.workload(self.name)
        expected = {pair.kind: one["received"] for pair, one in zip(ground.pairs, done)}
        wanted = sum(expected.values())
        settled(lambda: sum(self._crossed(ground).values()), wanted)
        test = compared(self.name, expected, self._crossed(ground))
        arrived = settled(lambda: self._arrived(ground), wanted - wanted // _HOP_SHARE)
        if test.ok and arrived < wanted - wanted // _HOP_SHARE:
            text = f"cannot trust probe path: of {wanted} packets of its self-test it saw {arrived} arrive"
            return SelfTest(wanted, arrived, text)
        return test

    def _crossed(self, ground: Ground) -> dict[str, int]:
        devices = self._devices()
        places = {pair.kind: (ground.netns[0], pair.indexes[0]) for pair in ground.pairs}
        return {kind: devices.get(place, _nothing())["packets"] for kind, place in places.items()}

    def _arrived(self, ground: Ground) -> int:
        pairs = {((ground.netns[0], pair.indexes[0]), (ground.netns[1], pair.indexes[1])) for pair in ground.pairs}
        return sum(sum(counts) for ends, counts in self._hops() if ends in pairs)

    def body(self, window: Window, /) -> dict[str, Any]:
        """`links` and `hops`."""
        devices = self._devices()
        rows = []
        for link in sorted(window.table.links.values(), key=lambda one: one.ifindex):
            to_pod = dict(devices.get(link.host, _nothing()))
            _add_redirected(to_pod, window.received.get(link.ifindex))
            from_pod = devices.get(link.pod, _nothing()) if link.pod else _nothing()
            rows.append(
                {
                    "name": link.name,
                    "ifindex": link.ifindex,
                    "kind": link.kind,
                    "to_pod": to_pod,
                    "from_pod": from_pod,
                    "pod_found": link.pod is not None,
                }
            )
        return {"links": rows, "hops": self._hop_rows(window)}

    def _devices(self) -> dict[Place, Transmitted]:
        found: dict[Place, Transmitted] = {}
        for place, (packets, size, refused, _device) in self._entries("path_devices"):
            total = found.setdefault((place[0], place[1]), _nothing())
            total["packets"] += packets
            total["bytes"] += size
            total["refused"] += refused
        return found

    def _hops(self) -> list[tuple[tuple[Place, Place], tuple[int, ...]]]:
        return [(((one[0], one[1]), (one[2], one[3])), one[4:]) for _, one in self._entries("path_hops")]

    def _hop_rows(self, window: Window) -> list[dict[str, Any]]:
        ends = window.table.ends()
        totals: dict[tuple[str, str], list[int]] = {}
        for (start, arrival), counts in self._hops():
            first, last = ends.get(start), ends.get(arrival)
            if first is None or last is None or first[0] is not last[0] or first[1] == last[1]:
                continue
            direction = "from-pod" if first[1] == POD else "to-pod"
            total = totals.setdefault((first[0].kind, direction), [0] * len(counts))
            total[:] = [a + b for a, b in zip(total, counts)]
        return [
            {"kind": kind, "direction": direction, "count": sum(total), "log2_ns": trimmed(total)}
            for (kind, direction), total in sorted(totals.items())
        ]


def _nothing() -> Transmitted:
    return {"packets": 0, "bytes": 0, "refused": 0}


def _add_redirected(to_pod: Transmitted, received: Received | None) -> None:
    to_pod["redirected"] = max(0, received.packets - to_pod["packets"]) if received else 0
    if received and to_pod["redirected"]:
        to_pod["packets"] += to_pod["redirected"]
        to_pod["bytes"] = max(to_pod["bytes"], received.bytes)
