"""The watch under everything that happens to watches."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rollout.adapters.kubernetes import KubernetesCluster
from rollout.adapters.kubernetes.cache import Cache
from rollout.domain.errors import NotPermitted, Unavailable
from rollout.domain.node import LABEL_MODE
from rollout.lab.apiserver import ApiServer
from rollout.lab.apiserver.threaded import ThreadedServer
from rollout.lab.pki import write_kubeconfig
from tests import builders
from tests.adapters.kubernetes.conftest import QUICK, StandIn, node, pod
from tests.adapters.kubernetes.scripted import Handler, scripted, status, write_config

Connect = Callable[..., KubernetesCluster]


def line(event: dict[str, Any]) -> bytes:
    return msgspec.json.encode(event) + b"\n"


def until(look: Callable[[], Any], seconds: float = 8.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, "never came"
        time.sleep(0.01)
    return found


def label(standin: StandIn, name: str, value: str) -> None:
    def change(changed: Any) -> None:
        changed["metadata"]["labels"] = {LABEL_MODE: value}

    standin.patch_node(name, change)


def sees(cluster: KubernetesCluster, name: str, value: str) -> bool:
    found = cluster.view(name).node
    return found is not None and found.labels.get(LABEL_MODE) == value


def lists(cluster: KubernetesCluster) -> int:
    return cluster.request_counts().get("list nodes", 0)


def watches(cluster: KubernetesCluster) -> int:
    return cluster.request_counts().get("watch nodes", 0)


def test_one_list_and_one_watch_per_kind(standin: StandIn, cluster: KubernetesCluster) -> None:
    standin.seed(*(node(f"n{n}") for n in range(5)), *(pod(f"p{n}", f"n{n % 5}") for n in range(20)))
    for name in range(5):
        assert len(cluster.view(f"n{name}").pods) == 4
    for n in range(20):
        label(standin, "n1", f"v{n}")
        until(lambda value=f"v{n}": sees(cluster, "n1", value))  # type: ignore[misc]
    assert cluster.request_counts() == {"list nodes": 1, "watch nodes": 1, "list pods": 1, "watch pods": 1}


def test_an_expired_version_is_listed_again(standin: StandIn, cluster: KubernetesCluster) -> None:
    """410 inside the stream, as a real server sends it, and 410 in place of it."""
    standin.seed(node("n1"), node("n2"))
    assert cluster.view("n1").node
    unchanged = cluster.view("n2").version
    standin.fault(method="GET", path=r"/nodes\?.*watch=true", status=410, reason="Expired")
    # The watch that is open must end for the next to be refused; meanwhile much happens, and is forgotten.
    standin.running.call(standin.server._watches.stop)
    label(standin, "n1", "after")
    until(lambda: sees(cluster, "n1", "after"))
    until(lambda: lists(cluster) >= 2)
    assert cluster.view("n2").version == unchanged


def test_410_as_an_event(tmp_path: Path, connect: Connect) -> None:
    rounds = {"nodes": 0}

    def answer(handler: Handler) -> None:
        kind = "pods" if "/pods" in handler.path else "nodes"
        if "watch=true" not in handler.path:
            rounds["nodes"] += kind == "nodes"
            items = [{"metadata": {"name": f"n{rounds['nodes']}", "resourceVersion": "5"}}] if kind == "nodes" else []
            handler.reply(200, {"metadata": {"resourceVersion": "5"}, "items": items})
        elif kind == "nodes" and rounds["nodes"] == 1:
            handler.reply(200, line({"type": "ERROR", "object": status(410, "Expired", "too old resource version")}))
        else:
            handler.send_response(200)
            handler.end_headers()
            time.sleep(1)
            handler.close_connection = True

    with scripted(answer) as server:
        cluster = connect(write_config(tmp_path / "config", server.url))
        # The first list's node is gone with the second.
        until(lambda: cluster.view("n2").node)
        assert cluster.view("n1").node is None
        asked = [path for _, path, _ in server.seen if "nodes?" in path and "watch=true" in path]
        assert "resourceVersion=5" in asked[0]
        assert "allowWatchBookmarks=true" in asked[0]


def test_a_broken_watch_goes_on_from_where_it_was(standin: StandIn, cluster: KubernetesCluster) -> None:
    standin.seed(node("n1"))
    standin.fault(method="GET", path=r"/nodes\?.*watch=true", times=2, close_after_events=1)
    for value in ("a", "b", "c", "d"):
        label(standin, "n1", value) if cluster.view("n1").node else None
        until(lambda v=value: sees(cluster, "n1", v))  # type: ignore[misc]
    assert lists(cluster) == 1
    assert watches(cluster) >= 2


def test_bookmarks_move_the_version_on(tmp_path: Path, connect: Connect) -> None:
    def answer(handler: Handler) -> None:
        if "watch=true" not in handler.path:
            handler.reply(200, {"metadata": {"resourceVersion": "5"}, "items": []})
            return
        time.sleep(0.05)
        handler.reply(200, line({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "77"}}}))

    with scripted(answer) as server:
        cluster = connect(write_config(tmp_path / "config", server.url))
        cluster.view("n1")
        until(lambda: any("resourceVersion=77" in path for _, path, _ in list(server.seen)))
        assert lists(cluster) == 1


def test_a_silent_connection_is_not_trusted(tmp_path: Path, connect: Connect) -> None:
    """Half-closed: the peer is gone and nobody said so. Only silence tells."""
    over = threading.Event()

    def answer(handler: Handler) -> None:
        if "watch=true" not in handler.path:
            handler.reply(200, {"metadata": {"resourceVersion": "5"}, "items": [{"metadata": {"name": "n1"}}]})
            return
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.flush()
        over.wait(10)

    with scripted(answer) as server:
        cluster = connect(write_config(tmp_path / "config", server.url), replace(QUICK, quiet_s=0.2))
        assert cluster.view("n1").node
        until(lambda: watches(cluster) >= 3)
        assert lists(cluster) == 1
        assert cluster.view("n1").node
        over.set()


def test_an_api_that_went_away_is_said_and_asked_gently(tmp_path: Path, connect: Connect) -> None:
    server = ApiServer()
    path = tmp_path / "config"
    with ThreadedServer(server) as running:
        write_kubeconfig(path, running.url, "")
        port = running.port
        running.call(server.store.seed, [node("n1"), node("gone")])
        cluster = connect(path)
        assert cluster.view("gone").node
    # For a moment the last view still serves; then it is called by its name.
    until(lambda: _raises(Unavailable, lambda: cluster.view("n1")))
    until(lambda: _raises(Unavailable, cluster.out_of_service))
    sent = sum(cluster.request_counts().values())
    time.sleep(0.5)
    # Two feeds, a pause of at most 0.1 s each, two tries of a GET.
    assert sum(cluster.request_counts().values()) - sent <= 24
    # It comes back with an emptier store and lower versions: what is not there any more is believed.
    again = ApiServer()
    again.store.seed([node("n1")])
    with ThreadedServer(again, port=port):
        until(lambda: not _raises(Unavailable, lambda: cluster.view("n1")))
        assert cluster.view("gone").node is None
        assert cluster.view("n1").node
        cluster.close()


def _raises(kind: type[Exception], act: Callable[[], object]) -> bool:
    try:
        act()
    except kind:
        return True
    return False


def test_a_short_trouble_is_not_told(standin: StandIn, cluster: KubernetesCluster) -> None:
    standin.seed(node("n1"))
    assert cluster.view("n1").node
    standin.fault(method="GET", path="/nodes", status=503, times=2)
    standin.running.call(standin.server._watches.stop)
    for _ in range(10):
        assert cluster.view("n1").node
        time.sleep(0.01)
    label(standin, "n1", "x")
    until(lambda: sees(cluster, "n1", "x"))


def test_not_permitted_is_told_at_once(standin: StandIn, connect: Connect) -> None:
    cluster = connect(standin.kubeconfig("wrong"))
    started = time.monotonic()
    with pytest.raises(NotPermitted, match="cannot list nodes"):
        cluster.view("n1")
    assert time.monotonic() - started < 2


def test_an_unreadable_line_is_a_reason_to_list_again(tmp_path: Path, connect: Connect) -> None:
    lines = iter([b"{broken\n", b'{"type":"ADDED","object":{"metadata":{"name":"n2"},"spec":5}}\n'])

    def answer(handler: Handler) -> None:
        if "watch=true" not in handler.path:
            handler.reply(200, {"metadata": {"resourceVersion": "5"}, "items": [{"metadata": {"name": "n1"}}]})
        elif "/pods" in handler.path or (text := next(lines, None)) is None:
            handler.send_response(200)
            handler.end_headers()
            time.sleep(1)
            handler.close_connection = True
        else:
            handler.reply(200, text)

    with scripted(answer) as server:
        cluster = connect(write_config(tmp_path / "config", server.url))
        assert cluster.view("n1").node
        until(lambda: lists(cluster) == 3)
        assert cluster.view("n1").node


def test_a_server_that_ends_every_watch_at_once_is_asked_gently(tmp_path: Path, connect: Connect) -> None:
    def answer(handler: Handler) -> None:
        watch = "watch=true" in handler.path
        handler.reply(200, b"" if watch else {"metadata": {"resourceVersion": "5"}, "items": []})

    with scripted(answer) as server:
        cluster = connect(write_config(tmp_path / "config", server.url))
        cluster.view("n1")
        time.sleep(0.6)
        assert len(server.seen) < 60


def test_closing_ends_the_threads(standin: StandIn, connect: Connect) -> None:
    standin.seed(node("n1"))
    cluster = connect(standin.kubeconfig("admin-token"))
    view = cluster.view("n1")
    waiting = threading.Thread(target=lambda: _raises(Unavailable, lambda: cluster.wait_change("n1", view.version, 30)))
    waiting.start()
    started = time.monotonic()
    cluster.close()
    waiting.join(5)
    assert not waiting.is_alive()
    assert time.monotonic() - started < 3
    assert not [t for t in threading.enumerate() if t.name.startswith("watch-")]
    until(lambda: standin.server.open_watches == 0)


# -- the cache alone -------------------------------------------------------------------------------------------------


def test_only_changes_that_we_read_move_a_version() -> None:
    cache = Cache()
    first = builders.node("n1")
    cache.put_node(first)
    version = cache.view("n1").version
    cache.put_node(replace(first, resource_version="99"))
    assert cache.view("n1").version == version
    seen = cache.view("n1").node
    assert seen is not None
    assert seen.resource_version == "99"
    cache.put_node(replace(first, ready=False))
    assert cache.view("n1").version > version
    assert cache.out_of_service() == {"n1"}


def test_pods_move_vanish_and_are_reborn() -> None:
    cache = Cache()
    a, b = builders.pod("a", "n1"), builders.pod("b", "n1")
    cache.put_pod(a)
    cache.put_pod(b)
    reborn = builders.pod("a", "n1", uid="second")
    cache.put_pod(reborn)
    assert [p.ref.uid for p in cache.view("n1").pods] == ["uid-b", "second"]
    cache.put_pod(replace(reborn, node="n2"))
    assert [p.ref.name for p in cache.view("n1").pods] == ["b"]
    assert [p.ref.name for p in cache.view("n2").pods] == ["a"]
    before = cache.view("n2").version
    cache.replace_pods([b])
    assert cache.view("n2").pods == ()
    assert cache.view("n2").version > before
    cache.drop_pod(b)
    cache.drop_pod(b)
    assert cache.view("n1").pods == ()


def test_a_waiter_is_woken_by_its_node_only() -> None:
    cache = Cache()
    cache.put_node(builders.node("n1"))
    version = cache.view("n1").version
    woken: list[float] = []

    def wait() -> None:
        cache.wait("n1", version, 5)
        woken.append(time.monotonic())

    thread = threading.Thread(target=wait)
    thread.start()
    for n in range(50):
        cache.put_pod(builders.pod(f"p{n}", "n2"))
    time.sleep(0.05)
    assert not woken
    cache.put_pod(builders.pod("mine", "n1"))
    thread.join(2)
    assert woken
