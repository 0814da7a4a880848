"""Pods. What the pods of a template have in common is decoded once and shared: fleets have few templates."""

from __future__ import annotations

from functools import lru_cache

from rollout.adapters.kubernetes import documents as docs
from rollout.adapters.kubernetes.decode.quantities import Requests, requests_of
from rollout.adapters.kubernetes.decode.rules import host_ports, scheduling, tolerations
from rollout.adapters.kubernetes.decode.wire import decode, is_there
from rollout.domain.errors import Unavailable
from rollout.domain.node import Pod, PodRef

_MIRROR = "kubernetes.io/config.mirror"
_CACHED = 8192
"""Lists come in name order, so pods of one template are neighbours: this need not hold all templates of a fleet."""
_DEFAULT_GRACE_S = 30
_NO_POD_SPEC = docs.PodSpecDoc()
_NO_POD_STATUS = docs.PodStatusDoc()


def pod_value(doc: docs.PodDoc) -> Pod:
    """A Pod. Raises `Unavailable`, naming it, when a part of it is not what it should be."""
    try:
        return _pod_value(doc)
    except Unavailable as error:
        meta = doc.metadata or docs.NO_POD_META
        whole = f"pod {meta.namespace}/{meta.name}"
        raise Unavailable(error.code, error.message.replace("cannot read", f"cannot read {whole}:", 1)) from error


def _pod_value(doc: docs.PodDoc) -> Pod:
    meta = doc.metadata or docs.NO_POD_META
    spec = doc.spec or _NO_POD_SPEC
    status = doc.status or _NO_POD_STATUS
    owner_kind, owner_name, owner_uid = _controller(bytes(meta.ownerReferences))
    annotations = _texts(bytes(meta.annotations))
    asked, names, ports = _containers(_key(spec.initContainers), _key(spec.containers), _whole(spec))
    ready = False
    for condition in status.conditions or ():
        if condition.type == "Ready":
            ready = condition.status == "True"
    restarts, waiting = _container_troubles(status)
    empty_dir, claims = _volumes(spec.volumes, meta.name or "") if spec.volumes else (False, ())
    grace = spec.terminationGracePeriodSeconds
    return Pod(
        ref=PodRef(meta.namespace or "", meta.name or "", meta.uid or ""),
        node=spec.nodeName or "",
        phase=status.phase or "Unknown",
        ready=ready,
        terminating=meta.deletionTimestamp is not None,
        host_network=bool(spec.hostNetwork),
        owner_kind=owner_kind,
        owner_name=owner_name,
        owner_uid=owner_uid,
        mirror=_MIRROR in annotations,
        labels=_texts(bytes(meta.labels)),
        tolerations=tolerations(bytes(spec.tolerations)),
        empty_dir=empty_dir,
        runtime_class=spec.runtimeClassName or "",
        restarts=restarts,
        waiting=waiting,
        deletion_at=meta.deletionTimestamp,
        annotations=annotations,
        ip=status.podIP or "",
        cpu_millis=asked.cpu_millis,
        memory_bytes=asked.memory_bytes,
        extra=asked.extra,
        scheduling=scheduling(spec, host_ports(ports) if ports else ()),
        claims=claims,
        grace_s=_DEFAULT_GRACE_S if grace is None else grace,
        finalizers=tuple(meta.finalizers or ()),
        containers=names,
    )


@lru_cache(maxsize=_CACHED)
def _texts(raw: bytes) -> dict[str, str]:
    """Labels or annotations; nobody changes them, so equal ones are one."""
    return decode(raw, dict[str, str] | None, "labels or annotations") or {} if raw else {}  # type: ignore[arg-type]


@lru_cache(maxsize=_CACHED)
def _controller(raw: bytes) -> tuple[str, str, str]:
    """Kind, name and UID of the owner that would replace the pod; a mere owner (garbage collection) would not."""
    owners = decode(raw, list[docs.OwnerDoc] | None, "owners") if raw else None  # type: ignore[arg-type]
    for owner in owners or ():
        if owner.controller:
            return owner.kind or "", owner.name or "", owner.uid or ""
    return "", "", ""


def _container_troubles(status: docs.PodStatusDoc) -> tuple[int, str]:
    """Restarts of the main containers, and why the first waiting one waits.

    Init containers come first: while one crashes, the main ones only say PodInitializing.
    """
    restarts, waiting = 0, ""
    for container in status.initContainerStatuses or ():
        if container.state and container.state.waiting and not waiting:
            waiting = container.state.waiting.reason or ""
    for container in status.containerStatuses or ():
        restarts += container.restartCount or 0
        if container.state and container.state.waiting and not waiting:
            waiting = container.state.waiting.reason or ""
    return restarts, waiting


# -- containers and volumes ------------------------------------------------------------------------------------------

_Key = tuple[tuple[str, bool, bytes, bytes], ...]
"""Of each container: its name, whether it is a sidecar, its requests and ports."""


def _key(containers: list[docs.ContainerDoc] | None) -> _Key:
    if not containers:
        return ()
    return tuple(
        [
            (
                c.name or "",
                c.restartPolicy == "Always",
                bytes(c.resources.requests) if c.resources else b"",
                bytes(c.ports),
            )
            for c in containers
        ]
    )


def _whole(spec: docs.PodSpecDoc) -> tuple[bytes, bytes]:
    """Requests of the pod as a whole, and its overhead."""
    return bytes(spec.resources.requests) if spec.resources else b"", bytes(spec.overhead)


@lru_cache(maxsize=_CACHED)
def _containers(
    init: _Key, main: _Key, whole: tuple[bytes, bytes]
) -> tuple[Requests, tuple[str, ...], tuple[bytes, ...]]:
    """What the scheduler counts, the containers' names in order, and their ports, undecoded."""
    asked = requests_of(
        [(sidecar, raw) for _, sidecar, raw, _ in init], [raw for _, _, raw, _ in main], whole[0], whole[1]
    )
    both = (*init, *main)
    return asked, tuple(name for name, _, _, _ in both), tuple(ports for _, _, _, ports in both if ports)


def _volumes(volumes: list[docs.VolumeDoc], pod: str) -> tuple[bool, tuple[str, ...]]:
    """Whether it has scratch data, and the claims that it mounts. An ephemeral volume's is named after the pod."""
    scratch, claims = False, []
    for volume in volumes:
        if is_there(volume.emptyDir):
            scratch = True
        elif volume.persistentVolumeClaim:
            claims.append(volume.persistentVolumeClaim.claimName or "")
        elif is_there(volume.ephemeral):
            claims.append(f"{pod}-{volume.name}")
    return scratch, tuple(claims)
