"""What the agent loads into the kernel's packet filter, as nft(8) reads it: service addresses and network policy.

Pure texts from the cluster's objects; `load` hands one to the kernel in one transaction. Rules stay when the agent
ends, as the real one's maps do.
"""

import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kubeapi import Json

SERVICE_CIDR = "10.96.0.0/12"
"""kubeadm's default."""
DENIED = "denied"
"""Name of the counter of packets that a policy let not pass."""
_PROTOCOLS = {"TCP": "tcp", "UDP": "udp"}


@dataclass(frozen=True)
class Peer:
    """A pod as a policy's selectors see it."""

    address: str
    namespace: str
    labels: Mapping[str, str]


def load(text: str) -> None:
    """Replace what the text speaks of. Raises OSError with nft's words."""
    done = subprocess.run(["nft", "-f", "-"], input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"cannot load packet filter rules: {done.stderr.strip()[:300]}")


# Services.


def service_rules(services: Iterable[Json], slices: Iterable[Json], unserved: frozenset[str] = frozenset()) -> str:
    """Destination NAT of every ClusterIP port to its ready endpoints; what has none is dropped.

    `unserved` are services ("namespace/name") that are left without endpoints.
    """
    targets = _targets(slices)
    rules = []
    for service in sorted(services, key=_place):
        address = (service.get("spec") or {}).get("clusterIP") or ""
        if _place(service) in unserved or address in ("", "None"):
            continue
        for port in service["spec"].get("ports") or []:
            found = targets.get((_place(service), port.get("name") or "", port.get("protocol", "TCP")), [])
            if rule := _service_rule(address, port, found):
                rules.append(rule)
    lines = ["add table ip lab_services"]
    for chain in ("prerouting", "output"):
        lines.append(f"add chain ip lab_services {chain} {{ type nat hook {chain} priority -100; }}")
        lines.append(f"flush chain ip lab_services {chain}")
        lines += [f"add rule ip lab_services {chain} {rule}" for rule in rules]
        lines.append(f"add chain ip lab_services {chain}_rest {{ type filter hook {chain} priority -50; }}")
        lines.append(f"flush chain ip lab_services {chain}_rest")
        lines.append(f"add rule ip lab_services {chain}_rest ip daddr {SERVICE_CIDR} drop")
    return "\n".join(lines) + "\n"


def _place(held: Json) -> str:
    return f"{held['metadata'].get('namespace', '')}/{held['metadata']['name']}"


def _targets(slices: Iterable[Json]) -> dict[tuple[str, str, str], list[tuple[str, int]]]:
    """Ready endpoints by service, port name and protocol."""
    found: dict[tuple[str, str, str], list[tuple[str, int]]] = {}
    for each in slices:
        meta = each["metadata"]
        name = (meta.get("labels") or {}).get("kubernetes.io/service-name", "")
        ready = [
            address
            for endpoint in each.get("endpoints") or []
            if (endpoint.get("conditions") or {}).get("ready", True)
            for address in endpoint.get("addresses") or []
        ]
        for port in each.get("ports") or []:
            key = (f"{meta.get('namespace', '')}/{name}", port.get("name") or "", port.get("protocol", "TCP"))
            found.setdefault(key, []).extend((address, int(port["port"])) for address in ready)
    return {key: sorted(set(listed)) for key, listed in found.items()}


def _service_rule(address: str, port: Json, targets: Sequence[tuple[str, int]]) -> str:
    protocol = _PROTOCOLS.get(port.get("protocol", "TCP"))
    if not protocol or not targets:
        return ""
    head = f"ip daddr {address} {protocol} dport {port['port']} dnat to"
    if len(targets) == 1:
        return f"{head} {targets[0][0]}:{targets[0][1]}"
    # Targets of one slice share their port.
    spread = ", ".join(f"{number} : {target}" for number, (target, _) in enumerate(targets))
    return f"{head} numgen random mod {len(targets)} map {{ {spread} }}:{targets[0][1]}"


# Network policy.


def policy_rules(
    policies: Iterable[Json],
    namespaces: Mapping[str, Mapping[str, str]],
    local: Sequence[Peer],
    peers: Sequence[Peer],
) -> str:
    """Ingress rules of this node's pods. `namespaces` are the labels by name; `local` are the pods guarded here.

    Forwarded packets are judged in the direction of their connection, each of them; answers pass, and so does what
    the node itself sends, which is not forwarded.
    """
    rules = ["ct direction reply accept", "ct state related accept"]
    ingress = [each for each in policies if _governs_ingress(each)]
    for pod in local:
        selecting = [each for each in ingress if _selects(each, pod)]
        for policy in selecting:
            for rule in policy["spec"].get("ingress") or []:
                rules += [
                    f"ip daddr {pod.address} {match} accept" for match in _matches(rule, policy, namespaces, peers)
                ]
        if selecting:
            rules.append(f"ip daddr {pod.address} counter name {DENIED} drop")
    head = ["add table ip lab_policy", f"add counter ip lab_policy {DENIED}"]
    head.append("add chain ip lab_policy forward { type filter hook forward priority 0; }")
    head.append("flush chain ip lab_policy forward")
    return "\n".join([*head, *(f"add rule ip lab_policy forward {rule}" for rule in rules)]) + "\n"


def _governs_ingress(policy: Json) -> bool:
    return "Ingress" in (policy["spec"].get("policyTypes") or ["Ingress"])


def _selects(policy: Json, pod: Peer) -> bool:
    same = policy["metadata"].get("namespace", "") == pod.namespace
    return same and selected(policy["spec"].get("podSelector") or {}, pod.labels)


def selected(selector: Json, labels: Mapping[str, str]) -> bool:
    """A label selector on a set of labels; the empty one selects all."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_expression_holds(each, labels) for each in selector.get("matchExpressions") or [])


def _expression_holds(expression: Json, labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or []
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels


def _matches(rule: Json, policy: Json, namespaces: Mapping[str, Mapping[str, str]], peers: Sequence[Peer]) -> list[str]:
    """Conditions, each of which lets a packet in: sources times ports."""
    sources = [""]
    if rule.get("from"):
        found = sorted({source for each in rule["from"] for source in _sources(each, policy, namespaces, peers)})
        if not found:
            return []
        sources = [f"ip saddr {{ {', '.join(found)} }}"]
    return [f"{source} {port}".strip() for source in sources for port in _ports(rule.get("ports") or [])]


def _sources(peer: Json, policy: Json, namespaces: Mapping[str, Mapping[str, str]], peers: Sequence[Peer]) -> list[str]:
    if "ipBlock" in peer:
        return [str(peer["ipBlock"]["cidr"])]
    wanted = {policy["metadata"].get("namespace", "")}
    if peer.get("namespaceSelector") is not None:
        wanted = {name for name, labels in namespaces.items() if selected(peer["namespaceSelector"], labels)}
    pods = peer.get("podSelector") or {}
    return [each.address for each in peers if each.namespace in wanted and selected(pods, each.labels)]


def _ports(ports: Sequence[Json]) -> list[str]:
    """Without a condition when all ports are meant."""
    if not ports:
        return [""]
    found = []
    for each in ports:
        protocol = _PROTOCOLS.get(each.get("protocol", "TCP"), "")
        number = each.get("port")
        if protocol and number is None:
            found.append(f"meta l4proto {protocol}")
        elif protocol and isinstance(number, int):
            last = f"-{each['endPort']}" if each.get("endPort") else ""
            found.append(f"{protocol} dport {number}{last}")
    return found
