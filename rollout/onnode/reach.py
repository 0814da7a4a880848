"""Probe `reach`: an active matrix from inside the probe pods' network namespaces, and bursts for loss and latency.

Request, in `inputs.reach`: `pods` (roles a and b, on this node), `peers` (pods of other nodes), `services`, `dns`,
`api`, `port` and `token` of the echo (echo.py), `sizes`, `packets`, `deadline_ms`. What is missing is left out
and named under `skipped`. Paths:

- `same-node`: b to a, since the policy about b lets no ICMP in; `cross-node`: a to each peer;
- `inbound`: each peer to a, made by the peer's own echo server, which is asked to from this node's own namespace, so
  that a path that works one way only shows which way;
- `service` and `pod-to-api`: a to a service address, connection only; `dns`: questions from a, over UDP and TCP;
- `node-to-pod`: this node's own namespace to a and b.

Sizes: TCP takes all; UDP those that fit in one packet; ICMP the smallest and the one that fills a packet. UDP and ICMP
packets are never fragmented, so a link with a smaller MTU on the way shows on large packets only. `mtu` of a cell is
what the route allows at its start.
All cells run at once under one deadline. The bursts begin when the cells are through, or will not be soon, and end with
that deadline too; only where every cell was answered may they take longer, on a slow machine.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from . import entry, netns, packets, rtnetlink
from .burst import Burst, Way
from .burst import numbered as of_datagrams
from .cell import MOST_TRIES, Answer, Cell, Datagrams, Streams, words
from .loop import Loop, now_us

PORT = 8791
SIZES = (64, 1400, 4000)
PACKETS = 400
DEADLINE_MS = 2500
_SERVER_MS = 250
"""Time a peer's errand must end before our deadline, so that its words reach us."""
_SETTLE_US = 700_000
_LONGER_US = 10_000_000
_BURST_US = 6_000
"""What the bursts may take per packet where every cell was answered: then it is the machine that is slow."""
_TRIES_SMALL = 3
_FAMILIES = ((4, socket.AF_INET), (6, socket.AF_INET6))
_MTU = 1500

Facts = dict[str, Any]
Target = tuple[str, int]


class Tries(Protocol):
    """How a cell is tried."""

    def begin(self, loop: Loop, deadline_us: int) -> None:
        """Make the first try."""

    def close(self, loop: Loop) -> None:
        """Close what is left open."""


class Wish(NamedTuple):
    """A cell or a burst before its sockets exist. `make` runs inside the namespace."""

    source: int | None
    make: Callable[[], Tries | Burst]
    facts: Facts


def main(request: entry.Document) -> entry.Document:
    """The probe as a program of its own."""
    with netns.Namespaces() as namespaces, Loop() as loop:
        matrix = Matrix(inputs_of(request), namespaces)
        matrix.begin(loop)
        loop.drive([matrix], matrix.until_us + _LONGER_US)
        return matrix.body(loop)


def inputs_of(request: entry.Document) -> Mapping[str, Any]:
    """What the probe is told."""
    return (request.get("inputs") or {}).get("reach") or {}


class Matrix:
    """All cells and bursts of one observation: `begin`, drive the loop until `done` or `until_us`, then `body`."""

    def __init__(self, inputs: Mapping[str, Any], namespaces: netns.Namespaces) -> None:
        self.until_us = 0
        self._inputs = inputs
        self._skipped: list[Facts] = []
        self._cells: list[Cell] = []
        self._bursts: list[Burst] = []
        self._tries: list[Tries] = []
        self._settled = False
        self._ident = os.getpid() & 0xFFFF
        self._port = int(inputs.get("port") or PORT)
        self._sizes = sorted(int(size) for size in inputs.get("sizes") or SIZES)
        self._deadline_us = int(inputs.get("deadline_ms") or DEADLINE_MS) * 1000
        self._pods = {str(pod.get("role")): _by_family(pod.get("addresses")) for pod in inputs.get("pods") or ()}
        self._homes = namespaces.find(_first_addresses(self._pods.values()))
        self._mtus: dict[tuple[int | None, str], int] = {}

    @property
    def done(self) -> bool:
        """Whether nothing more can come."""
        return self._settled and all(one.done for one in self._bursts) and all(one.done for one in self._cells)

    def begin(self, loop: Loop) -> None:
        """Make all sockets, then the first tries."""
        made = self._make([*self._cell_wishes()])
        bursts = self._make([*self._burst_wishes()])
        begun = now_us()
        self.until_us = begun + self._deadline_us
        for one in made:
            self._begin_one(one, loop)
        self._bursts = [one for one in bursts if isinstance(one, Burst)]
        self._settle(loop, begun)

    def _begin_one(self, one: Tries | Burst, loop: Loop) -> None:
        if not isinstance(one, Burst):
            self._tries.append(one)
            one.begin(loop, self._deadline_us)

    def _settle(self, loop: Loop, begun: int) -> None:
        """Begin the bursts once the cells are through, or will not be soon: they must not queue behind them."""
        if not all(one.done for one in self._cells) and now_us() - begun < min(_SETTLE_US, self._deadline_us // 3):
            loop.after(10_000, lambda: self._settle(loop, begun))
            return
        if all(cell.rtt_us for cell in self._cells):
            self.until_us = max(self.until_us, now_us() + _BURST_US * int(self._inputs.get("packets") or PACKETS))
        for burst in self._bursts:
            burst.begin(loop, self.until_us, answered=self._answers_icmp(burst.facts))
        self._settled = True

    def _answers_icmp(self, facts: Facts) -> bool:
        """Whether the cells found that echo requests are answered where a burst goes."""
        way = {key: facts[key] for key in ("path", "family", "peer")}
        mine = [cell for cell in self._cells if way.items() <= cell.facts.items()]
        return any(cell.rtt_us for cell in mine if cell.facts["protocol"] == "icmp")

    def body(self, loop: Loop) -> entry.Document:
        """The document's body; closes every socket."""
        for one in (*self._tries, *self._bursts):
            one.close(loop)
        return {
            "cells": [cell.row() for cell in self._cells],
            "bursts": [burst.row() for burst in self._bursts],
            "skipped": self._skipped,
        }

    def _make(self, wishes: list[Wish]) -> list[Tries | Burst]:
        """One visit to each namespace makes all sockets that belong there."""
        made: list[Tries | Burst] = []
        for source in dict.fromkeys(wish.source for wish in wishes):
            mine = [wish for wish in wishes if wish.source == source]
            made += netns.inside(source, partial(self._make_here, mine))
        return made

    def _make_here(self, wishes: list[Wish]) -> list[Tries | Burst]:
        made = []
        for wish in wishes:
            try:
                made.append(wish.make())
            except OSError as error:
                self._skip(wish.facts["path"], wish.facts["family"], f"cannot open a socket: {words(error)}")
        return made

    def _skip(self, path: str, family: int, why: str) -> None:
        row = {"path": path, "family": family, "why": why}
        if row not in self._skipped:
            self._skipped.append(row)

    # What is to be tried, path by path.

    def _cell_wishes(self) -> Iterator[Wish]:
        for number, family in _FAMILIES:
            yield from self._between_pods(number, family)
            yield from self._inbound(number)
            yield from self._from_node(number, family)
        yield from self._services()
        yield from self._dns()

    def _burst_wishes(self) -> Iterator[Wish]:
        count = int(self._inputs.get("packets") or PACKETS)
        for number, family in _FAMILIES:
            for source, path, who, facts, address in self._partners(number):
                home = self._home(source, number)
                if home is not None:
                    known = {"path": path, "family": number, "size": self._sizes[0], **facts}
                    name = partial("{path}{who}/{}/v{number}".format, path=path, who=who, number=number)
                    yield Wish(home, partial(self._burst, known, name, address, family, count), known)

    def _partners(self, number: int) -> Iterator[tuple[str, str, str, Facts, str]]:
        """What is tried from which role: b to a, and a to every peer."""
        a = self._pods.get("a", {}).get(number)
        if a and number in self._pods.get("b", {}):
            yield "b", "same-node", "", {"peer": "", "peer_kind": ""}, a
        for peer in self._inputs.get("peers") or ():
            address = _by_family(peer.get("addresses")).get(number)
            if address:
                yield "a", "cross-node", f"/{peer['node']}", _peer(peer), address

    def _between_pods(self, number: int, family: int) -> Iterator[Wish]:
        partners = [*self._partners(number)]
        for source, path in (("b", "same-node"), ("a", "cross-node")):
            if self._home(source, number) is None:
                self._skip_from(source, number, (path,))
            elif path not in {found for _, found, *_ in partners}:
                self._skip(path, number, f"no pod to reach has an IPv{number} address")
        for source, path, who, facts, address in partners:
            home = self._home(source, number)
            if home is not None:
                yield from self._all_sizes(home, path, who, facts, address, family, number)

    def _from_node(self, number: int, family: int) -> Iterator[Wish]:
        for role, addresses in self._pods.items():
            if number in addresses:
                facts = {"peer": "", "peer_kind": ""}
                yield from self._all_sizes(None, "node-to-pod", f"/{role}", facts, addresses[number], family, number)
        if not any(number in addresses for addresses in self._pods.values()):
            self._skip("node-to-pod", number, f"no probe pod has an IPv{number} address")

    def _all_sizes(
        self, home: int | None, path: str, who: str, facts: Facts, address: str, family: int, number: int
    ) -> Iterator[Wish]:
        mtu = self._mtu(home, address)
        room = mtu - packets.IP_HEADER[family]

        def known(protocol: str, size: int) -> Facts:
            shown = f"{path}{who}/{protocol}/v{number}/{size}"
            target = _joined(address, self._port) if protocol != "icmp" else address
            return {"id": shown, "path": path, "protocol": protocol, "family": number, "size": size, **facts,
                    "target": target, "mtu": mtu}  # fmt: skip

        for size in self._sizes:
            row = known("tcp", size)
            yield Wish(home, partial(self._echo_stream, row, address, size), row)
        for size in self._sizes:
            if size + packets.UDP_HEADER <= room:
                row = known("udp", size)
                yield Wish(home, partial(self._echo_datagram, row, address, family, size), row)
        for size in sorted({min(self._sizes[0], room - packets.ICMP_HEADER), room - packets.ICMP_HEADER}):
            row = known("icmp", size)
            yield Wish(home, partial(self._ping, row, address, family, size), row)

    def _inbound(self, number: int) -> Iterator[Wish]:
        a = self._pods.get("a", {}).get(number)
        peers = [(peer, _by_family(peer.get("addresses")).get(number)) for peer in self._inputs.get("peers") or ()]
        reachable = [(peer, address) for peer, address in peers if address]
        if not a or not reachable:
            self._skip("inbound", number, f"pod a and a peer with IPv{number} addresses are needed")
            return
        for peer, address in reachable:
            for size in self._sizes:
                row = {"id": f"inbound/{peer['node']}/tcp/v{number}/{size}", "path": "inbound", "protocol": "tcp",
                       "family": number, "size": size, **_peer(peer), "target": _joined(a, self._port)}  # fmt: skip
                yield Wish(None, partial(self._errand, row, address, a, size), row)

    def _services(self) -> Iterator[Wish]:
        """Services and the API: to be connected is the answer; the server need not be an echo."""
        wanted = [("service", f"/{one.get('name')}:{one.get('port')}", one)
                  for one in self._inputs.get("services") or ()]  # fmt: skip
        api = self._inputs.get("api")
        wanted += [("pod-to-api", "", api)] if api else []
        for path in ("service", "pod-to-api"):
            if path not in {found for found, *_ in wanted}:
                self._skip(path, 0, "none was named")
        for path, who, one in wanted:
            address, port = str(one.get("address")), int(one.get("port") or 443)
            number = 6 if ":" in address else 4
            home = self._home("a", number)
            if home is None:
                self._skip_from("a", number, (path,))
                continue
            row = {"id": f"{path}{who}/tcp/v{number}/0", "path": path, "protocol": "tcp", "family": number, "size": 0,
                   "peer": "", "peer_kind": "", "target": _joined(address, port)}  # fmt: skip
            yield Wish(home, partial(self._connect, row, (address, port)), row)

    def _dns(self) -> Iterator[Wish]:
        asked = self._inputs.get("dns") or {}
        servers = [str(server) for server in asked.get("servers") or ()]
        if not servers:
            self._skip("dns", 0, "no DNS server was named")
        for server in servers:
            number = 6 if ":" in server else 4
            home = self._home("a", number)
            if home is None:
                self._skip_from("a", number, ("dns",))
                continue
            for protocol, make in (("udp", self._ask_datagram), ("tcp", self._ask_stream)):
                row = {"id": f"dns/{server}/{protocol}", "path": "dns", "protocol": "dns", "family": number, "size": 0,
                       "peer": "", "peer_kind": "", "target": _joined(server, 53), "over": protocol}  # fmt: skip
                yield Wish(home, partial(make, row, server, str(asked.get("name") or "")), row)

    def _home(self, role: str, number: int) -> int | None:
        addresses = self._pods.get(role, {})
        if number not in addresses:
            return None
        return next((self._homes[one] for one in addresses.values() if one in self._homes), None)

    def _skip_from(self, role: str, number: int, paths: Sequence[str]) -> None:
        address = self._pods.get(role, {}).get(number)
        why = f"pod {role} has no IPv{number} address"
        if address:
            why = f"cannot find the network namespace of pod {role}, which has {address}"
        for path in paths:
            self._skip(path, number, why)

    def _mtu(self, home: int | None, address: str) -> int:
        """The route's MTU from that namespace; the usual one where there is no route (the tries then say so)."""

        def read() -> int:
            with rtnetlink.Netlink() as kernel:
                return kernel.route_mtu(address)

        if (home, address) not in self._mtus:
            try:
                self._mtus[home, address] = netns.inside(home, read) or _MTU
            except OSError:
                self._mtus[home, address] = _MTU
        return min(self._mtus[home, address], 65535)

    # How it is tried. Each of these runs inside the namespace, and makes sockets there.

    def _cell(self, facts: Facts, wanted: int) -> Cell:
        cell = Cell(facts, wanted)
        self._cells.append(cell)
        return cell

    def _streams(
        self, facts: Facts, wanted: int, address: Target, payload: bytes, answer: Answer | None,
        measured: Callable[[bytes], int] | None = None,
    ) -> Tries:  # fmt: skip
        family = netns.family_of(address[0])
        sockets = [packets.stream(family) for _ in range(MOST_TRIES)]
        return Streams(self._cell(facts, wanted), sockets, address, payload, answer, measured)

    def _wanted(self, size: int) -> int:
        return _TRIES_SMALL if size == self._sizes[0] else 1

    def _echo_stream(self, facts: Facts, address: str, size: int) -> Tries:
        payload = pattern(size)
        return self._streams(facts, self._wanted(size), (address, self._port), payload, partial(same, payload))

    def _connect(self, facts: Facts, address: Target) -> Tries:
        return self._streams(facts, 1, address, b"", None)

    def _errand(self, facts: Facts, peer: str, target: str, size: int) -> Tries:
        limit_ms = self._deadline_us // 1000 - _SERVER_MS
        line = f"CONNECT {self._inputs.get('token')} {target} {self._port} {size} {limit_ms}\n".encode()
        return self._streams(facts, 1, (peer, self._port), line, errand_verdict, errand_us)

    def _echo_datagram(self, facts: Facts, address: str, family: int, size: int) -> Tries:
        one = packets.datagram(family)
        one.connect((address, self._port))
        cell = self._cell(facts, self._wanted(size))
        return Datagrams(cell, one, numbered(size), number_of(size), packets.reason_for(one, family))

    def _ping(self, facts: Facts, address: str, family: int, size: int) -> Tries:
        one = packets.raw_icmp(family)
        one.connect((address, 0))
        ident = self._new_ident(1)
        make, read = packets.echo_maker(family, ident, size), packets.echo_reader(family, ident, size)
        return Datagrams(self._cell(facts, self._wanted(size)), one, make, read, packets.reason_for(one, family))

    def _ask_datagram(self, facts: Facts, server: str, name: str) -> Tries:
        family = netns.family_of(server)
        one = packets.datagram(family)
        one.connect((server, 53))
        cell = self._cell(facts, 1)
        first = self._new_ident(MOST_TRIES)

        def number(packet: bytes) -> int:
            for n in range(MOST_TRIES):
                verdict = packets.dns_verdict(packet, first + n)
                if verdict:
                    cell.failed(n, verdict)
                elif verdict is not None:
                    return n
            return -1

        return Datagrams(
            cell, one, lambda n: packets.dns_question(first + n, name), number, packets.reason_for(one, family)
        )

    def _ask_stream(self, facts: Facts, server: str, name: str) -> Tries:
        ident = self._new_ident(1)
        question = packets.dns_question(ident, name)

        def answer(received: bytes) -> str | None:
            length = int.from_bytes(received[:2], "big")
            return packets.dns_verdict(received[2:], ident) if len(received) >= 2 + length > 2 else None

        return self._streams(facts, 1, (server, 53), len(question).to_bytes(2, "big") + question, answer)

    def _new_ident(self, count: int) -> int:
        """The first of `count` 16-bit numbers that no other cell uses."""
        self._ident = (self._ident + 16) % 0xFFF0
        assert count <= 16
        return self._ident

    def _burst(self, facts: Facts, name: Callable[[str], str], address: str, family: int, count: int) -> Burst:
        size = int(facts["size"])
        ping = packets.raw_icmp(family)
        ping.connect((address, 0))
        ident = self._new_ident(1)
        echo = packets.datagram(family)
        echo.connect((address, self._port))
        ways = (
            Way("icmp", ping, packets.echo_maker(family, ident, size), packets.echo_reader(family, ident, size)),
            Way("udp", echo, *of_datagrams(size)),
        )
        return Burst(facts, name, ways, count)


def errand_verdict(received: bytes) -> str | None:
    """What the echo server's answer to CONNECT says: None while it is incomplete, empty when it got through."""
    if not received.endswith(b"\n"):
        return None
    text = received.decode("utf-8", "replace").strip()
    if text.startswith("OK ") and text[3:].isdigit():
        return ""
    return f"the peer says: {text.removeprefix('ERR ')}"


def errand_us(received: bytes) -> int:
    """Microseconds out of the answer `OK MICROSECONDS`."""
    return int(received.split()[1])


def numbered(size: int) -> Callable[[int], bytes]:
    """Makes datagrams of `size` bytes, of which the first is the try's number."""
    tail = pattern(size)[1:]
    return lambda number: bytes([number]) + tail


def number_of(size: int) -> Callable[[bytes], int]:
    """Which try an echoed datagram belongs to, or -1."""
    tail = pattern(size)[1:]
    return lambda packet: packet[0] if packet[1:] == tail else -1


def same(payload: bytes, received: bytes) -> str | None:
    """Whether an echo is what was sent: None while it is incomplete, empty when it is."""
    if len(received) < len(payload):
        return None if payload.startswith(received) else "the echo is not what was sent"
    return "" if received == payload else "the echo is not what was sent"


def pattern(size: int) -> bytes:
    """`size` bytes that an echo server does not take for a control line."""
    return (b"netkit-rollout.reach." * (size // 21 + 1))[:size]


def _by_family(addresses: Any) -> dict[int, str]:
    """The first address of each family."""
    found: dict[int, str] = {}
    for address in addresses or ():
        found.setdefault(6 if ":" in address else 4, str(address))
    return found


def _first_addresses(pods: Any) -> list[str]:
    return [next(iter(addresses.values())) for addresses in pods if addresses]


def _peer(peer: Mapping[str, Any]) -> Facts:
    return {"peer": str(peer.get("node") or ""), "peer_kind": str(peer.get("kind") or "")}


def _joined(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
