"""Which kinds the API serves: discovery, as few requests as it takes to know it for the kinds of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field

from rollout.adapters.kubernetes import documents as docs
from rollout.adapters.kubernetes.connection import Connection
from rollout.adapters.kubernetes.decode import decode
from rollout.adapters.kubernetes.kinds import OtherKind
from rollout.adapters.kubernetes.request import CORE, Request
from rollout.domain.errors import NotFound, RolloutError

GROUPS = "/apis"


@dataclass(frozen=True, slots=True)
class Served:
    """What discovery told."""

    groups: frozenset[str]
    paths: Mapping[str, str]
    """Path of the version to read, by kind, for each kind that is served."""
    unknown: Mapping[str, str] = field(default_factory=dict)
    """Kinds of which it could not be told, with why; the key `APIGroup` when nothing could."""


def read_served(connection: Connection, kinds: Iterable[OtherKind], pool: Executor) -> Served:
    """Which of `kinds` are served, and where. Raises nothing of the API's: what fails is in `unknown`."""
    wanted = tuple(kinds)
    try:
        body = connection.call(Request("get", GROUPS))
        listed = decode(body, docs.GroupListDoc, GROUPS).groups or []
    except RolloutError as error:
        unknown = {kind.name: error.message for kind in wanted if kind.group}
        core = {kind.name: CORE for kind in wanted if not kind.group}
        return Served(frozenset(), core, unknown | {"APIGroup": error.message})
    versions = {g.name or "": {v.version or "" for v in g.versions or ()} for g in listed}
    needed = sorted({(k.group, v) for k in wanted for v in k.versions if v in versions.get(k.group, ())})
    found = dict(zip(needed, pool.map(_resources(connection), needed), strict=True))
    paths: dict[str, str] = {}
    unknown = {}
    for kind in wanted:
        path, why = _place(kind, found)
        if path:
            paths[kind.name] = path
        elif why:
            unknown[kind.name] = why
    return Served(frozenset(versions), paths, unknown)


_Found = frozenset[str] | RolloutError


def _resources(connection: Connection) -> Callable[[tuple[str, str]], _Found]:
    """A reader of one group version: its plurals, or the error that kept them from being read."""

    def read(place: tuple[str, str]) -> _Found:
        path = f"{GROUPS}/{place[0]}/{place[1]}"
        try:
            rows = decode(connection.call(Request("get", path)), docs.ResourceListDoc, path).resources or ()
        except NotFound:
            return frozenset()
        except RolloutError as error:
            return error
        return frozenset(row.name or "" for row in rows)

    return read


def _place(kind: OtherKind, found: Mapping[tuple[str, str], _Found]) -> tuple[str, str]:
    """The path of the first version that serves the kind, and, when there is none, why that is not sure."""
    if not kind.group:
        return CORE, ""
    why = ""
    for version in kind.versions:
        resources = found.get((kind.group, version), frozenset())
        if isinstance(resources, RolloutError):
            why = why or resources.message
        elif kind.plural in resources:
            return f"{GROUPS}/{kind.group}/{version}", ""
    return "", why
