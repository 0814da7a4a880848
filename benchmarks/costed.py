"""Measures what each eBPF program costs a packet; put beside the shipped programs like `tests.onnode.watched`.

Request: `kind`, `packets`. Answer, by probe's source (`empty` too): ns per run of each program, by the kernel's own
measuring, over the same traffic on the same pair: UDP one at a time for path and drops, TCP for tcp.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rollout.onnode import bpfcalls, bpfcompile, btf, wire
    from rollout.onnode.bpf_sources import SOURCES
    from tests.onnode import watched
else:
    from onnode import bpfcalls, bpfcompile, btf, watched, wire
    from onnode.bpf_sources import SOURCES

EMPTY_TRACEPOINTS = ("net_dev_start_xmit", "net_dev_xmit", "netif_receive_skb", "kfree_skb", "tcp_probe")


def stream(source: watched.Pod, target: watched.Pod, count: int) -> None:
    """Requests and answers over one connection: a segment each way for each."""
    with target.socket(socket.SOCK_STREAM, bound=True) as listener, source.socket(socket.SOCK_STREAM) as client:
        listener.listen(1)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.connect(listener.getsockname())
        server = listener.accept()[0]
        with server:
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(count):
                client.sendall(watched.PAYLOAD)
                server.sendall(server.recv(200))
                client.recv(200)


def measured(loaded: bpfcompile.Loaded, pods: tuple[watched.Pod, watched.Pod], packets: int) -> dict[str, float]:
    """ns per run of each attached program, while traffic of every kind crosses."""
    descriptor = bpfcalls.enable_stats()
    try:
        watched.datagrams(*pods, packets)
        watched.unheard(*pods, packets)
        stream(*pods, packets)
        watched.connections(*pods, 4, packets // 10, packets // 10)
    finally:
        os.close(descriptor)
    costs = {name: bpfcalls.cost(program) for name, program in loaded.programs.items()}
    return {name: cost.run_ns / cost.runs for name, cost in costs.items() if cost.runs}


def main(request: dict[str, Any]) -> dict[str, Any]:
    watched.make_node()
    first, second = (watched.Pod(name, request["kind"]) for name in watched.PODS)
    watched.datagrams(first, second, 1)
    types = btf.read()
    headers = {path: text for path, text in SOURCES.items() if path.startswith("include/")}
    macros = {macro: types.offset(*field) for probe in wire.PROBES.values() for macro, field in probe.fields.items()}
    answer: dict[str, Any] = {"ns": {}, "ms": {}}
    for name in ("empty", *wire.PROBES, "empty"):
        loaded = bpfcompile.compile_text(SOURCES["common.h"] + SOURCES[f"{name}.c"], macros, headers)
        if name == "empty":
            programs = tuple(bpfcompile.Program("empty", tracepoint) for tracepoint in EMPTY_TRACEPOINTS)
        else:
            programs = wire.PROBES[name].programs
        loaded.attach(programs)
        answer["ms"].setdefault(name, loaded.compile_ms + loaded.attach_ms)
        answer["ns"].setdefault(name, []).append(measured(loaded, (first, second), int(request["packets"])))
        loaded.close()
    answer["open_ms"], answer["idle_ms"] = whole()
    for pod in (first, second):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pod.child, 9)
    return {key: _without_floats(value) for key, value in answer.items()}


def whole() -> tuple[int, int]:
    """Opening all probes, self-tests included, and the CPU that a window of a second takes, in ms."""
    with wire.Wire(tuple(wire.PROBES), {}) as watching:
        begun = time.monotonic()
        watching.open()
        opened = time.monotonic() - begun
        watching.begin()
        before = time.process_time()
        time.sleep(1)
        idle = time.process_time() - before
        watching.end()
    return round(opened * 1000), round(idle * 1000)


def _without_floats(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_floats(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_floats(one) for one in value]
    return round(value) if isinstance(value, float) else value
