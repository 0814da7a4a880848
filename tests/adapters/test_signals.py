"""External gates over real HTTP: what is sent, to whom the token goes, and what is never done."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import trustme

from rollout.adapters.signals import HttpSignals
from tests.contracts.signals import SUBJECTS, http, prometheus
from tests.support.webhost import WebHost, web_host

TOKEN = "s3cret-t0ken"


@pytest.fixture
def host() -> Iterator[WebHost]:
    with web_host() as started:
        yield started


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[WebHost]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with web_host(context) as started:
        yield started


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    return file


def test_a_prometheus_query_is_filled_and_encoded(host: WebHost) -> None:
    query = 'sum(rate(errors{node=$node, why=~"a|b"}[5m])) + on() up{node=~$wave}'
    HttpSignals().ask(prometheus(host.url + "/prom/", query), SUBJECTS)
    (path, headers), *_ = host.asked
    asked = urlsplit(path)
    assert asked.path == "/prom/api/v1/query"
    assert parse_qs(asked.query) == {
        "query": ['sum(rate(errors{node="n2", why=~"a|b"}[5m])) + on() up{node=~"n1\\\\.example|n2"}'],
        "timeout": ["2s"],
    }
    assert headers["Accept"] == "application/json"


def test_an_http_checks_address_is_filled(host: WebHost) -> None:
    HttpSignals().ask(http(host.url + "/sound/$node?wave=$wave"), SUBJECTS)
    assert host.asked[0][0] == "/sound/n2?wave=n1.example%2Cn2"


def test_redirects_are_not_followed(host: WebHost) -> None:
    host.headers = {"Location": host.url + "/elsewhere"}
    host.arrange(302, "")
    answer = HttpSignals().ask(http(host.url + "/here"), SUBJECTS)
    assert answer.status == 302
    assert [path for path, _ in host.asked] == ["/here"]


def test_an_answer_that_drips_is_cut_off(host: WebHost) -> None:
    host.arrange(200, "x" * 1000)
    host.drip = 0.3
    began = time.monotonic()
    answer = HttpSignals().ask(replace(http(host.url), timeout_s=1), SUBJECTS)
    assert "within 1 s" in answer.error
    assert time.monotonic() - began < 3


@pytest.mark.usefixtures("trusted")
def test_the_token_is_sent_over_tls(secure: WebHost, token_file: Path) -> None:
    assert HttpSignals(token_file).ask(http(secure.url), SUBJECTS).status == 200
    assert secure.asked[0][1]["Authorization"] == f"Bearer {TOKEN}"
    token_file.write_text("another")
    signals = HttpSignals(token_file)
    signals.ask(http(secure.url), SUBJECTS)
    assert secure.asked[1][1]["Authorization"] == "Bearer another"


def test_the_token_is_not_sent_in_the_clear(host: WebHost, token_file: Path) -> None:
    HttpSignals(token_file).ask(http(host.url), SUBJECTS)
    assert "Authorization" not in host.asked[0][1]


def test_a_certificate_that_nobody_vouches_for_is_no_answer(secure: WebHost, token_file: Path) -> None:
    answer = HttpSignals(token_file).ask(http(secure.url), SUBJECTS)
    assert answer.status == 0
    assert "certificate" in answer.error
    assert TOKEN not in answer.error
    assert secure.asked == []


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("content", ["", "two words", "line\nline", "snöw"])
def test_a_file_without_a_token_is_said_so(secure: WebHost, token_file: Path, content: str) -> None:
    token_file.write_text(content, encoding="utf-8")
    answer = HttpSignals(token_file).ask(http(secure.url), SUBJECTS)
    assert str(token_file) in answer.error
    assert not content or content not in answer.error
    assert secure.asked == []


def test_a_missing_token_file_is_said_so(tmp_path: Path) -> None:
    answer = HttpSignals(tmp_path / "none").ask(http("https://127.0.0.1:1"), SUBJECTS)
    assert "No such file" in answer.error


def test_a_name_that_is_not_known() -> None:
    answer = HttpSignals().ask(http("http://no-such-host.invalid/"), SUBJECTS)
    assert "cannot ask no-such-host.invalid" in answer.error


def test_a_server_that_speaks_something_else() -> None:
    import socket
    from threading import Thread

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")

        thread = Thread(target=talk, daemon=True)
        thread.start()
        answer = HttpSignals().ask(http(f"http://127.0.0.1:{listener.getsockname()[1]}/"), SUBJECTS)
        thread.join()
    assert answer.status == 0
    assert answer.error
