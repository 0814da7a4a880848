"""A drain as an operator runs it: kubectl against the whole lab cluster, and the stand-alone program."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from tests.lab.controllers.cluster_rig import Cluster

KUBECTL = shutil.which("kubectl")
needs_kubectl = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")


def _kubectl(kubeconfig: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    assert KUBECTL is not None
    environment = {"HOME": str(kubeconfig.parent), "PATH": os.environ["PATH"]}
    command = [KUBECTL, "--kubeconfig", str(kubeconfig), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)


@needs_kubectl
def test_drain_is_blocked_by_a_budget_then_freed(tmp_path: Path) -> None:
    with Cluster(tls_directory=tmp_path) as cluster:
        cluster.add_nodes("n1", "n2")
        cluster.add_workload("DaemonSet", "logd")
        cluster.add_workload("Deployment", "web", replicas=2)
        cluster.add_budget("web", "web", minAvailable=2)
        cluster.until_ready("web", 2)
        cluster.until_ready("logd", 2)
        cluster.until(lambda: cluster.budget("web")["currentHealthy"] == 2)

        def free() -> None:
            change = {"minAvailable": 1}
            cluster.call(
                cluster.store.mutate,
                "poddisruptionbudgets.policy",
                "web",
                lambda o: o["spec"].update(change),
                "default",
            )

        timer = threading.Timer(1.0, free)
        timer.start()
        drain = _kubectl(cluster.kubeconfig, "drain", "n1", "--ignore-daemonsets", "--timeout=40s")
        timer.join()
        assert drain.returncode == 0, drain.stderr
        assert "Cannot evict pod as it would violate the pod's disruption budget" in drain.stderr
        assert "node/n1 drained" in drain.stdout
        assert cluster.places("web") == ["n2", "n2"] and cluster.places("logd") == ["n1", "n2"]
        assert _kubectl(cluster.kubeconfig, "uncordon", "n1").returncode == 0
        cluster.until(lambda: not cluster.find("nodes", "n1", "")["spec"].get("taints"))
        status = _kubectl(cluster.kubeconfig, "rollout", "status", "deploy/web", "--timeout=10s")
        assert "successfully rolled out" in status.stdout


def test_stand_alone_program(tmp_path: Path) -> None:
    kubeconfig, fixture = tmp_path / "kubeconfig", tmp_path / "fixture.yaml"
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}
    pod_spec = {"containers": [{"name": "c", "image": "x"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "team"}, "spec": pod_spec}
    fixture.write_text(yaml.safe_dump_all([node, {"kind": "List", "apiVersion": "v1", "items": [pod]}]))
    command = [
        sys.executable,
        "-m",
        "rollout.lab.apiserver",
        "--kubeconfig",
        str(kubeconfig),
        "--fixture",
        str(fixture),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 20
        while not kubeconfig.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert kubeconfig.exists() and kubeconfig.stat().st_mode & 0o077 == 0
        if KUBECTL is not None:
            found = _kubectl(kubeconfig, "get", "pod", "p", "-n", "team", "-o", "jsonpath={.spec.nodeName}")
            assert found.stdout == "n1", found.stderr
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 0 and errors.startswith("serving https://127.0.0.1:"), errors
