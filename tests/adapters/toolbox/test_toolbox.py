"""Toolbox pods: what becomes of them, in words, and that none is left behind."""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from rollout.adapters.toolbox import manifest as manifests
from rollout.adapters.toolbox import runs
from rollout.adapters.toolbox.manifest import ToolboxSettings, manifest, packed
from rollout.adapters.toolbox.port import LABEL_TOOLBOX, PodLog
from rollout.adapters.toolbox.words import document_of
from rollout.domain.errors import StepFailed, UsageError
from rollout.domain.inventory import Observation
from rollout.lab.apiserver import Fault
from rollout.ports.hosts import Host
from tests.support.kubelet import LocalKubelets, Status, ended, waiting
from tests.support.toolbox import NAMESPACE, ToolboxRig, toolbox_rig

Rig = Callable[[LocalKubelets], ToolboxRig]
N1, N2 = Host("n1", "192.0.2.1"), Host("n2", "192.0.2.2")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    opened: list[AbstractContextManager[ToolboxRig]] = []

    def start(kubelets: LocalKubelets) -> ToolboxRig:
        opened.append(toolbox_rig(tmp_path, kubelets))
        return opened[-1].__enter__()

    yield start
    for one in opened:
        one.__exit__(None, None, None)


def links(found: Mapping[str, Mapping[str, Observation]], node: str = "n1") -> Observation:
    return found[node]["links"]


def printing(text: str) -> Callable[[list[str]], list[str]]:
    return lambda _: [sys.executable, "-c", f"print({text!r})"]


# -- what goes well --------------------------------------------------------------------------------------------------


def test_the_pod_runs_the_programs_and_is_gone_afterwards(rig: Rig) -> None:
    world = rig(LocalKubelets("n1"))
    found = world.observer().observe((N1,), ("links",), wall_s=60)
    assert links(found).document["probe"] == "links"
    assert world.pods() == []
    assert world.notes == []


def test_a_node_that_is_slow_does_not_take_the_others_documents(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_LATE_S", 0)
    world = rig(LocalKubelets("n1", refuse={"n2": waiting("ContainerCreating")}))
    found = world.observer().observe((N1, N2), ("links",), wall_s=5)
    assert links(found).readable
    assert links(found, "n2").code == "toolbox-pending"
    assert "still pending after 5 s: ContainerCreating" in links(found, "n2").error
    assert world.pods() == []


def test_only_so_many_pods_at_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "AT_ONCE", 2)
    nodes = [f"n{i}" for i in range(5)]
    world = rig(LocalKubelets(*nodes))
    world.kubelets.command = lambda _: [sys.executable, "-c", "import time; time.sleep(0.3); print('{\"schema\":1}')"]
    world.observer().observe([Host(node, "192.0.2.1") for node in nodes], ("links",), wall_s=60)
    assert world.kubelets.most_at_once == 2
    assert len(world.kubelets.pods) == 5


# -- the pod ---------------------------------------------------------------------------------------------------------


def test_the_pod_goes_where_nothing_else_may(rig: Rig) -> None:
    world = rig(LocalKubelets("n1"))
    world.observer(pull_secret="regcred").observe((N1,), ("links",), wall_s=40)
    (pod,) = world.kubelets.pods
    meta, spec = pod["metadata"], pod["spec"]
    assert meta["labels"]["app.kubernetes.io/managed-by"] == "netkit-rollout"
    assert meta["labels"][LABEL_TOOLBOX]
    assert meta["annotations"] == {"netkit-rollout.io/by": "ann@desk"}
    assert (spec["nodeName"], spec["hostNetwork"], spec["hostPID"]) == ("n1", True, True)
    assert (spec["restartPolicy"], spec["automountServiceAccountToken"]) == ("Never", False)
    assert spec["tolerations"][0] == {"operator": "Exists"}
    assert 40 <= spec["activeDeadlineSeconds"] <= 60
    assert spec["imagePullSecrets"] == [{"name": "regcred"}]
    (container,) = spec["containers"]
    assert container["securityContext"]["privileged"] is True
    assert container["command"][:3] == ["python3", "-I", "-c"]


def test_mounts_are_seen_as_the_host_has_them() -> None:
    settings = ToolboxSettings("x", agent_socket="/run/other/agent.sock")
    spec = manifest(settings, "r", "p", "n1", {}, 30)["spec"]
    paths = {volume["name"]: volume["hostPath"] for volume in spec["volumes"]}
    for mount in spec["containers"][0]["volumeMounts"]:
        assert mount["mountPath"] == paths[mount["name"]]["path"]
        assert mount["mountPropagation"] == "HostToContainer"
    assert {one["path"] for one in paths.values()} == {"/sys/kernel", "/sys/fs/bpf", "/run/netns", "/run/other"}


def test_what_does_not_fit_a_pod_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "LARGEST_PACK", 1000)
    with pytest.raises(StepFailed, match="a pod takes 1000") as caught:
        packed({"probes": ["links"]})
    assert caught.value.code == "toolbox-too-large"


def test_a_long_text_is_several_arguments_that_the_kernel_takes(rig: Rig) -> None:
    noise = "".join(hashlib.sha256(str(i).encode()).hexdigest() for i in range(6000))
    inputs = {"n1": {"noise": {"hex": noise}}}
    world = rig(LocalKubelets("n1"))
    assert links(world.observer().observe((N1,), ("links",), wall_s=60, inputs=inputs)).readable
    arguments = world.kubelets.pods[0]["spec"]["containers"][0]["command"]
    assert len(arguments) > 5
    assert all(len(word) <= manifests.LARGEST_ARGUMENT for word in arguments)


def test_program_and_request_have_room_to_grow() -> None:
    pairs = [{"id": f"default/guard-{i}", "from": "a", "to": "b", "protocol": "tcp", "port": 80 + i} for i in range(50)]
    request = {"probes": ["links"], "inputs": {"policy": {"pairs": pairs}}}
    assert sum(map(len, packed(request))) < manifests.LARGEST_PACK // 3


@pytest.mark.parametrize("settings", [ToolboxSettings(""), ToolboxSettings("a b"), ToolboxSettings("x", "No Name")])
def test_settings_that_cannot_be_used(settings: ToolboxSettings) -> None:
    with pytest.raises(UsageError, match=r"cannot observe by toolbox pods: toolbox\.(image|pull_secret)"):
        settings.check()


# -- what goes wrong, by the kubelet's words -------------------------------------------------------------------------

FAILED_TO_START = 'exec: "python3": executable file not found in $PATH'
REFUSED: tuple[tuple[Status, str, str], ...] = (
    (waiting("ImagePullBackOff", "Back-off pulling image"), "toolbox-image", "check toolbox.image"),
    (waiting("InvalidImageName", "couldn't parse"), "toolbox-image", "cannot be pulled: InvalidImageName"),
    (waiting("CreateContainerError", "no space left"), "toolbox-start", "CreateContainerError: no space left"),
    ({"phase": "Failed", "reason": "OutOfpods", "message": "too many pods"}, "toolbox-refused", "OutOfpods: too many"),
    ({"phase": "Failed", "reason": "DeadlineExceeded"}, "program-timeout", "its deadline passed"),
    (ended(142), "program-timeout", "time limit passed"),
    (ended(128, "StartError", FAILED_TO_START), "python-missing", "toolbox/Dockerfile"),
    (ended(137, "OOMKilled"), "program-error", "exit code 137, OOMKilled"),
)


@pytest.mark.parametrize(("status", "code", "words"), REFUSED, ids=[code + words[:9] for _, code, words in REFUSED])
def test_what_the_kubelet_says_is_passed_on(rig: Rig, status: Status, code: str, words: str) -> None:
    world = rig(LocalKubelets(refuse={"n1": status}))
    seen = links(world.observer().observe((N1,), ("links",), wall_s=30))
    assert not seen.document
    assert words in seen.error
    assert seen.error.startswith("cannot observe n1")
    assert seen.code == code
    assert world.pods() == []


def test_a_kubelet_that_is_not_there(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_TAKEN_S", 0.5)
    world = rig(LocalKubelets())
    seen = links(world.observer().observe((N1,), ("links",), wall_s=30))
    assert (seen.code, "is the node up?" in seen.error) == ("toolbox-not-taken", True)
    assert world.pods() == [], "a pod that no kubelet has seen needs no grace"


def test_an_event_tells_why_a_pod_is_pending(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_LATE_S", 0)
    world = rig(LocalKubelets(refuse={"n1": waiting("ContainerCreating")}))
    done: list[Any] = []
    thread = threading.Thread(target=lambda: done.append(world.observer().observe((N1,), ("links",), wall_s=2)))
    thread.start()
    _until(lambda: bool(world.kubelets.pods))
    meta = world.kubelets.pods[0]["metadata"]
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "e1", "namespace": NAMESPACE},
        "involvedObject": {"kind": "Pod", "name": meta["name"], "uid": meta["uid"]},
        "type": "Warning",
        "reason": "FailedMount",
        "message": "hostPath type check failed: /sys/fs/bpf is not a directory",
    }
    world.running.call(world.running.server.store.create, event)
    thread.join(20)
    assert "FailedMount: hostPath type check failed" in links(done[0]).error


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("no json here", "program-error", "printed no document (exit code 0, Completed): no json here"),
        ('{"schema":1,"failed":true,"code":"unknown-probe","message":"cannot run"}', "unknown-probe", "cannot run"),
        ('{"schema":1}', "", "no document"),
    ],
)
def test_what_the_program_says(rig: Rig, monkeypatch: pytest.MonkeyPatch, text: str, code: str, words: str) -> None:
    monkeypatch.setattr(runs, "_RETRY_S", 0.01)
    world = rig(LocalKubelets("n1"))
    world.kubelets.command = printing(text)
    seen = links(world.observer().observe((N1,), ("links",), wall_s=30))
    assert (seen.code, words in seen.error) == (code, True), seen.error


def test_a_document_is_found_among_other_lines() -> None:
    lines = ["Warning: x", '{"schema":1,"documents":{}}', '{"not": "ours"}', "Exception ignored in: y", '{"cut']
    assert document_of(PodLog("\n".join(lines))) == {"schema": 1, "documents": {}}
    assert document_of(PodLog('{"schema":1,"docu', cut=True)) is None


def test_a_log_that_comes_late_is_read_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_RETRY_S", 0.01)
    world = rig(LocalKubelets("n1"))
    world.running.call(world.running.server.faults.add, Fault(path="/log$", status=503))
    assert links(world.observer().observe((N1,), ("links",), wall_s=30)).readable


# -- what goes wrong, by the API's words -----------------------------------------------------------------------------

POD_SECURITY = 'pods "x" is forbidden: violates PodSecurity "restricted:latest": privileged'
WEBHOOK = 'admission webhook "validate.example" denied the request: no host paths'


@pytest.mark.parametrize(
    ("status", "reason", "message", "code", "words"),
    [
        (403, "Forbidden", POD_SECURITY, "toolbox-denied", "pod-security.kubernetes.io/enforce=privileged"),
        (403, "Forbidden", WEBHOOK, "toolbox-denied", "let the admission policy except"),
        (403, "Forbidden", 'User "ann" cannot create', "not-permitted", "a role that allows the verb create on pods"),
        (403, "Forbidden", "exceeded quota: pods", "not-permitted", "exceeded quota"),
    ],
)
def test_the_api_refuses_the_pod(rig: Rig, status: int, reason: str, message: str, code: str, words: str) -> None:
    world = rig(LocalKubelets("n1"))
    fault = Fault(method="POST", path="/pods$", status=status, reason=reason, message=message)
    world.running.call(world.running.server.faults.add, fault)
    seen = links(world.observer().observe((N1,), ("links",), wall_s=30))
    assert (seen.code, words in seen.error) == (code, True), seen.error


def test_a_namespace_that_does_not_exist(rig: Rig) -> None:
    world = rig(LocalKubelets("n1"))
    seen = links(world.observer("nowhere").observe((N1,), ("links",), wall_s=30))
    assert (seen.code, "kubectl create namespace nowhere" in seen.error) == ("toolbox-namespace", True), seen.error


def test_the_api_is_busy_for_a_moment(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_RETRY_S", 0.01)
    world = rig(LocalKubelets("n1"))
    for method in ("POST", "DELETE"):
        world.running.call(world.running.server.faults.add, Fault(method=method, path="/pods", status=429))
    assert links(world.observer().observe((N1,), ("links",), wall_s=30)).readable
    assert (world.pods(), world.notes) == ([], [])


def test_an_answer_that_was_lost_loses_no_pod(rig: Rig) -> None:
    world = rig(LocalKubelets("n1"))
    fault = Fault(method="POST", path="/pods$", drop=True, after_effect=True)
    world.running.call(world.running.server.faults.add, fault)
    assert links(world.observer().observe((N1,), ("links",), wall_s=30)).readable
    assert (world.pods(), len(world.kubelets.pods)) == ([], 1)


def test_pods_that_cannot_be_deleted_are_told(rig: Rig) -> None:
    world = rig(LocalKubelets("n1"))
    world.running.call(world.running.server.faults.add, Fault(method="DELETE", path="/pods", status=403, times=None))
    assert links(world.observer().observe((N1,), ("links",), wall_s=30)).readable
    assert len(world.pods()) == 1
    assert len(world.notes) == 1
    assert "it ends by its deadline" in world.notes[0]


def test_nobody_lists_pods_there(rig: Rig) -> None:
    world = rig(LocalKubelets("n1"))
    world.running.call(world.running.server.faults.add, Fault(method="GET", path="/pods", status=403, times=None))
    found = world.observer().observe((N1, N2), ("links", "agent"), wall_s=30)
    assert all(one.code == "not-permitted" for node in found.values() for one in node.values())
    assert world.kubelets.pods == []


# -- nothing is left behind ------------------------------------------------------------------------------------------


def test_a_cancel_ends_waiting_and_pods(rig: Rig) -> None:
    world = rig(LocalKubelets("n1", "n2"))
    world.kubelets.command = lambda _: [sys.executable, "-c", "import time; time.sleep(60)"]
    cancel, done = Event(), []
    run = lambda: done.append(world.observer().observe((N1, N2), ("links",), wall_s=90, cancel=cancel))  # noqa: E731
    thread = threading.Thread(target=run)
    thread.start()
    _until(lambda: world.kubelets.running == 2)
    begun = time.monotonic()
    cancel.set()
    thread.join(20)
    assert time.monotonic() - begun < 5
    assert {links(done[0], node).code for node in ("n1", "n2")} == {"cancelled"}
    _until(lambda: world.kubelets.running == 0)
    assert world.pods() == []


def test_a_pod_that_somebody_deletes(rig: Rig) -> None:
    world = rig(LocalKubelets("n1"))
    world.kubelets.command = lambda _: [sys.executable, "-c", "import time; time.sleep(60)"]
    done: list[Any] = []
    thread = threading.Thread(target=lambda: done.append(world.observer().observe((N1,), ("links",), wall_s=90)))
    thread.start()
    _until(lambda: world.kubelets.running == 1)
    name = world.kubelets.pods[0]["metadata"]["name"]
    world.running.call(world.running.server.store.remove_now, "pods", name, NAMESPACE)
    thread.join(20)
    assert links(done[0]).code == "toolbox-gone"


def test_leftovers_of_a_dead_process_are_swept_and_those_of_others_are_not(rig: Rig) -> None:
    world = rig(LocalKubelets("n1"))
    settings = ToolboxSettings("x")
    for name, left_s, made in (("old", 30, "2020-01-01T00:00:00Z"), ("other", 30, None)):
        pod = manifest(settings, "another", name, "n9", {}, left_s)
        pod["metadata"] |= {"namespace": NAMESPACE, "uid": name} | ({"creationTimestamp": made} if made else {})
        world.running.call(world.running.server.store.seed, [pod])
    world.observer().observe((N1,), ("links",), wall_s=30)
    assert [pod["metadata"]["name"] for pod in world.pods()] == ["other"]


def _until(true: Callable[[], bool], timeout_s: float = 15) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)
