"""Toolbox pods on the Kubernetes API: `rollout.adapters.toolbox.port`.

One list and one watch of our own pods in one namespace per run; per pod a create, one read of its log, a delete.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from threading import Condition
from typing import Any

import msgspec

from rollout.adapters.kubernetes import documents as docs
from rollout.adapters.kubernetes import pods
from rollout.adapters.kubernetes.connection import Connection
from rollout.adapters.kubernetes.decode import decode
from rollout.adapters.kubernetes.errors import answered_error, plain
from rollout.adapters.kubernetes.lists import list_all
from rollout.adapters.kubernetes.request import Request
from rollout.adapters.kubernetes.watch import Feed, Source, WatchTimes
from rollout.adapters.toolbox.port import LABEL_TOOLBOX, PodLog, PodReport
from rollout.domain.errors import NotFound, RolloutError, Unavailable
from rollout.domain.node import PodRef

_LARGEST_LOG = 8 << 20
"""Bytes. A node of 500 pods, observed with everything, makes about a tenth of that."""
_FIRST_LIST_S = 30.0
_LABELLED = {"labelSelector": LABEL_TOOLBOX}


# -- what is read of a pod: what the cluster's own view leaves out ---------------------------------------------------


class WaitingDoc(docs.WaitingDoc):
    """Why a container waits, in full."""

    message: str | None = None


class EndedDoc(msgspec.Struct, gc=False):
    """How a container ended."""

    exitCode: int | None = None  # noqa: N815
    reason: str | None = None
    message: str | None = None


class StateDoc(msgspec.Struct, gc=False):
    """A container's state."""

    waiting: WaitingDoc | None = None
    terminated: EndedDoc | None = None


class ContainerStatusDoc(msgspec.Struct, gc=False):
    """Status of one container."""

    state: StateDoc | None = None


class StatusDoc(msgspec.Struct, gc=False):
    """Pod.status."""

    phase: str | None = None
    reason: str | None = None
    message: str | None = None
    startTime: str | None = None  # noqa: N815
    containerStatuses: list[ContainerStatusDoc] | None = None  # noqa: N815


class SpecDoc(msgspec.Struct, gc=False):
    """Pod.spec."""

    nodeName: str | None = None  # noqa: N815
    activeDeadlineSeconds: int | None = None  # noqa: N815


class ToolboxPodDoc(msgspec.Struct, gc=False):
    """A toolbox pod."""

    metadata: docs.MetaDoc | None = None
    spec: SpecDoc | None = None
    status: StatusDoc | None = None


class EventDoc(msgspec.Struct, gc=False):
    """An event."""

    metadata: docs.MetaDoc | None = None
    type: str | None = None
    reason: str | None = None
    message: str | None = None


def report(doc: ToolboxPodDoc) -> PodReport:
    """The pod as a value."""
    meta, spec, status = doc.metadata or docs.NO_META, doc.spec or SpecDoc(), doc.status or StatusDoc()
    first = next(iter(status.containerStatuses or ()), ContainerStatusDoc())
    state = first.state or StateDoc()
    waiting, ended = state.waiting or WaitingDoc(), state.terminated
    return PodReport(
        PodRef(meta.namespace or "", meta.name or "", meta.uid or ""),
        run=(meta.labels or {}).get(LABEL_TOOLBOX, ""),
        node=spec.nodeName or "",
        created_at=_moment(meta.creationTimestamp),
        deadline_s=spec.activeDeadlineSeconds or 0,
        leaving=meta.deletionTimestamp is not None,
        taken=status.startTime is not None,
        phase=status.phase or "",
        reason=status.reason or "",
        message=plain(status.message or ""),
        waiting_reason=waiting.reason or "",
        waiting_message=plain(waiting.message or ""),
        exit_code=ended.exitCode if ended else None,
        ended_reason=(ended.reason or "") if ended else "",
        ended_message=plain(ended.message or "") if ended else "",
    )


def _moment(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None


def _created(doc: ToolboxPodDoc) -> str:
    return (doc.metadata or docs.NO_META).creationTimestamp or ""


# -- the view --------------------------------------------------------------------------------------------------------


class _Seen:
    """Pods as the watch last showed them."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._pods: dict[str, PodReport] = {}
        self._version = 0

    def replace(self, found: list[PodReport]) -> None:
        with self._changed:
            self._pods = {pod.ref.uid: pod for pod in found}
            self._tell()

    def put(self, pod: PodReport) -> None:
        with self._changed:
            self._pods[pod.ref.uid] = pod
            self._tell()

    def add(self, pod: PodReport) -> None:
        """An answer to a request of ours: the watch may already know better."""
        with self._changed:
            self._pods.setdefault(pod.ref.uid, pod)

    def drop(self, pod: PodReport) -> None:
        with self._changed:
            self._pods.pop(pod.ref.uid, None)
            self._tell()

    def all(self) -> tuple[PodReport, ...]:
        with self._changed:
            return tuple(self._pods.values())

    def wait(self, uid: str, version: int, timeout_s: float) -> tuple[int, PodReport | None]:
        with self._changed:
            self._changed.wait_for(lambda: self._version > version, timeout_s)
            return self._version, self._pods.get(uid)

    def _tell(self) -> None:
        self._version += 1
        self._changed.notify_all()


class KubernetesToolbox:
    """Toolbox pods in one namespace."""

    def __init__(self, connection: Connection, namespace: str, *, times: WatchTimes | None = None) -> None:
        self._connection = connection
        self._namespace = namespace
        self._times = times or WatchTimes()

    @property
    def namespace(self) -> str:
        """The namespace of all pods."""
        return self._namespace

    @contextmanager
    def session(self) -> Iterator[KubernetesSession]:
        """Begin to watch; ends with the block."""
        seen = _Seen()
        source = Source(
            resource="pods",
            kind=ToolboxPodDoc,
            convert=report,
            order=_created,
            replace=seen.replace,
            put=seen.put,
            drop=seen.drop,
            query=dict(_LABELLED),
            namespace=self._namespace,
        )
        feed = Feed(self._connection, source, self._times)
        try:
            feed.require_current(_FIRST_LIST_S)
            yield KubernetesSession(self._connection, self._namespace, seen, feed)
        finally:
            feed.close()


class KubernetesSession:
    """See `rollout.adapters.toolbox.port.Session`."""

    def __init__(
        self, connection: Connection, namespace: str, seen: _Seen, feed: Feed[ToolboxPodDoc, PodReport]
    ) -> None:
        self._connection = connection
        self._namespace = namespace
        self._seen = seen
        self._feed = feed

    def pods(self) -> tuple[PodReport, ...]:
        """All toolbox pods as last seen."""
        return self._seen.all()

    def create(self, name: str, manifest: Mapping[str, Any]) -> PodReport:
        """Create a pod, or find the one whose creation was not answered."""
        request = Request("create", "pods", namespace=self._namespace, name=name)
        try:
            body = self._connection.call(request, body=manifest)
        except Unavailable:
            # Names are drawn at random: a pod of this name is the one we asked for.
            try:
                body = self._connection.call(Request("get", "pods", namespace=self._namespace, name=name))
            except RolloutError:
                body = b""
            if not body:
                raise
        made = report(decode(body, ToolboxPodDoc, f"pod {self._namespace}/{name}"))
        self._seen.add(made)
        return made

    def wait(self, pod: PodRef, version: int, timeout_s: float) -> tuple[int, PodReport | None]:
        """The pod once anything changed."""
        self._feed.require_current(_FIRST_LIST_S)
        return self._seen.wait(pod.uid, version, timeout_s)

    def read(self, pod: PodRef) -> PodReport | None:
        """A fresh read."""
        request = Request("get", "pods", namespace=pod.namespace, name=pod.name)
        try:
            found = report(decode(self._connection.call(request), ToolboxPodDoc, f"pod {pod}"))
        except NotFound:
            return None
        if found.ref.uid != pod.uid:
            return None
        self._seen.add(found)
        return found

    def log(self, pod: PodRef) -> PodLog:
        """The container's log from its beginning; empty when there is none."""
        request = Request("get", "pods/log", namespace=pod.namespace, name=pod.name)
        answer = self._connection.send(request, query={"limitBytes": _LARGEST_LOG + 1})
        if answer.ok:
            return PodLog(answer.body.decode(errors="replace"), len(answer.body) > _LARGEST_LOG)
        if answer.status is not None and answer.code in (400, 404):
            # The container never started, or the pod is gone.
            return PodLog("")
        raise answered_error(request, answer)

    def warning(self, pod: PodRef) -> str:
        """The newest warning about the pod. For words only, so what goes wrong here is not told."""
        request = Request("list", "events", namespace=pod.namespace)
        query = {"fieldSelector": f"involvedObject.uid={pod.uid},type=Warning"}
        try:
            found = list_all(self._connection, request, EventDoc, lambda doc: doc, query).items
        except RolloutError:
            return ""
        newest = max(found, key=_version, default=EventDoc())
        return plain(": ".join(part for part in (newest.reason, newest.message) if part))

    def delete(self, pod: PodRef, grace_s: int | None) -> None:
        """Delete this incarnation."""
        pods.delete_pod(self._connection, pod, grace_s)


def _version(event: EventDoc) -> tuple[int, str]:
    text = (event.metadata or docs.NO_META).resourceVersion or ""
    return (len(text), text)
