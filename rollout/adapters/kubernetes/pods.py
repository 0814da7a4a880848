"""Pods: evict, delete, read logs. Always one incarnation, by UID."""

from __future__ import annotations

from typing import Any

from rollout.adapters.kubernetes import documents as docs
from rollout.adapters.kubernetes.connection import Connection
from rollout.adapters.kubernetes.decode import decode, pod_value
from rollout.adapters.kubernetes.errors import Answer, answered_error, refusal_text
from rollout.adapters.kubernetes.lists import list_all
from rollout.adapters.kubernetes.request import Request
from rollout.domain.errors import NotFound
from rollout.domain.inventory import AgentInstall
from rollout.domain.node import Pod, PodRef
from rollout.ports.cluster import Eviction, EvictionResult

_SEVERAL_BUDGETS = "more than one PodDisruptionBudget"
_NAMESPACE_ENDS = "NamespaceTerminating"
_LARGEST_LOG = 1 << 20


def evict(connection: Connection, pod: PodRef, grace_s: int | None) -> Eviction:
    """Ask the eviction API. Raises for what is neither yes nor a refusal."""
    request = Request("create", "pods/eviction", namespace=pod.namespace, name=pod.name)
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod.name, "namespace": pod.namespace},
        "deleteOptions": _delete_options(pod, grace_s),
    }
    answer = connection.send(request, body=body)
    if answer.ok:
        return Eviction(EvictionResult.ACCEPTED)
    text = refusal_text(answer)
    if answer.code == 429:
        return Eviction(EvictionResult.REFUSED, text, answer.retry_after)
    if answer.code == 500 and _SEVERAL_BUDGETS in text:
        return Eviction(EvictionResult.IMPOSSIBLE, text)
    status = answer.status
    if answer.code == 403 and status is not None and status.has_cause(_NAMESPACE_ENDS):
        # No eviction is admitted in a namespace that is being deleted; its pods go by themselves.
        return Eviction(EvictionResult.REFUSED, text)
    if _is_gone(connection, pod, answer):
        return Eviction(EvictionResult.GONE, text)
    raise answered_error(request, answer)


def delete_pod(connection: Connection, pod: PodRef, grace_s: int | None) -> bool:
    """Delete this incarnation. False when it is not there any more."""
    request = Request("delete", "pods", namespace=pod.namespace, name=pod.name)
    options = {"apiVersion": "v1", "kind": "DeleteOptions"} | _delete_options(pod, grace_s)
    answer = connection.send(request, body=options)
    if answer.ok:
        return True
    if _is_gone(connection, pod, answer):
        return False
    raise answered_error(request, answer)


def _delete_options(pod: PodRef, grace_s: int | None) -> dict[str, Any]:
    options: dict[str, Any] = {"preconditions": {"uid": pod.uid}}
    return options if grace_s is None else options | {"gracePeriodSeconds": grace_s}


def _is_gone(connection: Connection, pod: PodRef, answer: Answer) -> bool:
    """Whether an answer means that this incarnation is gone.

    A 404 must be a Status: a proxy's page says nothing about pods. A 409 may be the UID or a mere race, so look.
    """
    if answer.code == 404:
        return answer.status is not None
    if answer.code != 409:
        return False
    try:
        body = connection.call(Request("get", "pods", namespace=pod.namespace, name=pod.name))
    except NotFound:
        return True
    meta = decode(body, docs.MetaOnlyDoc, f"pod {pod}").metadata or docs.NO_META
    return bool(meta.uid) and meta.uid != pod.uid


def pod_log(connection: Connection, pod: PodRef, container: str, *, previous: bool, tail_lines: int) -> str:
    """A container's log; empty when there is none yet, or no more."""
    request = Request("get", "pods/log", namespace=pod.namespace, name=pod.name)
    query: dict[str, Any] = {"container": container, "tailLines": tail_lines, "limitBytes": _LARGEST_LOG}
    if previous:
        query["previous"] = "true"
    answer = connection.send(request, query=query)
    if answer.ok:
        return answer.body.decode(errors="replace")
    if answer.status is not None and answer.code in (400, 404):
        # "previous terminated container not found", "container is waiting to start", no such pod.
        return ""
    raise answered_error(request, answer)


def agent_pod(connection: Connection, agent: AgentInstall, node: str) -> Pod | None:
    """The newest agent pod bound to `node`."""
    request = Request("list", "pods", namespace=agent.namespace)
    selector = ",".join(f"{key}={value}" for key, value in sorted(agent.selector.items()))
    query = {"labelSelector": selector, "fieldSelector": f"spec.nodeName={node}"}
    found = list_all(connection, request, docs.PodDoc, lambda doc: doc, query).items
    newest = max(found, key=_age_key, default=None)
    return pod_value(newest) if newest else None


def _age_key(doc: docs.PodDoc) -> tuple[str, bool, str]:
    """By creation; times have whole seconds, and of two in one second the one that is not leaving is the newer."""
    meta = doc.metadata or docs.NO_POD_META
    return (meta.creationTimestamp or "", meta.deletionTimestamp is None, meta.name or "")
