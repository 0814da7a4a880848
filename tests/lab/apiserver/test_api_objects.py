"""Objects over raw HTTP: create, read, replace, delete, and every way of being refused."""

from collections.abc import Iterator

import pytest

from tests.lab.apiserver.api_rig import MAPS, NODES, PODS, Api, config_map, node, pod


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as running:
        yield running


def test_create_answers_201_with_server_metadata(api: Api) -> None:
    answer = api.post(NODES, node("n1"))
    assert answer.code == 201
    metadata = answer.body["metadata"]
    assert metadata["uid"] and metadata["resourceVersion"] and metadata["creationTimestamp"].endswith("Z")
    assert answer.body["spec"] == {} and answer.body["status"] == {}
    assert api.get(f"{NODES}/n1").body["metadata"]["uid"] == metadata["uid"]


def test_create_again_is_already_exists(api: Api) -> None:
    api.post(NODES, node("n1"))
    answer = api.post(NODES, node("n1"))
    assert (answer.code, answer.body["reason"]) == (409, "AlreadyExists")
    assert answer.message == 'nodes "n1" already exists'


def test_unknown_object_and_unknown_resource(api: Api) -> None:
    answer = api.get("/apis/apps/v1/namespaces/default/deployments/web")
    assert answer.code == 404 and answer.message == 'deployments.apps "web" not found'
    assert answer.body["details"] == {"name": "web", "group": "apps", "kind": "deployments"}
    unknown = api.get("/api/v1/namespaces/default/gadgets")
    assert (unknown.code, unknown.body) == (404, b"404 page not found\n")


def test_generate_name(api: Api) -> None:
    body = config_map("")
    body["metadata"] = {"generateName": "run-"}
    names = {api.post(MAPS, body).body["metadata"]["name"] for _ in range(3)}
    assert len(names) == 3 and all(name.startswith("run-") and len(name) == 9 for name in names)


@pytest.mark.parametrize("name", ["Upper", "under_score", "-lead", "a" * 254])
def test_bad_names_are_422(api: Api, name: str) -> None:
    answer = api.post(NODES, node(name))
    assert (answer.code, answer.body["reason"]) == (422, "Invalid")
    assert answer.body["details"]["causes"][0]["field"] == "metadata.name"


def test_bad_label_is_422_and_label_of_wrong_type_is_400(api: Api) -> None:
    assert api.post(NODES, node("n1", key="no spaces")).code == 422
    body = node("n1")
    body["metadata"]["labels"] = {"a": 1}
    answer = api.post(NODES, body)
    assert answer.code == 400 and "cannot be handled as a Node" in answer.message


def test_bodies_that_are_not_what_the_path_is_for(api: Api) -> None:
    assert api.post(NODES, b"{oops").code == 400
    assert api.post(NODES, config_map("c")).code == 400
    assert api.post(NODES, b"x", content="text/plain").code == 415
    wrong_name = api.put(f"{NODES}/n1", node("other"))
    assert wrong_name.code == 400 and "does not match the name on the URL" in wrong_name.message
    wrong_namespace = config_map("c")
    wrong_namespace["metadata"]["namespace"] = "other"
    assert api.post(MAPS, wrong_namespace).code == 400


def test_yaml_body(api: Api) -> None:
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: y}\ndata: {when: 2026-01-01T00:00:00Z}\n"
    answer = api.post(MAPS, text, content="application/yaml")
    assert answer.code == 201 and answer.body["data"]["when"] == "2026-01-01T00:00:00Z"


def test_namespace_must_exist(api: Api) -> None:
    answer = api.post("/api/v1/namespaces/nowhere/configmaps", config_map("c"))
    assert answer.code == 404 and answer.message == 'namespaces "nowhere" not found'


def test_methods_that_are_not_served_are_405(api: Api) -> None:
    assert api.post(f"{NODES}/n1", node("n1")).code == 405
    assert api.request("PUT", NODES, node("n1")).code == 405
    assert api.get("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews").code == 405


def test_stale_put_conflicts_and_unchanged_put_keeps_the_version(api: Api) -> None:
    first = api.post(NODES, node("n1")).body
    first["spec"]["unschedulable"] = True
    second = api.put(f"{NODES}/n1", first)
    assert second.code == 200
    stale = api.put(f"{NODES}/n1", first)
    assert (stale.code, stale.body["reason"]) == (409, "Conflict")
    assert stale.message.startswith('Operation cannot be fulfilled on nodes "n1": the object has been modified')
    same = api.put(f"{NODES}/n1", second.body)
    assert same.body["metadata"]["resourceVersion"] == second.body["metadata"]["resourceVersion"]


def test_put_with_another_uid_conflicts(api: Api) -> None:
    body = api.post(NODES, node("n1")).body
    body["metadata"] = {"name": "n1", "uid": "11111111-2222-3333-4444-555555555555"}
    answer = api.put(f"{NODES}/n1", body)
    assert answer.code == 409 and "Precondition failed: UID in precondition" in answer.message


def test_status_sent_on_create_of_a_pod_is_dropped(api: Api) -> None:
    body = {**pod("p"), "status": {"phase": "Running"}}
    created = api.post(PODS, body).body
    assert created["status"]["phase"] == "Pending"
    changed = api.patch(f"{PODS}/p/status", {"status": {"phase": "Running"}})
    assert changed.body["status"]["phase"] == "Running"


def test_status_and_spec_are_written_apart(api: Api) -> None:
    api.post(NODES, node("n1"))
    api.patch(f"{NODES}/n1", {"spec": {"unschedulable": True}, "status": {"phase": "x"}})
    api.patch(f"{NODES}/n1/status", {"spec": {"unschedulable": None}, "status": {"phase": "y"}})
    found = api.get(f"{NODES}/n1").body
    assert found["spec"] == {"unschedulable": True} and found["status"] == {"phase": "y"}


def test_generation_counts_spec_changes_only(api: Api) -> None:
    path = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    body = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "b"},
        "spec": {"minAvailable": 1},
    }
    assert api.post(path, body).body["metadata"]["generation"] == 1
    assert api.patch(f"{path}/b", {"metadata": {"labels": {"a": "b"}}}).body["metadata"]["generation"] == 1
    assert api.patch(f"{path}/b/status", {"status": {"expectedPods": 3}}).body["metadata"]["generation"] == 1
    assert api.patch(f"{path}/b", {"spec": {"minAvailable": 2}}).body["metadata"]["generation"] == 2


def test_pod_spec_is_frozen(api: Api) -> None:
    api.post(PODS, pod("p"))
    answer = api.patch(f"{PODS}/p", {"spec": {"nodeName": "n1"}})
    assert answer.code == 422 and "pod updates may not change fields other than" in answer.message


def test_dry_run_changes_nothing(api: Api) -> None:
    assert api.post(f"{MAPS}?dryRun=All", config_map("c")).code == 201
    assert api.get(f"{MAPS}/c").code == 404
    api.post(MAPS, config_map("c", a="1"))
    assert api.patch(f"{MAPS}/c?dryRun=All", {"data": {"a": "2"}}).body["data"] == {"a": "2"}
    assert api.delete(f"{MAPS}/c?dryRun=All").code == 200
    assert api.get(f"{MAPS}/c").body["data"] == {"a": "1"}
    assert api.post(f"{MAPS}?dryRun=Some", config_map("d")).code == 400


def test_delete_of_an_unbound_pod_is_at_once_and_of_a_bound_one_is_not(api: Api) -> None:
    api.post(PODS, pod("loose"))
    api.post(PODS, pod("bound", "n1"))
    assert api.delete(f"{PODS}/loose").body["kind"] == "Pod"
    assert api.get(f"{PODS}/loose").code == 404
    marked = api.delete(f"{PODS}/bound").body
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 30 and marked["metadata"]["deletionTimestamp"]
    again = api.delete(f"{PODS}/bound", {"gracePeriodSeconds": 5}).body
    assert again["metadata"]["deletionGracePeriodSeconds"] == 5
    assert api.delete(f"{PODS}/bound?gracePeriodSeconds=0").code == 200
    assert api.get(f"{PODS}/bound").code == 404


def test_delete_preconditions(api: Api) -> None:
    version = api.post(MAPS, config_map("c")).body["metadata"]["resourceVersion"]
    wrong = api.delete(f"{MAPS}/c", {"preconditions": {"uid": "other"}})
    assert wrong.code == 409 and "the UID in the precondition (other) does not match" in wrong.message
    assert api.delete(f"{MAPS}/c", {"preconditions": {"resourceVersion": "1"}}).code == 409
    gone = api.delete(f"{MAPS}/c", {"preconditions": {"resourceVersion": version}}).body
    assert gone["status"] == "Success" and gone["details"]["kind"] == "configmaps"


def test_finalizers_hold_an_object(api: Api) -> None:
    body = config_map("c")
    body["metadata"]["finalizers"] = ["example.com/hold"]
    api.post(MAPS, body)
    api.delete(f"{MAPS}/c")
    assert api.get(f"{MAPS}/c").body["metadata"]["deletionTimestamp"]
    assert api.patch(f"{MAPS}/c", {"metadata": {"finalizers": None}}).code == 200
    assert api.get(f"{MAPS}/c").code == 404


def test_delete_collection_by_label(api: Api) -> None:
    for name, label in (("a", "x"), ("b", "x"), ("c", "y")):
        body = config_map(name)
        body["metadata"]["labels"] = {"l": label}
        api.post(MAPS, body)
    answer = api.delete(f"{MAPS}?labelSelector=l%3Dx")
    assert answer.code == 200 and len(answer.body["items"]) == 2
    assert [item["metadata"]["name"] for item in api.get(MAPS).body["items"]] == ["c"]


def test_binding_sets_the_node_once(api: Api) -> None:
    api.post(PODS, pod("p"))
    body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}}
    assert api.post(f"{PODS}/p/binding", body).code == 201
    bound = api.get(f"{PODS}/p").body
    assert bound["spec"]["nodeName"] == "n1"
    assert [c["type"] for c in bound["status"]["conditions"]] == ["PodScheduled"]
    assert api.post(f"{PODS}/p/binding", body).code == 409


def test_scale_subresource(api: Api) -> None:
    spec = {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod("x")["spec"]},
    }
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}
    path = "/apis/apps/v1/namespaces/default/deployments"
    assert api.post(path, body).code == 201
    assert api.patch(f"{path}/d/scale", {"spec": {"replicas": 4}}).body["spec"] == {"replicas": 4}
    assert api.get(f"{path}/d").body["spec"]["replicas"] == 4


def test_secret_string_data_and_immutable_map(api: Api) -> None:
    secrets = "/api/v1/namespaces/default/secrets"
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "b"}}
    created = api.post(secrets, body).body
    assert created["data"] == {"a": "Yg=="} and created["type"] == "Opaque" and "stringData" not in created
    api.post(MAPS, {**config_map("c", a="1"), "immutable": True})
    assert api.patch(f"{MAPS}/c", {"data": {"a": "2"}}).code == 422


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"minAvailable": 1, "maxUnavailable": 1}, "spec"),
        ({"minAvailable": "half"}, "spec.minAvailable"),
        ({"maxUnavailable": -1}, "spec.maxUnavailable"),
        ({"unhealthyPodEvictionPolicy": "Never"}, "spec.unhealthyPodEvictionPolicy"),
    ],
)
def test_budgets_that_make_no_sense(api: Api, spec: dict[str, object], field: str) -> None:
    body = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"}, "spec": spec}
    answer = api.post("/apis/policy/v1/namespaces/default/poddisruptionbudgets", body)
    assert answer.code == 422 and answer.body["details"]["causes"][0]["field"] == field


def test_node_taints_are_validated(api: Api) -> None:
    body = {**node("n1"), "spec": {"taints": [{"key": "a", "effect": "Sometimes"}]}}
    answer = api.post(NODES, body)
    assert answer.code == 422 and 'Unsupported value: "Sometimes": supported values: "NoExecute"' in answer.message


def test_events_are_one_storage_under_two_groups(api: Api) -> None:
    about = {"kind": "Node", "name": "n1"}
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "e"},
        "involvedObject": about,
        "message": "hello",
    }
    assert api.post("/api/v1/namespaces/default/events", event).code == 201
    seen = api.get("/apis/events.k8s.io/v1/namespaces/default/events/e").body
    assert seen["note"] == "hello" and seen["regarding"] == about
    found = api.get("/api/v1/events?fieldSelector=involvedObject.name%3Dn1").body["items"]
    assert len(found) == 1
