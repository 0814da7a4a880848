"""The agent's installation, and CiliumNodeConfigs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from rollout.adapters.kubernetes import documents as docs
from rollout.adapters.kubernetes.connection import Connection
from rollout.adapters.kubernetes.decode import decode, node_config_value
from rollout.adapters.kubernetes.lists import list_all
from rollout.adapters.kubernetes.request import APPS, CILIUM, Request
from rollout.domain.errors import Conflict, Invalid, NotFound, Refused
from rollout.domain.inventory import AgentInstall, NodeConfig
from rollout.domain.node import LABEL_MODE
from rollout.domain.plan import PlannedNodeConfig

DEFAULT_NAMESPACE = "kube-system"
CONFIG_MAP = "cilium-config"
MANAGED_BY = {"app.kubernetes.io/managed-by": "netkit-rollout"}
_SELECTOR = "k8s-app=cilium"
_DAEMONSET = "cilium"
_CONTAINER = "cilium-agent"
_CHECKSUM = "cilium.io/cilium-configmap-checksum"
_KIND = "ciliumnodeconfigs"
_VERSIONS = ("v2", "v2alpha1")
_ENV = re.compile(r"CILIUM_[A-Z0-9_]+")


# -- DaemonSet and ConfigMap -----------------------------------------------------------------------------------------


def read_install(connection: Connection, namespace: str | None) -> AgentInstall:
    """How the agent is installed. Raises `NotFound` when it is not."""
    found = _find_daemonset(connection, namespace)
    meta = found.metadata or docs.NO_META
    spec = found.spec or docs.DaemonSetSpecDoc()
    template = spec.template or docs.TemplateDoc()
    containers = (template.spec.containers if template.spec else None) or ()
    init = (template.spec.initContainers if template.spec else None) or ()
    status = found.status or docs.DaemonSetStatusDoc()
    config = _read_config(connection, meta.namespace or "")
    config_meta = config.metadata or docs.NO_META
    main = next((c for c in containers if c.name == _CONTAINER), next(iter(containers), docs.AgentContainerDoc()))
    builder = next((c for c in init if "build-config" in _words(c)), None)
    return AgentInstall(
        namespace=meta.namespace or "",
        daemonset=meta.name or "",
        daemonset_uid=meta.uid or "",
        generation=meta.generation or 0,
        image=main.image or "",
        update_strategy=(spec.updateStrategy.type if spec.updateStrategy else None) or "RollingUpdate",
        desired=status.desiredNumberScheduled or 0,
        ready=status.numberReady or 0,
        config=config.data or {},
        merges_node_configs=builder is not None,
        allow_keys=_keys(builder, "--allow-config-keys"),
        deny_keys=_keys(builder, "--deny-config-keys"),
        config_args=config_args(main),
        checksum_annotation=_CHECKSUM in ((template.metadata or docs.NO_META).annotations or {}),
        selector=(spec.selector.matchLabels if spec.selector else None) or {},
        config_resource_version=config_meta.resourceVersion or "",
        labels=meta.labels or {},
        annotations=meta.annotations or {},
        config_labels=config_meta.labels or {},
        config_annotations=config_meta.annotations or {},
        max_unavailable=_max_unavailable(spec.updateStrategy),
    )


def _max_unavailable(strategy: docs.UpdateStrategyDoc | None) -> str:
    amount = strategy.rollingUpdate.maxUnavailable if strategy and strategy.rollingUpdate else None
    return "" if amount is None else str(amount)


def _find_daemonset(connection: Connection, namespace: str | None) -> docs.DaemonSetDoc:
    """In the namespace named (else where Cilium usually is), else anywhere: installs differ."""
    query = {"labelSelector": _SELECTOR}
    for where in (namespace or DEFAULT_NAMESPACE, ""):
        request = Request("list", "daemonsets", APPS, namespace=where)
        found = list_all(connection, request, docs.DaemonSetDoc, lambda doc: doc, query).items
        if found:
            return min(found, key=_likeness)
    raise NotFound(
        "no-agent",
        f"cannot find Cilium: no DaemonSet is labelled {_SELECTOR}",
        hint="is Cilium installed here? If under another label, this program does not know it",
    )


def _likeness(doc: docs.DaemonSetDoc) -> tuple[bool, bool, str]:
    """Smallest for the likeliest: the agent's usual name, then a container of its name."""
    meta = doc.metadata or docs.NO_META
    template = (doc.spec.template if doc.spec else None) or docs.TemplateDoc()
    containers = (template.spec.containers if template.spec else None) or ()
    return (meta.name != _DAEMONSET, all(c.name != _CONTAINER for c in containers), f"{meta.namespace}/{meta.name}")


def _read_config(connection: Connection, namespace: str) -> docs.ConfigMapDoc:
    request = Request("get", "configmaps", namespace=namespace, name=CONFIG_MAP)
    return decode(connection.call(request), docs.ConfigMapDoc, f"ConfigMap {namespace}/{CONFIG_MAP}")


def _words(container: docs.AgentContainerDoc) -> list[str]:
    """Command and arguments as words, also when they are one shell line."""
    words: list[str] = []
    for text in [*(container.command or ()), *(container.args or ())]:
        try:
            words += shlex.split(text, comments=False) if any(c.isspace() for c in text) else [text]
        except ValueError:
            words += text.split()
    return words


def _options(words: Iterable[str]) -> list[str]:
    """`--name=value` for every option, also for those written as two words."""
    found: list[str] = []
    open_option = False
    for word in words:
        if word.startswith("--"):
            found.append(word)
            open_option = "=" not in word
        elif open_option:
            found[-1] += f"={word}"
            open_option = False
    return found


def config_args(container: docs.AgentContainerDoc) -> tuple[str, ...]:
    """What sets options of the agent directly. A variable filled from elsewhere is shown with where from."""
    found = _options(_words(container))
    for env in container.env or ():
        name = env.name or ""
        if not _ENV.fullmatch(name):
            continue
        if env.value is not None:
            found.append(f"{name}={env.value}")
        elif env.valueFrom and "fieldRef" not in env.valueFrom:
            found.append(f"{name}=({', '.join(sorted(env.valueFrom))})")
    return tuple(found)


def _keys(builder: docs.AgentContainerDoc | None, option: str) -> tuple[str, ...]:
    keys: list[str] = []
    for text in _options(_words(builder)) if builder else ():
        name, _, value = text.partition("=")
        if name == option:
            keys += [key.strip() for key in value.split(",") if key.strip()]
    return tuple(keys)


# -- CiliumNodeConfigs -----------------------------------------------------------------------------------------------


def served_version(connection: Connection) -> str:
    """The served version of CiliumNodeConfig to use: v2, v2alpha1, or nothing. What is served changes with upgrades."""
    try:
        group = decode(connection.call(Request("get", CILIUM)), docs.GroupDoc, CILIUM)
    except NotFound:
        return ""
    served = {version.version for version in group.versions or ()}
    for version in _VERSIONS:
        if version not in served:
            continue
        body = connection.call(Request("get", f"{CILIUM}/{version}"))
        kinds = decode(body, docs.ResourceListDoc, f"{CILIUM}/{version}").resources or ()
        if any(kind.name == _KIND for kind in kinds):
            return version
    return ""


def list_node_configs(connection: Connection, version: str, namespace: str) -> tuple[NodeConfig, ...]:
    """The CiliumNodeConfigs of one namespace, in name order."""
    if not version:
        return ()
    request = Request("list", _KIND, f"{CILIUM}/{version}", namespace=namespace)
    found = list_all(connection, request, docs.NodeConfigDoc, node_config_value).items
    return tuple(sorted(found, key=lambda c: c.name))


def ensure_node_config(connection: Connection, wanted: PlannedNodeConfig) -> None:
    """Create ours, or accept an equal one."""
    if not wanted.label_value:
        raise Invalid(
            "empty-selector",
            f"cannot create CiliumNodeConfig {wanted.name}: it would select every node",
            hint="this is a bug of netkit-rollout: a plan names the label value it selects",
        )
    for _ in range(2):
        try:
            found = _read_node_config(connection, wanted)
        except NotFound:
            if _create(connection, wanted):
                return
            continue
        if not _says(found, wanted):
            raise Conflict(
                "node-config-differs",
                f"cannot use CiliumNodeConfig {wanted.namespace}/{wanted.name}: one of that name says something else",
                hint=f"see it: kubectl -n {wanted.namespace} get ciliumnodeconfig {wanted.name} -o yaml",
            )
        return
    raise Conflict("node-config-races", f"cannot create CiliumNodeConfig {wanted.name}: it comes and goes")


def _create(connection: Connection, wanted: PlannedNodeConfig) -> bool:
    """Create it and check what was stored. False when somebody created one in between."""
    request = Request("create", _KIND, f"{CILIUM}/{wanted.version}", namespace=wanted.namespace, name=wanted.name)
    try:
        body = connection.call(request, body=_manifest(wanted))
    except Conflict:
        return False
    if not _says(decode(body, docs.NodeConfigDoc, f"CiliumNodeConfig {wanted.name}"), wanted):
        raise Conflict("not-kept", f"cannot {request}: the API stored something else")
    return True


def delete_node_config(connection: Connection, wanted: PlannedNodeConfig) -> None:
    """Delete ours if no node carries the label value that it selects."""
    try:
        found = _read_node_config(connection, wanted)
    except NotFound:
        return
    if not _is_ours(found, wanted):
        raise Refused(
            "not-ours",
            f"cannot delete CiliumNodeConfig {wanted.namespace}/{wanted.name}: we did not create this one",
            hint=f"see it: kubectl -n {wanted.namespace} get ciliumnodeconfig {wanted.name} -o yaml",
        )
    users = _labelled(connection, wanted.label_value)
    if users:
        shown = ", ".join(users[:5]) + (" …" if len(users) > 5 else "")
        raise Refused(
            "node-config-in-use",
            f"cannot delete CiliumNodeConfig {wanted.name}: {len(users)} node(s) still carry its label value: {shown}",
            hint=f"see them: kubectl get nodes -l {LABEL_MODE}={wanted.label_value}",
        )
    meta = found.metadata or docs.NO_META
    request = Request("delete", _KIND, f"{CILIUM}/{wanted.version}", namespace=wanted.namespace, name=wanted.name)
    options = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": meta.uid, "resourceVersion": meta.resourceVersion},
    }
    try:
        connection.call(request, body=options)
    except NotFound:
        return


def _read_node_config(connection: Connection, wanted: PlannedNodeConfig) -> docs.NodeConfigDoc:
    """Raises `NotFound`, for the kind not being served too: then creating says so again."""
    request = Request("get", _KIND, f"{CILIUM}/{wanted.version}", namespace=wanted.namespace, name=wanted.name)
    return decode(connection.call(request), docs.NodeConfigDoc, f"CiliumNodeConfig {wanted.name}")


def _labelled(connection: Connection, value: str) -> list[str]:
    query = {"labelSelector": f"{LABEL_MODE}={value}"}
    found = list_all(connection, Request("list", "nodes"), docs.MetaOnlyDoc, _name, query)
    return sorted(found.items)


def _name(doc: docs.MetaOnlyDoc) -> str:
    return (doc.metadata or docs.NO_META).name or ""


def _manifest(wanted: PlannedNodeConfig) -> dict[str, Any]:
    return {
        "apiVersion": f"cilium.io/{wanted.version}",
        "kind": "CiliumNodeConfig",
        "metadata": {"name": wanted.name, "namespace": wanted.namespace, "labels": MANAGED_BY},
        "spec": {"nodeSelector": {"matchLabels": _wanted_labels(wanted)}, "defaults": dict(wanted.defaults)},
    }


def _wanted_labels(wanted: PlannedNodeConfig) -> Mapping[str, str]:
    return {LABEL_MODE: wanted.label_value}


def _selects_ours(doc: docs.NodeConfigDoc, wanted: PlannedNodeConfig) -> bool:
    value = node_config_value(doc)
    return value.has_selector and value.match_labels == _wanted_labels(wanted) and not value.match_expressions


def _says(doc: docs.NodeConfigDoc, wanted: PlannedNodeConfig) -> bool:
    """Whether an object says what is wanted, and is there to stay."""
    leaving = (doc.metadata or docs.NO_META).deletionTimestamp is not None
    return not leaving and _selects_ours(doc, wanted) and node_config_value(doc).defaults == dict(wanted.defaults)


def _is_ours(doc: docs.NodeConfigDoc, wanted: PlannedNodeConfig) -> bool:
    labels = (doc.metadata or docs.NO_META).labels or {}
    return MANAGED_BY.items() <= labels.items() and _selects_ours(doc, wanted)
