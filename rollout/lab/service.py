"""A Service's address: TCP connections on loopback, spread over the Ready endpoints, as kube-proxy would.

A new connection goes to the next Ready endpoint that is not terminating; nothing is retried, so a request that a
client loses is really lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

from rollout.lab.network import LabNetwork

_CONNECT_S = 5.0


class ServiceAddress:
    """Listens on 127.0.0.1 and forwards into the lab's network. Runs on the supervisor's loop."""

    def __init__(self, network: LabNetwork, endpoints: Callable[[], list[tuple[str, int]]]) -> None:
        self._network = network
        self._endpoints = endpoints
        self._next = 0
        self._server: asyncio.Server | None = None

    async def start(self, listener: socket.socket) -> None:
        """Serve on a bound socket."""
        listener.setblocking(False)
        self._server = await asyncio.start_server(self._serve, sock=listener)

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            ready = self._endpoints()
            if ready:
                self._next += 1
                await self._forward(ready[self._next % len(ready)], reader, writer)
        writer.close()

    async def _forward(
        self, target: tuple[str, int], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        connection = await asyncio.to_thread(self._network.connect, target, _CONNECT_S)
        connection.setblocking(False)
        up_reader, up_writer = await asyncio.open_connection(sock=connection)
        await asyncio.gather(_pump(reader, up_writer), _pump(up_reader, writer))
        up_writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


def ready_endpoints(slices: list[dict[str, Any]], service: str) -> list[tuple[str, int]]:
    """Addresses of a Service's Ready, not terminating endpoints, from its EndpointSlices."""
    found = []
    for each in slices:
        if each["metadata"].get("labels", {}).get("kubernetes.io/service-name") != service:
            continue
        port = next((p["port"] for p in each.get("ports") or () if p.get("port")), None)
        for endpoint in each.get("endpoints") or ():
            conditions = endpoint.get("conditions") or {}
            if port and conditions.get("ready") and not conditions.get("terminating"):
                found += [(address, int(port)) for address in endpoint.get("addresses") or ()]
    return sorted(found)
