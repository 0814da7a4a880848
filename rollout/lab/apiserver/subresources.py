"""What lives below an object: eviction, binding, logs, scale; and the reviews that answer about the caller."""

from collections.abc import Awaitable, Callable

from rollout.lab.apiserver import auth, errors
from rollout.lab.apiserver.eviction import evict
from rollout.lab.apiserver.exchange import Exchange, Reply
from rollout.lab.apiserver.objects import Obj, dig, set_condition
from rollout.lab.apiserver.patches import apply_json_patch, apply_merge_patch
from rollout.lab.apiserver.protobuf import decode_review
from rollout.lab.apiserver.reads import Reader
from rollout.lab.apiserver.request_info import decode_text
from rollout.lab.apiserver.selectors import selector_requirements
from rollout.lab.apiserver.store import Store
from rollout.lab.apiserver.writes import read_object

# (namespace, pod, container, previous) -> the log. An ApiError, KeyError or FileNotFoundError says why there is none.
LogProvider = Callable[[str, str, str, bool], Awaitable[bytes]]

_REVIEWS: dict[str, Callable[[auth.Identity, Obj], Obj]] = {
    "selfsubjectaccessreviews": auth.review_access,
    "selfsubjectreviews": auth.review_identity,
    "selfsubjectrulesreviews": auth.review_rules,
}


def bind_pod(store: Store, namespace: str, name: str, node: str) -> None:
    """What the scheduler's binding does: the node, and the PodScheduled condition."""

    def change(pod: Obj) -> None:
        if pod["spec"].get("nodeName"):
            detail = f'pod {name} is already assigned to node "{pod["spec"]["nodeName"]}"'
            raise errors.conflict("", "pods/binding", name, detail)
        pod["spec"]["nodeName"] = node
        set_condition(pod["status"], {"type": "PodScheduled", "status": "True", "lastProbeTime": None})
        for condition in pod["status"]["conditions"]:
            if condition["type"] == "PodScheduled":
                condition.pop("reason", None)
                condition.pop("message", None)

    # One write of spec and status, past the rule that keeps them apart and pods unchangeable.
    store.assign_pod(name, namespace, change)


class Subresources:
    """Answers the paths below objects."""

    def __init__(self, store: Store, reader: Reader, log_provider: LogProvider | None) -> None:
        self._store = store
        self._reader = reader
        self._log_provider = log_provider

    def review(self, exchange: Exchange) -> Reply:
        review = decode_review(exchange.body) or read_object(exchange)
        review.setdefault("apiVersion", exchange.resource.api_version)
        review.setdefault("kind", exchange.resource.kind)
        return Reply(201, _REVIEWS[exchange.resource.plural](exchange.identity, review))

    def evict(self, exchange: Exchange) -> Reply:
        eviction = read_object(exchange)
        if eviction.get("kind") not in (None, "Eviction"):
            raise errors.bad_request(f"not a Eviction object: {eviction.get('kind')}")
        info = exchange.info
        return Reply(201, evict(self._store, info.namespace, info.name, eviction, dry_run=exchange.dry_run))

    def bind(self, exchange: Exchange) -> Reply:
        info = exchange.info
        binding = read_object(exchange)
        name = info.name or dig(binding, "metadata", "name") or ""
        node = dig(binding, "target", "name")
        if not node:
            raise errors.invalid("", "Binding", name, [errors.required("target.name")])
        self._store.get("pods", name, info.namespace)
        if not exchange.dry_run:
            bind_pod(self._store, info.namespace, name, node)
        return Reply(201, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})

    async def log(self, exchange: Exchange) -> Reply:
        info, query = exchange.info, exchange.query
        pod = self._reader.find(exchange)
        container = _log_container(pod, query.get("container", ""))
        if self._log_provider is None:
            raise errors.internal("no kubelet serves logs here")
        previous = exchange.flag("previous")
        try:
            text = await self._log_provider(info.namespace, info.name, container, previous)
        except (KeyError, FileNotFoundError) as error:
            which = "previous terminated container" if previous else "container"
            raise errors.bad_request(f'{which} "{container}" in pod "{info.name}" not found') from error
        return Reply(200, raw=_trim(text, query.get("tailLines"), query.get("limitBytes")), content_type="text/plain")

    def scale(self, exchange: Exchange) -> Reply:
        obj = self._reader.find(exchange)
        current = _scale_of(obj)
        if exchange.info.verb == "get":
            return Reply(200, current)
        document = decode_text(exchange.body)
        if exchange.info.verb == "update":
            wanted = document
        elif isinstance(document, list):
            wanted = apply_json_patch(current, document)
        else:
            wanted = apply_merge_patch(current, document)
        replicas = dig(wanted, "spec", "replicas") or 0
        version = dig(wanted, "metadata", "resourceVersion")
        changed = {**obj, "spec": {**obj["spec"], "replicas": replicas}}
        if version:
            changed["metadata"] = {**obj["metadata"], "resourceVersion": version}
        return Reply(200, _scale_of(self._store.update(changed, dry_run=exchange.dry_run)))


def _scale_of(obj: Obj) -> Obj:
    metadata = {
        key: obj["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    }
    requirements = selector_requirements(obj["spec"].get("selector") or {})
    selector = ",".join(
        f"{r.key}={next(iter(r.values))}" for r in requirements if r.operator == "In" and len(r.values) == 1
    )
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": obj["spec"].get("replicas", 0)},
        "status": {"replicas": dig(obj, "status", "replicas") or 0, "selector": selector},
    }


def _log_container(pod: Obj, asked: str) -> str:
    name = pod["metadata"]["name"]
    main = [container["name"] for container in pod["spec"]["containers"]]
    known = main + [container["name"] for container in pod["spec"].get("initContainers") or ()]
    if asked:
        if asked not in known:
            raise errors.bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    if len(main) > 1:
        listed = " ".join(main)
        raise errors.bad_request(f"a container name must be specified for pod {name}, choose one of: [{listed}]")
    return str(main[0])


def _trim(text: bytes, tail: str | None, limit: str | None) -> bytes:
    if tail:
        lines = text.splitlines(keepends=True)
        text = b"".join(lines[max(len(lines) - int(tail), 0) :])
    return text[: int(limit)] if limit else text
