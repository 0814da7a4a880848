"""A lab with one node on netkit and one on veth, and three pods to try the ways between: a and b on n1, p on n2."""

import contextlib
import json
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import yaml

from rollout.lab.cluster import lab_down, lab_up
from rollout.lab.layout import LabInfo
from rollout.lab.witness import LabApi

Json = dict[str, Any]
NAMESPACE = "netkit-rollout"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
POLICIES = f"/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/networkpolicies"
MODE_LABEL = "netkit-rollout.io/datapath-mode"
MERGE = "application/merge-patch+json"
PORT = 8791
DNS, DNS_NAME, API_SERVICE = "10.96.0.10", "kubernetes.default.svc.cluster.local", "10.96.0.1"
TRYOUT = Path(__file__).with_name("tryout.py").read_text()
# Echo over TCP and UDP; what the pods of this lab run.
ECHO = """
import socket, threading
def udp():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("", 8791))
    while True:
        data, client = sock.recvfrom(65536)
        sock.sendto(data, client)
def serve(client):
    while data := client.recv(65536):
        client.sendall(data)
    client.close()
threading.Thread(target=udp, daemon=True).start()
server = socket.create_server(("", 8791), backlog=64)
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""


class ProbedLab:
    def __init__(self, info: LabInfo) -> None:
        self.info = info
        self.api = LabApi(info)
        self.addresses: dict[str, str] = {}

    # Nodes.

    def on(self, node: str, command: str, stdin: str = "") -> str:
        """Standard output of a command that root runs on a node."""
        ssh = yaml.safe_load(self.info.config.read_text())["ssh"]
        port = next(each.ssh_port for each in self.info.nodes if each.name == node)
        words = ["ssh", "-p", str(port), "-i", ssh["private_key"], "-o", "BatchMode=yes"]
        words += ["-o", f"UserKnownHostsFile={ssh['known_hosts']}", "root@127.0.0.1", command]
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, f"{command[:80]} on {node}: {done.stderr}"
        return done.stdout

    def restart_agent(self, node: str, mode: str) -> None:
        """Empty the node, assign a mode, start its agent anew, and let pods come back."""
        taint = {"key": "test/empty", "effect": "NoExecute"}
        patch = {"metadata": {"labels": {MODE_LABEL: mode}}, "spec": {"unschedulable": True, "taints": [taint]}}
        self.api.request("PATCH", f"/api/v1/nodes/{node}", patch, MERGE)
        until(lambda: all(pod["spec"].get("hostNetwork") for pod in self._pods_on(node)), "pods stay")
        until(lambda: "lxc" not in self.on(node, "ip -br link").replace("lxc_health", ""), "links stay")
        old = {pod["metadata"]["uid"]: pod for pod in self._pods_on(node)}
        for pod in old.values():
            meta = pod["metadata"]
            self.api.request("DELETE", f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}")
        until(lambda: any(self._is_new_agent(pod, old) for pod in self._pods_on(node)), "no agent")
        self.api.request("PATCH", f"/api/v1/nodes/{node}", {"spec": {"unschedulable": None, "taints": None}}, MERGE)

    @staticmethod
    def _is_new_agent(pod: Json, old: dict[str, Json]) -> bool:
        new = pod["metadata"]["uid"] not in old and (pod["metadata"].get("labels") or {}).get("k8s-app") == "cilium"
        return new and is_ready(pod)

    def _pods_on(self, node: str) -> list[Json]:
        return self.api.items(f"/api/v1/pods?fieldSelector=spec.nodeName%3D{node}")

    def agent_answers(self, node: str, path: str) -> Any:
        """An answer of the node's agent."""
        program = f"import agentserver, json, labpaths; print(json.dumps({_ASK}({path!r})))"
        return json.loads(self.on(node, f"cd /opt/lab && python3 -c {shlex.quote(program)}"))

    # Pods.

    def make_pod(self, name: str, node: str) -> str:
        """An echo pod; its address."""
        container = {"name": "echo", "image": "any", "command": ["python3", "-I", "-c", ECHO]}
        spec = {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [container]}
        spec["tolerations"] = [{"operator": "Exists"}]
        meta = {"name": name, "labels": {"role": name}}
        self.api.request("POST", PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
        pod = until(lambda: self._ready_pod(name), f"pod {name} is not Ready")
        self.addresses[name] = str(pod["status"]["podIP"])
        return self.addresses[name]

    def _ready_pod(self, name: str) -> Json | None:
        pod: Json = self.api.request("GET", f"{PODS}/{name}")
        return pod if is_ready(pod) else None

    def delete_pods(self) -> None:
        self.api.request("DELETE", PODS)

    def guard(self, name: str) -> None:
        """A policy that lets nobody reach a pod."""
        spec = {"podSelector": {"matchLabels": {"role": name}}, "policyTypes": ["Ingress"]}
        kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "guard"}}
        self.api.request("POST", POLICIES, kind | {"spec": spec})

    def unguard(self) -> None:
        with contextlib.suppress(HTTPError):
            self.api.request("DELETE", f"{POLICIES}/guard")

    # Trying.

    def attempt(self, node: str, *tries: list[Any]) -> list[Any]:
        """What came of the tries, made on a node, side by side."""
        answer: list[Any] = json.loads(self.on(node, f"python3 -I - {shlex.quote(json.dumps(tries))}", TRYOUT))
        return answer

    def silent(self) -> set[str]:
        """Which ways are silent: "WAY WHAT", with b as the pod on n1 that is reached; `out` is from b to n2."""
        a, b, p = (self.addresses[name] for name in "abp")
        here = [("same", a, b), ("host", "", b), ("out", b, p)]
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(lambda each: self._ways(*each), (("n1", here), ("n2", [("other", p, b)]))))
        return found[0] | found[1]

    def _ways(self, node: str, ways: list[tuple[str, str, str]]) -> set[str]:
        tries = {(way, what): [source, *rest] for way, source, target in ways for what, *rest in _cells(target)}
        answers = self.attempt(node, *tries.values())
        return {f"{way} {what}" for (way, what), answer in zip(tries, answers, strict=True) if answer is None}

    def burst(self, node: str, source: str, target: str) -> tuple[int, int]:
        """Of 400 datagrams between pods: those lost, and the median of the answers in us."""
        answer = self.attempt(node, [source and self.addresses[source], "burst", self.addresses[target], PORT, 400])[0]
        assert answer is not None, "no datagram came back"
        return int(answer[0]), int(answer[1])


_ASK = "(lambda path: agentserver.UnixClient(labpaths.agent_socket(), 20).request('GET', path)[1])"


def _cells(target: str) -> list[list[Any]]:
    return [
        ["tcp", "tcp", target, PORT, 64],
        ["tcp-large", "tcp", target, PORT, 4000],
        ["udp", "udp", target, PORT, 64],
        ["ping", "ping", target, 0, 56],
        ["ping-large", "ping", target, 0, 1472],
        ["dns-udp", "dns-udp", DNS, 53, DNS_NAME],
        ["dns-tcp", "dns-tcp", DNS, 53, DNS_NAME],
        ["api", "connect", API_SERVICE, 443, 0],
    ]


def is_ready(pod: Json) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def until(wanted: Callable[[], Any], otherwise: str, seconds: float = 60.0) -> Any:
    """Poll until the result is true; returns it."""
    deadline = time.monotonic() + seconds
    while not (result := wanted()):
        if time.monotonic() > deadline:
            raise TimeoutError(otherwise)
        time.sleep(0.2)
    return result


@contextlib.contextmanager
def probed_lab(directory: Path) -> Iterator[ProbedLab]:
    info = lab_up(directory, lambda _line: None)
    try:
        lab = ProbedLab(info)
        body = {"apiVersion": "cilium.io/v2", "kind": "CiliumNodeConfig", "metadata": {"name": "test-netkit"}}
        spec = {"nodeSelector": {"matchLabels": {MODE_LABEL: "netkit"}}, "defaults": {"datapath-mode": "netkit"}}
        path = "/apis/cilium.io/v2/namespaces/kube-system/ciliumnodeconfigs"
        lab.api.request("POST", path, body | {"spec": spec})
        lab.restart_agent("n1", "netkit")
        for name, node in (("a", "n1"), ("b", "n1"), ("p", "n2")):
            lab.make_pod(name, node)
        yield lab
    finally:
        lab_down(directory)
