"""Runs several probes in one start of Python: starting it is most of what a probe costs on a slow node.

Request: `probes`, and what the probes take (`agent_socket`, `agent_timeout_s`, `endpoint_links`).
Document: `documents`, by probe. A probe that failed has a document with `failed`; the others are unharmed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from . import agent, capability, entry, links


def main(request: entry.Document) -> entry.Document:
    """Every probe asked for, the agent first: its endpoint list tells `links` the names to look for."""
    wanted: list[str] = list(request.get("probes") or ())
    unknown = sorted(set(wanted) - set(PROBES))
    if unknown:
        raise entry.Refusal("unknown-probe", f"cannot run probe {unknown[0]}: known are {', '.join(PROBES)}")
    documents: dict[str, entry.Document] = {}
    for probe in (name for name in PROBES if name in wanted):
        documents[probe] = entry.guarded(probe, partial(PROBES[probe], request))
        if probe == "agent":
            request = {**request, "endpoint_links": _endpoint_links(documents[probe])}
    return {"documents": documents}


def _endpoint_links(document: entry.Document) -> list[str]:
    return [one["interface-name"] for one in document.get("endpoints") or () if one.get("interface-name")]


PROBES: dict[str, Callable[[entry.Document], entry.Document]] = {
    "agent": agent.main,
    "links": links.main,
    "capability": capability.main,
}
