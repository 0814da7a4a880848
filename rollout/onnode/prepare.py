"""Makes a node ready for its agent to be replaced (method restart). Changes nothing but our own claim on the node.

Request: `rollout`, `fencing`, `target` (veth, netkit, netkit-l2), `allowed_stragglers` (names of links that may be of
the old kind), `allowed_count` (how many more may), `agent_socket`.
Refuses when another rollout owns the node, when endpoint links of the old kind are left (names each), or when the
kernel cannot make links of the target kind. Repeating it is safe.
"""

from __future__ import annotations

from typing import Any

from . import agent, capability, claim, entry, links

KIND_OF_MODE = {"veth": "veth", "netkit": "netkit/l3", "netkit-l2": "netkit/l2"}


def main(request: entry.Document) -> entry.Document:
    """Prove the node ready, or refuse with the reason."""
    target = str(request.get("target") or "")
    if target not in KIND_OF_MODE:
        text = f"cannot prepare the node: target {target!r} is not one of {list(KIND_OF_MODE)}"
        raise entry.Refusal("bad-request", text)
    with claim.held(request, "prepare"):
        body = links.read()
        body["agent_socket"] = agent.state(str(request.get("agent_socket") or agent.SOCKET))
        body["stragglers"] = [row["name"] for row in _old(body["links"], target)]
        _require_empty(body, request, target)
        if target != "veth":
            body["capability"] = _require_capability(target)
        return body


def _old(rows: list[dict[str, Any]], target: str) -> list[dict[str, Any]]:
    return [row for row in rows if not row["health"] and row["kind"] != KIND_OF_MODE[target]]


def _require_empty(body: entry.Document, request: entry.Document, target: str) -> None:
    allowed = set(request.get("allowed_stragglers") or ())
    left = [row for row in _old(body["links"], target) if row["name"] not in allowed]
    if len(left) <= int(request.get("allowed_count") or 0):
        return
    named = ", ".join(f"{row['name']} ({row['kind']})" for row in left)
    raise entry.Refusal(
        "node-not-empty",
        f"cannot switch the node to {target}: {len(left)} endpoint links of another kind are left: {named}",
        "the agent would refuse to start, or break these pods; find each by `interface-name` in the agent's endpoint"
        " list and see why its pod was not evicted",
        **body,
    )


def _require_capability(target: str) -> entry.Document:
    found = capability.read()
    if target not in found["modes"]:
        raise entry.Refusal(
            "capability-missing",
            f"cannot switch the node to {target}: its kernel {found['kernel']} made no such link: {found['error']}",
            "use a kernel with CONFIG_NETKIT (6.8 or newer), or leave this node out",
            capability=found,
        )
    return found
