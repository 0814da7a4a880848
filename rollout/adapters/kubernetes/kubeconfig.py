"""Which cluster, with which credentials: a kubeconfig and context, or the service account of the pod we run in.

Messages never quote a kubeconfig's text: YAML errors and credential plugins put secrets into theirs.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
import yaml
from kubernetes.client import Configuration
from kubernetes.config import ConfigException, load_incluster_config
from kubernetes.config.kube_config import KubeConfigLoader, KubeConfigMerger

from rollout.domain.errors import UsageError

IN_CLUSTER = "in-cluster"
_WRONG = (ConfigException, ValueError, TypeError, KeyError, AttributeError, IndexError, OSError)
"""What the client raises over a kubeconfig that is not well-formed."""


@dataclass(frozen=True, slots=True)
class Target:
    """A cluster and how we are known there."""

    configuration: Any
    context: str
    server: str
    """Address without credentials, for messages."""


def load_target(kubeconfig: Path | None, context: str | None, environ: Mapping[str, str] = os.environ) -> Target:
    """Find the cluster. Raises `UsageError`: none configured, no such context, or a kubeconfig that cannot be read."""
    paths = _paths(kubeconfig, environ)
    if not paths:
        if context is None and environ.get("KUBERNETES_SERVICE_HOST"):
            return _in_cluster()
        raise UsageError(
            "no-cluster",
            "cannot tell which cluster is meant: there is no kubeconfig, and this is no pod of a cluster",
            hint="give one: --kubeconfig FILE, or set KUBECONFIG",
        )
    return _from_files(paths, context)


def _paths(kubeconfig: Path | None, environ: Mapping[str, str]) -> tuple[Path, ...]:
    if kubeconfig is not None:
        if not kubeconfig.is_file():
            raise UsageError("no-kubeconfig", f"cannot read the kubeconfig {kubeconfig}: there is no such file")
        return (kubeconfig,)
    named = environ.get("KUBECONFIG", "")
    if named:
        found = tuple(p for p in (Path(part).expanduser() for part in named.split(os.pathsep) if part) if p.is_file())
        if not found:
            raise UsageError("no-kubeconfig", f"cannot read the kubeconfig {named} (KUBECONFIG): there is no such file")
        return found
    usual = Path(environ.get("HOME") or "~").expanduser() / ".kube" / "config"
    return (usual,) if usual.is_file() else ()


def _in_cluster() -> Target:
    configuration = _fresh_configuration()
    try:
        load_incluster_config(client_configuration=configuration)
    except _WRONG:
        raise UsageError(
            "bad-service-account",
            "cannot use this pod's service account: its token or CA certificate is missing",
            hint="run the pod with automountServiceAccountToken, or give --kubeconfig FILE",
        ) from None
    return Target(configuration, IN_CLUSTER, _shown(configuration.host))


def _from_files(paths: tuple[Path, ...], context: str | None) -> Target:
    shown = os.pathsep.join(str(p) for p in paths)
    merged = _merge(paths, shown)
    contexts = _names(merged, "contexts")
    wanted = context or _current(merged)
    if not wanted:
        raise UsageError(
            "no-context",
            f"cannot choose a cluster: {shown} has no current context",
            hint=f"name one with --context: {', '.join(contexts) or 'the file has none'}",
        )
    if wanted not in contexts:
        near = difflib.get_close_matches(wanted, contexts, n=3, cutoff=0.5)
        hint = f"did you mean: {', '.join(near)}" if near else f"it has: {', '.join(contexts[:20]) or 'none'}"
        raise UsageError("no-such-context", f"cannot use context {wanted!r}: {shown} has none of that name", hint=hint)
    configuration = _fresh_configuration()
    try:
        KubeConfigLoader(config_dict=merged, active_context=wanted, config_base_path=None).load_and_set(configuration)
        urllib3.util.parse_url(configuration.host)
    except (*_WRONG, urllib3.exceptions.HTTPError) as error:
        why = f"context {wanted!r} is incomplete or names a file that is missing ({type(error).__name__})"
        raise _bad(shown, why) from None
    return Target(configuration, wanted, _shown(configuration.host))


def _merge(paths: tuple[Path, ...], shown: str) -> Any:
    try:
        for path in paths:
            document = yaml.safe_load(path.read_text(encoding="utf-8"))
            if not isinstance(document, dict):
                raise _bad(shown, "it is not a YAML mapping")
        merged = KubeConfigMerger(":".join(str(p) for p in paths)).config
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise _bad(shown, f"it is not YAML (line {mark.line + 1})" if mark else "it is not YAML") from None
    except _WRONG as error:
        raise _bad(shown, f"it is not a kubeconfig ({type(error).__name__})") from None
    return merged


def _bad(shown: str, why: str) -> UsageError:
    text = f"cannot use the kubeconfig {shown}: {why}"
    return UsageError("bad-kubeconfig", text, hint="check it: kubectl config view")


def _names(merged: Any, section: str) -> list[str]:
    rows = merged.value.get(section) or []
    return [str(row.value.get("name", "")) for row in rows if isinstance(row.value, dict)]


def _current(merged: Any) -> str:
    return str(merged.value.get("current-context") or "")


def _fresh_configuration() -> Any:
    configuration = Configuration()
    # What client-go asks of the kernel: a peer that vanished is noticed.
    configuration.keep_alive = True
    configuration.connection_pool_maxsize = 32
    return configuration


def _shown(host: str) -> str:
    url = urllib3.util.parse_url(host)
    return url._replace(auth=None, query=None, fragment=None).url
