"""One node of the lab without a machine: its programs in network and mount namespaces of their own on this host."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import namespaces
import plain_api
from plain_api import Json, PlainApi

GUEST = Path(namespaces.__file__).parent
SERVED = tuple(
    f"/apis/{group}/"
    for group in ("cilium.io/v2", "coordination.k8s.io/v1", "discovery.k8s.io/v1", "networking.k8s.io/v1")
)
CONFIG = {
    "datapath-mode": "veth",
    "enable-bpf-masquerade": "true",
    "kube-proxy-replacement": "true",
    "routing-mode": "native",
}
POD_CIDR = "10.244.1.0/24"


def is_ready(pod: Json | None) -> bool:
    conditions = (pod or {}).get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def pod_path(name: str, namespace: str = "default") -> str:
    return f"/api/v1/namespaces/{namespace}/pods/{name}"


def make_pod(api: PlainApi, node: str, name: str, command: list[str], **spec: Any) -> str:
    """Bind a pod to a node; returns its path."""
    container = {"name": "c", "image": "localhost/lab:v1", "command": command}
    meta = {"name": name, "namespace": "default", "labels": {"app": name}}
    path = pod_path(name)
    api.put(path, {"metadata": meta, "spec": {"nodeName": node, "containers": [container]} | spec})
    return path


def make_agent(api: PlainApi, node: str, name: str) -> str:
    image = "localhost/cilium:v1"
    command = ["cilium-agent", "--config-dir=/tmp/cilium/config-map"]
    spec = {
        "nodeName": node,
        "hostNetwork": True,
        "initContainers": [{"name": "config", "image": image, "command": ["cilium-dbg", "build-config"]}],
        "containers": [{"name": "cilium-agent", "image": image, "command": command}],
    }
    path = pod_path(name, "kube-system")
    api.put(path, {"metadata": {"name": name, "namespace": "kube-system"}, "spec": spec})
    return path


def put_config(api: PlainApi) -> None:
    path = "/api/v1/namespaces/kube-system/configmaps/cilium-config"
    api.put(path, {"metadata": {"name": "cilium-config"}, "data": CONFIG})


class LoneNode:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.namespace = root / "net"
        (root / "etc/lab").mkdir(parents=True)
        settings = {"name": "n1", "index": 1, "address": "192.168.77.11/24", "pod_cidr": POD_CIDR, "zone": "a"}
        settings |= {"api": "http://127.0.0.1:6443", "time_scale": 0.02}
        (root / "etc/lab/node.json").write_text(json.dumps(settings))
        self.api = PlainApi(SERVED)
        put_config(self.api)
        self.process: subprocess.Popen[bytes] | None = None

    def inside(self, *command: str) -> str:
        words = ["nsenter", f"--net={self.namespace}", *command]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout

    def fetch(self, address: str, port: int, path: str) -> str:
        def body() -> socket.socket:
            return socket.create_connection((address, port), 10)

        with namespaces.inside(self.namespace, body) as client:
            client.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            with client.makefile("rb") as stream:
                return stream.read().partition(b"\r\n\r\n")[2].decode()

    def start(self) -> None:
        """Start node.py; its mounts are seen by nobody else and end with it."""
        unshared = ["unshare", "-m", "--propagation", "private"] if self.process is None else []
        if not unshared:
            unshared = ["nsenter", f"--mount=/proc/{self.runtime_pid}/ns/mnt"]
        words = [*unshared, "nsenter", f"--net={self.namespace}", sys.executable, str(GUEST / "node.py")]
        self.process = subprocess.Popen(words, env=os.environ | {"LAB_ROOT": str(self.root)})

    def kill(self) -> None:
        """As if the kubelet had crashed: the runtime goes on."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    @property
    def runtime_pid(self) -> int:
        return int((self.root / "run/lab/runtime.pid").read_text())


@contextlib.contextmanager
def lone_node(root: Path) -> Iterator[LoneNode]:
    node = LoneNode(root)
    namespaces.create(node.namespace)
    server = None
    try:
        node.inside("ip", "link", "set", "lo", "up")
        node.inside("ip", "address", "add", "192.168.77.11/32", "dev", "lo")
        listener = namespaces.inside(node.namespace, lambda: socket.create_server(("127.0.0.1", 6443)))
        server = plain_api.serve(node.api, listener)
        node.start()
        yield node
    finally:
        node.kill()
        with contextlib.suppress(OSError, ValueError):
            os.kill(node.runtime_pid, signal.SIGKILL)
        if server is not None:
            server.shutdown()
            server.server_close()
        namespaces.remove(node.namespace)
