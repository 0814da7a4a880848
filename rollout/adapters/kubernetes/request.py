"""What is asked of the API, as a value: the path is built from it, and every error names it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from rollout.domain.errors import Invalid
from rollout.domain.node import is_object_name

CORE = "/api/v1"
APPS = "/apis/apps/v1"
BATCH = "/apis/batch/v1"
POLICY = "/apis/policy/v1"
COORDINATION = "/apis/coordination.k8s.io/v1"
CILIUM = "/apis/cilium.io"
NETWORKING = "/apis/networking.k8s.io/v1"
DISCOVERY = "/apis/discovery.k8s.io/v1"

_METHODS = {"create": "POST", "patch": "PATCH", "delete": "DELETE", "deletecollection": "DELETE"}
_NAMED = ("get", "patch", "delete")


@dataclass(frozen=True, slots=True)
class Request:
    """One request: an RBAC verb on a resource (`pods`, `pods/eviction`), or a GET of a plain path."""

    verb: str
    resource: str
    group: str = CORE
    namespace: str = ""
    name: str = ""

    @property
    def method(self) -> str:
        """The HTTP method of the verb."""
        return _METHODS.get(self.verb, "GET")

    @property
    def path(self) -> str:
        """The URL's path. Raises `Invalid` for a name that is none: an empty one would address the whole collection."""
        if self.resource.startswith("/"):
            return self.resource
        plural, _, below = self.resource.partition("/")
        if self.verb in _NAMED or below:
            _require_name(self.name, plural)
        if self.namespace:
            _require_name(self.namespace, "namespaces")
        parts = [self.group]
        if self.namespace:
            parts += ["namespaces", quote(self.namespace, safe="")]
        parts.append(plural)
        if self.name and (self.verb != "create" or below):
            parts.append(quote(self.name, safe=""))
        return "/".join([*parts, below] if below else parts)

    @property
    def counted(self) -> str:
        """The name under which requests are counted."""
        return f"{self.verb} {self.resource}"

    def __str__(self) -> str:
        """In words, for messages: `patch nodes n1`, `list pods in namespace web`."""
        if self.name:
            whole = f"{self.namespace}/{self.name}" if self.namespace else self.name
            return f"{self.verb} {self.resource} {whole}"
        return f"{self.verb} {self.resource}" + (f" in namespace {self.namespace}" if self.namespace else "")


def _require_name(name: str, plural: str) -> None:
    if not is_object_name(name):
        raise Invalid("bad-name", f"cannot address {plural} {name!r}: that is not a Kubernetes object name")
