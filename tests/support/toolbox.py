"""Toolbox pods against the API stand-in, with kubelets that run their programs as processes of this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rollout.adapters.clock import SystemClock
from rollout.adapters.kubernetes.connection import ClusterSettings, Connection
from rollout.adapters.kubernetes.toolbox import KubernetesToolbox
from rollout.adapters.kubernetes.watch import WatchTimes
from rollout.adapters.toolbox.manifest import ToolboxSettings
from rollout.adapters.toolbox.observer import ToolboxObserver
from rollout.lab.apiserver import ApiServer, admin
from rollout.lab.apiserver.objects import Obj
from rollout.lab.apiserver.threaded import ThreadedServer
from rollout.lab.pki import write_kubeconfig
from tests.support.kubelet import LocalKubelets

NAMESPACE = "kube-system"
QUICK = WatchTimes(watch_s=30, quiet_s=10.0, first_pause_s=0.02, longest_pause_s=0.1, stale_s=0.3, short_s=0.2)


@dataclass
class ToolboxRig:
    """A server, its kubelets, and an observer."""

    running: ThreadedServer
    kubelets: LocalKubelets
    kubeconfig: Path
    connection: Connection
    notes: list[str] = field(default_factory=list)

    def observer(self, namespace: str = NAMESPACE, pull_secret: str | None = None) -> ToolboxObserver:
        toolbox = KubernetesToolbox(self.connection, namespace, times=QUICK)
        settings = ToolboxSettings("registry.example/toolbox:1", pull_secret=pull_secret, by="ann@desk")
        return ToolboxObserver(toolbox, settings, SystemClock(), self.notes.append)

    def pods(self) -> list[Obj]:
        """All pods that are there now."""
        return self.running.call(self.running.server.store.all, "pods")


@contextlib.contextmanager
def toolbox_rig(folder: Path, kubelets: LocalKubelets) -> Iterator[ToolboxRig]:
    """A stand-in with these kubelets until the block ends."""
    server = ApiServer(tokens={"t": admin()}, log_provider=kubelets.log)
    kubelets.attach(server.store)
    with ThreadedServer(server, [kubelets]) as running:
        kubeconfig = write_kubeconfig(folder / "kubeconfig", running.url, "t")
        connection = Connection(ClusterSettings(kubeconfig, qps=1000.0, burst=1000))
        try:
            yield ToolboxRig(running, kubelets, kubeconfig, connection)
        finally:
            connection.close()
