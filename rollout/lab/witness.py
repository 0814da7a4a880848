"""Witnesses that are not the program under test: the guest's own `ip`, and the API read with bare HTTP."""

from __future__ import annotations

import json
import ssl
import subprocess
import urllib.request
from collections import Counter
from typing import Any

import yaml

from rollout.lab.layout import LabInfo, LabNode

ANNOTATION_PREFIX = "netkit-rollout.io/"


def link_kinds(info: LabInfo, node: LabNode) -> dict[str, int]:
    """Endpoint host links (lxc*) by kernel kind, as iproute2 in the guest prints them."""
    links = json.loads(run_on(info, node, "ip -d -j link show"))
    kinds: Counter[str] = Counter()
    for link in links:
        if link["ifname"].startswith("lxc"):
            kinds[_kind(link.get("linkinfo") or {})] += 1
    return dict(sorted(kinds.items()))


def _kind(linkinfo: dict[str, Any]) -> str:
    kind = str(linkinfo.get("info_kind", "other"))
    mode = (linkinfo.get("info_data") or {}).get("mode")
    return f"{kind}/{mode}" if kind == "netkit" and mode else kind


def run_on(info: LabInfo, node: LabNode, command: str) -> str:
    """Standard output of a command on a node, over SSH. Raises CalledProcessError."""
    ssh = yaml.safe_load(info.config.read_text())["ssh"]
    done = subprocess.run(
        [
            "ssh",
            "-p",
            str(node.ssh_port),
            "-i",
            ssh["private_key"],
            "-o",
            f"UserKnownHostsFile={ssh['known_hosts']}",
            "-o",
            "BatchMode=yes",
            f"{ssh['user']}@127.0.0.1",
            command,
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout


class LabApi:
    """Reads (and a few writes) of the lab's API with nothing but the standard library."""

    def __init__(self, info: LabInfo) -> None:
        document = yaml.safe_load(info.kubeconfig.read_text())
        self._server = document["clusters"][0]["cluster"]["server"]
        self._token = document["users"][0]["user"]["token"]
        self._tls = ssl.create_default_context(cafile=str(info.directory / "pki" / "ca.crt"))

    def request(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        """One request; the decoded JSON answer. Raises HTTPError."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - the lab's own address
            self._server + path,
            data=data,
            method=method,
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": kind},
        )
        with urllib.request.urlopen(request, timeout=30, context=self._tls) as answer:  # noqa: S310
            return json.loads(answer.read())

    def items(self, path: str) -> list[dict[str, Any]]:
        """The items of a list."""
        found: list[dict[str, Any]] = self.request("GET", path)["items"]
        return found

    def leftovers(self) -> list[str]:
        """What nodes still carry of ours, cordons, taints and marks, and probe pods that nobody has deleted."""
        found = []
        for node in self.items("/api/v1/nodes"):
            name = node["metadata"]["name"]
            if node["spec"].get("unschedulable"):
                found.append(f"{name} is cordoned")
            found += [f"{name} has taint {t['key']}" for t in node["spec"].get("taints") or ()]
            annotations = node["metadata"].get("annotations") or {}
            found += [f"{name} has annotation {key}" for key in annotations if key.startswith(ANNOTATION_PREFIX)]
        for kind in ("/api/v1/pods", "/apis/networking.k8s.io/v1/networkpolicies"):
            ours = self.items(f"{kind}?labelSelector={ANNOTATION_PREFIX}probe")
            found += [
                f"{each['metadata']['namespace']}/{each['metadata']['name']} is there"
                for each in ours
                if not each["metadata"].get("deletionTimestamp")
            ]
        return found

    def agent_restarts(self) -> int:
        """Restarts of agent containers in the pods that exist now."""
        pods = self.items("/api/v1/namespaces/kube-system/pods")
        return sum(c["restartCount"] for p in pods for c in p["status"].get("containerStatuses") or ())
