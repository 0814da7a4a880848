"""`cilium-dbg build-config`: merges the agent's configuration once, when its pod is created.

Later sources override earlier ones: the ConfigMap, then the CiliumNodeConfigs that select this node, sorted by name.
A container restart does not run this again, so a crash-looping agent keeps the configuration it was created with.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import labpaths
from kubeapi import Api, ApiError, ApiUnreachable, Json, server_from
from logline import Log

_CONFIG_MAP = "cilium-config"
_VERSIONS = ("v2", "v2alpha1")
LOG = Log(subsys="cilium-dbg")


@dataclass(frozen=True)
class Source:
    kind: str
    namespace: str
    name: str
    values: dict[str, str]

    @property
    def shown(self) -> str:
        return f"{{Kind:{self.kind} Namespace:{self.namespace} Name:{self.name}}}"


@dataclass(frozen=True)
class Overrides:
    """Which keys a source after the first may set; the allow list wins over the deny list."""

    allowed: frozenset[str] = field(default_factory=frozenset)
    denied: frozenset[str] = field(default_factory=frozenset)

    def permit(self, key: str) -> bool:
        return key in self.allowed if self.allowed else key not in self.denied


def selects(selector: Json | None, labels: Mapping[str, str]) -> bool:
    """A Kubernetes label selector: none matches nothing, an empty one everything."""
    if selector is None:
        return False
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_meets(each, labels) for each in selector.get("matchExpressions") or [])


def _meets(requirement: Json, labels: Mapping[str, str]) -> bool:
    key, values = requirement["key"], requirement.get("values") or []
    match requirement["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    return False


def pick_node_configs(items: list[Json], labels: Mapping[str, str]) -> list[Json]:
    """The objects that select the node, in the order in which they apply."""
    chosen = [each for each in items if selects(each["spec"].get("nodeSelector"), labels)]
    return sorted(chosen, key=lambda each: str(each["metadata"]["name"]))


def merge(sources: list[Source], overrides: Overrides, log: Log = LOG) -> dict[str, str]:
    """One value per key, the last permitted source's."""
    merged: dict[str, str] = {}
    for position, source in enumerate(sources):
        for key, value in source.values.items():
            if position and not overrides.permit(key):
                log.warning("Source has non-overridable key", **_named(key, source))
                continue
            if key in merged:
                log.info("Source overrides key", **_named(key, source))
            merged[key] = value
    return merged


def _named(key: str, source: Source) -> dict[str, str]:
    return {"module": "build-config", "configKey": key, "configSource": source.shown}


def combine_node_configs(namespace: str, chosen: list[Json], log: Log = LOG) -> Source:
    """All matching objects as one source, as the agent treats them."""
    values: dict[str, str] = {}
    for each in chosen:
        for key, value in (each["spec"].get("defaults") or {}).items():
            if key in values:
                log.warning(f"Key {key} set in multiple CiliumNodeConfigs", module="build-config", configKey=key)
            values[key] = value
    return Source("cilium-node-config", namespace, "", values)


def parse_overrides(argv: list[str]) -> Overrides:
    def keys(flag: str) -> frozenset[str]:
        return frozenset(_flag(argv, flag).replace(",", " ").split())

    return Overrides(keys("--allow-config-keys"), keys("--deny-config-keys"))


def _flag(argv: list[str], name: str) -> str:
    for position, word in enumerate(argv):
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
        if word == name and position + 1 < len(argv):
            return argv[position + 1]
    return ""


def read_node_configs(api: Api, namespace: str) -> list[Json]:
    """From the newest version served."""
    for version in _VERSIONS:
        listed = api.find(f"/apis/cilium.io/{version}/namespaces/{namespace}/ciliumnodeconfigs")
        if listed is not None:
            return listed.get("items") or []
    return []


def collect(api: Api, node: str, namespace: str) -> tuple[list[Source], list[Json]]:
    """The sources in order, and the CiliumNodeConfigs among them."""
    first = Source("config-map", namespace, _CONFIG_MAP, {})
    LOG.info("Reading configuration from source", module="build-config", configSource=first.shown)
    held = api.get(f"/api/v1/namespaces/{namespace}/configmaps/{_CONFIG_MAP}").get("data") or {}
    first = Source(first.kind, namespace, _CONFIG_MAP, held)
    _got(first)
    second = Source("cilium-node-config", namespace, "", {})
    LOG.info("Reading configuration from source", module="build-config", configSource=second.shown)
    labels = api.get(f"/api/v1/nodes/{node}")["metadata"].get("labels") or {}
    chosen = pick_node_configs(read_node_configs(api, namespace), labels)
    second = combine_node_configs(namespace, chosen)
    _got(second)
    return [first, second], chosen


def _got(source: Source) -> None:
    count = len(source.values)
    LOG.info("Got configuration source", module="build-config", lenConfigPairs=count, configSource=source.shown)


def sources_key(namespace: str, chosen: list[Json]) -> str:
    """The key in which the agent tells what was merged."""
    kinds = [{"kind": "config-map", "namespace": namespace, "name": _CONFIG_MAP}]
    names = [each["metadata"]["name"] for each in chosen]
    kinds += [{"kind": "cilium-node-config", "namespace": namespace, "name": name} for name in names]
    return json.dumps(kinds, separators=(",", ":"))


def write(folder: Path, merged: Mapping[str, str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for key, value in merged.items():
        (folder / key).write_text(value)


def main(argv: list[str], environment: Mapping[str, str]) -> int:
    node, namespace = environment["K8S_NODE_NAME"], environment.get("CILIUM_K8S_NAMESPACE", "kube-system")
    api = Api(server_from(labpaths.etc(), environment["LAB_API"]), "cilium-dbg")
    overrides = parse_overrides(argv)
    LOG.info("Running")
    LOG.info("Starting hive")
    LOG.info("Establishing connection to apiserver", module="k8s-client", ipAddr=environment["LAB_API"])
    try:
        sources, chosen = collect(api, node, namespace)
    except (ApiError, ApiUnreachable) as error:
        LOG.error("Start hook failed", module="build-config", error=error)
        LOG.fatal(f"Build config failed: failed to start: {error}")
        return 1
    merged = merge(sources, overrides)
    merged["config-sources"] = sources_key(namespace, chosen)
    allowed = {"allowConfigKeys": sorted(overrides.allowed), "denyConfigKeys": sorted(overrides.denied)}
    merged["config-sources-overrides"] = json.dumps(allowed, separators=(",", ":"))
    write(Path(environment["LAB_POD_DIR"]) / "config-map", merged)
    LOG.info("Started hive")
    LOG.info("Stopping hive")
    LOG.info("Stopped hive")
    return os.EX_OK
