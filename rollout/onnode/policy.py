"""Probe `policy`: whether network policies still open and close what they did, tried with our own probe pods.

Request, in `inputs.policy`: `pairs` (`id`, `policy`, `from` and `to` as roles of pods, or `peer:NODE`, `protocol`,
`port`), `control_port` (open between any two of them), `token`; pods and peers are those of `inputs.reach`.
A pair from a pod of this node is tried from that pod's network namespace; one from a peer by the peer's echo server.
Every pair is tried twice, and each try waits until the end, so that a slow answer is not taken for a closed door. A
refusal (RST) means that packets passed: open. Silence, or an administrative prohibition, is closed; but only while the
same two pods reach each other on the control port, else the result is unknown: a broken path is no policy.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from functools import partial
from typing import Any

from . import entry, netns, packets, reach
from .cell import Cell, Datagrams, Streams, words
from .loop import Loop, now_us

OPEN, CLOSED, UNKNOWN = "open", "closed", "unknown"
WAIT_MS = 1600
_SPREAD_PERCENT = (0, 44)
_PEER_WAIT_MS = 1400
_LONGER_US = 5_000_000
_SIZE = 64
_PEER_SAYS = "the peer says: "
_PROHIBITED = tuple(os.strerror(code).lower() for code in (errno.EHOSTUNREACH, errno.EACCES, errno.EPERM))
_REFUSED = ("refused", os.strerror(errno.ECONNREFUSED).lower())
_SILENT = ("", "timeout", os.strerror(errno.ETIMEDOUT).lower())

Facts = dict[str, Any]


class Door(Cell):
    """One port between two pods."""

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts, 1, _SPREAD_PERCENT)

    @property
    def done(self) -> bool:
        """A refusal is as good as an echo: the packets passed."""
        return super().done or self._words() in _REFUSED

    def _words(self) -> str:
        return self.error.removeprefix(_PEER_SAYS).removeprefix("unreachable ").lower()

    def result(self) -> tuple[str, str]:
        """Open, closed or unknown, and why."""
        said = self._words()
        if self.rtt_us:
            return OPEN, "echo"
        if said in _REFUSED:
            return OPEN, "refused by the other side"
        if said in _SILENT:
            return CLOSED, "timeout"
        return (CLOSED if said in _PROHIBITED else UNKNOWN), self.error


def main(request: entry.Document) -> entry.Document:
    """The probe as a program of its own."""
    with netns.Namespaces() as namespaces, Loop() as loop:
        pairs = Pairs(request, namespaces)
        pairs.begin(loop)
        loop.drive([pairs], pairs.until_us + _LONGER_US)
        return pairs.body(loop)


class Pairs:
    """All pairs of one observation: `begin`, drive the loop until `done` or `until_us`, then `body`."""

    def __init__(self, request: entry.Document, namespaces: netns.Namespaces) -> None:
        self.until_us = 0
        inputs = (request.get("inputs") or {}).get("policy") or {}
        around = reach.inputs_of(request)
        self._wanted: list[Mapping[str, Any]] = list(inputs.get("pairs") or ())
        self._control = int(inputs.get("control_port") or reach.PORT)
        self._token = str(inputs.get("token") or around.get("token") or "")
        self._pods = {str(pod.get("role")): _addresses(pod) for pod in around.get("pods") or ()}
        self._peers = {f"peer:{peer.get('node')}": _addresses(peer) for peer in around.get("peers") or ()}
        self._homes = namespaces.find([held[0] for held in self._pods.values() if held])
        self._doors: dict[tuple[str, str, str, int], Door] = {}
        self._tries: list[Streams | Datagrams] = []
        self._skipped: list[Facts] = [{"id": "", **row} for row in inputs.get("skipped") or ()]

    @property
    def done(self) -> bool:
        """Whether nothing more can come."""
        return all(door.done for door in self._doors.values())

    def begin(self, loop: Loop) -> None:
        """Make all sockets, then the first tries; controls are tried beside what they control."""
        wishes: dict[tuple[str, str, str, int], None] = {}
        for pair in [*self._wanted]:
            why = self._why_not(pair)
            if why:
                self._skipped.append({"id": str(pair.get("id")), "policy": str(pair.get("policy")), "why": why})
                self._wanted.remove(pair)
            else:
                wishes[_key(pair)] = None
                wishes[(*_key(pair)[:3], self._control)] = None
        for source in dict.fromkeys(self._home(key[0]) for key in wishes):
            netns.inside(source, partial(self._make, [key for key in wishes if self._home(key[0]) == source]))
        self.until_us = now_us() + WAIT_MS * 1000
        for one in self._tries:
            one.begin(loop, WAIT_MS * 1000)

    def _why_not(self, pair: Mapping[str, Any]) -> str:
        source, target, protocol, _port = _key(pair)
        known = {**self._pods, **self._peers}
        missing = [name for name in (source, target) if not known.get(name)]
        if missing:
            return f"no probe pod {missing[0]} with an address was named"
        if self._address_of(target, source) is None:
            return f"{source} and {target} have no address of one family"
        if source in self._pods and self._home(source) is None:
            return f"cannot find the network namespace of pod {source}, which has {known[source][0]}"
        if protocol not in ("tcp", "udp") or (protocol == "udp" and source in self._peers):
            return f"{protocol} is not tried from {source}"
        return ""

    def _home(self, source: str) -> int | None:
        held = self._pods.get(source)
        return self._homes.get(held[0]) if held else None

    def _address_of(self, target: str, source: str) -> str | None:
        """Address of `target` in a family that `source` has too."""
        known = {**self._pods, **self._peers}
        families = {netns.family_of(address) for address in known[source]}
        return next((one for one in known[target] if netns.family_of(one) in families), None)

    def _make(self, keys: list[tuple[str, str, str, int]]) -> None:
        """Sockets for these doors; runs inside their common namespace."""
        for key in keys:
            door = self._doors[key] = Door({})
            try:
                self._tries.append(self._tries_at(door, *key))
            except OSError as error:
                door.error = f"cannot open a socket: {words(error)}"

    def _tries_at(self, door: Door, source: str, target: str, protocol: str, port: int) -> Streams | Datagrams:
        address = self._address_of(target, source) or ""
        family = netns.family_of(address)
        if protocol == "udp":
            one = packets.datagram(family)
            one.connect((address, port))
            return Datagrams(door, one, reach.numbered(_SIZE), reach.number_of(_SIZE), packets.reason_for(one, family))
        sockets = [packets.stream(family) for _ in _SPREAD_PERCENT]
        if source in self._peers:
            peer = next(one for one in self._peers[source] if netns.family_of(one) == family)
            line = f"CONNECT {self._token} {address} {port} {_SIZE} {_PEER_WAIT_MS}\n".encode()
            return Streams(door, sockets, (peer, self._control), line, reach.errand_verdict, reach.errand_us)
        payload = reach.pattern(_SIZE)
        return Streams(door, sockets, (address, port), payload, partial(reach.same, payload))

    def body(self, loop: Loop) -> entry.Document:
        """The document's body; closes every socket."""
        for one in self._tries:
            one.close(loop)
        return {"pairs": [self._row(pair) for pair in self._wanted], "skipped": self._skipped}

    def _row(self, pair: Mapping[str, Any]) -> Facts:
        source, target, protocol, port = key = _key(pair)
        result, detail = self._doors[key].result()
        control, why = self._doors[source, target, protocol, self._control].result()
        if OPEN not in (result, control):
            detail = f"the control port {self._control} does not answer either ({why})"
            result = UNKNOWN
        return {
            "id": str(pair.get("id")),
            "policy": str(pair.get("policy") or ""),
            "from": source,
            "to": target,
            "protocol": protocol,
            "port": port,
            "result": result,
            "detail": detail,
        }


def _key(pair: Mapping[str, Any]) -> tuple[str, str, str, int]:
    protocol = str(pair.get("protocol") or "tcp").lower()
    return str(pair.get("from")), str(pair.get("to")), protocol, int(pair.get("port") or 0)


def _addresses(pod: Mapping[str, Any]) -> list[str]:
    return [str(address) for address in pod.get("addresses") or ()]
