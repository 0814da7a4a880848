"""The ProbePods port on the Kubernetes API.

Requests of one fresh rig of four pods: one list, one policy, four pods, one watch. Taking it up again: one list.
Removing it: two collection deletes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Event, Lock
from typing import Any, TypeVar

import urllib3

from rollout.adapters.kubernetes import documents as docs
from rollout.adapters.kubernetes import probe_documents as probe_docs
from rollout.adapters.kubernetes.connection import Connection
from rollout.adapters.kubernetes.decode import decode, decode_page
from rollout.adapters.kubernetes.errors import FOREIGN, Answer, Expired, answered_error, plain
from rollout.adapters.kubernetes.lists import list_all
from rollout.adapters.kubernetes.probe_manifests import (
    ANNOTATION_NODE,
    ANNOTATION_SPEC,
    GRACE_S,
    LABEL_ROLLOUT,
    LIFETIME_S,
    fingerprint,
    pod_manifest,
    pod_name,
    policy_manifests,
    selector,
)
from rollout.adapters.kubernetes.probe_targets import read_policies, read_targets
from rollout.adapters.kubernetes.request import NETWORKING, Request
from rollout.domain.errors import Cancelled, Conflict, Invalid, NotFound, NotPermitted, RolloutError, Unavailable
from rollout.domain.node import ANNOTATION_ROLLOUT, LABEL_PROBE, PodRef
from rollout.domain.policy import ProbeRules
from rollout.ports.probes import ROLE_B, PolicyCopy, PolicySample, ProbePod, Rig, Targets, WantedPod

T = TypeVar("T")
PodDoc = probe_docs.ProbePodDoc

_OLD = timedelta(seconds=LIFETIME_S - 300)
"""A pod this old is replaced before it is used once more."""
_REMEMBERED_S = 300.0
_QUIET_S = 3.0
"""Longest silence on a watch before we look whether we were cancelled."""
_STARTS = 3
_FINISHED = ("Succeeded", "Failed")


class KubernetesProbes:
    """Probe pods behind a Kubernetes API. See `rollout.ports.probes.ProbePods` for the contract."""

    def __init__(self, connection: Connection, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._connection = connection
        self._now = now
        self._lock = Lock()
        self._remembered: dict[Any, tuple[float, Any]] = {}

    # -- making ------------------------------------------------------------------------------------------------------

    def check(self, rules: ProbeRules) -> None:
        """A dry run of one pod."""
        body = pod_manifest(Rig("check", "check", ""), WantedPod("", "a"), rules)
        del body["spec"]["nodeName"]
        with suppress(Conflict):
            self._create(Request("create", "pods", namespace=rules.namespace), body, rules, dry_run=True)
        policy = policy_manifests(Rig("check", "check", ""), rules, ())[0]
        request = Request("create", "networkpolicies", NETWORKING, rules.namespace)
        with suppress(Conflict):
            self._create(request, policy, rules, dry_run=True)

    def ensure(
        self,
        rig: Rig,
        wanted: Sequence[WantedPod],
        rules: ProbeRules,
        copies: Sequence[PolicyCopy] = (),
        *,
        timeout_s: float,
        settle_s: float | None = None,
        cancel: Event | None = None,
    ) -> tuple[ProbePod, ...]:
        """Make what is missing, and wait."""
        wait = _Wait(self._connection, rules.namespace, selector(rig.rollout, rig.node), timeout_s, settle_s, cancel)
        names = {pod_name(rig, one): one for one in wanted}
        wait.names = frozenset(names)
        wait.list()
        self._replace_unusable(wait, rig, rules)
        missing = [one for name, one in names.items() if name not in wait.seen]
        if any(one.role == ROLE_B for one in missing):  # the one that policies select
            self._ensure_policies(rig, rules, copies)
        for one in missing:
            request = Request("create", "pods", namespace=rules.namespace)
            with suppress(Conflict):  # there already: an answer was lost, and the watch tells of it
                body = self._create(request, pod_manifest(rig, one, rules), rules)
                wait.put(decode(body, PodDoc, f"pod {pod_name(rig, one)}"))
        if timeout_s > 0:
            self._until_usable(wait)
        return tuple(_value(wait.seen[name]) for name in names if name in wait.seen)

    def _replace_unusable(self, wait: _Wait, rig: Rig, rules: ProbeRules) -> None:
        """Delete what is finished, about to end or of another make, and wait until its name is free."""
        mark, now = fingerprint(rig, rules), self._now()
        stale = [name for name in wait.names & wait.seen.keys() if not _usable(wait.seen[name], mark, now)]
        for name in stale:
            self._delete(wait.seen[name])
        if stale:
            wait.until(lambda: not any(name in wait.seen for name in stale))
            if any(name in wait.seen for name in stale):
                raise Unavailable("probe-pod-not-gone", f"cannot replace probe pod {stale[0]}: it does not go")

    def _delete(self, doc: PodDoc) -> None:
        meta = doc.metadata or docs.NO_META
        request = Request("delete", "pods", namespace=meta.namespace or "", name=meta.name or "")
        with suppress(NotFound, Conflict):
            self._connection.call(request, body=_options() | {"preconditions": {"uid": meta.uid}})

    def _ensure_policies(self, rig: Rig, rules: ProbeRules, copies: Sequence[PolicyCopy]) -> None:
        request = Request("create", "networkpolicies", NETWORKING, rules.namespace)
        for manifest in policy_manifests(rig, rules, copies):
            with suppress(Conflict):  # one of this name is of this rig
                self._create(request, manifest, rules)

    def _create(self, request: Request, body: dict[str, Any], rules: ProbeRules, *, dry_run: bool = False) -> bytes:
        try:
            return self._connection.call(request, body=body, query={"dryRun": "All"} if dry_run else None)
        except NotFound as error:
            raise NotFound(
                "probe-namespace-missing",
                f"cannot {request}: namespace {rules.namespace} for probe pods does not exist",
                hint=f"kubectl create namespace {rules.namespace}",
            ) from error
        except NotPermitted as error:
            raise NotPermitted(
                error.code, error.message, hint=f"{error.hint} in namespace {rules.namespace}"
            ) from error

    def _until_usable(self, wait: _Wait) -> None:
        wait.until(wait.usable)
        for name in sorted(wait.names):
            doc = wait.seen.get(name)
            if doc is None or not (_is_ready(doc) or (wait.settled() and _addresses(doc))):
                words = self._words(wait.namespace, name, doc)
                raise Unavailable(
                    "probe-pod-not-ready",
                    f"cannot use probe pod {wait.namespace}/{name}: {words}",
                    hint=f"kubectl -n {wait.namespace} describe pod {name}",
                )

    def _words(self, namespace: str, name: str, doc: PodDoc | None) -> str:
        """Why a pod is not Ready, in the kubelet's words."""
        if doc is None:
            return "it was deleted while we waited for it"
        status = doc.status or probe_docs.ProbeStatusDoc()
        told = [f"{status.reason or status.phase or 'Pending'} {status.message or ''}".strip()]
        for container in status.containerStatuses or ():
            state = container.state
            for part in (state.waiting, state.terminated) if state else ():
                told += [f"{part.reason or ''} {part.message or ''}".strip()] if part else []
        told += [c.message for c in status.conditions or () if c.status == "False" and c.message][:1]
        event = self._last_warning(namespace, name)
        return plain("; ".join(dict.fromkeys([one for one in (*told, event) if one])))

    def _last_warning(self, namespace: str, name: str) -> str:
        request = Request("list", "events", namespace=namespace)
        query = {"fieldSelector": f"involvedObject.name={name}", "limit": 50}
        try:
            rows, _, _ = decode_page(self._connection.call(request, query=query), probe_docs.EventDoc, str(request))
        except RolloutError:
            return ""
        warnings = [f"{row.reason}: {row.message}" for row in rows if row.type == "Warning"]
        return warnings[-1] if warnings else ""

    # -- removing ----------------------------------------------------------------------------------------------------

    def remove(self, rules: ProbeRules, rollout: str, node: str = "", *, wait_s: float = 0) -> None:
        """One rig, or all of a rollout."""
        if not rollout:
            raise Invalid("empty-selector", "cannot remove probe pods: no rollout is named")
        ours = selector(rollout, node)
        self._delete_all(Request("deletecollection", "pods", namespace=rules.namespace), {"labelSelector": ours})
        policies = Request("deletecollection", "networkpolicies", NETWORKING, rules.namespace)
        self._delete_all(policies, {"labelSelector": ours})
        if wait_s > 0:
            self._until_gone(rules.namespace, ours, wait_s)

    def clear_node(self, rules: ProbeRules, node: str) -> None:
        """Whatever of ours runs there."""
        request = Request("deletecollection", "pods", namespace=rules.namespace)
        self._delete_all(request, {"labelSelector": selector(), "fieldSelector": f"spec.nodeName={node}"})

    def sweep(self, rules: ProbeRules, rollout: str) -> None:
        """Dead runs' pods."""
        self.remove(rules, rollout)
        request = Request("deletecollection", "pods", namespace=rules.namespace)
        ended = "status.phase!=Running,status.phase!=Pending,status.phase!=Unknown"
        self._delete_all(request, {"labelSelector": selector(), "fieldSelector": ended})
        self._sweep_policies(rules)

    def _sweep_policies(self, rules: ProbeRules) -> None:
        """Policies have no deadline: those that outlived their rig go with the next sweep, whoever's it is."""
        request = Request("list", "networkpolicies", NETWORKING, rules.namespace)
        query = {"labelSelector": selector()}
        found = list_all(self._connection, request, docs.MetaOnlyDoc, lambda doc: doc.metadata or docs.NO_META, query)
        old = [meta for meta in found.items if self._now() - _made(meta, self._now()) > timedelta(seconds=LIFETIME_S)]
        if not old:
            return
        alive = {(pod.rollout, pod.rig_node) for pod in self.leftovers(rules)}
        for meta in old:
            notes = meta.annotations or {}
            if (notes.get(ANNOTATION_ROLLOUT), notes.get(ANNOTATION_NODE)) not in alive:
                delete = Request("delete", "networkpolicies", NETWORKING, rules.namespace, meta.name or "")
                with suppress(NotFound):
                    self._connection.call(delete, body=_options())

    def _delete_all(self, request: Request, query: dict[str, str]) -> None:
        with suppress(NotFound):  # no such namespace: nothing to delete
            self._connection.call(request, query=query, body=_options())

    def _until_gone(self, namespace: str, ours: str, wait_s: float) -> None:
        wait = _Wait(self._connection, namespace, ours, wait_s, None, None)
        wait.list()
        wait.until(lambda: not wait.seen)
        if wait.seen:
            name = min(wait.seen)
            raise Unavailable(
                "probe-pod-not-gone",
                f"cannot remove probe pod {namespace}/{name}: it is still there after {wait_s:g} s",
                hint=f"kubectl -n {namespace} describe pod {name}",
            )

    def leftovers(self, rules: ProbeRules) -> tuple[ProbePod, ...]:
        """All there are."""
        request = Request("list", "pods", namespace=rules.namespace)
        found = list_all(self._connection, request, PodDoc, _value, {"labelSelector": selector()}).items
        return tuple(sorted(found, key=lambda pod: pod.ref))

    # -- what else there is ------------------------------------------------------------------------------------------

    def targets(self) -> Targets:
        """What to reach."""
        return self._remember("targets", lambda: read_targets(self._connection), Targets())

    def sample_policies(self, count: int) -> PolicySample:
        """Which policies to copy."""
        return self._remember(("policies", count), lambda: read_policies(self._connection, count), PolicySample())

    def _remember(self, key: Any, read: Callable[[], T], nothing: T) -> T:
        """What was read some minutes ago at most. What may not be read is not there: less is tried then."""
        with self._lock:
            at, value = self._remembered.get(key, (-_REMEMBERED_S, None))
            if time.monotonic() - at < _REMEMBERED_S:
                return value  # type: ignore[no-any-return]
            try:
                found = read()
            except (NotFound, NotPermitted):
                found = nothing
            self._remembered[key] = (time.monotonic(), found)
            return found


@dataclass
class _Wait:
    """The pods of one selector as a list and then a watch tell them, until something is true or time is up."""

    connection: Connection
    namespace: str
    labels: str
    timeout_s: float
    settle_s: float | None
    cancel: Event | None
    names: frozenset[str] = frozenset()
    seen: dict[str, PodDoc] = field(default_factory=dict)
    version: str = ""

    def __post_init__(self) -> None:
        self._deadline = time.monotonic() + self.timeout_s
        self._addressed_at: float | None = None

    def list(self) -> None:
        """Read all anew."""
        request = Request("list", "pods", namespace=self.namespace)
        listed = list_all(self.connection, request, PodDoc, lambda doc: doc, {"labelSelector": self.labels})
        self.version = listed.version
        self.seen = {_name(doc): doc for doc in listed.items}

    def put(self, doc: PodDoc) -> None:
        """One pod, added or changed."""
        self.seen[_name(doc)] = doc

    def until(self, done: Callable[[], bool]) -> None:
        """Follow the watch until `done`, or the time is over. Raises `Cancelled`."""
        for _ in range(_STARTS):
            try:
                while not done() and self._left() > 0:
                    if self.cancel is not None and self.cancel.is_set():
                        raise Cancelled("cancelled", "cannot wait for probe pods: it was stopped")
                    self._follow(done)
                return
            except Expired:
                self.list()

    def usable(self) -> bool:
        """Every wanted pod is Ready, or has waited long enough with an address; or one has ended already."""
        own = [self.seen.get(name) for name in self.names]
        if any(doc is not None and _phase(doc) in _FINISHED for doc in own):
            return True
        if all(doc is not None and _is_ready(doc) for doc in own):
            return True
        if self._addressed_at is None and all(doc is not None and _addresses(doc) for doc in own):
            self._addressed_at = time.monotonic()
        return self.settled()

    def settled(self) -> bool:
        """Whether all had addresses for so long that readiness is not waited for any more."""
        if self.settle_s is None or self._addressed_at is None:
            return False
        return time.monotonic() - self._addressed_at >= self.settle_s

    def _left(self) -> float:
        return self._deadline - time.monotonic()

    def _quiet(self) -> float:
        left = min(self._left(), _QUIET_S)
        if self.settle_s is not None and self._addressed_at is not None:
            left = min(left, self._addressed_at + self.settle_s - time.monotonic())
        return max(0.05, left)

    def _follow(self, done: Callable[[], bool]) -> None:
        """One watch, to its end, a silence, or `done`."""
        request = Request("watch", "pods", namespace=self.namespace)
        query = {
            "labelSelector": self.labels,
            "watch": "true",
            "resourceVersion": self.version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": max(1, round(self._left())),
        }
        response = self.connection.stream(request, query, self._quiet())
        rest = b""
        try:
            while piece := response.read1(64 * 1024):
                *whole, rest = (rest + piece).split(b"\n")
                for line in whole:
                    if line.strip():
                        self._take(request, line)
                if done():
                    return
        except urllib3.exceptions.ReadTimeoutError:
            pass  # silence: the caller looks at the clock
        except (*FOREIGN, ValueError):
            if self._left() > 0:
                time.sleep(min(0.2, self._left()))
        finally:
            response.close()

    def _take(self, request: Request, line: bytes) -> None:
        event = decode(line, docs.WatchLine, f"a line of {request}")
        if event.type == "ERROR":
            answer = Answer(500, bytes(event.object))
            code = answer.status.code if answer.status else None
            raise answered_error(request, Answer(code or 500, answer.body))
        doc = decode(event.object, PodDoc, f"an object of {request}")
        self.version = (doc.metadata or docs.NO_META).resourceVersion or self.version
        if event.type == "DELETED":
            self.seen.pop(_name(doc), None)
        elif event.type != "BOOKMARK":
            self.put(doc)


def _options() -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": GRACE_S}


def _name(doc: PodDoc) -> str:
    return (doc.metadata or docs.NO_META).name or ""


def _phase(doc: PodDoc) -> str:
    return (doc.status.phase if doc.status else None) or "Pending"


def _addresses(doc: PodDoc) -> tuple[str, ...]:
    status = doc.status or probe_docs.ProbeStatusDoc()
    if status.phase != "Running":
        return ()
    found = [one.ip for one in status.podIPs or () if one.ip] or [status.podIP or ""]
    return tuple(ip for ip in found if ip)


def _is_ready(doc: PodDoc) -> bool:
    status = doc.status or probe_docs.ProbeStatusDoc()
    told = any(c.type == "Ready" and c.status == "True" for c in status.conditions or ())
    return told and bool(_addresses(doc))


def _usable(doc: PodDoc, mark: str, now: datetime) -> bool:
    meta = doc.metadata or docs.NO_META
    if meta.deletionTimestamp is not None or _phase(doc) in _FINISHED:
        return False
    if (meta.annotations or {}).get(ANNOTATION_SPEC) != mark:
        return False
    return now - _made(meta, now) < _OLD


def _made(meta: docs.MetaDoc, now: datetime) -> datetime:
    return datetime.fromisoformat(meta.creationTimestamp) if meta.creationTimestamp else now


def _value(doc: PodDoc) -> ProbePod:
    meta = doc.metadata or docs.NO_META
    labels, notes = meta.labels or {}, meta.annotations or {}
    return ProbePod(
        ref=PodRef(meta.namespace or "", meta.name or "", meta.uid or ""),
        node=(doc.spec.nodeName if doc.spec else None) or "",
        role=labels.get(LABEL_PROBE, ""),
        rollout=notes.get(ANNOTATION_ROLLOUT, labels.get(LABEL_ROLLOUT, "")),
        rig_node=notes.get(ANNOTATION_NODE, ""),
        addresses=_addresses(doc),
        ready=_is_ready(doc),
        finished=_phase(doc) in _FINISHED,
        terminating=meta.deletionTimestamp is not None,
    )
