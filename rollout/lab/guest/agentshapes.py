"""The agent's answers: recorded documents with the live facts filled in.

The templates hold the real agent's keys and its values for whatever this stand-in does not model.
"""

import copy
import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from agentconfig import AgentConfig, fill_settings
from endpointstore import HEALTH_IDENTITY, HOST_IDENTITY, Endpoint
from logline import timestamp
from podlinks import POD_LINK, LinkFacts

Json = dict[str, Any]

_TEMPLATES = Path(__file__).parent / "templates"
_NEVER = "0001-01-01T00:00:00.000Z"


@dataclass(frozen=True)
class AgentFacts:
    """What the running agent knows about itself."""

    node: str
    address: str
    device: str
    pod_cidr: str
    router: str
    health_address: str
    host_id: int
    health_id: int
    pool_size: int
    config: AgentConfig
    mode: str
    started: str


@cache
def _template(name: str) -> Json:
    loaded: Json = json.loads((_TEMPLATES / f"{name}.json").read_text())
    return loaded


def _fresh(name: str) -> Json:
    return copy.deepcopy(_template(name))


def status_document(facts: AgentFacts, endpoints: list[Endpoint]) -> Json:
    """GET /v1/healthz."""
    document, config = _fresh("status"), facts.config
    document["datapath-mode"] = facts.mode
    document["configured-datapath-mode"] = config.configured_mode
    document["attach-mode"] = "tcx" if config.flag("enable-tcx", True) or facts.mode != "veth" else "tc"
    document["cluster"]["self"] = facts.node
    document["controllers"] = _node_controllers(facts, endpoints)
    document["ipam"] = _ipam(facts, endpoints)
    document["masquerading"]["mode"] = "BPF" if config.bpf_masquerade else "iptables"
    document["masquerading"]["enabled"] = config.masquerade
    for key in ("snat-exclusion-cidr", "snat-exclusion-cidr-v4"):
        document["masquerading"][key] = config.text("ipv4-native-routing-cidr", "10.244.0.0/16")
    document["routing"]["intra-host-routing-mode"] = "Legacy" if config.legacy_host_routing else "BPF"
    document["routing"]["inter-host-routing-mode"] = "Native" if config.text("routing-mode") == "native" else "Tunnel"
    document["host-firewall"].update(mode="Enabled" if config.flag("enable-host-firewall") else "Disabled")
    document["host-firewall"]["devices"] = [facts.device]
    _fill_proxy_replacement(document["kube-proxy-replacement"], facts)
    document["proxy"]["ip"] = facts.router
    return document


def _fill_proxy_replacement(part: Json, facts: AgentFacts) -> None:
    part["mode"] = "True" if facts.config.kube_proxy_replacement else "False"
    part["devices"] = [facts.device]
    part["directRoutingDevice"] = facts.device
    part["deviceList"] = [{"ip": [facts.address], "name": facts.device}]


def _ipam(facts: AgentFacts, endpoints: list[Endpoint]) -> Json:
    allocations = {facts.router: "router", facts.health_address: "health"}
    allocations |= {each.address: f"{each.namespace}/{each.pod}" for each in endpoints}
    count = f"IPv4: {len(allocations)}/{facts.pool_size} allocated from {facts.pod_cidr}, "
    return {"allocations": allocations, "ipv4": list(allocations), "ipv6": None, "status": count}


def config_document(facts: AgentFacts) -> Json:
    """GET /v1/config."""
    document = _fresh("config")
    status = document["status"]
    status["datapathMode"] = facts.mode
    status["configuredDatapathMode"] = facts.config.configured_mode
    status["addressing"]["ipv4"].update({"alloc-range": facts.pod_cidr, "ip": facts.router})
    status["masquerade"] = facts.config.masquerade
    fill_settings(status["daemonConfigurationMap"], facts.config)
    status["daemonConfigurationMap"]["CreationTime"] = facts.started
    status["daemonConfigurationMap"]["Devices"] = [facts.device]
    return document


def _controller(name: str, configuration: Json, since: str) -> Json:
    status = {"last-failure-timestamp": _NEVER, "last-success-timestamp": since, "success-count": 1}
    identity = str(uuid.uuid5(uuid.NAMESPACE_OID, name))
    return {"configuration": configuration, "name": name, "status": status, "uuid": identity}


def _endpoint_controllers(identity: int, pod: str, since: str) -> list[Json]:
    patterns = dict(_template("controllers")["endpoint"])
    if pod:
        patterns |= _template("controllers")["pod"]
    return [_controller(name.format(id=identity, pod=pod), held, since) for name, held in sorted(patterns.items())]


def _node_controllers(facts: AgentFacts, endpoints: Iterable[Endpoint]) -> list[Json]:
    since = facts.started[:23].rstrip("Z") + "Z"
    listed = [_controller(name, held, since) for name, held in _template("controllers")["node"].items()]
    for each in endpoints:
        listed += _endpoint_controllers(each.id, f"{each.namespace}/{each.pod}", since)
    for identity in (facts.host_id, facts.health_id):
        listed += _endpoint_controllers(identity, "", since)
    return listed


def pod_document(endpoint: Endpoint, started: str, *, settled: bool = True) -> Json:
    """One item of GET /v1/endpoint. Not settled: its programs are still to come, as recorded from the real agent."""
    networking: Json = {"addressing": [{"ipv4": endpoint.address, "ipv4-pool-name": "default"}]}
    networking["container-interface-name"] = POD_LINK
    networking |= {"interface-index": endpoint.index, "interface-name": endpoint.link}
    if endpoint.mac:
        networking |= {"host-mac": endpoint.host_mac, "mac": endpoint.mac}
    labels = {"derived": endpoint.derived_labels, "realized": {}, "security-relevant": endpoint.identity_labels}
    document = _endpoint(endpoint.id, endpoint.identity, labels, networking, started)
    document["status"]["state"] = "ready" if settled else "waiting-to-regenerate"
    document["status"]["external-identifiers"] = {"cni-attachment-id": endpoint.attachment}
    pod = f"{endpoint.namespace}/{endpoint.pod}"
    document["status"]["controllers"] = _endpoint_controllers(endpoint.id, pod, started)
    return document


def host_document(facts: AgentFacts, link: LinkFacts | None) -> Json:
    networking: Json = {"addressing": [{}]}
    if link:
        networking |= {"interface-index": link.index, "interface-name": link.name}
        networking |= {"host-mac": link.mac, "mac": link.mac}
    labels = {"derived": ["reserved:host"], "realized": {}, "security-relevant": ["reserved:host"]}
    return _endpoint(facts.host_id, HOST_IDENTITY, labels, networking, facts.started)


def health_document(facts: AgentFacts, link: LinkFacts | None, mac: str) -> Json:
    networking: Json = {"addressing": [{"ipv4": facts.health_address, "ipv4-pool-name": "default"}]}
    if link:
        networking |= {"interface-index": link.index, "interface-name": link.name}
    if link and mac:
        networking |= {"host-mac": link.mac, "mac": mac}
    labels = {"realized": {}, "security-relevant": ["reserved:health"]}
    return _endpoint(facts.health_id, HEALTH_IDENTITY, labels, networking, facts.started)


def _endpoint(identifier: int, identity: int, labels: Json, networking: Json, since: str) -> Json:
    document = _fresh("endpoint")
    document["id"] = identifier
    status = document["status"]
    status["identity"] = {"id": identity, "labels": labels["security-relevant"]}
    status["labels"] = labels
    status["networking"] = networking
    status["controllers"] = _endpoint_controllers(identifier, "", since)
    status["log"][0]["timestamp"] = timestamp()[:19] + "Z"
    for part in ("realized", "spec"):
        status["policy"][part]["id"] = identity
    return document
