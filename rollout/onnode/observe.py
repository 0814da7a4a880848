"""Runs several probes in one start of Python: starting it is most of what a probe costs on a slow node.

Request: `probes`; `inputs`, what single probes are told; `agent_socket`, `agent_timeout_s`, `limit_s`.
`inputs.only`: of the probes asked for, only these run, on a node that others of the same batch are compared with.
Document: `documents`, by probe. A probe that failed has a document with `failed`; the others are unharmed.

Order: what only reads comes first, the agent before all, whose endpoint list tells `links` the names to look for. Then
eBPF probes, if any are wanted, are compiled, attached and tried; then reach and policy make their traffic inside the
window in which those watch, so that they watch traffic that is known. `inputs.window.seconds` is that window's least
length. Modules are imported when a probe needs them: on a slow node compiling one costs tens of milliseconds.
"""

from __future__ import annotations

import importlib
import time
from functools import partial
from typing import Any

from . import entry

READING = ("agent", "links", "capability", "host", "programs", "counters")
TRAFFIC = ("reach", "policy")
WATCHING = ("path", "drops", "tcp")
PROBES = (*READING, *TRAFFIC, *WATCHING)
_RESERVE_S = 2.0
_WINDOW_S = 4
_LIMIT_S = 300


def main(request: entry.Document) -> entry.Document:
    """Every probe asked for, in one order, whatever fails."""
    wanted: list[str] = list(request.get("probes") or ())
    only = (request.get("inputs") or {}).get("only")
    unknown = sorted(set(wanted) - set(PROBES))
    if unknown:
        raise entry.Refusal("unknown-probe", f"cannot run probe {unknown[0]}: known are {', '.join(PROBES)}")
    wanted = [probe for probe in wanted if only is None or probe in only]
    until = time.monotonic() + float(request.get("limit_s") or _LIMIT_S) - _RESERVE_S
    found: dict[str, entry.Document] = {}
    for probe in (name for name in READING if name in wanted):
        found[probe] = entry.guarded(probe, partial(_one, probe, request, until))
        if probe == "agent":
            request = {**request, "endpoint_links": _endpoint_links(found[probe])}
    watching = tuple(probe for probe in WATCHING if probe in wanted)
    if watching:
        found.update(_watch(watching, wanted, request, until))
    else:
        found.update(_traffic(wanted, request, until))
    return {"documents": {probe: found[probe] for probe in PROBES if probe in wanted}}


def _one(probe: str, request: entry.Document, until: float) -> entry.Document:
    left = _left(until)
    if probe == "agent":
        request = {**request, "agent_timeout_s": min(float(request.get("agent_timeout_s") or left), left)}
    body: entry.Document = importlib.import_module("." + probe, __package__).main(request)
    return body


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise entry.Refusal("out-of-time", "cannot run this probe: those before it took all the time there was")
    return left


def _endpoint_links(document: entry.Document) -> list[str]:
    return [one["interface-name"] for one in document.get("endpoints") or () if one.get("interface-name")]


def _traffic(wanted: list[str], request: entry.Document, until: float) -> dict[str, entry.Document]:
    """Reach and policy at the same time, driven by one loop."""
    probes = tuple(probe for probe in TRAFFIC if probe in wanted)
    if not probes:
        return {}
    begun = time.monotonic()
    bodies: dict[str, entry.Document] = {}

    def all_of_them() -> entry.Document:
        _left(until)
        bodies.update(_drive(probes, request, until))
        return {}

    failed = entry.guarded(probes[0], all_of_them)
    if failed.get("failed"):
        return {probe: {**failed, "probe": probe} for probe in probes}
    return {probe: entry.document(probe, begun, bodies[probe]) for probe in probes}


def _drive(probes: tuple[str, ...], request: entry.Document, until: float) -> dict[str, entry.Document]:
    from . import loop, netns, policy, reach  # noqa: PLC0415

    with netns.Namespaces() as namespaces, loop.Loop() as driver:
        running: dict[str, Any] = {}
        if "policy" in probes:
            running["policy"] = policy.Pairs(request, namespaces)
        if "reach" in probes:
            running["reach"] = reach.Matrix(reach.inputs_of(request), namespaces)
        for one in running.values():
            one.begin(driver)
        driver.drive(list(running.values()), int(until * 1_000_000))
        return {probe: one.body(driver) for probe, one in running.items()}


def _window_s(request: entry.Document) -> int:
    return int(((request.get("inputs") or {}).get("window") or {}).get("seconds") or _WINDOW_S)


def _watch(
    watching: tuple[str, ...], wanted: list[str], request: entry.Document, until: float
) -> dict[str, entry.Document]:
    """Traffic under the eyes of eBPF probes. When those cannot watch, the traffic is made all the same."""
    traffic: dict[str, entry.Document] = {}

    def watched() -> entry.Document:
        from .wire import Wire  # noqa: PLC0415

        with Wire(watching, request) as wire:
            wire.open()
            _left(until)
            wire.begin()
            closes = time.monotonic() + _window_s(request) if wire.watching else 0
            traffic.update(_traffic(wanted, request, until))
            time.sleep(max(0.0, min(closes, until) - time.monotonic()))
            return {"documents": wire.end()}

    outcome = entry.guarded(watching[0], watched)
    found = {probe: {**outcome, "probe": probe} for probe in watching}
    if not outcome.get("failed"):
        found = {probe: outcome["documents"][probe] for probe in watching}
    return {**found, **(traffic or _traffic(wanted, request, until))}
