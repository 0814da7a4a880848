"""What a node's probes are told: which peers, addresses, services and policies to try. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rollout.domain.observed import PROBE_POLICY, PROBE_REACH
from rollout.domain.policy import ProbeRules
from rollout.ports.probes import (
    CLOSED_PORT,
    GUARDED_PORT,
    PROBE_PORT,
    ROLE_A,
    ROLE_B,
    ROLE_PEER,
    PolicyCopy,
    PolicySample,
    ProbePod,
    Rig,
    Targets,
    WantedPod,
)

GUARD = "nkr-guard"
SIZES = (64, 1400, 4000)
"""Payloads in bytes: one packet, nearly a full one, several. A broken MTU shows only on the large ones."""
DEADLINE_MS = 2500
"""Time for all cells together, which are tried side by side."""
DNS_NAME = "kubernetes.default.svc.cluster.local"
_OWN_PORTS = frozenset({PROBE_PORT, GUARDED_PORT, CLOSED_PORT})


@dataclass(frozen=True, slots=True)
class Peer:
    """Another node that may be reached, with the kind of its endpoint links; empty when it is not known."""

    node: str
    kind: str = ""


def choose_peers(
    node: str, kinds: Sequence[str], candidates: Sequence[Peer], preferred: Sequence[str], most: int
) -> tuple[Peer, ...]:
    """One peer of each of `kinds` (the one left, the one moved to), `most` in all; any one when none is of them.

    Those of the baseline are preferred, so that like is compared with like. Otherwise the next by name after `node`,
    so that a whole fleet does not fall upon one node.
    """
    order = sorted(candidates, key=lambda p: (p.node not in preferred, p.node <= node, p.node))
    chosen: list[Peer] = []
    for kind in dict.fromkeys(kinds):
        chosen += next(([p] for p in order if p.kind == kind and p.node != node), [])
    if not chosen:
        chosen = [p for p in order if p.node != node][:1]
    return tuple(chosen[: max(0, most)])


def wanted_pods(node: str, peers: Sequence[Peer]) -> tuple[WantedPod, ...]:
    """The pods of a rig."""
    return (WantedPod(node, ROLE_A), WantedPod(node, ROLE_B), *(WantedPod(p.node, ROLE_PEER) for p in peers))


def usable_copies(sample: PolicySample) -> tuple[PolicyCopy, ...]:
    """Copies whose ports are not our own: those would let in what `nkr-guard` must keep out, and the reverse."""
    cut = (PolicyCopy(c.policy, tuple(p for p in c.ports if p not in _OWN_PORTS)) for c in sample.copies)
    return tuple(c for c in cut if c.ports)


@dataclass(frozen=True, slots=True)
class Surrounding:
    """All that the inputs of one node are made from."""

    rig: Rig
    pods: tuple[ProbePod, ...]
    peers: tuple[Peer, ...]
    targets: Targets
    sample: PolicySample
    node_address: str


def probe_inputs(around: Surrounding, rules: ProbeRules) -> dict[str, Any]:
    """What `rollout.onnode` takes as `inputs` of one node."""
    return {
        "window": {"seconds": rules.window_s},
        PROBE_REACH: _reach(around, rules),
        PROBE_POLICY: _policy(around),
    }


def reach_only(around: Surrounding, rules: ProbeRules, packets: int) -> dict[str, Any]:
    """The inputs of a node that is only compared with: of all probes that a batch asks for, it runs `reach`."""
    reach = _reach(around, rules) | {"packets": packets}
    return {"only": [PROBE_REACH], PROBE_REACH: reach}


def window_only(rules: ProbeRules) -> dict[str, Any]:
    """The inputs of a node without probe pods: nothing to reach, but eBPF probes may watch."""
    return {"window": {"seconds": rules.window_s}}


def _reach(around: Surrounding, rules: ProbeRules) -> dict[str, Any]:
    own = [p for p in around.pods if p.role in (ROLE_A, ROLE_B)]
    kinds = {peer.node: peer.kind for peer in around.peers}
    targets = around.targets
    reach: dict[str, Any] = {
        "token": around.rig.token,
        "port": PROBE_PORT,
        "pods": [{"role": p.role, "name": p.ref.name, "addresses": list(p.addresses)} for p in own],
        "peers": [
            {"node": p.node, "kind": kinds.get(p.node, ""), "addresses": list(p.addresses)}
            for p in around.pods
            if p.role == ROLE_PEER
        ],
        "services": [
            {"name": one.name, "address": address, "port": one.port}
            for one in targets.services
            for address in one.addresses
        ],
        "node_address": around.node_address,
        "sizes": list(SIZES),
        "packets": rules.packets,
        "deadline_ms": DEADLINE_MS,
    }
    if targets.dns_servers:
        reach["dns"] = {"servers": list(targets.dns_servers), "name": DNS_NAME}
    if targets.api is not None:
        reach["api"] = {"address": targets.api.addresses[0], "port": targets.api.port}
    return reach


def _policy(around: Surrounding) -> dict[str, Any]:
    return {
        "token": around.rig.token,
        "control_port": PROBE_PORT,
        "pairs": [*_guard_pairs(around.peers), *_copied_pairs(usable_copies(around.sample), around.peers)],
        "skipped": [{"policy": name, "why": why} for name, why in around.sample.skipped],
    }


def _guard_pairs(peers: Sequence[Peer]) -> list[Mapping[str, Any]]:
    """One allowed pair and two denied ones; the peer's tells a policy that lets everybody in from one that is gone."""
    pairs = [_pair(GUARD, ROLE_A, "a", GUARDED_PORT), _pair(GUARD, ROLE_A, "a", CLOSED_PORT)]
    return [*pairs, *(_pair(GUARD, f"peer:{p.node}", "peer", GUARDED_PORT) for p in peers[:1])]


def _copied_pairs(copies: Sequence[PolicyCopy], peers: Sequence[Peer]) -> list[Mapping[str, Any]]:
    """Each copy's first port: open for `a`, closed for a peer, and a port that no copy opens closed for `a`."""
    opened = {port for copy in copies for port in copy.ports} | _OWN_PORTS
    pairs: list[Mapping[str, Any]] = []
    for copy in copies:
        port = copy.ports[0]
        closed = next(other for other in range(port + 1, port + len(opened) + 2) if other not in opened)
        pairs += [_pair(copy.policy, ROLE_A, "a", port), _pair(copy.policy, ROLE_A, "a", closed)]
        pairs += [_pair(copy.policy, f"peer:{p.node}", "peer", port) for p in peers[:1]]
    return pairs


def _pair(policy: str, source: str, word: str, port: int) -> dict[str, Any]:
    """Its id names the role and not the node, so that it is the same pair when another peer serves."""
    name = f"{policy}/{word}-to-b/{port}"
    return {"id": name, "policy": policy, "from": source, "to": ROLE_B, "port": port, "protocol": "tcp"}
