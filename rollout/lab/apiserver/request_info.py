"""What a request is about: verb, resource, names; and its decoded body."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import yaml

from rollout.lab.apiserver import errors
from rollout.lab.apiserver.auth import Attributes
from rollout.lab.apiserver.objects import Obj

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}
_JSON_TYPES = ("application/json", "application/yaml", "")
_NAMESPACE_SUBRESOURCES = ("status", "finalize")


@dataclass(frozen=True)
class RequestInfo:
    """A parsed request line. `is_resource` is false for discovery, health and the like."""

    method: str
    path: str
    is_resource: bool = False
    verb: str = ""
    group: str = ""
    version: str = ""
    plural: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    def attributes(self) -> Attributes:
        if not self.is_resource:
            return Attributes(self.method.lower(), path=self.path)
        # A namespace is asked about inside itself, as the real request parser does.
        namespace = self.name if self.plural == "namespaces" and self.name else self.namespace
        return Attributes(self.verb, self.group, self.plural, self.subresource, namespace, self.name)

    @property
    def counted_resource(self) -> str:
        if not self.is_resource:
            return self.path
        full = errors.group_resource(self.group, self.plural)
        return f"{full}/{self.subresource}" if self.subresource else full


def parse_request(method: str, path: str, query: Mapping[str, str]) -> RequestInfo:
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return RequestInfo(method, path)
    legacy_watch = rest[0] == "watch" and len(rest) > 1
    rest = rest[1:] if legacy_watch else rest
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES:
        namespace, rest = rest[1], rest[2:]
    plural, name, subresource = rest[0], rest[1] if len(rest) > 1 else "", "/".join(rest[2:])
    watching = legacy_watch or query.get("watch") in ("true", "1")
    verb = _verb(method, name, watching)
    return RequestInfo(method, path, True, verb, group, version, plural, namespace, name, subresource)


def _verb(method: str, name: str, watching: bool) -> str:
    if method in ("GET", "HEAD"):
        return "watch" if watching else "get" if name else "list"
    if method == "DELETE":
        return "delete" if name else "deletecollection"
    return _VERBS.get(method, method.lower())


def decode_body(body: bytes, content_type: str) -> Any:
    """JSON or YAML. What neither can be read as is a 400; what is of another type, a 415."""
    media = content_type.partition(";")[0].strip().lower()
    if media not in _JSON_TYPES:
        raise errors.unsupported_media_type(["application/json", "application/yaml"])
    return decode_text(body)


def decode_text(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if body.lstrip()[:1] in (b"{", b"["):
            raise errors.bad_request(f"couldn't get version/kind; json parse error: {error}") from error
    try:
        return yaml.load(body, Loader=_YamlLoader)  # noqa: S506 - derived from SafeLoader
    except yaml.YAMLError as error:
        raise errors.bad_request(f"error converting YAML to JSON: {error}") from error


class _YamlLoader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: times stay text."""


_YamlLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load_documents(text: str) -> list[Obj]:
    """Every object of a YAML fixture."""
    return [document for document in yaml.load_all(text, Loader=_YamlLoader) if document]
