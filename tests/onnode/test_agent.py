"""The agent's answers, recorded from a real one, over a unix socket."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rollout.domain.observed import parse_agent
from rollout.onnode import agent
from tests.onnode.observations import observation

DATA = Path(__file__).with_name("data")
Respond = Callable[[socket.socket, str], None]


@contextmanager
def serving(path: Path, respond: Respond) -> Iterator[str]:
    """A socket that answers each request by `respond`."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        threading.Thread(target=_serve, args=(listener, respond), daemon=True).start()
        yield str(path)
        listener.shutdown(socket.SHUT_RDWR)


def _serve(listener: socket.socket, respond: Respond) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            request = connection.recv(65536).decode()
            if request:
                respond(connection, request.split()[1])


def recorded(mode: str) -> Respond:
    answers = json.loads((DATA / f"{mode}.json").read_text())

    def respond(connection: socket.socket, path: str) -> None:
        if path not in answers:
            connection.sendall(b"HTTP/1.0 404 Not Found\r\n\r\n")
            return
        body = json.dumps(answers[path]).encode()
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + body)

    return respond


@pytest.mark.parametrize(("mode", "endpoints"), [("netkit", 3), ("veth", 7)])
def test_recorded_agents(tmp_path: Path, mode: str, endpoints: int) -> None:
    with serving(tmp_path / "s", recorded(mode)) as path:
        body = agent.read(path, 10)
    state = parse_agent(observation("agent", body))
    assert state is not None
    assert (state.state, state.mode, state.configured_mode) == ("up", mode, mode)
    assert (state.attach_mode, state.host_routing, state.masquerading) == ("tcx", "BPF", "BPF")
    assert (state.kube_proxy_replacement, state.encryption, state.chaining) == ("True", "Disabled", "none")
    assert state.host_firewall == "Disabled"
    assert state.setting("datapath-mode") == mode
    assert state.setting("enable-bpf-tproxy") is False
    assert state.setting("enable-endpoint-routes") is False
    assert state.setting("enable-host-legacy-routing") is False
    assert len(body["endpoints"]) == endpoints
    assert "lxc_health" in state.endpoint_links


def test_flag_names_and_pod_names_of_older_agents() -> None:
    config = {"status": {"daemonConfigurationMap": {"enable-bpf-tproxy": "true", "other": 1}}}
    assert agent.reduce_config(config)["settings"] == {"enable-bpf-tproxy": "true"}
    endpoint = {
        "id": 7,
        "status": {
            "state": "ready",
            "networking": {"interface-name": "lxc1", "interface-index": 9, "addressing": [{"ipv4": "10.0.0.1"}]},
            "external-identifiers": {"k8s-namespace": "default", "k8s-pod-name": "web-1"},
        },
    }
    shown = agent.reduce_endpoints([endpoint])["endpoints"]
    place = {"interface-name": "lxc1", "interface-index": 9, "ipv4": "10.0.0.1"}
    assert shown == [{"id": 7, "state": "ready", "pod": "default/web-1", **place}]
    assert agent.reduce_endpoints(None) == {"endpoints": []}


def test_failing_controllers_are_counted() -> None:
    controllers = [{"name": "a", "status": {"consecutive-failure-count": 3}}, {"name": "b", "status": {}}]
    body = agent.reduce_status({"controllers": controllers})
    assert (body["controllers"], body["controllers-failing"], body["controllers-failing-names"]) == (2, 1, ["a"])
    assert "configured-datapath-mode" not in body


def test_no_socket_is_down(tmp_path: Path) -> None:
    body = agent.read(str(tmp_path / "none"), 1)
    assert body["agent"] == "down"
    assert "No such file" in body["reason"]
    assert agent.state(str(tmp_path / "none")) == "down"


def test_refusing_socket_is_down(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(tmp_path / "s"))
        assert agent.read(str(tmp_path / "s"), 1)["agent"] == "down"


def test_no_answer_is_slow_and_keeps_what_came_before(tmp_path: Path) -> None:
    answer = recorded("veth")

    def respond(connection: socket.socket, path: str) -> None:
        if path == "/v1/healthz":
            time.sleep(2)
        else:
            answer(connection, path)

    with serving(tmp_path / "s", respond) as path:
        begun = time.monotonic()
        body = agent.read(path, 0.5)
        assert time.monotonic() - begun < 1.5
        assert agent.state(path) == "up"
    assert body["agent"] == "slow"
    assert "/v1/healthz" in body["reason"]
    assert body["endpoints"]


@pytest.mark.parametrize("said", [b"HTTP/1.0 200 OK\r\n\r\n[{", b"HTTP/1.0 503 Unavailable\r\n\r\n", b""])
def test_broken_answers_are_slow(tmp_path: Path, said: bytes) -> None:
    with serving(tmp_path / "s", lambda connection, _: connection.sendall(said)) as path:
        assert agent.read(path, 1)["agent"] == "slow"


def test_drops_out_of_the_agents_metrics(tmp_path: Path) -> None:
    """The shape is that of cilium's api/v1 model Metric; a counter at zero has no value."""
    answer = recorded("netkit")
    label = {"reason": "Unsupported L3 protocol", "direction": "EGRESS"}
    metrics = [
        {"name": "cilium_drop_count_total", "value": 12, "labels": label},
        {"name": "cilium_drop_count_total", "value": 3.0, "labels": label},
        {"name": "cilium_drop_count_total", "labels": {"reason": "Policy denied", "direction": "INGRESS"}},
        {"name": "cilium_drop_bytes_total", "value": 700, "labels": label},
    ]

    def respond(connection: socket.socket, path: str) -> None:
        if path == "/v1/metrics":
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + json.dumps(metrics).encode())
        else:
            answer(connection, path)

    with serving(tmp_path / "s", respond) as path:
        body = agent.read(path, 10)
    assert body["agent"] == "up"
    assert body["drops"] == [
        {"reason": "Policy denied", "direction": "ingress", "packets": 0},
        {"reason": "Unsupported L3 protocol", "direction": "egress", "packets": 15},
    ]
    assert all(isinstance(row["packets"], int) for row in body["drops"])


@pytest.mark.parametrize("said", [b"HTTP/1.0 404 Not Found\r\n\r\n{}", b"HTTP/1.0 200 OK\r\n\r\n[{", b""])
def test_an_agent_without_metrics_is_still_up(tmp_path: Path, said: bytes) -> None:
    answer = recorded("netkit")

    def respond(connection: socket.socket, path: str) -> None:
        if path == "/v1/metrics":
            connection.sendall(said)
        else:
            answer(connection, path)

    with serving(tmp_path / "s", respond) as path:
        body = agent.read(path, 2)
    assert body["agent"] == "up"
    assert "drops" not in body


def test_settings_in_drift_are_counted() -> None:
    gauge = "cilium_drift_checker_config_delta"
    assert agent.reduce_drift([{"name": gauge, "value": 2.0}]) == {"config-delta": 2}
    assert agent.reduce_drift([{"name": gauge}]) == {"config-delta": 0}
    assert agent.reduce_drift([{"name": "cilium_version", "value": 1}]) == {}
    assert agent.reduce_drift(None) == {}
