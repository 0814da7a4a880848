"""Probe `links`: the host side of every endpoint's link pair, by kernel kind.

Counted: links named `lxc...` and those the agent's endpoint list names (chaining gives them other names). Not counted:
`cilium_host` and `cilium_net`, which stay a veth pair in every mode, and links of other programs; they are summed up
under `foreign`. The health endpoint's link is in the list with `health` set.

Decision: our own decoder reads the link table on every node. pyroute2 has no netkit class (0.9.7) and most nodes have
no pyroute2; where there is one, importing it takes 1.5 s of a small machine's time at each observation.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from . import entry, rtnetlink

HEALTH = "lxc_health"
OWN_PAIR = ("cilium_host", "cilium_net")
_MODES = {rtnetlink.NETKIT_L2: "netkit/l2", rtnetlink.NETKIT_L3: "netkit/l3"}
_POLICIES = {0: "forward", 2: "blackhole"}
_SCRUBS = {0: "none", 1: "default"}
_ENDPOINT_KINDS = ("veth", "netkit")


def main(request: entry.Document) -> entry.Document:
    """The probe as a program of its own. Request: `endpoint_links`, names that the agent gave."""
    return read(request.get("endpoint_links") or ())


def read(endpoint_links: Iterable[str] = ()) -> entry.Document:
    """The document's body."""
    with rtnetlink.Netlink() as kernel:
        body = describe(kernel.links(), endpoint_links)
    body.update(reader="rtnetlink", boot_id=entry.boot_id(), kernel=entry.kernel_release())
    return body


def describe(found: Iterable[rtnetlink.Link], endpoint_links: Iterable[str] = ()) -> entry.Document:
    """Split links into those of endpoints, listed, and the others that could be mistaken for them, counted."""
    named = set(endpoint_links)
    rows: list[dict[str, Any]] = []
    foreign: dict[str, int] = {}
    for link in sorted(found, key=lambda one: one.ifindex):
        if is_endpoint(link, named):
            rows.append(row(link))
        elif link.kind in _ENDPOINT_KINDS:
            foreign[kind_of(link)] = foreign.get(kind_of(link), 0) + 1
    return {"links": rows, "foreign": foreign}


def is_endpoint(link: rtnetlink.Link, named: Iterable[str] = ()) -> bool:
    """Whether this is an endpoint's host link. `lxcbr0`, LXC's bridge, only looks like one."""
    if link.name in OWN_PAIR or link.kind == "bridge":
        return False
    return link.name.startswith("lxc") or link.name in named


def kind_of(link: rtnetlink.Link) -> str:
    """Our name for the link's kind."""
    if link.kind == "veth":
        return "veth"
    if link.netkit is not None and link.netkit.mode is not None:
        return _MODES.get(link.netkit.mode, "other")
    return "other"


def row(link: rtnetlink.Link) -> dict[str, Any]:
    """One link as the document shows it. Fields that only netkit has are left out for others."""
    shown: dict[str, Any] = {
        "name": link.name,
        "ifindex": link.ifindex,
        "kind": kind_of(link),
        "kernel_kind": link.kind,
        "up": bool(link.flags & rtnetlink.IFF_UP),
        "operstate": link.operstate,
        "peer_ifindex": link.peer_index,
        "peer_netnsid": link.peer_netnsid,
        "health": link.name == HEALTH,
    }
    if link.netkit is not None:
        shown.update(
            primary=None if link.netkit.primary is None else bool(link.netkit.primary),
            policy=_word(_POLICIES, link.netkit.policy),
            peer_policy=_word(_POLICIES, link.netkit.peer_policy),
            scrub=_word(_SCRUBS, link.netkit.scrub),
            peer_scrub=_word(_SCRUBS, link.netkit.peer_scrub),
        )
    return shown


def _word(words: dict[int, str], value: int | None) -> str | None:
    return None if value is None else words.get(value, str(value))
