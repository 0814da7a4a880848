"""Real clients: kubectl and the official Python client."""

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes
import pytest
import yaml

from rollout.lab.pki import write_kubeconfig
from tests.lab.apiserver.api_rig import ADMIN, VIEWER, Api, config_map, node, pod, running_pod

KUBECTL = shutil.which("kubectl")
needs_kubectl = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with Api(tls_directory=tmp_path / "pki") as running:
        yield running


class Kubectl:
    """Runs kubectl with its own home, so that its discovery cache is its own too."""

    def __init__(self, directory: Path, api: Api) -> None:
        self._home = directory
        authority = api.files.ca if api.files else None
        self.kubeconfig = write_kubeconfig(directory / "admin", api.url, ADMIN, authority)
        self.viewer = write_kubeconfig(directory / "viewer", api.url, VIEWER, authority)

    def start(self, *arguments: str, viewer: bool = False) -> "subprocess.Popen[str]":
        assert KUBECTL is not None
        config = self.viewer if viewer else self.kubeconfig
        environment = {"HOME": str(self._home), "PATH": os.environ["PATH"]}
        command = [KUBECTL, "--kubeconfig", str(config), *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment)

    def run(self, *arguments: str, stdin: Any = None, code: int = 0, viewer: bool = False) -> str:
        text = stdin if isinstance(stdin, str) or stdin is None else yaml.safe_dump(stdin)
        with self.start(*arguments, viewer=viewer) as process:
            out, err = process.communicate(text, timeout=30)
        assert process.returncode == code, (arguments, process.returncode, out, err)
        return out + err


@pytest.fixture
def kubectl(api: Api, tmp_path: Path) -> Kubectl:
    return Kubectl(tmp_path, api)


@needs_kubectl
def test_kubectl_reads(api: Api, kubectl: Kubectl) -> None:
    api.create(node("n1"))
    api.create(pod("p", "n1"))
    assert "n1" in kubectl.run("get", "nodes", "-o", "wide")
    assert "0/1" in kubectl.run("get", "pods", "-A", "-o", "wide")
    assert "CiliumNodeConfig" in kubectl.run("api-resources")
    assert kubectl.run("get", "po", "p", "-o", "jsonpath={.spec.nodeName}") == "n1"
    assert "Server Version: v1.36.2" in kubectl.run("version")
    assert "KIND:       Node" in kubectl.run("explain", "nodes")


@needs_kubectl
def test_kubectl_changes_a_node(api: Api, kubectl: Kubectl) -> None:
    api.create(node("n1"))
    kubectl.run("label", "node", "n1", "a=b")
    kubectl.run("annotate", "node", "n1", "c=d")
    kubectl.run("taint", "node", "n1", "x=y:NoExecute")
    kubectl.run("cordon", "n1")
    found = api.get("/api/v1/nodes/n1").body
    assert found["metadata"]["labels"] == {"a": "b"} and found["metadata"]["annotations"] == {"c": "d"}
    assert found["spec"] == {"unschedulable": True, "taints": [{"key": "x", "value": "y", "effect": "NoExecute"}]}
    kubectl.run("taint", "node", "n1", "x:NoExecute-")
    kubectl.run("uncordon", "n1")
    kubectl.run("label", "node", "n1", "a-")
    assert api.get("/api/v1/nodes/n1").body["spec"] == {}
    kubectl.run("patch", "node", "n1", "-p", '{"metadata":{"labels":{"s":"1"}}}')
    kubectl.run("patch", "node", "n1", "--type=merge", "-p", '{"metadata":{"labels":{"m":"1"}}}')
    kubectl.run("patch", "node", "n1", "--type=json", "-p", '[{"op":"add","path":"/metadata/labels/j","value":"1"}]')
    status = '{"status":{"conditions":[{"type":"Ready","status":"True"}]}}'
    kubectl.run("patch", "node", "n1", "--subresource=status", "-p", status)
    assert api.get("/api/v1/nodes/n1").body["metadata"]["labels"] == {"s": "1", "m": "1", "j": "1"}
    assert "condition met" in kubectl.run("wait", "--for=condition=Ready", "node/n1", "--timeout=5s")


@needs_kubectl
def test_kubectl_apply_and_diff(kubectl: Kubectl) -> None:
    one, two = config_map("c", a="1"), config_map("c", a="2")
    assert "created" in kubectl.run("create", "-f", "-", stdin=config_map("plain"))
    assert "created" in kubectl.run("apply", "-f", "-", stdin=one)
    assert "unchanged" in kubectl.run("apply", "-f", "-", stdin=one)
    assert '+  a: "2"' in kubectl.run("diff", "-f", "-", stdin=two, code=1)
    assert "configured" in kubectl.run("apply", "-f", "-", stdin=two)
    conflict = kubectl.run("apply", "--server-side", "-f", "-", stdin=one, code=1)
    assert 'conflict with "kubectl-client-side-apply" using v1: .data.a' in conflict
    assert "serverside-applied" in kubectl.run("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=one)
    assert '+  a: "2"' in kubectl.run("diff", "--server-side", "-f", "-", stdin=two, code=1)
    assert "deleted" in kubectl.run("delete", "cm", "c", "plain")


@needs_kubectl
def test_kubectl_custom_resource_and_refusals(kubectl: Kubectl) -> None:
    spec = {"nodeSelector": {"matchLabels": {"a": "b"}}, "defaults": {"mode": "netkit"}}
    metadata = {"name": "zz", "namespace": "kube-system"}
    body = {"apiVersion": "cilium.io/v2", "kind": "CiliumNodeConfig", "metadata": metadata, "spec": spec}
    assert "created" in kubectl.run("apply", "-f", "-", stdin=body)
    body["spec"] = {**spec, "defaults": {"mtu": 1}}
    assert "must be of type string" in kubectl.run("apply", "-f", "-", stdin=body, code=1)
    refused = kubectl.run("cordon", "n1", viewer=True, code=1)
    assert "NotFound" in refused or "not found" in refused
    assert "no" in kubectl.run("auth", "can-i", "patch", "pods", viewer=True, code=1)
    assert "yes" in kubectl.run("auth", "can-i", "list", "pods", viewer=True)
    assert "viewer" in kubectl.run("auth", "whoami", viewer=True)


@needs_kubectl
def test_kubectl_watch_and_wait_for_deletion(api: Api, kubectl: Kubectl) -> None:
    api.create(node("n1"))
    with kubectl.start("get", "nodes", "--watch", "--request-timeout=3s") as process:
        assert process.stdout is not None
        assert "NAME" in process.stdout.readline() and "n1" in process.stdout.readline()
        api.patch("/api/v1/nodes/n1", {"spec": {"unschedulable": True}})
        assert "SchedulingDisabled" in process.stdout.readline()
        process.terminate()
    api.create(pod("p", "n1"))
    remover = threading.Timer(0.3, lambda: api.delete("/api/v1/namespaces/default/pods/p?gracePeriodSeconds=0"))
    remover.start()
    assert "deleted" in kubectl.run("delete", "pod", "p", "--timeout=10s")
    remover.join()


# -- the official client ------------------------------------------------------------------------------------------


@pytest.fixture
def client(api: Api) -> Iterator[Any]:
    configuration = kubernetes.client.Configuration(host=api.url)
    assert api.files is not None
    configuration.ssl_ca_cert = str(api.files.ca)
    configuration.api_key = {"authorization": ADMIN}
    configuration.api_key_prefix = {"authorization": "Bearer"}
    with kubernetes.client.ApiClient(configuration) as made:
        yield made
        made.rest_client.pool_manager.clear()


def test_client_lists_patches_and_evicts(api: Api, client: Any) -> None:
    core = kubernetes.client.CoreV1Api(client)
    core.create_node({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
    assert core.patch_node("n1", {"spec": {"unschedulable": True}}).spec.unschedulable is True
    assert [item.metadata.name for item in core.list_node(limit=1).items] == ["n1"]
    api.create(running_pod("p"), keep_status=True)
    (found,) = core.list_pod_for_all_namespaces(field_selector="spec.nodeName=n1").items
    assert found.status.phase == "Running" and found.spec.containers[0].name == "c"
    eviction = kubernetes.client.V1Eviction(metadata=kubernetes.client.V1ObjectMeta(name="p", namespace="default"))
    core.create_namespaced_pod_eviction("p", "default", eviction)
    assert core.read_namespaced_pod("p", "default").metadata.deletion_timestamp is not None
    with pytest.raises(kubernetes.client.ApiException) as refused:
        core.read_node("n9")
    assert refused.value.status == 404 and json.loads(refused.value.body)["reason"] == "NotFound"


def test_client_watches(api: Api, client: Any) -> None:
    core = kubernetes.client.CoreV1Api(client)
    api.create(node("n1"))
    seen: list[tuple[str, str]] = []
    watch = kubernetes.watch.Watch()
    threading.Timer(0.3, lambda: api.create(node("n2"))).start()
    for event in watch.stream(core.list_node, timeout_seconds=2):
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 2:
            watch.stop()
    assert seen == [("ADDED", "n1"), ("ADDED", "n2")]


def test_client_custom_objects_and_leases(client: Any) -> None:
    custom = kubernetes.client.CustomObjectsApi(client)
    spec = {"nodeSelector": {}, "defaults": {"a": "b"}}
    body = {"apiVersion": "cilium.io/v2", "kind": "CiliumNodeConfig", "metadata": {"name": "zz"}, "spec": spec}
    created = custom.create_namespaced_custom_object("cilium.io", "v2", "kube-system", "ciliumnodeconfigs", body)
    assert created["metadata"]["uid"]
    coordination = kubernetes.client.CoordinationV1Api(client)
    lease = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me", "leaseDurationSeconds": 15}}
    made = coordination.create_namespaced_lease("default", lease)
    made.spec.holder_identity = "other"
    replaced = coordination.replace_namespaced_lease("l", "default", made)
    assert replaced.spec.holder_identity == "other"
    with pytest.raises(kubernetes.client.ApiException) as refused:
        coordination.replace_namespaced_lease("l", "default", made)
    assert refused.value.status == 409


def test_raw_patch_rate(api: Api) -> None:
    """A benchmark of clients must not be one of the server: hundreds of writes a second over one connection."""
    api.create(node("n1"))
    connection = api.connect()
    headers = {"Authorization": f"Bearer {ADMIN}", "Content-Type": "application/merge-patch+json"}
    start = time.monotonic()
    for number in range(300):
        connection.request(
            "PATCH", "/api/v1/nodes/n1", json.dumps({"metadata": {"labels": {"n": str(number)}}}), headers
        )
        assert connection.getresponse().read()
    elapsed = time.monotonic() - start
    connection.close()
    assert elapsed < 3.0
