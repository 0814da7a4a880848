"""GET of one object and of lists: selectors, paging, tables."""

import base64
import json
from collections import OrderedDict
from dataclasses import dataclass

from rollout.lab.apiserver import errors
from rollout.lab.apiserver.exchange import Exchange, Reply
from rollout.lab.apiserver.objects import Obj
from rollout.lab.apiserver.resources import ResourceType
from rollout.lab.apiserver.selectors import build_predicate
from rollout.lab.apiserver.store import Store
from rollout.lab.apiserver.tables import partial_metadata, render_table

_EXPIRED_CONTINUE = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter."
)
# Lists that clients are paging through at one time; the oldest is forgotten, which its client sees as a 410.
_MOST_SNAPSHOTS = 64


@dataclass
class _Snapshot:
    revision: int
    objects: list[Obj]


class Reader:
    """Answers get and list."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._snapshots: OrderedDict[str, _Snapshot] = OrderedDict()

    def get(self, exchange: Exchange) -> Reply:
        resource = exchange.resource
        obj = self.find(exchange)
        form = exchange.accept_form()
        if form == "Table":
            metadata = {"resourceVersion": obj["metadata"]["resourceVersion"]}
            return Reply(200, render_table(resource, [obj], metadata, exchange.query.get("includeObject", "Metadata")))
        if form == "PartialObjectMetadata":
            return Reply(200, partial_metadata(obj))
        self._check_revision(exchange.query.get("resourceVersion", ""))
        return Reply(200, obj)

    def find(self, exchange: Exchange) -> Obj:
        """The object a path names, as the version asked for."""
        info, resource = exchange.info, exchange.resource
        obj = self._store.find(resource.id, info.name, info.namespace)
        if obj is None:
            raise errors.not_found(resource.group, resource.plural, info.name)
        return as_version(resource, obj)

    def list_objects(self, exchange: Exchange) -> Reply:
        info, query, resource = exchange.info, exchange.query, exchange.resource
        limit = _parse_limit(query.get("limit", ""))
        selected = bool(query.get("labelSelector") or query.get("fieldSelector"))
        start = 0
        if query.get("continue"):
            token, start, snapshot = self._resume(query["continue"])
        else:
            self._check_revision(query.get("resourceVersion", ""))
            token = f"{self._store.storage.revision}.{resource.id}.{info.namespace}.{query.get('labelSelector', '')}"
            token += f".{query.get('fieldSelector', '')}"
            snapshot = _Snapshot(self._store.storage.revision, self._select(exchange))
        end = start + limit if limit else len(snapshot.objects)
        page = snapshot.objects[start:end]
        metadata: Obj = {"resourceVersion": str(snapshot.revision)}
        left = len(snapshot.objects) - end
        if left > 0:
            self._keep(token, snapshot)
            metadata["continue"] = _encode_token(token, end, snapshot.revision)
            if not selected:
                metadata["remainingItemCount"] = left
        return Reply(200, self._render(exchange, resource, page, metadata))

    def _select(self, exchange: Exchange) -> list[Obj]:
        info, query = exchange.info, exchange.query
        label_text, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
        predicate = build_predicate(label_text, fields, exchange.resource.id)
        objects = self._store.all(exchange.resource.id, info.namespace)
        return [obj for obj in objects if predicate(obj)] if predicate else objects

    def _render(self, exchange: Exchange, resource: ResourceType, page: list[Obj], metadata: Obj) -> Obj:
        form = exchange.accept_form()
        if form == "Table":
            return render_table(resource, page, metadata, exchange.query.get("includeObject", "Metadata"))
        if form == "PartialObjectMetadataList":
            items = [partial_metadata(obj) for obj in page]
            kind, api_version = "PartialObjectMetadataList", "meta.k8s.io/v1"
            return {"kind": kind, "apiVersion": api_version, "metadata": metadata, "items": items}
        if resource.custom or resource.storage_id:
            items = [as_version(resource, obj) for obj in page]
        else:
            # Items of built-in lists carry no kind of their own on a real server.
            items = [{k: v for k, v in obj.items() if k not in ("kind", "apiVersion")} for obj in page]
        document = {"kind": resource.list_kind, "apiVersion": resource.api_version, "metadata": metadata}
        return {**document, "items": items}

    def _check_revision(self, text: str) -> None:
        if not text:
            return
        if not text.isdigit():
            raise errors.bad_request(
                f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing: invalid syntax'
            )
        if int(text) > self._store.storage.revision:
            current = self._store.storage.revision
            details = {
                "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
                "retryAfterSeconds": 1,
            }
            message = f"Timeout: Too large resource version: {text}, current: {current}"
            raise errors.ApiError(504, "Timeout", message, details, 1)

    def _keep(self, token: str, snapshot: _Snapshot) -> None:
        self._snapshots[token] = snapshot
        self._snapshots.move_to_end(token)
        while len(self._snapshots) > _MOST_SNAPSHOTS:
            self._snapshots.popitem(last=False)

    def _resume(self, text: str) -> tuple[str, int, _Snapshot]:
        try:
            document = json.loads(base64.urlsafe_b64decode(text.encode() + b"=="))
            token, start, revision = document["start"], int(document["offset"]), int(document["rv"])
        except (ValueError, KeyError, TypeError) as error:
            raise errors.bad_request("continue key is not valid: illegal base64 data") from error
        snapshot = self._snapshots.get(token)
        if snapshot is None or revision < self._store.storage.compacted:
            raise errors.expired(_EXPIRED_CONTINUE)
        return token, start, snapshot


def as_version(resource: ResourceType, obj: Obj) -> Obj:
    """An object as the version it was asked for; events also change their field names."""
    if obj.get("apiVersion") == resource.api_version:
        return obj
    if resource.id == "events":
        return _new_style_event(obj)
    return {**obj, "apiVersion": resource.api_version}


_EVENT_FIELDS = {
    "involvedObject": "regarding", "message": "note", "reportingComponent": "reportingController",
    "source": "deprecatedSource", "count": "deprecatedCount", "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
}  # fmt: skip


def _new_style_event(event: Obj) -> Obj:
    renamed = {_EVENT_FIELDS.get(key, key): value for key, value in event.items()}
    return {**renamed, "apiVersion": "events.k8s.io/v1"}


def old_style_event(event: Obj) -> Obj:
    """An events.k8s.io event as it is stored."""
    names = {new: old for old, new in _EVENT_FIELDS.items()}
    return {**{names.get(key, key): value for key, value in event.items()}, "apiVersion": "v1"}


def _parse_limit(text: str) -> int:
    if text and not text.isdigit():
        raise errors.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text or 0)


def _encode_token(token: str, offset: int, revision: int) -> str:
    document = json.dumps({"v": "meta.k8s.io/v1", "rv": revision, "offset": offset, "start": token})
    return base64.urlsafe_b64encode(document.encode()).decode().rstrip("=")
