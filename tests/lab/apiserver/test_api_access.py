"""Who may do what, discovery, faults, counts, TLS and kubeconfig."""

import json
import ssl
import stat
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from rollout.lab.apiserver import ApiServer, ServerTls, admin
from rollout.lab.apiserver.threaded import ThreadedServer
from rollout.lab.pki import create_pki, write_kubeconfig
from tests.lab.apiserver.api_rig import MAPS, NODES, PODS, TEAM, VIEWER, Api, config_map, node, pod


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as running:
        yield running


def test_wrong_token_is_401_and_none_is_anonymous(api: Api) -> None:
    answer = api.get(NODES, token="wrong")
    assert (answer.code, answer.message, answer.body["reason"]) == (401, "Unauthorized", "Unauthorized")
    answer = api.get(NODES, token="")
    assert answer.code == 403 and 'User "system:anonymous" cannot list resource "nodes"' in answer.message
    for path in ("/healthz", "/livez", "/readyz", "/readyz/ping", "/version"):
        assert api.get(path, token="" if path != "/readyz/ping" else "admin-token").code == 200
    assert api.get("/api", token="").code == 403


# Path, then the refusal behind `is forbidden: User "viewer" cannot`, with what it is about in front.
_REFUSED = [
    ("PATCH", f"{NODES}/n1", 'nodes "n1"', 'patch resource "nodes" in API group "" at the cluster scope'),
    ("DELETE", NODES, "nodes", 'deletecollection resource "nodes" in API group "" at the cluster scope'),
    ("DELETE", f"{PODS}/p", 'pods "p"', 'delete resource "pods" in API group "" in the namespace "default"'),
    (
        "POST",
        f"{PODS}/p/eviction",
        'pods "p"',
        'create resource "pods/eviction" in API group "" in the namespace "default"',
    ),
    ("POST", MAPS, "configmaps", 'create resource "configmaps" in API group "" in the namespace "default"'),
    (
        "PUT",
        "/apis/apps/v1/namespaces/a/daemonsets/d",
        'daemonsets.apps "d"',
        'update resource "daemonsets" in API group "apps" in the namespace "a"',
    ),
]


@pytest.mark.parametrize(("method", "path", "subject", "detail"), _REFUSED)
def test_viewer_gets_kubernetes_words(api: Api, method: str, path: str, subject: str, detail: str) -> None:
    answer = api.request(method, path, {}, token=VIEWER)
    assert (answer.code, answer.body["reason"]) == (403, "Forbidden")
    assert answer.message == f'{subject} is forbidden: User "viewer" cannot {detail}'
    assert api.get(NODES, token=VIEWER).code == 200


def test_the_labs_controls_are_for_the_administrator(api: Api) -> None:
    answer = api.post("/_lab/faults", {}, token=VIEWER)
    assert (answer.code, answer.message) == (403, 'forbidden: User "viewer" cannot post path "/_lab/faults"')


def test_rules_bound_to_a_namespace(api: Api) -> None:
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})
    assert api.get("/api/v1/namespaces/team/pods", token=TEAM).code == 200
    assert api.get(PODS, token=TEAM).code == 403
    assert api.get("/api/v1/pods", token=TEAM).code == 403
    assert api.post("/api/v1/namespaces/team/pods/p/eviction", {}, token=TEAM).code == 404


def test_self_subject_reviews(api: Api) -> None:
    path = "/apis/authorization.k8s.io/v1"
    for verb, allowed in (("list", True), ("patch", False)):
        spec = {"resourceAttributes": {"verb": verb, "resource": "nodes"}}
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec}
        answer = api.post(f"{path}/selfsubjectaccessreviews", body, token=VIEWER)
        assert (answer.code, answer.body["status"]["allowed"]) == (201, allowed)
    rules = api.post(f"{path}/selfsubjectrulesreviews", {"spec": {"namespace": "default"}}, token=VIEWER).body["status"]
    assert rules["resourceRules"] == [{"verbs": ["get", "list", "watch"], "apiGroups": ["*"], "resources": ["*"]}]
    who = api.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, token=VIEWER).body
    assert who["status"]["userInfo"]["username"] == "viewer"


def test_discovery_plain_and_aggregated(api: Api) -> None:
    assert api.get("/api").body["versions"] == ["v1"]
    groups = {group["name"] for group in api.get("/apis").body["groups"]}
    assert {"apps", "policy", "cilium.io", "coordination.k8s.io", "discovery.k8s.io"} <= groups
    core = api.get("/api/v1").body
    assert core["groupVersion"] == "v1"
    eviction = next(r for r in core["resources"] if r["name"] == "pods/eviction")
    assert (eviction["kind"], eviction["group"], eviction["version"]) == ("Eviction", "policy", "v1")
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
    answer = api.get("/apis", accept=accept)
    assert (
        answer.body["kind"] == "APIGroupDiscoveryList" and "as=APIGroupDiscoveryList" in answer.headers["Content-Type"]
    )
    assert api.get("/apis/policy").body["preferredVersion"]["version"] == "v1"
    assert api.get("/apis/nope/v1").code == 404
    assert "apis/cilium.io/v2" in api.get("/openapi/v3").body["paths"]


def test_discovery_agrees_with_the_recorded_one(api: Api) -> None:
    """Names, kinds and subresources of Cilium as a real server gives them; ciliumendpoints have no status."""
    served = {r["name"]: r["kind"] for r in api.get("/apis/cilium.io/v2").body["resources"]}
    assert "ciliumendpoints/status" not in served and "ciliumnodeconfigs/status" not in served
    assert served["ciliumnodes/status"] == "CiliumNode" and served["ciliumendpoints"] == "CiliumEndpoint"


def test_logs_come_from_the_provider() -> None:
    async def provide(namespace: str, name: str, container: str, previous: bool) -> bytes:
        if previous:
            raise KeyError(name)
        return f"{namespace} {name} {container}\nlast\n".encode()

    with Api(log_provider=provide) as api:
        api.create(pod("p", "n1"))
        assert api.get(f"{PODS}/p/log").body == b"default p c\nlast\n"
        assert api.get(f"{PODS}/p/log?tailLines=1").body == b"last\n"
        answer = api.get(f"{PODS}/p/log?previous=true")
        assert answer.code == 400 and answer.message == 'previous terminated container "c" in pod "p" not found'
        assert api.get(f"{PODS}/p/log?container=x").code == 400
        assert api.get(f"{PODS}/gone/log").code == 404


def test_faults_strike_as_told(api: Api) -> None:
    api.post("/_lab/faults", {"method": "GET", "path": "/nodes", "times": 2, "status": 429, "retry_after": 3})
    answer = api.get(NODES)
    assert (answer.code, answer.headers["Retry-After"], answer.body["details"]) == (429, "3", {"retryAfterSeconds": 3})
    assert api.get("/api/v1/pods").code == 200
    assert [api.get(NODES).code for _ in range(2)] == [429, 200]
    api.post("/_lab/faults", {"path": "/nodes", "delay": 0.3})
    start = time.monotonic()
    assert api.get(NODES).code == 200 and time.monotonic() - start >= 0.3
    api.post("/_lab/faults", {"path": "/nodes", "drop": True, "skip": 1})
    assert api.get(NODES).code == 200
    with pytest.raises(ConnectionError):
        api.get(NODES)
    assert api.post("/_lab/faults", {"colour": "red"}).code == 400
    assert api.delete("/_lab/faults").code == 200 and api.get("/_lab/faults").body == []


def test_fault_after_the_effect(api: Api) -> None:
    api.post("/_lab/faults", {"method": "POST", "path": "/nodes", "drop": True, "after_effect": True})
    with pytest.raises(ConnectionError):
        api.post(NODES, node("n1"))
    assert api.get(f"{NODES}/n1").code == 200


def test_requests_are_counted(api: Api) -> None:
    api.delete("/_lab/requests")
    api.get(NODES)
    api.get(NODES)
    api.post(f"{PODS}/p/eviction", {})
    counts = {(c["verb"], c["resource"], c["userAgent"]): c["count"] for c in api.get("/_lab/requests").body}
    assert counts == {("list", "nodes", "probe/1"): 2, ("create", "pods/eviction", "probe/1"): 1}
    assert api.server.requests.total("^probe") == 3


def test_compaction_by_request(api: Api) -> None:
    api.post(MAPS, config_map("c"))
    assert api.post("/_lab/compact", {}).body["compacted"] == api.server.store.storage.revision


def test_tls_and_kubeconfig(tmp_path: Path) -> None:
    files = create_pki(tmp_path)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in (files.key, files.certificate, files.ca))
    server = ApiServer(tls=ServerTls(files.certificate, files.key, files.ca), tokens={"t": admin()})
    with ThreadedServer(server, scheme="https") as threaded:
        path = write_kubeconfig(tmp_path / "kubeconfig", threaded.url, "t", files.ca)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        document = yaml.safe_load(path.read_text())
        assert document["clusters"][0]["cluster"]["server"] == threaded.url
        context = ssl.create_default_context(cafile=str(files.ca))
        with urllib.request.urlopen(f"{threaded.url}/version", context=context) as answer:
            assert json.load(answer)["minor"] == "36"
