"""Custom resource definitions: from a stored definition to served resources, and the Cilium ones that come along."""

import json
from importlib import resources as package_files
from typing import Any

from rollout.lab.apiserver.errors import group_resource
from rollout.lab.apiserver.objects import Obj, clone, now_text
from rollout.lab.apiserver.resources import SCALE, STATUS, Registry, ResourceType
from rollout.lab.apiserver.store import Store

CRD_ID = "customresourcedefinitions.apiextensions.k8s.io"
_OPEN: Obj = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def serve_definition(registry: Registry, definition: Obj) -> None:
    """Serve every served version of a definition, in place of what was served for it before."""
    spec = definition["spec"]
    registry.remove_custom(spec["group"], spec["names"]["plural"])
    # The storage version comes last, so that lookups by storage key answer with it.
    for version in sorted(spec["versions"], key=lambda v: bool(v.get("storage"))):
        if version.get("served"):
            registry.add(_resource(spec, version))


def _resource(spec: Obj, version: Obj) -> ResourceType:
    names = spec["names"]
    parts = version.get("subresources") or {}
    return ResourceType(
        group=spec["group"],
        version=version["name"],
        plural=names["plural"],
        kind=names["kind"],
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=tuple(sub for key, sub in (("status", STATUS), ("scale", SCALE)) if key in parts),
        singular=names.get("singular") or names["kind"].lower(),
        custom=True,
        schema=(version.get("schema") or {}).get("openAPIV3Schema"),
        columns=tuple(version.get("additionalPrinterColumns") or ()),
        storage_id=group_resource(spec["group"], names["plural"]) if not version.get("storage") else "",
    )


def established(definition: Obj) -> Obj:
    """A definition with the status it has once it is served."""
    definition = clone(definition)
    texts = (("NamesAccepted", "NoConflicts", "no conflicts found"),
             ("Established", "InitialNamesAccepted", "the initial names have been accepted"))  # fmt: skip
    definition["status"] = {
        "acceptedNames": definition["spec"]["names"],
        "conditions": [
            {"type": kind, "status": "True", "reason": reason, "message": text, "lastTransitionTime": now_text()}
            for kind, reason, text in texts
        ],
        "storedVersions": [v["name"] for v in definition["spec"]["versions"] if v.get("storage")],
    }
    return definition


def _simple(
    kind: str,
    plural: str,
    short: list[str],
    *,
    namespaced: bool,
    status: bool,
    columns: list[Any],
    extra: tuple[str, ...] = (),
) -> Obj:
    """A definition that takes any body: for Cilium kinds whose content this lab does not judge."""
    version: Obj = {
        "name": "v2",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {**_OPEN, "properties": {"spec": _OPEN, "status": _OPEN}}},
        "additionalPrinterColumns": [{"name": n, "type": t, "jsonPath": p} for n, t, p in columns],
    }
    if status:
        version["subresources"] = {"status": {}}
    names = {
        "kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower(), "shortNames": short,
        "categories": ["cilium", *extra],
    }  # fmt: skip
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.cilium.io", "labels": {"io.cilium.k8s.crd.schema.version": "1.34.2"}},
        "spec": {
            "group": "cilium.io",
            "names": names,
            "scope": "Namespaced" if namespaced else "Cluster",
            "conversion": {"strategy": "None"},
            "versions": [version],
        },
    }


_AGE = ("Age", "date", ".metadata.creationTimestamp")
_NODE_COLUMNS = [
    ("CiliumInternalIP", "string", '.spec.addresses[?(@.type=="CiliumInternalIP")].ip'),
    ("InternalIP", "string", '.spec.addresses[?(@.type=="InternalIP")].ip'),
    _AGE,
]
_ENDPOINT_COLUMNS = [
    ("Security Identity", "integer", ".status.identity.id"),
    ("Endpoint State", "string", ".status.state"),
    ("IPv4", "string", ".status.networking.addressing[0].ipv4"),
    ("IPv6", "string", ".status.networking.addressing[0].ipv6"),
]
_IDENTITY_COLUMNS = [("Namespace", "string", r".metadata.labels.io\.kubernetes\.pod\.namespace"), _AGE]
_POLICY_COLUMNS = [_AGE, ("Valid", "string", '.status.conditions[?(@.type=="Valid")].status')]


def cilium_definitions(node_config_version: str = "v2") -> list[Obj]:
    """The definitions of Cilium's kinds. Older Cilium serves CiliumNodeConfig as v2alpha1 only."""
    text = package_files.files("rollout.lab.apiserver").joinpath("crds/ciliumnodeconfigs.json").read_text()
    node_config: Obj = json.loads(text)
    node_config["spec"]["versions"][0]["name"] = node_config_version
    policy = ("ciliumpolicy",)
    return [
        _simple("CiliumNode", "ciliumnodes", ["cn", "ciliumn"], namespaced=False, status=True, columns=_NODE_COLUMNS),
        # No status subresource: the agent writes the whole object, as recorded.
        _simple(
            "CiliumEndpoint", "ciliumendpoints", ["cep", "ciliumep"], namespaced=True, status=False,
            columns=_ENDPOINT_COLUMNS,
        ),
        node_config,
        _simple(
            "CiliumIdentity", "ciliumidentities", ["ciliumid"], namespaced=False, status=True, columns=_IDENTITY_COLUMNS
        ),
        _simple(
            "CiliumNetworkPolicy", "ciliumnetworkpolicies", ["cnp", "ciliumnp"], namespaced=True, status=True,
            columns=_POLICY_COLUMNS, extra=policy,
        ),
        _simple(
            "CiliumClusterwideNetworkPolicy", "ciliumclusterwidenetworkpolicies", ["ccnp"], namespaced=False,
            status=True, columns=_POLICY_COLUMNS, extra=policy,
        ),
    ]  # fmt: skip


def install_cilium(store: Store, node_config_version: str = "v2") -> None:
    """Store and serve Cilium's definitions at once."""
    for definition in cilium_definitions(node_config_version):
        store.create(established(definition), keep_status=True)
        serve_definition(store.registry, definition)
