"""Two real guests that run the lab's programs, under the lab's API stand-in with its controllers."""

import asyncio
import contextlib
import io
import json
import secrets
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kubeapi import Api, ApiError, Json, Server

from rollout.lab.apiserver.auth import admin
from rollout.lab.apiserver.request_info import load_documents
from rollout.lab.apiserver.server import ApiServer, ServerSettings, ServerTls
from rollout.lab.apiserver.threaded import bind_loopback
from rollout.lab.controllers import Controllers
from rollout.lab.image import Image
from rollout.lab.machine import Machine, MachineSpec
from rollout.lab.network import GATEWAY, LabNetwork, free_port, machine_address, machine_mac, pod_cidr
from rollout.lab.pki import create_pki

GUEST = Path(__file__).parents[3] / "rollout" / "lab" / "guest"
MANIFESTS = GUEST.parent / "manifests"
TIME_SCALE = 0.1
COLLECTIONS = {
    "DaemonSet": "/apis/apps/v1/namespaces/default/daemonsets",
    "Deployment": "/apis/apps/v1/namespaces/default/deployments",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
    "Service": "/api/v1/namespaces/default/services",
}


def seed(index: int, ca: bytes, token: str) -> bytes:
    """What a guest extracts at /: its description, its credentials, the programs."""
    node = {"name": f"n{index}", "index": index, "address": f"{machine_address(index)}/24", "mac": machine_mac(index)}
    node |= {"pod_cidr": pod_cidr(index), "gateway": GATEWAY, "api": f"https://{GATEWAY}:6443"}
    node |= {"time_scale": TIME_SCALE, "zone": "a", "labels": {}}
    files = {"etc/lab/node.json": json.dumps(node).encode(), "etc/lab/ca.crt": ca, "etc/lab/token": token.encode()}
    for file in [*GUEST.glob("*.py"), *GUEST.glob("templates/*.json")]:
        files[f"opt/lab/{file.relative_to(GUEST)}"] = file.read_bytes()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


class SmallCluster:
    def __init__(self, api: Api, network: LabNetwork, machines: dict[str, Machine]) -> None:
        self.api = api
        self._network = network
        self.machines = machines

    def apply(self, manifest: str) -> None:
        """Create the objects of one file in rollout/lab/manifests, all of the default namespace."""
        for document in load_documents((MANIFESTS / f"{manifest}.yaml").read_text()):
            self.api.create(COLLECTIONS[document["kind"]], dict(document))

    def ready_nodes(self) -> list[str]:
        return [node["metadata"]["name"] for node in self.api.get("/api/v1/nodes")["items"] if is_ready(node)]

    def pods(self, app: str, node: str = "") -> list[Json]:
        """Pods with the label `app` or `k8s-app`, that are not on their way out."""
        found = []
        for pod in self.api.get("/api/v1/pods")["items"]:
            labels = pod["metadata"].get("labels") or {}
            here = not node or pod["spec"].get("nodeName") == node
            if (
                here
                and app in (labels.get("app"), labels.get("k8s-app"))
                and not pod["metadata"].get("deletionTimestamp")
            ):
                found.append(pod)
        return found

    def on_node(self, node: str) -> list[Json]:
        """Pods on the pod network there, also those on their way out."""
        pods = self.api.get("/api/v1/pods", fieldSelector=f"spec.nodeName={node}")["items"]
        return [pod for pod in pods if not pod["spec"].get("hostNetwork")]

    def ready(self, app: str, node: str = "") -> list[Json]:
        return [pod for pod in self.pods(app, node) if is_ready(pod)]

    def patch_node(self, node: str, patch: Json) -> None:
        self.api.patch(f"/api/v1/nodes/{node}", patch)

    def delete_pod(self, pod: Json) -> None:
        meta = pod["metadata"]
        self.api.delete(f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}")

    def drain(self, node: str, app: str, seconds: float) -> None:
        """Evict the app's pods, as their disruption budget lets them go."""
        deadline = time.monotonic() + seconds
        while left := self.pods(app, node):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(left)} pods left on {node}")
            for pod in left:
                meta = {"name": pod["metadata"]["name"], "namespace": pod["metadata"]["namespace"]}
                body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta}
                with contextlib.suppress(ApiError):
                    self.api.create(f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/eviction", body)
            time.sleep(0.5)

    def fetch(self, address: str, path: str = "/", port: int = 8080) -> str:
        with self._network.connect((address, port)) as client:
            client.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            with client.makefile("rb") as stream:
                return stream.read().partition(b"\r\n\r\n")[2].decode()

    def links(self, node: str) -> dict[str, str]:
        """Kind of each pod link, from the guest's kernel."""
        listed = json.loads(self.machines[node].ssh(["ip", "-d", "-j", "link", "show"]).stdout)
        return {
            each["ifname"]: each["linkinfo"]["info_kind"]
            for each in listed
            if each["ifname"].startswith("lxc") and each["ifname"] != "lxc_health"
        }


class Traffic:
    """Requests to every ready pod of an app, all the time, from a thread; counts what was lost."""

    def __init__(self, cluster: SmallCluster, app: str) -> None:
        self._cluster = cluster
        self._app = app
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask_on)
        self.answered = 0
        self.lost: list[str] = []

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask_on(self) -> None:
        while not self._stop.wait(0.1):
            for pod in self._cluster.ready(self._app):
                name, address = pod["metadata"]["name"], pod["status"]["podIP"]
                try:
                    whole = name in self._cluster.fetch(address)
                except OSError as error:
                    self.lost.append(f"{name}: {error!r}")
                    continue
                self.answered += whole
                if not whole:
                    self.lost.append(f"{name}: cut short")


def is_ready(held: Json) -> bool:
    """For pods and nodes."""
    conditions = held.get("status", {}).get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def until(wanted: Callable[[], Any], seconds: float, what: str) -> Any:
    """Poll until the result is true; returns it."""
    deadline = time.monotonic() + seconds
    while not (result := wanted()):
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.3)
    return result


@contextlib.contextmanager
def small_cluster(image: Image, folder: Path) -> Iterator[SmallCluster]:
    network = LabNetwork.create("labguesttest")
    token = secrets.token_urlsafe(16)
    files = create_pki(folder)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    loopback, inside = bind_loopback(), network.listen((GATEWAY, 6443))
    inside.setblocking(False)

    async def begin() -> tuple[ApiServer, Controllers]:
        tls = ServerTls(files.certificate, files.key, files.ca)
        server = ApiServer(tls=tls, tokens={token: admin()}, settings=ServerSettings())
        for name in ("namespaces", "cilium-config", "cilium"):
            server.store.seed(load_documents((MANIFESTS / f"{name}.yaml").read_text()))
        await server.start([loopback, inside])
        controllers = Controllers(server.store)
        await controllers.start()
        return server, controllers

    server, controllers = asyncio.run_coroutine_threadsafe(begin(), loop).result(30)
    api = Api(Server(f"https://127.0.0.1:{loopback.getsockname()[1]}", files.ca, token))
    machines: dict[str, Machine] = {}
    try:
        for index in (1, 2):
            packed = seed(index, files.ca.read_bytes(), token)
            spec = MachineSpec(f"n{index}", index, free_port(), free_port(), packed)
            machines[spec.name] = Machine.boot(image, spec, network.tap(index), folder)
        yield SmallCluster(api, network, machines)
    finally:
        api.close()
        # First the server: it says goodbye to guests that still listen.
        asyncio.run_coroutine_threadsafe(_end(server, controllers), loop).result(60)
        for machine in machines.values():
            machine.stop()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        network.delete()


async def _end(server: ApiServer, controllers: Controllers) -> None:
    await controllers.stop()
    await server.stop()
    await asyncio.sleep(0.5)
