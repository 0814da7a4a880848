"""The whole node in namespaces of this host, on veth: this kernel need not know netkit."""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agentserver import UnixClient
from lone_node import LoneNode, is_ready, lone_node, make_agent, make_pod
from plain_api import Json

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
    pytest.mark.skipif(shutil.which("nsenter") is None, reason="needs nsenter"),
]
PATIENCE = 60.0
ECHO = """
import os, socket, sys
server = socket.create_server(("", int(sys.argv[1])))
print("listening in", os.environ["WHERE"], flush=True)
while True:
    client, _ = server.accept()
    client.recv(4096)
    client.sendall(b"\\r\\n\\r\\nhello")
    client.close()
"""


@pytest.fixture
def node() -> Iterator[LoneNode]:
    # Not tmp_path: a unix socket's path has room for 107 characters.
    with tempfile.TemporaryDirectory(prefix="lab-") as folder, lone_node(Path(folder)) as running:
        yield running


def ready(node: LoneNode, path: str) -> Json:
    pod = node.api.wait(path, is_ready, PATIENCE)
    assert pod is not None
    return pod


def state_of(pod: Json | None) -> Json:
    statuses = (pod or {}).get("status", {}).get("containerStatuses") or [{}]
    return dict(statuses[0])


def until(wanted: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not wanted():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def phase_of(pod: Json | None) -> str:
    return str((pod or {}).get("status", {}).get("phase", ""))


def gone(pod: Json | None) -> bool:
    return pod is None


def test_life_of_pods(node: LoneNode) -> None:
    agent = make_agent(node.api, "n1", "cilium-1")
    web = make_pod(node.api, "n1", "web-1", ["lab-http"])
    bad = make_pod(node.api, "n1", "bad-1", ["nope", "--flag"])
    ready(node, agent)
    address = ready(node, web)["status"]["podIP"]
    assert json.loads(node.fetch(address, 8080, "/"))["pod"] == "web-1"
    failed = node.api.wait(bad, lambda pod: state_of(pod).get("restartCount", 0) >= 1, PATIENCE)
    assert "StartError" in json.dumps(failed)
    assert '"nope\\": executable file not found' in json.dumps(failed)
    client = UnixClient(node.root / "var/run/cilium/cilium.sock", 10)
    links = {each["status"]["networking"].get("interface-name") for each in client.request("GET", "/v1/endpoint")[1]}
    assert {"cilium_host", "lxc_health"} < links
    endpoint = node.api.wait("/apis/cilium.io/v2/namespaces/default/ciliumendpoints/web-1", bool, PATIENCE)
    assert endpoint is not None
    assert endpoint["status"]["networking"] == {"addressing": [{"ipv4": address}], "node": "192.168.77.11"}
    assert node.api.get("/apis/cilium.io/v2/ciliumnodes/n1") is not None
    node.api.delete(web, grace=5)
    node.api.wait(web, gone, PATIENCE)
    node.api.wait("/apis/cilium.io/v2/namespaces/default/ciliumendpoints/web-1", gone, PATIENCE)


def test_pods_survive_the_kubelet(node: LoneNode) -> None:
    ready(node, make_agent(node.api, "n1", "cilium-1"))
    web = make_pod(node.api, "n1", "web-1", ["lab-http"])
    address = ready(node, web)["status"]["podIP"]
    node.kill()
    assert "web-1" in node.fetch(address, 8080, "/")
    node.start()
    late = make_pod(node.api, "n1", "web-2", ["lab-http"])
    ready(node, late)
    assert "web-1" in node.fetch(address, 8080, "/")
    assert state_of(node.api.get(web))["restartCount"] == 0
    node.api.delete(web, grace=5)
    node.api.wait(web, gone, PATIENCE)


def test_without_an_agent_pods_wait_and_deletions_are_queued(node: LoneNode) -> None:
    agent = make_agent(node.api, "n1", "cilium-1")
    ready(node, agent)
    web = make_pod(node.api, "n1", "web-1", ["lab-http"])
    address = ready(node, web)["status"]["podIP"]
    node.api.delete(agent, grace=1)
    node.api.wait(agent, gone, PATIENCE)
    assert not (node.root / "var/run/cilium/cilium.sock").exists()
    assert "web-1" in node.fetch(address, 8080, "/")
    late = make_pod(node.api, "n1", "web-2", ["lab-http"])
    node.api.delete(web, grace=1)
    node.api.wait(web, gone, PATIENCE)
    queue = node.root / "var/run/cilium/deleteQueue"
    assert len(list(queue.glob("*.delete"))) == 1
    ready(node, make_agent(node.api, "n1", "cilium-2"))
    ready(node, late)
    assert not list(queue.iterdir())
    assert [each["metadata"]["name"] for each in node.api.listed("/apis/cilium.io/v2/ciliumendpoints")] == ["web-2"]
    events = [
        each["message"] for each in node.api.listed("/api/v1/events") if each["involvedObject"]["name"] == "web-2"
    ]
    assert all("unable to connect to Cilium agent" in message for message in events)


def test_a_pod_runs_python_in_its_own_network(node: LoneNode) -> None:
    ready(node, make_agent(node.api, "n1", "cilium-1"))
    command = ["python3", "-I", "-c", ECHO, "8791"]
    probe = {"tcpSocket": {"port": 8791}, "periodSeconds": 1}
    where = {"name": "WHERE", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    container = {"name": "c", "image": "any/image:v1", "command": command, "readinessProbe": probe, "env": [where]}
    path = make_pod(node.api, "n1", "echo-1", command, containers=[container], terminationGracePeriodSeconds=5)
    begin = time.monotonic()
    address = ready(node, path)["status"]["podIP"]
    assert time.monotonic() - begin < 10
    assert node.fetch(address, 8791, "/") == "hello"
    log = node.fetch("127.0.0.1", 10250, "/containerLogs/default/echo-1/c")
    assert f"listening in {address}" in log
    node.api.delete(path, grace=5)
    node.api.wait(path, gone, PATIENCE)


def test_a_pod_ends_well_or_badly_and_leaves_no_link(node: LoneNode) -> None:
    ready(node, make_agent(node.api, "n1", "cilium-1"))
    well = make_pod(node.api, "n1", "well", ["python3", "-I", "-c", "print('done')"], restartPolicy="Never")
    badly = make_pod(node.api, "n1", "badly", ["python3", "-I", "-c", "raise SystemExit(3)"], restartPolicy="Never")
    node.api.wait(well, lambda pod: phase_of(pod) == "Succeeded", PATIENCE)
    failed = node.api.wait(badly, lambda pod: phase_of(pod) == "Failed", PATIENCE)
    assert state_of(failed)["state"]["terminated"]["exitCode"] == 3
    assert "done" in node.fetch("127.0.0.1", 10250, "/containerLogs/default/well/c")
    node.api.wait("/apis/cilium.io/v2/namespaces/default/ciliumendpoints/well", gone, PATIENCE)
    node.api.wait("/apis/cilium.io/v2/namespaces/default/ciliumendpoints/badly", gone, PATIENCE)


def test_a_pod_ends_at_its_deadline(node: LoneNode) -> None:
    ready(node, make_agent(node.api, "n1", "cilium-1"))
    command = ["python3", "-I", "-c", "import time; time.sleep(600)"]
    spec = {"activeDeadlineSeconds": 3, "terminationGracePeriodSeconds": 0, "restartPolicy": "Never"}
    path = make_pod(node.api, "n1", "brief", command, **spec)
    ready(node, path)
    late = node.api.wait(path, lambda pod: phase_of(pod) == "Failed" and "terminated" in state_of(pod)["state"], 10)
    assert late is not None
    assert late["status"]["reason"] == "DeadlineExceeded"
    assert not is_ready(late)
    node.api.wait("/apis/cilium.io/v2/namespaces/default/ciliumendpoints/brief", gone, PATIENCE)
    until(lambda: "lxc" not in node.inside("ip", "-o", "link", "show").replace("lxc_health", ""))


def test_nothing_is_left_of_a_pod_deleted_at_once(node: LoneNode) -> None:
    ready(node, make_agent(node.api, "n1", "cilium-1"))
    path = make_pod(node.api, "n1", "echo-1", ["python3", "-I", "-c", "import time; time.sleep(600)"])
    ready(node, path)
    node.api.delete(path, grace=0)
    node.api.wait("/apis/cilium.io/v2/namespaces/default/ciliumendpoints/echo-1", gone, PATIENCE)
    until(lambda: "lxc" not in node.inside("ip", "-o", "link", "show").replace("lxc_health", ""))
    until(lambda: len(list((node.root / "run/lab/pods").iterdir())) == 1)


def test_a_pod_on_the_hosts_network_runs_as_the_host(node: LoneNode) -> None:
    source = "import os; print(os.getuid(), sorted(os.listdir('/sys/class/net')))"
    spec = {"hostNetwork": True, "hostPID": True, "restartPolicy": "Never"}
    path = make_pod(node.api, "n1", "toolbox", ["python3", "-I", "-c", source], **spec)
    node.api.wait(path, lambda pod: phase_of(pod) == "Succeeded", PATIENCE)
    assert node.fetch("127.0.0.1", 10250, "/containerLogs/default/toolbox/c").startswith("0 [")


def test_unknown_mode_is_fatal(node: LoneNode) -> None:
    node.api.patch("/api/v1/namespaces/kube-system/configmaps/cilium-config", {"data": {"datapath-mode": "odd"}})
    agent = make_agent(node.api, "n1", "cilium-1")
    pod = node.api.wait(agent, lambda pod: state_of(pod).get("restartCount", 0) >= 1, PATIENCE)
    assert state_of(pod)["lastState"]["terminated"]["exitCode"] == 255
    log = node.fetch("127.0.0.1", 10250, "/containerLogs/kube-system/cilium-1/cilium-agent?previous=true&tailLines=1")
    assert "invalid datapath mode: odd" in log
