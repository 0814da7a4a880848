"""The lab's one process: API stand-in, controllers, machines and the Service's address, until it is told to stop.

Run as `python -m rollout.lab.supervisor DIRECTORY`; `rollout lab up` does.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from rollout.lab.apiserver.auth import admin, viewer
from rollout.lab.apiserver.request_info import load_documents
from rollout.lab.apiserver.server import ApiServer, ServerTls
from rollout.lab.controllers import Controllers
from rollout.lab.image import Image, ensure_image
from rollout.lab.layout import LabInfo, LabLayout, LabNode, cache_directory
from rollout.lab.machine import GuestPanicError, Machine, MachineSpec
from rollout.lab.network import GATEWAY, LabNetwork, free_port, listening_socket, machine_address
from rollout.lab.pki import ServerFiles, create_pki, write_kubeconfig
from rollout.lab.seed import make_seed, node_document
from rollout.lab.service import ServiceAddress, ready_endpoints
from rollout.lab.template import Template, ensure_template

MANIFESTS = Path(__file__).parent / "manifests"
WARM_UP = (
    "python3 -c 'import pyroute2'",
    """python3 -c 'from bcc import BPF; BPF(text="int nothing(void *context) { return 0; }")'""",
)
"""Run in the template before it is saved, so that restored guests start with warm caches."""
NODES = 2
_READY_S = 240.0
_SERVICE = "web"
_WORKLOADS = ("dns.yaml", "web.yaml")


def report(message: str) -> None:
    """One line of progress for whoever reads the log."""
    sys.stderr.write(message + "\n")
    sys.stderr.flush()


class Supervisor:
    """Everything a running lab consists of."""

    def __init__(self, layout: LabLayout) -> None:
        self.layout = layout
        self._began = time.monotonic()
        self._seconds: dict[str, float] = {}
        self.nodes = tuple(
            LabNode(f"n{i}", i, machine_address(i), free_port(), free_port()) for i in range(1, NODES + 1)
        )
        self.machines: dict[str, Machine] = {}
        self.network = LabNetwork(layout.network)

    async def run(self) -> None:
        """Bring everything up, say so, wait for the signal, take everything down."""
        stopping = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        try:
            await self._up()
            await stopping.wait()
        finally:
            await self._down()

    def _lap(self, name: str) -> None:
        self._seconds[name] = round(time.monotonic() - self._began, 1)
        report(f"{self._seconds[name]:6.1f} s  {name}")

    async def _up(self) -> None:
        image = await asyncio.to_thread(ensure_image, cache_directory(), report)
        template = await asyncio.to_thread(ensure_template, image, cache_directory(), WARM_UP, report)
        self._lap("image and template")
        self.network = LabNetwork.create(self.layout.network)
        files = create_pki(self.layout.path("pki"))
        await self._start_api(files)
        self._lap("API")
        await asyncio.gather(*(asyncio.to_thread(self._start_machine, image, template, files, n) for n in self.nodes))
        self._lap("machines")
        await self._deploy_workload()
        self._lap("workload")
        self._write_files(image)
        self.layout.write_info(self._info())

    # --- API ---------------------------------------------------------------------------------------------------

    async def _start_api(self, files: ServerFiles) -> None:
        self.tokens = {name: secrets.token_urlsafe(24) for name in ("admin", "viewer", *(n.name for n in self.nodes))}
        identities = {self.tokens["admin"]: admin(), self.tokens["viewer"]: viewer()}
        identities |= {self.tokens[n.name]: admin(f"system:node:{n.name}") for n in self.nodes}
        self.server = ApiServer(
            tls=ServerTls(files.certificate, files.key, files.ca), tokens=identities, log_provider=self._log
        )
        for manifest in sorted(MANIFESTS.glob("*.yaml")):
            if manifest.name not in _WORKLOADS:
                self.server.store.seed(load_documents(manifest.read_text()))
        outside = listening_socket(("127.0.0.1", 0))
        self.api = f"https://127.0.0.1:{outside.getsockname()[1]}"
        await self.server.start([outside, self.network.listen((GATEWAY, 6443))])
        self.controllers = Controllers(self.server.store)
        await self.controllers.start()
        self.service = ServiceAddress(self.network, self._endpoints)
        listener = listening_socket(("127.0.0.1", 0))
        self.service_url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        await self.service.start(listener)
        for name in ("admin", "viewer"):
            kubeconfig = self.layout.path("kubeconfig" if name == "admin" else "viewer.kubeconfig")
            write_kubeconfig(kubeconfig, self.api, self.tokens[name], files.ca)

    def _endpoints(self) -> list[tuple[str, int]]:
        return ready_endpoints(self.server.store.all("endpointslices.discovery.k8s.io", "default"), _SERVICE)

    async def _log(self, namespace: str, pod: str, container: str, previous: bool) -> bytes:
        found = self.server.store.get("pods", pod, namespace)
        node = next(n for n in self.nodes if n.name == found["spec"].get("nodeName"))
        url = f"http://127.0.0.1:{node.kubelet_port}/containerLogs/{namespace}/{pod}/{container}?previous={str(previous).lower()}"
        return await asyncio.to_thread(_fetch, url)

    # --- machines ----------------------------------------------------------------------------------------------

    def _start_machine(self, image: Image, template: Template, files: ServerFiles, node: LabNode) -> None:
        document = node_document(node.name, node.index, len(self.nodes))
        seed = make_seed(document, files.ca.read_bytes(), self.tokens[node.name])
        spec = MachineSpec(node.name, node.index, node.ssh_port, node.kubelet_port, seed)
        run_dir = self.layout.path("machines")
        run_dir.mkdir(exist_ok=True, mode=0o700)
        try:
            self._try_machine(image, template, spec, run_dir)
        except GuestPanicError as panic:
            # Emulation panics now and then even with its known faults switched off; once is forgiven.
            report(f"machine {node.name} panicked, once more: {panic}")
            self.machines.pop(node.name).stop()
            self._try_machine(image, template, spec, run_dir)

    def _try_machine(self, image: Image, template: Template, spec: MachineSpec, run_dir: Path) -> None:
        machine = Machine.restore(image, template, spec, self.network.tap(spec.index), run_dir)
        self.machines[spec.name] = machine
        machine.wait_ready(120.0)

    async def _deploy_workload(self) -> None:
        """Only when every node is Ready, so that its replicas are spread from the start."""
        await self._wait_ready()
        for name in _WORKLOADS:
            self.server.store.seed(load_documents((MANIFESTS / name).read_text()))
        await self._wait_ready()

    async def _wait_ready(self) -> None:
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            missing = self._missing()
            if not missing:
                return
            for name, machine in self.machines.items():
                if not machine.alive() or machine.panic():
                    raise RuntimeError(f"machine {name} ended: {machine.console_tail()}")
            await asyncio.sleep(0.2)
        raise TimeoutError(f"the lab's pods are not all Ready: {', '.join(missing)}")

    def _missing(self) -> list[str]:
        store = self.server.store
        missing = [n.name for n in self.nodes if not _condition(store.find("nodes", n.name), "Ready")]
        for each in store.all("deployments.apps"):
            if (each.get("status") or {}).get("readyReplicas", 0) < each["spec"]["replicas"]:
                missing.append(f"Deployment {each['metadata']['name']}")
        for each in store.all("daemonsets.apps"):
            if (each.get("status") or {}).get("numberReady", 0) < len(self.nodes):
                missing.append(f"DaemonSet {each['metadata']['name']}")
        return missing

    # --- what users need -----------------------------------------------------------------------------------------

    def _write_files(self, image: Image) -> None:
        known = self.layout.path("known_hosts")
        known.write_text("".join(image.known_hosts_line(n.ssh_port) for n in self.nodes))
        config: dict[str, Any] = {
            "kubeconfig": str(self.layout.path("kubeconfig")),
            "context": "lab",
            "state": str(self.layout.path("state.db")),
            "run_dir": str(self.layout.path("runs")),
            "lease_seconds": 15,
            "ssh": {
                "user": "ops",
                "private_key": str(image.ssh_key),
                "known_hosts": str(known),
                "become": True,
                "python": "/usr/bin/python3",
            },
            "hosts": {n.name: f"127.0.0.1:{n.ssh_port}" for n in self.nodes},
            "policy": {
                "soak_fenced_s": 2,
                "soak_loaded_s": 2,
                "drain": {"retry_s": 1},
                "probes": {"window_s": 2, "controls": 0},
            },
        }
        self.layout.path("rollout.yaml").write_text(yaml.safe_dump(config, sort_keys=False))

    def _info(self) -> LabInfo:
        return LabInfo(
            self.layout.directory,
            self.layout.path("kubeconfig"),
            self.layout.path("rollout.yaml"),
            self.network.name,
            self.service_url,
            self.api,
            self.nodes,
            os.getpid(),
            self._seconds,
        )

    async def _down(self) -> None:
        self.layout.path("ready.json").unlink(missing_ok=True)
        await asyncio.gather(*(asyncio.to_thread(m.stop) for m in self.machines.values()))
        if hasattr(self, "service"):
            await self.service.stop()
            await self.controllers.stop()
            await self.server.stop()
        self.network.delete()


def _condition(node: dict[str, Any] | None, kind: str) -> bool:
    conditions = ((node or {}).get("status") or {}).get("conditions") or ()
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)


def _fetch(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - a loopback URL made above
            content: bytes = answer.read()
            return content
    except urllib.error.HTTPError as error:
        return error.read() if error.code == 404 else b""


def main() -> None:
    """Entry point."""
    layout = LabLayout(Path(sys.argv[1]))
    asyncio.run(Supervisor(layout).run())


if __name__ == "__main__":
    main()
