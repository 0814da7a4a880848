"""Finding the cluster: every way it can go wrong is a message that helps and tells no secret."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from rollout.adapters.kubernetes.kubeconfig import load_target
from rollout.domain.errors import UsageError
from tests.adapters.kubernetes.scripted import write_config

SECRET = "s3cr3t-t0ken"


def two_contexts(path: Path) -> Path:
    write_config(path, "https://user:pass@prod.example.com:6443/path?x=1", token=SECRET)
    document = yaml.safe_load(path.read_text())
    document["contexts"] = [
        {"name": name, "context": {"cluster": "c", "user": "u"}} for name in ("prod-eu-1", "prod-us-1", "staging")
    ]
    document["current-context"] = "staging"
    path.write_text(yaml.safe_dump(document))
    return path


def code_of(caught: pytest.ExceptionInfo[UsageError]) -> str:
    error = caught.value
    assert error.message.startswith("cannot ")
    assert SECRET not in error.message + error.hint + repr(error.__cause__)
    return error.code


def test_the_context_and_the_server_without_credentials(tmp_path: Path) -> None:
    target = load_target(two_contexts(tmp_path / "config"), None, {})
    assert target.context == "staging"
    assert target.server == "https://prod.example.com:6443/path"


def test_a_near_miss_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_target(two_contexts(tmp_path / "config"), "prod-eu1", {})
    assert code_of(caught) == "no-such-context"
    assert "prod-eu-1" in caught.value.hint
    assert "staging" not in caught.value.hint


def test_without_a_near_miss_all_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_target(two_contexts(tmp_path / "config"), "zzz", {})
    assert "staging" in caught.value.hint


def test_the_environment_names_files(tmp_path: Path) -> None:
    first = write_config(tmp_path / "first", "https://first.example.com")
    both = f"{tmp_path / 'missing'}:{first}"
    assert load_target(None, None, {"KUBECONFIG": both}).server == "https://first.example.com"
    home = tmp_path / "home"
    (home / ".kube").mkdir(parents=True)
    write_config(home / ".kube" / "config", "https://home.example.com")
    assert load_target(None, None, {"HOME": str(home)}).server == "https://home.example.com"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bad-kubeconfig"),
        ("just text", "bad-kubeconfig"),
        (f"users: [{{token: {SECRET}\nbad", "bad-kubeconfig"),
        ("contexts: 5\ncurrent-context: a", "bad-kubeconfig"),
        ("apiVersion: v1", "no-context"),
        ("current-context: a\ncontexts: [{name: a, context: {cluster: gone}}]\nclusters: []", "bad-kubeconfig"),
        ("current-context: a\ncontexts: [{name: a}]", "bad-kubeconfig"),
        ("current-context: a\ncontexts:\n- 5", "no-such-context"),
    ],
)
def test_what_is_no_kubeconfig(tmp_path: Path, text: str, code: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_target(path, None, {})
    assert code_of(caught) == code


def test_a_missing_certificate(tmp_path: Path) -> None:
    path = write_config(tmp_path / "config", "https://x.example.com", **{"certificate-authority": "no-such-ca.crt"})
    with pytest.raises(UsageError) as caught:
        load_target(path, None, {})
    assert code_of(caught) == "bad-kubeconfig"


def test_no_cluster_at_all(tmp_path: Path) -> None:
    for environ, code in (
        ({"HOME": str(tmp_path)}, "no-cluster"),
        ({"KUBECONFIG": str(tmp_path / "missing"), "HOME": str(tmp_path)}, "no-kubeconfig"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOME": str(tmp_path)}, "bad-service-account"),
    ):
        with pytest.raises(UsageError) as caught:
            load_target(None, None, environ)
        assert code_of(caught) == code
    with pytest.raises(UsageError) as caught:
        load_target(tmp_path / "missing", None, {})
    assert code_of(caught) == "no-kubeconfig"
