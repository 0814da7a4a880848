"""Create, update, patch and delete, on objects and on their status."""

from collections.abc import Callable
from typing import Any

from rollout.lab.apiserver import errors
from rollout.lab.apiserver.exchange import Exchange, Reply, check_form
from rollout.lab.apiserver.objects import Obj, clone, name_of, namespace_of
from rollout.lab.apiserver.ownership import Author, apply_configuration
from rollout.lab.apiserver.patches import apply_json_patch, apply_merge_patch, apply_strategic_patch
from rollout.lab.apiserver.reads import Reader, as_version, old_style_event
from rollout.lab.apiserver.request_info import decode_body, decode_text
from rollout.lab.apiserver.resources import ResourceType
from rollout.lab.apiserver.schema import prune_object
from rollout.lab.apiserver.selectors import build_predicate
from rollout.lab.apiserver.store import Store

_JSON_PATCH = "application/json-patch+json"
_MERGE_PATCH = "application/merge-patch+json"
_STRATEGIC_PATCH = "application/strategic-merge-patch+json"
_APPLY_PATCH = "application/apply-patch+yaml"
# Kinds whose DELETE answers with the object even when it is gone at once.
_RETURNS_DELETED = {"pods", "services", "persistentvolumes", "persistentvolumeclaims", "serviceaccounts"}


class Writer:
    """Answers everything that changes objects."""

    def __init__(self, store: Store, reader: Reader) -> None:
        self._store = store
        self._reader = reader

    def create(self, exchange: Exchange) -> Reply:
        obj = read_object(exchange)
        check_form(exchange.info, obj, exchange.resource)
        self._check_unknown_fields(exchange, obj)
        stored_form = old_style_event(obj) if exchange.resource.api_version == "events.k8s.io/v1" else obj
        author = Author(exchange.manager)
        created = self._store.create(stored_form, author=author, dry_run=exchange.dry_run)
        return Reply(201, as_version(exchange.resource, created))

    def update(self, exchange: Exchange) -> Reply:
        obj = read_object(exchange)
        check_form(exchange.info, obj, exchange.resource)
        self._check_unknown_fields(exchange, obj)
        self._reader.find(exchange)
        if not obj["metadata"].get("resourceVersion") and exchange.resource.custom:
            # Custom resources may not be overwritten blindly; most built-in kinds may.
            cause = errors.invalid_value("metadata.resourceVersion", 0, "must be specified for an update")
            raise errors.invalid(exchange.resource.group, exchange.resource.kind, exchange.info.name, [cause])
        return self._store_update(exchange, obj)

    def _store_update(self, exchange: Exchange, obj: Obj) -> Reply:
        if exchange.resource.api_version == "events.k8s.io/v1":
            obj = old_style_event(obj)
        subresource = exchange.info.subresource
        author = Author(exchange.manager, subresource)
        stored = self._store.update(obj, subresource=subresource, author=author, dry_run=exchange.dry_run)
        return Reply(200, as_version(exchange.resource, stored))

    # -- patch -------------------------------------------------------------------------------------------------------

    def patch(self, exchange: Exchange) -> Reply:
        media = exchange.request.headers.get("Content-Type", "").partition(";")[0].strip()
        accepted = [_JSON_PATCH, _MERGE_PATCH, _APPLY_PATCH]
        if not exchange.resource.custom:
            accepted.insert(2, _STRATEGIC_PATCH)
        if media not in accepted:
            raise errors.unsupported_media_type(accepted)
        if media == _APPLY_PATCH:
            return self._apply(exchange)
        document = decode_text(exchange.body)
        current = self._reader.find(exchange)
        patched = self._patched(media, exchange.resource, current, document)
        self._check_patched(exchange, patched)
        return self._store_update(exchange, patched)

    def _patched(self, media: str, resource: ResourceType, current: Obj, document: Any) -> Obj:
        if media == _JSON_PATCH:
            return apply_json_patch(current, document)
        if not isinstance(document, dict):
            raise errors.bad_request(
                "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"
            )
        if media == _STRATEGIC_PATCH:
            return apply_strategic_patch(resource.kind, current, document)
        merged: Obj = apply_merge_patch(current, document)
        return merged

    def _check_patched(self, exchange: Exchange, obj: Obj) -> None:
        if not isinstance(obj, dict) or not isinstance(obj.get("metadata"), dict):
            raise errors.bad_request("the patched object is not an object")
        check_form(exchange.info, obj, exchange.resource)
        self._check_unknown_fields(exchange, obj)

    def _apply(self, exchange: Exchange) -> Reply:
        """Server-side apply: creates what is not there."""
        if not exchange.query.get("fieldManager"):
            cause = errors.required("fieldManager", "is required for apply patch")
            raise errors.invalid("meta.k8s.io", "PatchOptions", "", [cause])
        config = decode_text(exchange.body)
        if not isinstance(config, dict):
            raise errors.bad_request("error decoding YAML: the applied configuration is not an object")
        check_form(exchange.info, config, exchange.resource)
        if config["metadata"].get("managedFields"):
            raise errors.bad_request("metadata.managedFields must be nil")
        self._check_unknown_fields(exchange, config)
        resource, info = exchange.resource, exchange.info
        live = self._store.find(resource.id, info.name, info.namespace)
        author = Author(exchange.manager, info.subresource)
        if live is None:
            return self._apply_new(exchange, config, author)
        applied = apply_configuration(live, config, author, force=exchange.flag("force"), custom=resource.custom)
        stored = self._store.replace_applied(applied, subresource=info.subresource, dry_run=exchange.dry_run)
        return Reply(200, stored)

    def _apply_new(self, exchange: Exchange, config: Obj, author: Author) -> Reply:
        resource = exchange.resource
        if exchange.info.subresource or config["metadata"].get("uid"):
            raise errors.not_found(resource.group, resource.plural, exchange.info.name)
        metadata = {key: config["metadata"][key] for key in ("name", "namespace") if key in config["metadata"]}
        bare: Obj = {"apiVersion": config["apiVersion"], "kind": config["kind"], "metadata": metadata}
        owned = apply_configuration(bare, config, author, force=True, custom=resource.custom)
        return Reply(201, self._store.create(owned, dry_run=exchange.dry_run))

    def _check_unknown_fields(self, exchange: Exchange, obj: Obj) -> None:
        """Only custom resources have a schema here, so only they can be strict."""
        resource = exchange.resource
        if exchange.query.get("fieldValidation") != "Strict" or not resource.schema:
            return
        unknown = prune_object(resource.schema, clone(obj))
        if unknown:
            listed = ", ".join(f'unknown field "{path}"' for path in unknown)
            text = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
            raise errors.bad_request(f"{text}strict decoding error: {listed}")

    # -- delete ------------------------------------------------------------------------------------------------------

    def delete(self, exchange: Exchange) -> Reply:
        info, resource = exchange.info, exchange.resource
        options = read_delete_options(exchange)
        self._reader.find(exchange)
        dry_run = exchange.dry_run or options.get("dryRun") == ["All"]
        obj, gone = self._store.delete(resource.id, info.name, info.namespace, options, dry_run)
        if not gone or resource.id in _RETURNS_DELETED:
            return Reply(200, as_version(resource, obj))
        details: Obj = {"name": info.name, "kind": resource.plural, "uid": obj["metadata"]["uid"]}
        if resource.group:
            details["group"] = resource.group
        success = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        return Reply(200, success)

    def delete_collection(self, exchange: Exchange) -> Reply:
        info, query, resource = exchange.info, exchange.query, exchange.resource
        predicate = build_predicate(query.get("labelSelector", ""), query.get("fieldSelector", ""), resource.id)
        chosen = [o for o in self._store.all(resource.id, info.namespace) if predicate is None or predicate(o)]
        options = read_delete_options(exchange)
        for obj in chosen:
            self._store.delete(resource.id, name_of(obj), namespace_of(obj), options, exchange.dry_run)
        metadata = {"resourceVersion": str(self._store.storage.revision)}
        return Reply(
            200, {"kind": resource.list_kind, "apiVersion": resource.api_version, "metadata": metadata, "items": chosen}
        )


def read_object(exchange: Exchange) -> Obj:
    obj = decode_body(exchange.body, exchange.request.headers.get("Content-Type", ""))
    if not isinstance(obj, dict):
        raise errors.bad_request(
            "couldn't get version/kind; json parse error: cannot unmarshal into Go value of type struct"
        )
    return obj


def read_delete_options(exchange: Exchange) -> Obj:
    """DeleteOptions from the body, with the query's word where the body is silent."""
    options: Obj = {}
    if exchange.body.strip():
        decoded = decode_body(exchange.body, exchange.request.headers.get("Content-Type", ""))
        options = decoded if isinstance(decoded, dict) else {}
    readers: dict[str, Callable[[str], Any]] = {"gracePeriodSeconds": int, "propagationPolicy": str}
    for key, read in readers.items():
        if key in exchange.query and key not in options:
            options[key] = read(exchange.query[key])
    policy = options.get("propagationPolicy")
    if policy not in (None, "Background", "Foreground", "Orphan"):
        allowed = ["Foreground", "Background", "Orphan", "nil"]
        raise errors.invalid(
            "meta.k8s.io", "DeleteOptions", "", [errors.not_supported("propagationPolicy", policy, allowed)]
        )
    return options
