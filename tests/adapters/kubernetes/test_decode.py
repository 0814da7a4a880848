"""Recorded objects, and odd ones, to domain values."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.adapters.kubernetes import documents as docs
from rollout.adapters.kubernetes.agent import config_args
from rollout.adapters.kubernetes.decode import (
    budget_value,
    cpu_millis,
    daemonset_value,
    decode,
    decode_page,
    memory_bytes,
    node_config_value,
    node_value,
    pod_value,
)
from rollout.domain.errors import Unavailable
from rollout.domain.node import LABEL_MODE, Pod, Toleration

DATA = Path(__file__).parent / "data"


def recorded(name: str) -> bytes:
    return (DATA / f"{name}.json").read_bytes()


def pods() -> dict[str, Pod]:
    items, _, _ = decode_page(recorded("pods"), docs.PodDoc, "pods")
    return {pod.ref.name: pod for pod in map(pod_value, items)}


def test_recorded_nodes() -> None:
    items, version, token = decode_page(recorded("nodes"), docs.NodeDoc, "nodes")
    first, second = map(node_value, items)
    assert (version, token) == ("", "")
    assert (first.name, second.name) == ("n1", "n2")
    assert first.ready is True
    assert not first.unschedulable
    assert first.kernel == "6.12.107+deb13-cloud-amd64"
    assert first.boot_id == "2258c228-226e-45c9-aaee-4578a17d25c7"
    assert first.internal_ip == "192.168.77.11"
    assert first.os_image == "Debian GNU/Linux 13 (trixie)"
    assert first.labels["kubernetes.io/hostname"] == "n1"
    assert first.uid == "739c664d-0415-4f64-8f64-6e49183cf6de"


def test_recorded_node_with_our_label() -> None:
    node = node_value(decode(recorded("node-agent-refusing"), docs.NodeDoc, "node"))
    assert node.labels[LABEL_MODE] == "netkit"


def test_recorded_pods() -> None:
    found = pods()
    assert len(found) == 8
    logd = next(pod for name, pod in found.items() if name.startswith("logd-"))
    assert (logd.owner_kind, logd.owner_name, logd.phase, logd.ready) == ("DaemonSet", "logd", "Running", True)
    assert logd.on_pod_network
    assert not logd.mirror
    web = next(pod for name, pod in found.items() if name.startswith("web-"))
    assert (web.owner_kind, web.labels["app"]) == ("ReplicaSet", "web")
    assert web.ip.startswith("10.244.")
    agent = next(pod for name, pod in found.items() if name.startswith("cilium-"))
    assert agent.host_network
    assert agent.empty_dir
    assert Toleration("", "Exists") in agent.tolerations


def test_recorded_refusing_agent() -> None:
    pod = pod_value(decode(recorded("pod-agent-refusing"), docs.PodDoc, "pod"))
    assert (pod.ready, pod.restarts, pod.waiting) == (False, 3, "CrashLoopBackOff")


def test_recorded_budget() -> None:
    items, _, _ = decode_page(recorded("pdbs"), docs.BudgetDoc, "budgets")
    (budget,) = map(budget_value, items)
    assert (budget.name, budget.max_unavailable, budget.min_available) == ("web", "1", "")
    assert (budget.disruptions_allowed, budget.current_healthy, budget.desired_healthy) == (1, 4, 3)
    assert budget.observed
    assert not budget.selects_all
    assert sum(budget.matches(pod) for pod in pods().values()) == 4


def test_recorded_daemonset() -> None:
    value = daemonset_value(decode(recorded("daemonset-cilium"), docs.DaemonSetDoc, "daemonset"))
    assert (value.namespace, value.name, value.pod_network, value.desired) == ("kube-system", "cilium", False, 2)


def test_nothing_but_a_name_is_enough() -> None:
    for text in (b'{"metadata":{"name":"x"}}', b'{"metadata":{"name":"x","labels":null},"spec":null,"status":null}'):
        node = node_value(decode(text, docs.NodeDoc, "x"))
        assert (node.name, node.ready, node.taints) == ("x", None, ())
        pod = pod_value(decode(text, docs.PodDoc, "x"))
        assert (pod.ref.name, pod.phase, pod.ready, pod.finished) == ("x", "Unknown", False, False)
        assert not budget_value(decode(text, docs.BudgetDoc, "x")).observed
        assert daemonset_value(decode(text, docs.DaemonSetDoc, "x")).ready == 0
        assert not node_config_value(decode(text, docs.NodeConfigDoc, "x")).has_selector


def test_null_lists_and_odd_types_are_tolerated() -> None:
    assert decode_page(b'{"items":null}', docs.PodDoc, "pods") == ([], "", "")
    odd = {
        "metadata": {"name": "x", "labels": {"a": "1", "b": None}, "generation": "7"},
        "spec": {"nodeName": None, "tolerations": [None, {"operator": "Exists"}], "containers": None},
        "status": {"containerStatuses": [{"restartCount": "3"}], "conditions": [{"type": "Ready", "status": None}]},
    }
    items, _, _ = decode_page(json.dumps({"items": [odd, None]}).encode(), docs.PodDoc, "pods")
    (pod,) = map(pod_value, items)
    assert pod.labels == {"a": "1"}
    assert pod.restarts == 3
    assert pod.tolerations == (Toleration("", "Exists"),)


def test_what_cannot_be_read_is_named_and_unavailable() -> None:
    bad = {"items": [{"metadata": {"name": "good"}}, {"metadata": {"name": "bad", "namespace": "ns"}, "spec": 5}]}
    with pytest.raises(Unavailable, match="ns/bad"):
        decode_page(json.dumps(bad).encode(), docs.PodDoc, "list pods")
    for text in (b"", b"<html>", b"[]", b"\xff\xfe", b'{"items":5}', b"[" * 5000):
        with pytest.raises(Unavailable, match="cannot read list pods"):
            decode_page(text, docs.PodDoc, "list pods")


KEYS = ["metadata", "name", "spec", "status", "labels", "taints", "conditions", "containers", "resources", "requests"]
PLAIN = st.none() | st.booleans() | st.integers(-5, 2**70) | st.text(max_size=8) | st.floats(-1e300, 1e300)
JSON = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(JSON)
def test_any_document_is_read_or_unavailable(value: Any) -> None:
    body = json.dumps(value).encode()
    readers: tuple[tuple[type[Any], Callable[[Any], object]], ...] = (
        (docs.PodDoc, pod_value), (docs.NodeDoc, node_value), (docs.BudgetDoc, budget_value),
    )  # fmt: skip
    for kind, convert in readers:
        try:
            convert(decode(body, kind, "thing"))
        except Unavailable as error:
            assert error.message.startswith("cannot read ")


@pytest.mark.parametrize(
    ("text", "millis", "size"),
    [
        ("0", 0, 0), ("1", 1000, 1), ("100m", 100, 1), ("1500m", 1500, 2), ("0.1", 100, 1), ("2k", 2_000_000, 2000),
        ("1Ki", 1_024_000, 1024), ("128974848", 128974848000, 128974848), ("129e6", 129_000_000_000, 129_000_000),
        ("1E", 10**21, 10**18), ("250u", 1, 1), ("nonsense", 0, 0), ("", 0, 0), (".5", 500, 1),
    ],
)  # fmt: skip
def test_quantities(text: str, millis: int, size: int) -> None:
    assert (cpu_millis(text), memory_bytes(text)) == (millis, size)


def test_requests_are_what_the_scheduler_counts() -> None:
    def container(cpu: str, **more: str) -> dict[str, Any]:
        return {"name": "c", "resources": {"requests": {"cpu": cpu, "memory": "1Mi"}}, **more}

    def value(**spec: Any) -> int:
        return pod_value(decode(msgspec.json.encode({"spec": spec}), docs.PodDoc, "pod")).cpu_millis

    two = [container("100m"), container("200m")]
    assert value(containers=two) == 300
    assert value(containers=two, initContainers=[container("250m")]) == 300
    assert value(containers=two, initContainers=[container("1")]) == 1000
    assert value(containers=two, initContainers=[container("50m", restartPolicy="Always")]) == 350
    assert value(containers=two, initContainers=[container("50m", restartPolicy="Always"), container("400m")]) == 450
    assert value(containers=two, overhead={"cpu": "10m"}) == 310
    assert value(containers=two, resources={"requests": {"cpu": "2"}}) == 2000


def test_only_a_controller_replaces_a_pod() -> None:
    owners = [{"kind": "ConfigMap", "name": "a"}, {"kind": "ReplicaSet", "name": "b", "controller": True}]
    for rows, kind in ((owners, "ReplicaSet"), (owners[:1], ""), (None, "")):
        body = msgspec.json.encode({"metadata": {"ownerReferences": rows}})
        assert pod_value(decode(body, docs.PodDoc, "pod")).owner_kind == kind


def test_selectors_of_node_configs_are_told_apart() -> None:
    def value(**spec: Any) -> tuple[bool, bool]:
        config = node_config_value(decode(msgspec.json.encode({"spec": spec}), docs.NodeConfigDoc, "config"))
        return config.has_selector, config.selects({"a": "b"})

    assert value(defaults={}) == (False, False)
    assert value(nodeSelector={}) == (True, True)
    assert value(nodeSelector={"matchLabels": {"a": "b"}}) == (True, True)
    assert value(nodeSelector={"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}) == (True, False)


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({"args": ["--datapath-mode=veth"]}, ("--datapath-mode=veth",)),
        ({"command": ["cilium-agent", "--datapath-mode", "veth", "--debug"]}, ("--datapath-mode=veth", "--debug")),
        ({"command": ["sh", "-c", "exec cilium-agent --datapath-mode 'veth' --x"]}, ("--datapath-mode=veth", "--x")),
        ({"env": [{"name": "CILIUM_DATAPATH_MODE", "value": "veth"}]}, ("CILIUM_DATAPATH_MODE=veth",)),
        ({"env": [{"name": "CILIUM_K8S_NAMESPACE", "valueFrom": {"fieldRef": {}}}]}, ()),
        ({"env": [{"name": "PATH", "value": "/"}]}, ()),
        (
            {"env": [{"name": "CILIUM_DATAPATH_MODE", "valueFrom": {"configMapKeyRef": {"name": "x"}}}]},
            ("CILIUM_DATAPATH_MODE=(configMapKeyRef)",),
        ),
        ({"command": ["sh", "-c", "unbalanced 'quote --a b"]}, ("--a=b",)),
        ({"command": None, "args": None, "env": None}, ()),
    ],
)
def test_options_set_directly(container: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert config_args(decode(msgspec.json.encode(container), docs.AgentContainerDoc, "container")) == expected
