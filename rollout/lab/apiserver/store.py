"""The store with Kubernetes' rules: what the HTTP handlers, the controllers and the fixtures all write through."""

import uuid
from collections.abc import Callable, Iterable

from rollout.lab.apiserver import deletion, errors
from rollout.lab.apiserver.defaults import apply_defaults, prepare_create, shape_builtin
from rollout.lab.apiserver.names import is_string_map, metadata_causes
from rollout.lab.apiserver.objects import Obj, clone, dig, key_of, now_text, random_suffix
from rollout.lab.apiserver.ownership import NOBODY, Author, track_update
from rollout.lab.apiserver.resources import Registry, ResourceType
from rollout.lab.apiserver.schema import fill_defaults, prune_object, schema_causes
from rollout.lab.apiserver.storage import Listener, Storage
from rollout.lab.apiserver.validation import builtin_causes

# Written by the server only; whatever a client sends there is replaced by what is stored.
_SERVER_METADATA = ("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "uid")


class Store:
    """Typed access to the storage. All methods are synchronous and atomic on the one event loop."""

    def __init__(self, storage: Storage | None = None, registry: Registry | None = None) -> None:
        self.storage = storage or Storage()
        self.registry = registry or Registry.builtin()
        self._service_addresses = 0

    # -- reading -----------------------------------------------------------------------------------------------------

    def resource_of(self, obj: Obj) -> ResourceType:
        api_version, kind = str(obj.get("apiVersion") or ""), str(obj.get("kind") or "")
        resource = self.registry.by_kind(api_version, kind)
        if resource is None:
            raise errors.bad_request(f'no kind "{kind}" is registered for version "{api_version}"')
        return resource

    def find(self, resource_id: str, name: str, namespace: str = "") -> Obj | None:
        return self.storage.get(resource_id, (namespace, name))

    def get(self, resource_id: str, name: str, namespace: str = "") -> Obj:
        """The stored object itself: do not change it, clone it."""
        obj = self.storage.get(resource_id, (namespace, name))
        if obj is None:
            resource = self.registry.by_id(resource_id)
            raise errors.not_found(resource.group, resource.plural, name)
        return obj

    def all(self, resource_id: str, namespace: str = "") -> list[Obj]:
        return self.storage.items(resource_id, namespace)

    def subscribe(self, resource_id: str, listener: Listener) -> Callable[[], None]:
        return self.storage.subscribe(resource_id, listener)

    # -- creating ----------------------------------------------------------------------------------------------------

    def create(self, obj: Obj, *, author: Author = NOBODY, dry_run: bool = False, keep_status: bool = False) -> Obj:
        """Create an object as a client would. `keep_status` is for fixtures: status, uid and times stay as given."""
        resource = self.resource_of(obj)
        obj = clone(obj)
        metadata = obj.setdefault("metadata", {}) or {}
        obj["metadata"] = metadata
        self._check_decodes(resource, obj)
        self._name(resource, metadata)
        self._check_namespace(resource, metadata)
        self._prepare_create(resource, obj, keep_status)
        self._validate(resource, obj, None)
        if self.storage.get(resource.id, key_of(obj)) is not None:
            raise errors.already_exists(resource.group, resource.plural, metadata["name"])
        self._stamp(resource, metadata, keep_status)
        track_update(obj, None, author, resource.custom)
        return obj if dry_run else self.storage.put(resource.id, obj)

    def seed(self, documents: Iterable[Obj]) -> list[Obj]:
        """Put fixtures in: each replaces what is there. `List` documents are unpacked, missing namespaces are made."""
        stored: list[Obj] = []
        for document in documents:
            if not document:
                continue
            if "items" in document and str(document.get("kind", "")).endswith("List"):
                stored += self.seed(document["items"])
                continue
            stored.append(self._seed_one(document))
        return stored

    def _seed_one(self, document: Obj) -> Obj:
        resource = self.resource_of(document)
        metadata = document["metadata"]
        namespace = str(metadata.get("namespace") or "default") if resource.namespaced else ""
        if namespace and self.find("namespaces", namespace) is None:
            self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        if self.find(resource.id, str(metadata.get("name")), namespace) is not None:
            self.storage.remove(resource.id, (namespace, metadata["name"]))
        document = {**document, "metadata": {**metadata, "namespace": namespace} if namespace else metadata}
        return self.create(document, keep_status=True)

    def _name(self, resource: ResourceType, metadata: Obj) -> None:
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = str(metadata["generateName"])[:58] + random_suffix()
        if resource.namespaced:
            metadata["namespace"] = metadata.get("namespace") or "default"
        elif metadata.pop("namespace", None):
            raise errors.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )

    def _check_namespace(self, resource: ResourceType, metadata: Obj) -> None:
        if not resource.namespaced:
            return
        namespace = self.get("namespaces", metadata["namespace"])
        if namespace["metadata"].get("deletionTimestamp"):
            name = metadata["namespace"]
            detail = f"unable to create new content in namespace {name} because it is being terminated"
            raise errors.forbidden(resource.group, resource.plural, metadata.get("name") or "", detail)

    def _prepare_create(self, resource: ResourceType, obj: Obj, keep_status: bool) -> None:
        if resource.custom:
            if resource.schema:
                prune_object(resource.schema, obj)
                fill_defaults(resource.schema, obj)
            if resource.has_status and not keep_status:
                obj.pop("status", None)
            return
        prepare_create(resource.id, obj, resource.has_status, keep_status=keep_status)
        if resource.id == "services" and obj["spec"].get("type") != "ExternalName":
            self._assign_service_address(obj["spec"])

    def _assign_service_address(self, spec: Obj) -> None:
        if spec.get("clusterIP"):
            spec.setdefault("clusterIPs", [spec["clusterIP"]])
            return
        taken = {each["spec"].get("clusterIP") for each in self.all("services")}
        while not spec.get("clusterIP") or spec["clusterIP"] in taken:
            self._service_addresses += 1
            number = self._service_addresses + 9
            spec["clusterIP"] = f"10.96.{number >> 8}.{number & 255}"
        spec["clusterIPs"] = [spec["clusterIP"]]

    def _stamp(self, resource: ResourceType, metadata: Obj, keep: bool) -> None:
        kept = metadata if keep else {}
        for key in (*_SERVER_METADATA, "resourceVersion", "selfLink"):
            if key not in kept or key == "resourceVersion":
                metadata.pop(key, None)
        metadata.setdefault("uid", str(uuid.uuid4()))
        metadata.setdefault("creationTimestamp", now_text())
        if resource.has_generation or resource.custom:
            metadata.setdefault("generation", 1)

    # -- checks ------------------------------------------------------------------------------------------------------

    def _check_decodes(self, resource: ResourceType, obj: Obj) -> None:
        """The shape errors that a real server finds while decoding: 400, not 422."""
        for key in ("name", "namespace", "generateName"):
            if not isinstance(obj["metadata"].get(key) or "", str):
                raise _cannot_decode(resource, f"ObjectMeta.metadata.{key} of type string")
        for key in ("labels", "annotations"):
            value = obj["metadata"].get(key)
            if value is not None and not is_string_map(value):
                raise _cannot_decode(resource, f"ObjectMeta.metadata.{key} of type string")
            if value is None:
                obj["metadata"].pop(key, None)
        if not resource.custom:
            for key in ("spec", "status"):
                if obj.get(key) is not None and not isinstance(obj[key], dict):
                    raise _cannot_decode(resource, f"{resource.kind}.{key} of type v1.{resource.kind}{key.title()}")

    def _validate(self, resource: ResourceType, obj: Obj, old: Obj | None) -> None:
        causes = metadata_causes(resource.id, obj["metadata"])
        if resource.custom and resource.schema:
            body = {key: value for key, value in obj.items() if key != "metadata"}
            causes += schema_causes(resource.schema, body, "")
        elif not resource.custom:
            causes += builtin_causes(resource.id, obj, old)
        if causes:
            raise errors.invalid(resource.group, resource.kind, obj["metadata"].get("name") or "", causes)

    # -- updating ----------------------------------------------------------------------------------------------------

    def update(self, obj: Obj, *, subresource: str = "", author: Author = NOBODY, dry_run: bool = False) -> Obj:
        """Replace an object, or its status. A stale resourceVersion is a 409; without one the last write wins."""
        resource = self.resource_of(obj)
        key = key_of(obj)
        old = self.get(resource.id, key[1], key[0])
        obj = clone(obj)
        self._check_decodes(resource, obj)
        self._check_same(resource, old, obj)
        self._restore(resource, old, obj, subresource)
        if self._same(old, obj):
            return old
        self._validate(resource, obj, old)
        if self._spec_changed(resource, old, obj):
            obj["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        if author.manager:
            track_update(obj, old, Author(author.manager, subresource or author.subresource), resource.custom)
        return obj if dry_run else self._commit(resource, obj)

    def replace_applied(self, obj: Obj, *, subresource: str = "", dry_run: bool = False) -> Obj:
        """Update after server-side apply, which has written managedFields itself."""
        return self.update(obj, subresource=subresource, dry_run=dry_run)

    def mutate(
        self, resource_id: str, name: str, change: Callable[[Obj], None], namespace: str = "", subresource: str = ""
    ) -> Obj:
        """Read, change a copy, write. Cannot lose a race: everything happens on one loop without waiting."""
        obj = clone(self.get(resource_id, name, namespace))
        change(obj)
        return self.update(obj, subresource=subresource)

    def set_status(self, resource_id: str, name: str, namespace: str, values: Obj) -> Obj:
        """Merge top-level fields into the status."""

        def change(obj: Obj) -> None:
            obj["status"] = {**(obj.get("status") or {}), **values}

        resource = self.registry.by_id(resource_id)
        return self.mutate(resource_id, name, change, namespace, "status" if resource.has_status else "")

    def assign_pod(self, name: str, namespace: str, change: Callable[[Obj], None]) -> Obj:
        """The one write that may touch a pod's spec and status together: its binding to a node."""
        pod: Obj = clone(self.get("pods", name, namespace))
        change(pod)
        return self.storage.put("pods", pod)

    def _check_same(self, resource: ResourceType, old: Obj, obj: Obj) -> None:
        sent = obj["metadata"].get("resourceVersion")
        if sent and sent != old["metadata"]["resourceVersion"]:
            raise errors.conflict(resource.group, resource.plural, obj["metadata"]["name"])
        uid = obj["metadata"].get("uid")
        if uid and uid != old["metadata"]["uid"]:
            detail = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old['metadata']['uid']}"
            raise errors.conflict(resource.group, resource.plural, obj["metadata"]["name"], detail)

    def _restore(self, resource: ResourceType, old: Obj, obj: Obj, subresource: str) -> None:
        """Take back what this request may not change."""
        for key in (*_SERVER_METADATA, "resourceVersion", "generateName"):
            if key in old["metadata"]:
                obj["metadata"][key] = old["metadata"][key]
            else:
                obj["metadata"].pop(key, None)
        if "managedFields" in old["metadata"]:
            obj["metadata"].setdefault("managedFields", old["metadata"]["managedFields"])
        if subresource == "status":
            self._keep_all_but_status(resource, old, obj)
        elif resource.has_status:
            obj.pop("status", None)
            if "status" in old:
                obj["status"] = old["status"]
        if resource.custom:
            if resource.schema:
                prune_object(resource.schema, obj)
                fill_defaults(resource.schema, obj)
        else:
            shape_builtin(resource.id, obj, resource.has_status)
            self._keep_assigned(resource, old, obj)
            apply_defaults(resource.id, obj)

    def _keep_all_but_status(self, resource: ResourceType, old: Obj, obj: Obj) -> None:
        for key in [key for key in obj if key not in ("apiVersion", "kind", "metadata", "status")]:
            del obj[key]
        for key, value in old.items():
            if key not in ("metadata", "status"):
                obj[key] = value
        if resource.custom:
            managed = obj["metadata"].get("managedFields")
            obj["metadata"] = {**old["metadata"]}
            if managed:
                obj["metadata"]["managedFields"] = managed

    def _keep_assigned(self, resource: ResourceType, old: Obj, obj: Obj) -> None:
        """Fields the server assigned survive a replacement that leaves them out."""
        if resource.id == "services":
            for key in ("clusterIP", "clusterIPs"):
                if key in old["spec"]:
                    obj["spec"].setdefault(key, old["spec"][key])

    @staticmethod
    def _same(old: Obj, obj: Obj) -> bool:
        if old == obj:
            return True
        # Times in managedFields alone are no change.
        strip = {"managedFields": None}
        left = {**old, "metadata": {**old["metadata"], **strip}}
        right = {**obj, "metadata": {**obj["metadata"], **strip}}
        same_managers = _manager_shapes(old) == _manager_shapes(obj)
        return same_managers and left == right

    @staticmethod
    def _spec_changed(resource: ResourceType, old: Obj, obj: Obj) -> bool:
        if not (resource.has_generation or resource.custom):
            return False
        ignored = {"metadata"} | ({"status"} if resource.has_status else set())
        keys = (old.keys() | obj.keys()) - ignored
        return any(old.get(key) != obj.get(key) for key in keys)

    def _commit(self, resource: ResourceType, obj: Obj) -> Obj:
        if deletion.is_finished(resource.id, obj):
            stored = self.storage.put(resource.id, obj)
            self._remove(resource, key_of(stored))
            return stored
        return self.storage.put(resource.id, obj)

    # -- deleting ----------------------------------------------------------------------------------------------------

    def delete(
        self, resource_id: str, name: str, namespace: str = "", options: Obj | None = None, dry_run: bool = False
    ) -> tuple[Obj, bool]:
        """Delete, gracefully where the kind is. Returns the object and whether it is gone."""
        resource = self.registry.by_id(resource_id)
        old = self.get(resource_id, name, namespace)
        options = options or {}
        deletion.check_preconditions(resource, old, options)
        marked = deletion.mark(resource_id, old, options)
        if marked is None:
            if not dry_run:
                self._orphan(old, options)
                self._remove(resource, key_of(old))
            return old, True
        if marked == old or dry_run:
            return marked, False
        return self._commit(resource, marked), False

    def remove_now(self, resource_id: str, name: str, namespace: str = "") -> None:
        """Delete with no grace, if it is still there."""
        if self.find(resource_id, name, namespace) is not None:
            self.delete(resource_id, name, namespace, {"gracePeriodSeconds": 0})

    def _remove(self, resource: ResourceType, key: tuple[str, str]) -> None:
        last = self.storage.remove(resource.id, key)
        if resource.kind == "CustomResourceDefinition":
            group, plural = last["spec"]["group"], last["spec"]["names"]["plural"]
            self.storage.drop_resource(errors.group_resource(group, plural))
            self.registry.remove_custom(group, plural)

    def _orphan(self, owner: Obj, options: Obj) -> None:
        if options.get("propagationPolicy") != "Orphan":
            return
        uid = owner["metadata"]["uid"]
        for resource_id in self.registry.stored_ids():
            for obj in self.storage.values(resource_id):
                owners = obj["metadata"].get("ownerReferences") or []
                if any(reference.get("uid") == uid for reference in owners):
                    kept = [reference for reference in owners if reference.get("uid") != uid]
                    self.storage.put(resource_id, {**obj, "metadata": {**obj["metadata"], "ownerReferences": kept}})


def _manager_shapes(obj: Obj) -> list[Obj]:
    entries: list[Obj] = obj["metadata"].get("managedFields") or []
    return [{**entry, "time": None} for entry in entries]


def _cannot_decode(resource: ResourceType, target: str) -> errors.ApiError:
    text = f"json: cannot unmarshal into Go struct field {target}"
    return errors.bad_request(
        f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: {text}'
    )


def is_terminating(obj: Obj) -> bool:
    return bool(dig(obj, "metadata", "deletionTimestamp"))
