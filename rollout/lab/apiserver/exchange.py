"""One HTTP request on its way through the server, and the answers it can end in."""

import asyncio
import gzip
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web

from rollout.lab.apiserver import errors
from rollout.lab.apiserver.auth import Identity
from rollout.lab.apiserver.faults import Fault
from rollout.lab.apiserver.objects import Obj
from rollout.lab.apiserver.request_info import RequestInfo
from rollout.lab.apiserver.resources import ResourceType

# As the real server: small answers are not worth compressing.
_GZIP_FLOOR = 128 * 1024
_encoder = msgspec.json.Encoder()


@dataclass
class Exchange:
    """A request with everything found out about it."""

    request: web.Request
    info: RequestInfo
    identity: Identity
    body: bytes = b""
    fault: Fault | None = None
    # Set by the dispatcher once the path has been looked up.
    found: ResourceType | None = None

    @property
    def resource(self) -> ResourceType:
        assert self.found is not None
        return self.found

    @property
    def query(self) -> Mapping[str, str]:
        return self.request.query

    def flag(self, name: str) -> bool:
        return self.query.get(name, "").lower() in ("true", "1")

    @property
    def dry_run(self) -> bool:
        sent = self.query.get("dryRun", "")
        if sent not in ("", "All"):
            raise errors.bad_request(f'Invalid value: "{sent}": Unsupported value: supported values: "All"')
        return sent == "All"

    @property
    def manager(self) -> str:
        agent = self.request.headers.get("User-Agent", "unknown")
        return self.query.get("fieldManager") or agent.partition("/")[0][:128] or "unknown"

    def accept_form(self) -> str:
        """Table, PartialObjectMetadata(List), or nothing for the plain object: the first that this server knows."""
        for part in self.request.headers.get("Accept", "").split(","):
            parameters = dict(p.strip().partition("=")[::2] for p in part.split(";")[1:])
            form = parameters.get("as", "")
            if form in ("Table", "PartialObjectMetadata", "PartialObjectMetadataList", "APIGroupDiscoveryList"):
                return form
            media = part.partition(";")[0].strip()
            if media in ("application/json", "*/*") and not form:
                return ""
        return ""


@dataclass
class Reply:
    """An answer: a document to encode, or bytes."""

    code: int
    document: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    content_type: str = "application/json"


def status_reply(error: errors.ApiError) -> Reply:
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after else {}
    return Reply(error.code, error.status(), headers)


def text_reply(code: int, text: str) -> Reply:
    return Reply(code, raw=text.encode(), content_type="text/plain; charset=utf-8")


async def send(exchange_request: web.Request, reply: Reply) -> web.Response:
    """Encode an answer, compressed if the client asks and it is large."""
    body = reply.raw if reply.raw is not None else _encoder.encode(reply.document)
    headers = {"Content-Type": reply.content_type, "Cache-Control": "no-cache, private", **reply.headers}
    if len(body) > _GZIP_FLOOR and "gzip" in exchange_request.headers.get("Accept-Encoding", ""):
        # Off the loop: tens of megabytes take a second.
        body = await asyncio.to_thread(gzip.compress, body, 1)
        headers["Content-Encoding"] = "gzip"
    return web.Response(status=reply.code, body=body, headers=headers)


def check_form(info: RequestInfo, obj: Obj, resource: ResourceType) -> None:
    """A body must be of the kind its path is for."""
    api_version, kind = obj.get("apiVersion"), obj.get("kind")
    if not isinstance(obj.get("metadata", {}), dict | None):
        raise errors.bad_request(
            f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
        )
    if api_version in (None, "") and kind in (None, ""):
        # The path says it all: a real server takes a body that names no kind.
        obj["apiVersion"], obj["kind"] = resource.api_version, resource.kind
    elif api_version != resource.api_version:
        expected = resource.api_version
        text = f"the API version in the data ({api_version}) does not match the expected API version ({expected})"
        raise errors.bad_request(text)
    elif kind != resource.kind:
        text = f"the kind in the data ({kind}) does not match the expected kind ({resource.kind})"
        raise errors.bad_request(
            f'{kind} in version "{resource.version}" cannot be handled as a {resource.kind}: {text}'
        )
    _check_location(info, obj, resource)


def _check_location(info: RequestInfo, obj: Obj, resource: ResourceType) -> None:
    metadata = obj.get("metadata") or {}
    obj["metadata"] = metadata
    if resource.namespaced:
        if metadata.get("namespace") not in (None, "", info.namespace):
            raise errors.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        metadata["namespace"] = info.namespace
    if info.name and metadata.get("name") not in (None, "", info.name):
        sent = metadata["name"]
        raise errors.bad_request(f"the name of the object ({sent}) does not match the name on the URL ({info.name})")
    if info.name:
        metadata["name"] = info.name
