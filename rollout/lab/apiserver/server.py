"""The Kubernetes API over HTTP: one catch-all handler in front of the store.

Decision: the path is parsed by hand instead of with a router, because what a path means depends on which custom
resources are served at the moment. Every object write is synchronous, so the event loop is the only lock.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from rollout.lab.apiserver import discovery, errors
from rollout.lab.apiserver.auth import Identity, authenticate, authorize
from rollout.lab.apiserver.crds import CRD_ID, established, install_cilium, serve_definition
from rollout.lab.apiserver.exchange import Exchange, Reply, send, status_reply, text_reply
from rollout.lab.apiserver.faults import Fault, Faults, RequestCounter
from rollout.lab.apiserver.objects import Obj, is_condition_true
from rollout.lab.apiserver.reads import Reader
from rollout.lab.apiserver.request_info import decode_body, parse_request
from rollout.lab.apiserver.storage import ADDED, MODIFIED, Change
from rollout.lab.apiserver.store import Store
from rollout.lab.apiserver.subresources import LogProvider, Subresources
from rollout.lab.apiserver.watches import Watches
from rollout.lab.apiserver.writes import Writer

_logger = logging.getLogger(__name__)
_LARGEST_BODY = 16 * 1024 * 1024
# How long requests in flight may take to end when the server stops.
_STOP_SECONDS = 2.0
_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_NOT_FOUND_TEXT = "404 page not found\n"


@dataclass(frozen=True)
class ServerTls:
    """Paths of the server's certificate chain, its key, and the CA that clients check against."""

    certificate: Path
    key: Path
    ca: Path

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, self.key)
        return context


@dataclass(frozen=True)
class ServerSettings:
    """What a lab or test may want different."""

    # Which version of CiliumNodeConfig is served: v2, or v2alpha1 as older Cilium does.
    node_config_version: str = "v2"
    # A real server sends a bookmark about once a minute.
    bookmark_seconds: float = 60.0
    # A new definition is served a moment after its 201.
    definition_delay: float = 0.1


class ApiServer:
    """A Kubernetes API server in one process and one event loop, with its store."""

    def __init__(
        self,
        *,
        tls: ServerTls | None = None,
        tokens: Mapping[str, Identity] | None = None,
        log_provider: LogProvider | None = None,
        store: Store | None = None,
        settings: ServerSettings | None = None,
    ) -> None:
        self.settings = settings or ServerSettings()
        self.store = store or Store()
        self.faults = Faults()
        self.requests = RequestCounter()
        self._tls = tls
        self._tokens = tokens or {}
        self._reader = Reader(self.store)
        self._writer = Writer(self.store, self._reader)
        self._subresources = Subresources(self.store, self._reader, log_provider)
        self._watches = Watches(self.store, self.settings.bookmark_seconds)
        self._runner: web.AppRunner | None = None
        self._unsubscribe = self.store.subscribe(CRD_ID, self._on_definition)
        self._furnish()

    def _furnish(self) -> None:
        """What every cluster has from its first second."""
        for name in _NAMESPACES:
            if self.store.find("namespaces", name) is None:
                self.store.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        if self.store.find(CRD_ID, "ciliumnodes.cilium.io") is None:
            install_cilium(self.store, self.settings.node_config_version)

    # -- life --------------------------------------------------------------------------------------------------------

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Serve on sockets that are already bound; one may live in another network namespace."""
        application = web.Application(client_max_size=_LARGEST_BODY)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            application,
            access_log=None,
            handle_signals=False,
            handler_cancellation=True,
            shutdown_timeout=_STOP_SECONDS,
        )
        await self._runner.setup()
        context = self._tls.context() if self._tls else None
        for bound in sockets:
            await web.SockSite(self._runner, bound, ssl_context=context).start()

    async def stop(self) -> None:
        self._watches.stop()
        self._unsubscribe()
        if self._runner is not None:
            server = self._runner.server
            transports = [connection.transport for connection in server.connections] if server else []
            await self._runner.cleanup()
            self._runner = None
            await _abort(transports)

    @property
    def open_watches(self) -> int:
        return self._watches.count

    def _on_definition(self, change: Change) -> None:
        if change.action not in (ADDED, MODIFIED):
            return
        if change.old is not None and change.old.get("spec") == change.new.get("spec"):
            return
        if is_condition_true(change.new, "Established"):
            # A fixture: its objects may come right behind it.
            serve_definition(self.store.registry, change.new)
            return
        with contextlib.suppress(RuntimeError):
            loop = asyncio.get_running_loop()
            loop.call_later(self.settings.definition_delay, self._serve_definition, change.new)
            return
        # Seeded before any loop runs.
        self._serve_definition(change.new)

    def _serve_definition(self, definition: Obj) -> None:
        name = definition["metadata"]["name"]
        current = self.store.find(CRD_ID, name)
        if current is None or current["metadata"]["uid"] != definition["metadata"]["uid"]:
            return
        serve_definition(self.store.registry, current)
        self.store.set_status(CRD_ID, name, "", established(current)["status"])

    # -- one request -------------------------------------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        info = parse_request(request.method, request.path, request.query)
        agent = request.headers.get("User-Agent", "")
        if not request.path.startswith("/_lab/"):
            self.requests.count(info.verb or request.method.lower(), info.counted_resource, agent)
        fault = self._claim_fault(request)
        if fault is not None and not fault.after_effect:
            struck = await self._strike(request, fault)
            if struck is not None:
                return struck
        try:
            identity = authenticate(self._tokens, request.headers.get("Authorization", ""))
            authorize(identity, info.attributes())
            exchange = Exchange(request, info, identity, await request.read(), fault)
            answer = await self._answer(exchange)
        except errors.ApiError as error:
            answer = status_reply(error)
        except Exception as error:
            _logger.exception("cannot answer %s %s", request.method, request.path_qs)
            answer = status_reply(errors.internal(repr(error)))
        if fault is not None and fault.after_effect:
            struck = await self._strike(request, fault)
            if struck is not None:
                return struck
        return answer if isinstance(answer, web.StreamResponse) else await send(request, answer)

    def _claim_fault(self, request: web.Request) -> Fault | None:
        if request.path.startswith("/_lab/"):
            return None
        return self.faults.claim(request.method, request.path_qs)

    async def _strike(self, request: web.Request, fault: Fault) -> web.StreamResponse | None:
        """Let a fault happen; None when it lets the request through."""
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.drop:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        if fault.status is None:
            return None
        reason = fault.reason or _REASONS.get(fault.status, "")
        details = {"retryAfterSeconds": fault.retry_after} if fault.retry_after else None
        error = errors.ApiError(fault.status, reason, fault.message, details, fault.retry_after)
        return await send(request, status_reply(error))

    async def _answer(self, exchange: Exchange) -> Reply | web.StreamResponse:
        info = exchange.info
        if not info.is_resource:
            return self._answer_path(exchange)
        resource = self.store.registry.by_path(info.group, info.version, info.plural)
        if resource is None:
            return text_reply(404, _NOT_FOUND_TEXT)
        if not resource.namespaced and info.namespace:
            return text_reply(404, _NOT_FOUND_TEXT)
        exchange.found = resource
        if info.subresource:
            return await self._answer_subresource(exchange)
        if info.verb not in resource.verbs and not (info.verb == "create" and info.name):
            raise errors.method_not_allowed()
        return await self._answer_object(exchange)

    async def _answer_object(self, exchange: Exchange) -> Reply | web.StreamResponse:
        info, resource = exchange.info, exchange.resource
        if resource.namespaced and not info.namespace and info.verb not in ("list", "watch"):
            raise errors.method_not_allowed()
        match info.verb:
            case "get":
                return self._reader.get(exchange)
            case "list":
                return self._reader.list_objects(exchange)
            case "watch":
                return await self._watches.serve(exchange)
            case "update" if info.name:
                return self._writer.update(exchange)
            case "patch" if info.name:
                return self._writer.patch(exchange)
            case "delete":
                return self._writer.delete(exchange)
            case "deletecollection":
                return self._writer.delete_collection(exchange)
            case "create" if not info.name:
                return self._create(exchange)
        raise errors.method_not_allowed()

    def _create(self, exchange: Exchange) -> Reply:
        if exchange.resource.plural.startswith("selfsubject"):
            return self._subresources.review(exchange)
        if exchange.resource.plural == "bindings":
            return self._subresources.bind(exchange)
        return self._writer.create(exchange)

    async def _answer_subresource(self, exchange: Exchange) -> Reply:
        info = exchange.info
        subresource = exchange.resource.subresource(info.subresource)
        if subresource is None:
            if exchange.resource.plural == "namespaces" and info.subresource == "finalize":
                return self._writer.update(exchange)
            return text_reply(404, _NOT_FOUND_TEXT)
        if info.verb not in subresource.verbs:
            raise errors.method_not_allowed()
        match info.subresource:
            case "status" if info.verb == "get":
                return self._reader.get(exchange)
            case "status":
                return self._writer.update(exchange) if info.verb == "update" else self._writer.patch(exchange)
            case "eviction":
                return self._subresources.evict(exchange)
            case "binding":
                return self._subresources.bind(exchange)
            case "log":
                return await self._subresources.log(exchange)
        return self._subresources.scale(exchange)

    # -- paths that are no resource ----------------------------------------------------------------------------------

    def _answer_path(self, exchange: Exchange) -> Reply:
        path, method = exchange.info.path.rstrip("/"), exchange.request.method
        if path.startswith("/_lab/"):
            return self._answer_lab(exchange, path)
        if method not in ("GET", "HEAD"):
            raise errors.method_not_allowed()
        if path.split("/")[1:2] in (["healthz"], ["livez"], ["readyz"]):
            return text_reply(200, "ok")
        document = self._discovery(exchange, path)
        if document is None:
            return text_reply(404, _NOT_FOUND_TEXT)
        kind = "application/json"
        if document.get("kind") == "APIGroupDiscoveryList":
            kind = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        return Reply(200, document, content_type=kind)

    def _discovery(self, exchange: Exchange, path: str) -> Obj | None:
        registry = self.store.registry
        aggregated = exchange.accept_form() == "APIGroupDiscoveryList"
        match path.strip("/").split("/"):
            case ["version"]:
                return discovery.VERSION
            case ["api"]:
                return discovery.aggregated(registry, core=True) if aggregated else discovery.core_versions()
            case ["apis"]:
                return discovery.aggregated(registry, core=False) if aggregated else discovery.group_list(registry)
            case ["api", version]:
                return discovery.resource_list(registry, "", version)
            case ["apis", group]:
                return discovery.one_group(registry, group)
            case ["apis", group, version]:
                return discovery.resource_list(registry, group, version)
            case ["openapi", "v3"]:
                return discovery.openapi_index(registry)
            case ["openapi", "v3", "api", version]:
                return discovery.openapi_document(registry, "", version)
            case ["openapi", "v3", "apis", group, version]:
                return discovery.openapi_document(registry, group, version)
        return None

    def _answer_lab(self, exchange: Exchange, path: str) -> Reply:
        """The lab's own controls: faults, request counts, compaction. Only for those who may do everything."""
        method = exchange.request.method
        match path, method:
            case "/_lab/faults", "GET":
                return Reply(200, self.faults.documents())
            case "/_lab/faults", "POST":
                document = decode_body(exchange.body, exchange.request.headers.get("Content-Type", ""))
                for rule in document if isinstance(document, list) else [document]:
                    self.faults.add_document(rule)
                return Reply(201, self.faults.documents())
            case "/_lab/faults", "DELETE":
                self.faults.clear()
                return Reply(200, [])
            case "/_lab/requests", "GET":
                return Reply(200, self.requests.documents())
            case "/_lab/requests", "DELETE":
                self.requests.clear()
                return Reply(200, [])
            case "/_lab/compact", "POST":
                return Reply(200, {"compacted": self.store.storage.compact()})
        return text_reply(404, _NOT_FOUND_TEXT)


async def _abort(transports: Sequence[asyncio.Transport | None]) -> None:
    """Close what is still open without waiting for the clients' TLS farewell."""
    for transport in transports:
        if transport is not None:
            transport.abort()
    # The loop closes sockets in later turns: through TLS that takes several.
    await asyncio.sleep(0.01)


_REASONS = {
    400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict", 410: "Expired",
    429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout",
}  # fmt: skip
