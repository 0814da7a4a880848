"""Which nodes are alike: a canary speaks for its cohort only.

Decision: what makes nodes alike is what has made netkit behave otherwise on some nodes than on others: kernel,
hardware, zone, image, and routing beside Cilium's own (cilium issue 37976: only nodes with source routing broke).
Anything else a fleet knows better is a node label, named in the policy.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping

from rollout.domain.errors import UsageError
from rollout.domain.inventory import Inventory
from rollout.domain.node import Node
from rollout.domain.policy import Policy

PROBE_HOST = "host"
INSTANCE_TYPES = ("node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type")
ZONES = ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone")
_USUAL_TABLES = (253, 254, 255, 2004, 2005)
"""default, main and local; 2004 and 2005 are Cilium's, for its proxy (pkg/datapath/linux/linux_defaults)."""
_POD_PRIORITIES = (20, 110, 111)
"""Rules per pod that Cilium writes where pods have addresses of network cards (ENI, Azure)."""


def cohort_of(inventory: Inventory, policy: Policy, node: Node) -> str:
    """The node's cohort as text, in the order of the policy's keys; equal text means alike.

    What a node does not tell is left out, so nodes that do not tell it are alike in this.
    """
    parts = (_told(inventory, node, key) for key in policy.cohorts)
    return " / ".join(part for part in parts if part)


def require_cohort_keys(inventory: Inventory, policy: Policy) -> None:
    """Raises `UsageError` for a key that is neither a name known here nor a label of any node."""
    for key in policy.cohorts:
        if key not in KEYS:
            require_label_key(inventory, key, "cohorts", KEYS)


def require_label_key(inventory: Inventory, key: str, where: str, also: Mapping[str, object] | None = None) -> None:
    """Raises `UsageError` with the nearest known word when no node has the label `key`."""
    if any(key in node.labels for node in inventory.cluster.nodes):
        return
    labels = {label for node in inventory.cluster.nodes for label in node.labels}
    known = sorted(labels | set(also or ()))
    near = difflib.get_close_matches(key, known, n=1) or [k for k in known if k.endswith(f"/{key}")][:1]
    raise UsageError(
        "unknown-label-key",
        f"cannot plan: {where}: no node has a label {key}",
        hint=f"did you mean {near[0]}?" if near else f"node labels are: {', '.join(sorted(labels)[:10]) or 'none'}",
    )


def zone_of(node: Node) -> str:
    """The zone a node says it is in; empty when it does not."""
    return node.zone or next((node.labels[key] for key in ZONES if node.labels.get(key)), "")


def _told(inventory: Inventory, node: Node, key: str) -> str:
    rule = KEYS.get(key)
    if rule is not None:
        return rule(inventory, node)
    value = node.labels.get(key)
    return f"{key}={value}" if value is not None else ""


def _instance_type(_inventory: Inventory, node: Node) -> str:
    return next((node.labels[key] for key in INSTANCE_TYPES if node.labels.get(key)), "")


def _agent_version(inventory: Inventory, _node: Node) -> str:
    """The agent's image tag: of the DaemonSet, since pods that run another one are refused before."""
    agent = inventory.cluster.agent
    image = agent.image.split("@", 1)[0].rsplit("/", 1)[-1] if agent else ""
    return f"agent {image.partition(':')[2]}" if ":" in image else ""


def _routing(inventory: Inventory, node: Node) -> str:
    """Whether rules of others steer packets; what they are differs from node to node without meaning anything."""
    seen = inventory.observation(node.name, PROBE_HOST)
    rules = seen.document.get("rules") if seen is not None and seen.readable else None
    if not isinstance(rules, list | tuple):
        return ""
    return "extra ip rules" if any(_is_foreign(rule) for rule in rules) else ""


def _is_foreign(rule: object) -> bool:
    """Whether a row of the probe `host` is neither the kernel's own nor Cilium's."""
    if not isinstance(rule, Mapping):
        return False
    return rule.get("table") not in _USUAL_TABLES and rule.get("priority") not in _POD_PRIORITIES


KEYS: Mapping[str, Callable[[Inventory, Node], str]] = {
    "kernel": lambda _, node: f"kernel {node.kernel}" if node.kernel else "",
    "instance-type": _instance_type,
    "zone": lambda _, node: f"zone {zone_of(node)}" if zone_of(node) else "",
    "os-image": lambda _, node: node.os_image,
    "routing": _routing,
    "arch": lambda _, node: node.architecture,
    "agent": _agent_version,
}
"""What a cohort may be made of, by the policy's word for it. Any other word is the key of a node label."""
