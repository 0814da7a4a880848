"""What probe pods and the NetworkPolicies about them look like. Pure, but for the text of the echo server.

Decisions:
- the pod satisfies the `restricted` Pod Security level, needs no service account and no volume, and tolerates every
  taint, ours included: it is bound to its node by `nodeName`;
- it ends by itself (`activeDeadlineSeconds`), whoever died;
- a grace of 1 s and not 0: with 0 the API forgets the pod at once, while its endpoint still is on the node, and an
  agent that starts in another mode would refuse because of it. With 1 the object is there until the kubelet is done.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from rollout.domain.node import ANNOTATION_ROLLOUT, LABEL_MANAGED_BY, LABEL_PROBE, MANAGER
from rollout.domain.policy import ProbeRules
from rollout.ports.probes import CLOSED_PORT, GUARDED_PORT, PROBE_PORT, ROLE_A, ROLE_B, PolicyCopy, Rig, WantedPod

LABEL_ROLLOUT = ANNOTATION_ROLLOUT
LABEL_NODE = "netkit-rollout.io/node"
ANNOTATION_NODE = "netkit-rollout.io/rig-node"
ANNOTATION_SPEC = "netkit-rollout.io/spec"
LIFETIME_S = 1800
GRACE_S = 1
GUARD = "nkr-guard"
PORTS = (PROBE_PORT, GUARDED_PORT, CLOSED_PORT)

_ECHO = Path(__file__).resolve().parents[2] / "onnode" / "echo.py"
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_NOBODY = 65534
_HASH = 10


def label_value(text: str) -> str:
    """`text` as a label's value; a hash of it when it is none, as for node names beyond 63 characters."""
    return text if _LABEL_VALUE.fullmatch(text) else "h-" + hashlib.sha256(text.encode()).hexdigest()[:32]


def selector(rollout: str = "", node: str = "") -> str:
    """The label selector of everything of ours: of one rig, of one rollout, or of all."""
    rows = [f"{LABEL_MANAGED_BY}={MANAGER}", LABEL_PROBE]
    rows += [f"{LABEL_ROLLOUT}={label_value(rollout)}"] if rollout else []
    rows += [f"{LABEL_NODE}={label_value(node)}"] if node else []
    return ",".join(rows)


@cache
def echo_source() -> str:
    """The echo server's text."""
    return _ECHO.read_text(encoding="utf-8")


def pod_name(rig: Rig, wanted: WantedPod) -> str:
    """A name that tells the role, unique to rig and place."""
    place = hashlib.sha256(f"{rig.rollout}/{rig.node}/{wanted.node}".encode()).hexdigest()[:_HASH]
    return f"nkr-{place}-{wanted.role}"


def _labels(rig: Rig, role: str) -> dict[str, str]:
    return {
        LABEL_MANAGED_BY: MANAGER,
        LABEL_PROBE: role,
        LABEL_ROLLOUT: label_value(rig.rollout),
        LABEL_NODE: label_value(rig.node),
    }


def fingerprint(rig: Rig, rules: ProbeRules) -> str:
    """Differs when a pod of the same name must not be used again: another image, server or token."""
    whole = "\0".join((rules.image, rig.token, echo_source()))
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def pod_manifest(rig: Rig, wanted: WantedPod, rules: ProbeRules) -> dict[str, Any]:
    """One probe pod."""
    own = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "echo",
        "image": rules.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-I", "-c", echo_source()],
        "args": ["--token", rig.token or "none", "--ports", ",".join(map(str, PORTS))],
        "resources": {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": own,
        "readinessProbe": {"tcpSocket": {"port": PROBE_PORT}, "periodSeconds": 1, "timeoutSeconds": 1},
    }
    annotations = {
        ANNOTATION_ROLLOUT: rig.rollout,
        ANNOTATION_NODE: rig.node,
        ANNOTATION_SPEC: fingerprint(rig, rules),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod_name(rig, wanted),
            "namespace": rules.namespace,
            "labels": _labels(rig, wanted.role),
            "annotations": annotations,
        },
        "spec": {
            "nodeName": wanted.node,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": LIFETIME_S,
            "terminationGracePeriodSeconds": GRACE_S,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "tolerations": [{"operator": "Exists"}],
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": _NOBODY,
                "runAsGroup": _NOBODY,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        },
    }


def policy_manifests(rig: Rig, rules: ProbeRules, copies: Sequence[PolicyCopy]) -> tuple[dict[str, Any], ...]:
    """`nkr-guard` and the copies of the cluster's policies, about the pods of this rig only."""
    both = ("TCP", "UDP")
    guard = [
        {"ports": [{"protocol": p, "port": PROBE_PORT} for p in both]},
        {"from": [_pods(rig, ROLE_A)], "ports": [{"protocol": p, "port": GUARDED_PORT} for p in both]},
    ]
    rows = [_policy(rig, rules, GUARD, guard)]
    for copy in copies:
        name = f"nkr-copy-{hashlib.sha256(copy.policy.encode()).hexdigest()[:8]}"
        allowed = {"from": [_pods(rig, ROLE_A)], "ports": [{"protocol": "TCP", "port": port} for port in copy.ports]}
        rows.append(_policy(rig, rules, name, [allowed], copied=copy.policy))
    return tuple(rows)


def _pods(rig: Rig, role: str) -> dict[str, Any]:
    return {"podSelector": {"matchLabels": _labels(rig, role)}}


def _policy(rig: Rig, rules: ProbeRules, name: str, ingress: list[dict[str, Any]], copied: str = "") -> dict[str, Any]:
    place = hashlib.sha256(f"{rig.rollout}/{rig.node}".encode()).hexdigest()[:_HASH]
    notes = {ANNOTATION_ROLLOUT: rig.rollout, ANNOTATION_NODE: rig.node}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": f"{name}-{place}",
            "namespace": rules.namespace,
            "labels": _labels(rig, "policy"),
            "annotations": notes | ({"netkit-rollout.io/copy-of": copied} if copied else {}),
        },
        "spec": {**_pods(rig, ROLE_B), "policyTypes": ["Ingress"], "ingress": ingress},
    }
