"""Discovery documents, the version, and as much OpenAPI as kubectl needs to trust the server."""

import hashlib
import json

from rollout.lab.apiserver.objects import Obj
from rollout.lab.apiserver.resources import Registry, ResourceType

# The server the recordings come from.
VERSION: Obj = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.2",
    "gitCommit": "",
    "gitTreeState": "",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "go1.27.4",
    "compiler": "gc",
    "platform": "linux/amd64",
}


def _singular(resource: ResourceType) -> str:
    return resource.singular or resource.kind.lower()


def _resource_entries(resource: ResourceType) -> list[Obj]:
    entry: Obj = {
        "name": resource.plural,
        "singularName": _singular(resource),
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    entries = [entry]
    for sub in resource.subresources:
        below: Obj = {"name": f"{resource.plural}/{sub.name}", "singularName": "", "namespaced": resource.namespaced}
        if sub.version:
            below |= {"group": sub.group, "version": sub.version}
        entries.append({**below, "kind": sub.kind or resource.kind, "verbs": list(sub.verbs)})
    return entries


def _served(registry: Registry, group: str, version: str) -> list[ResourceType]:
    return [r for r in registry if (r.group, r.version) == (group, version)]


def resource_list(registry: Registry, group: str, version: str) -> Obj | None:
    """APIResourceList of one group version; None if it is not served."""
    served = sorted(_served(registry, group, version), key=lambda resource: resource.plural)
    if not served:
        return None
    entries = [entry for resource in served for entry in _resource_entries(resource)]
    api_version = served[0].api_version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": entries}


def core_versions() -> Obj:
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def _group(name: str, versions: list[str]) -> Obj:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def group_list(registry: Registry) -> Obj:
    groups = [_group(name, versions) for name, versions in registry.group_versions().items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def one_group(registry: Registry, name: str) -> Obj | None:
    versions = registry.group_versions().get(name)
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)} if versions else None


def aggregated(registry: Registry, *, core: bool) -> Obj:
    """Aggregated discovery (v2): everything below /api or /apis in one answer."""
    items: list[Obj] = []
    for name, versions in registry.group_versions().items():
        if bool(name) is core:
            continue
        listed = [
            {
                "version": v,
                "resources": [_aggregated_entry(r) for r in _served(registry, name, v)],
                "freshness": "Current",
            }
            for v in versions
        ]
        metadata = {"name": name, "creationTimestamp": None} if name else {"creationTimestamp": None}
        items.append({"metadata": metadata, "versions": listed})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _aggregated_entry(resource: ResourceType) -> Obj:
    def kind(group: str, version: str, name: str) -> Obj:
        return {"group": group, "version": version, "kind": name}

    entry: Obj = {
        "resource": resource.plural,
        "responseKind": kind(resource.group, resource.version, resource.kind),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": _singular(resource),
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if resource.subresources:
        entry["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": kind(
                    sub.group or resource.group, sub.version or resource.version, sub.kind or resource.kind
                ),
                "verbs": list(sub.verbs),
            }
            for sub in resource.subresources
        ]
    return entry


def openapi_index(registry: Registry) -> Obj:
    paths: Obj = {}
    for group, versions in registry.group_versions().items():
        for version in versions:
            path = f"apis/{group}/{version}" if group else f"api/{version}"
            text = json.dumps([resource.plural for resource in _served(registry, group, version)])
            digest = hashlib.sha256(text.encode()).hexdigest()[:32].upper()
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
    return {"paths": paths}


def openapi_document(registry: Registry, group: str, version: str) -> Obj | None:
    """OpenAPI v3 of one group version: by `fieldValidation` on PATCH kubectl knows that the server validates."""
    served = _served(registry, group, version)
    if not served:
        return None
    schemas: Obj = {}
    paths: Obj = {}
    for resource in served:
        kind = {"group": group, "version": version, "kind": resource.kind}
        name = f"{group or 'core'}.{version}.{resource.kind}"
        plain: Obj = {"type": "object", "description": f"{resource.kind} as this lab serves it."}
        schemas[name] = {**(resource.schema or plain), "x-kubernetes-group-version-kind": [kind]}
        prefix = f"/apis/{group}/{version}" if group else f"/api/{version}"
        scope = "/namespaces/{namespace}" if resource.namespaced else ""
        paths[f"{prefix}{scope}/{resource.plural}/{{name}}"] = _openapi_path(kind, name)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": VERSION["gitVersion"]},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _openapi_path(kind: Obj, schema: str) -> Obj:
    names = ("dryRun", "fieldManager", "fieldValidation", "force")
    parameters = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in names]
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    responses = {"200": {"description": "OK", "content": content}}
    common = {"x-kubernetes-group-version-kind": kind, "responses": responses}
    return {
        "get": {**common, "x-kubernetes-action": "get"},
        "patch": {**common, "x-kubernetes-action": "patch", "parameters": parameters},
    }
