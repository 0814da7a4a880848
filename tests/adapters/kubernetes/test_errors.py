"""Answers that no healthy server gives, from a scripted one."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rollout.adapters.kubernetes import KubernetesCluster
from rollout.domain.errors import (
    Conflict,
    Foreign,
    Invalid,
    NotFound,
    NotPermitted,
    RolloutError,
    TooManyRequests,
    Unavailable,
)
from rollout.domain.node import OwnerMark, PodRef
from rollout.lab.apiserver import ApiServer, ServerTls
from rollout.lab.apiserver.threaded import ThreadedServer
from rollout.lab.pki import create_pki
from rollout.ports.cluster import EvictionResult
from tests.adapters.kubernetes.scripted import Handler, scripted, status, write_config

SECRET = "t0p-s3cret"
POD = PodRef("web", "web-1", "uid-1")
Connect = Callable[..., KubernetesCluster]
MARK = OwnerMark("r", "p")
SEVERAL = "more than one PodDisruptionBudget, which the eviction subresource does not support"


def always(code: int, body: Any = b"", **more: Any) -> Callable[[Handler], None]:
    return lambda handler: handler.reply(code, body, **more)


@pytest.fixture
def asked(tmp_path: Path, connect: Connect) -> Callable[..., KubernetesCluster]:
    """A cluster whose server always answers the same."""

    def make(url: str, **more: Any) -> KubernetesCluster:
        return connect(write_config(tmp_path / "config", url, token=SECRET), **more)

    return make


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (400, "BadRequest", Invalid), (401, "Unauthorized", NotPermitted), (403, "Forbidden", NotPermitted),
        (404, "NotFound", NotFound), (405, "MethodNotAllowed", Invalid), (408, "Timeout", Unavailable),
        (409, "Conflict", Conflict), (410, "Expired", Unavailable), (413, "RequestEntityTooLarge", Invalid),
        (415, "UnsupportedMediaType", Invalid), (422, "Invalid", Invalid), (429, "TooManyRequests", TooManyRequests),
        (500, "InternalError", Unavailable), (502, "", Unavailable), (503, "ServiceUnavailable", Unavailable),
        (504, "Timeout", Unavailable), (302, "", Unavailable),
    ],
)  # fmt: skip
def test_every_status_is_one_of_ours(asked: Connect, code: int, reason: str, kind: type[Foreign]) -> None:
    with scripted(always(code, status(code, reason, "the server\nsays no\x1b[31m"))) as server:
        cluster = asked(server.url)
        for act in (cluster.cordon, cluster.remove_taint):
            with pytest.raises(kind) as caught:
                act("n1", MARK)
            text = caught.value.message
            assert text.startswith("cannot get nodes n1")
            assert "\n" not in text
            assert "\x1b" not in text
            assert SECRET not in text + caught.value.hint
            if kind is NotPermitted:
                assert "get" in text
                assert "nodes" in text
                assert caught.value.hint


def test_how_long_to_wait(asked: Connect) -> None:
    body = status(429, "TooManyRequests", "slow down", retryAfterSeconds=3)
    for headers, expected in (({"Retry_After": "7"}, 7), ({}, 3), ({"Retry_After": "soon"}, 3)):
        with scripted(always(429, body, **headers)) as server, pytest.raises(TooManyRequests) as caught:
            asked(server.url).read_node("n1")
        assert caught.value.retry_after == expected


def test_a_proxys_page_is_not_quoted_and_not_believed(asked: Connect) -> None:
    page = f"<html>token={SECRET}</html>".encode()
    with scripted(always(404, page, kind="text/html")) as server:
        cluster = asked(server.url)
        with pytest.raises(NotFound) as caught:
            cluster.evict(POD)
        assert SECRET not in caught.value.message
        with pytest.raises(NotFound):
            cluster.delete_pod(POD)
        with pytest.raises(NotFound):
            cluster.pod_log(POD, "c", previous=False)
    unreadable = pytest.raises(Unavailable, match="cannot read node n1")
    with scripted(always(200, page, kind="text/html")) as server, unreadable:
        asked(server.url).read_node("n1")


@pytest.mark.parametrize(
    ("code", "body", "result", "text"),
    [
        (429, status(429, "TooManyRequests", "no", causes=[{"reason": "DisruptionBudget", "message": "web needs 3"}]),
         EvictionResult.REFUSED, "web needs 3"),
        (500, status(500, "", f"This pod has {SEVERAL}."), EvictionResult.IMPOSSIBLE, "more than one"),
        (404, status(404, "NotFound", 'pods "web-1" not found'), EvictionResult.GONE, "not found"),
        (403, status(403, "Forbidden", "ns is being terminated", causes=[{"reason": "NamespaceTerminating"}]),
         EvictionResult.REFUSED, "terminated"),
    ],
)  # fmt: skip
def test_refused_evictions_are_values(
    asked: Connect, code: int, body: dict[str, Any], result: EvictionResult, text: str
) -> None:
    with scripted(always(code, body)) as server:
        answer = asked(server.url).evict(POD, 5)
    assert answer.result is result
    assert text in answer.message


@pytest.mark.parametrize(
    ("code", "kind"), [(500, Unavailable), (503, Unavailable), (403, NotPermitted), (400, Invalid)]
)
def test_other_evictions_are_errors(asked: Connect, code: int, kind: type[Foreign]) -> None:
    with scripted(always(code, status(code, "", "no"))) as server, pytest.raises(kind, match="pods/eviction web/web-1"):
        asked(server.url).evict(POD)


def test_a_conflict_is_gone_only_if_another_pod_is_there(asked: Connect) -> None:
    found = {"uid": "uid-2"}

    def answer(handler: Handler) -> None:
        if handler.command == "GET":
            handler.reply(200, {"metadata": {"name": "web-1", **found}})
        else:
            handler.reply(409, status(409, "Conflict", "object was modified"))

    with scripted(answer) as server:
        cluster = asked(server.url)
        assert cluster.evict(POD).result is EvictionResult.GONE
        assert not cluster.delete_pod(POD)
        found["uid"] = "uid-1"
        with pytest.raises(Conflict):
            cluster.evict(POD)
        with pytest.raises(Conflict):
            cluster.delete_pod(POD)


def test_a_write_is_never_sent_twice(asked: Connect) -> None:
    def answer(handler: Handler) -> None:
        handler.connection.shutdown(socket.SHUT_RDWR)
        handler.close_connection = True

    with scripted(answer) as server:
        cluster = asked(server.url)
        with pytest.raises(Unavailable) as caught:
            cluster.evict(POD)
        assert "not known" in caught.value.message
        assert len(server.seen) == 1
        with pytest.raises(Unavailable):
            cluster.read_node("n1")
        assert len(server.seen) == 3


def test_a_slow_answer_is_no_answer(asked: Connect) -> None:
    over = threading.Event()

    def answer(_handler: Handler) -> None:
        over.wait(10)

    with scripted(answer) as server:
        started = time.monotonic()
        with pytest.raises(Unavailable, match="in time"):
            asked(server.url, request_timeout_s=0.2).read_node("n1")
        assert time.monotonic() - started < 3
        over.set()


def test_an_answer_that_trickles_is_no_answer(asked: Connect) -> None:
    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b" ")
            time.sleep(0.05)

    with scripted(answer) as server:
        started = time.monotonic()
        with pytest.raises(Unavailable, match="in time"):
            asked(server.url, request_timeout_s=0.3).read_node("n1")
        assert time.monotonic() - started < 2


def test_an_answer_cut_short_is_no_answer(asked: Connect) -> None:
    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b'{"metadata":{"name":"n1"}}')
        handler.close_connection = True

    with scripted(answer) as server, pytest.raises(Unavailable):
        asked(server.url).read_node("n1")


def test_gzip_is_asked_for_and_understood(asked: Connect) -> None:
    body = gzip.compress(msgspec.json.encode({"metadata": {"name": "n1", "annotations": {"a": "x" * 400_000}}}))
    with scripted(always(200, body, Content_Encoding="gzip")) as server:
        assert len(asked(server.url).read_node("n1").annotations["a"]) == 400_000
        (seen,) = server.seen
    assert seen[2]["accept-encoding"] == "gzip"
    assert seen[2]["authorization"] == f"Bearer {SECRET}"
    assert seen[2]["user-agent"].startswith("netkit-rollout/")


def test_damaged_gzip_is_no_answer(asked: Connect) -> None:
    with scripted(always(200, b"no gzip", Content_Encoding="gzip")) as server, pytest.raises(Unavailable):
        asked(server.url).read_node("n1")


def test_nobody_listens(asked: Connect) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}", "http://no-such-host.invalid", "https://[::1]:1"):
        with pytest.raises(Unavailable) as caught:
            asked(url).identity()
        assert caught.value.hint
        assert caught.value.code == "unreachable"


def test_a_certificate_that_is_not_trusted(tmp_path: Path, connect: Connect) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    files, others = create_pki(tmp_path / "one"), create_pki(tmp_path / "two")
    server = ApiServer(tls=ServerTls(files.certificate, files.key, files.ca))
    with ThreadedServer(server, scheme="https") as running:
        good = write_config(tmp_path / "good", running.url, **{"certificate-authority": str(files.ca)})
        assert connect(good).identity().uid
        for name, more in (("bad", {"certificate-authority": str(others.ca)}), ("none", {})):
            config = write_config(tmp_path / name, running.url, **more)
            with pytest.raises(Unavailable, match="certificate") as caught:
                connect(config).identity()
            assert caught.value.code == "tls"
        plain = write_config(tmp_path / "plain", running.url.replace("https", "http"))
        with pytest.raises(RolloutError):
            connect(plain).identity()


def test_new_credentials_are_read_when_the_old_ones_are_refused(tmp_path: Path, connect: Connect) -> None:
    def answer(handler: Handler) -> None:
        if handler.headers["Authorization"] == "Bearer new":
            handler.reply(200, {"metadata": {"name": "n1"}})
        else:
            handler.reply(401, status(401, "Unauthorized", "Unauthorized"))

    with scripted(answer) as server:
        path = write_config(tmp_path / "config", server.url, token="old")
        cluster = connect(path)
        write_config(path, server.url, token="new")
        assert cluster.read_node("n1").name == "n1"
        assert [seen[2]["authorization"] for seen in server.seen] == ["Bearer old", "Bearer new"]


@pytest.mark.parametrize("gone", [True, False])
def test_a_file_that_means_another_cluster_now_is_not_followed(tmp_path: Path, connect: Connect, gone: bool) -> None:
    with (
        scripted(always(401, status(401, "Unauthorized", "Unauthorized"))) as first,
        scripted(always(200, {"metadata": {"name": "n1"}})) as second,
    ):
        path = write_config(tmp_path / "config", first.url, token="old")
        cluster = connect(path)
        if gone:
            path.unlink()
        else:
            write_config(path, second.url, token="new")
        with pytest.raises(NotPermitted):
            cluster.read_node("n1")
        assert (len(first.seen), len(second.seen)) == (1, 0)


def test_credentials_are_not_read_again_and_again(asked: Connect) -> None:
    with scripted(always(401, status(401, "Unauthorized", "Unauthorized"))) as server:
        cluster = asked(server.url)
        for _ in range(5):
            with pytest.raises(NotPermitted) as caught:
                cluster.read_node("n1")
        assert caught.value.code == "not-authenticated"
        assert len(server.seen) == 6


def test_closed_is_closed(asked: Connect) -> None:
    with scripted(always(200, {})) as server:
        cluster = asked(server.url)
        cluster.close()
        with pytest.raises(Unavailable, match="closed"):
            cluster.read_node("n1")


def test_the_throttle_is_in_the_way(asked: Connect) -> None:
    with scripted(always(200, {"metadata": {"name": "n1"}})) as server:
        cluster = asked(server.url, qps=50.0, burst=2)
        started = time.monotonic()
        for _ in range(12):
            cluster.read_node("n1")
        assert time.monotonic() - started >= 0.18
        assert cluster.request_counts() == {"get nodes": 12}


def test_a_webhook_that_drops_what_we_write_is_noticed(asked: Connect) -> None:
    stored = {"metadata": {"name": "n1", "uid": "u", "resourceVersion": "1"}}
    with scripted(always(200, stored)) as server:
        cluster = asked(server.url)
        for act in (cluster.cordon, cluster.add_taint):
            with pytest.raises(Conflict) as caught:
                act("n1", MARK)
            assert caught.value.code == "not-kept"
