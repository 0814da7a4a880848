"""Bearer tokens to identities, and role rules with the refusal texts of a real server."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rollout.lab.apiserver import errors
from rollout.lab.apiserver.objects import Obj

ANY = ("*",)
# Open to everybody, as by the default role for public information.
_PUBLIC_PATHS = ("/healthz", "/livez", "/readyz", "/version")
# Everybody who is known may discover the API and ask about themselves.
_DISCOVERY_PATHS = ("/api", "/api/", "/apis", "/apis/", "/openapi", "/openapi/")


@dataclass(frozen=True)
class Rule:
    """What is allowed, in the words of a (Cluster)Role. A cluster-scoped request needs `*` in `namespaces`."""

    verbs: tuple[str, ...]
    api_groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ANY
    resource_names: tuple[str, ...] = ()
    non_resource_urls: tuple[str, ...] = ()


@dataclass(frozen=True)
class Identity:
    """Who a token stands for, and what its owner may do."""

    user: str
    groups: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Attributes:
    """What a request wants, as authorization sees it."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


EVERYTHING = Rule(ANY, ANY, ANY)
EVERY_URL = Rule(ANY, non_resource_urls=ANY)
READ_ONLY = Rule(("get", "list", "watch"), ANY, ANY)
ANONYMOUS = Identity("system:anonymous", ("system:unauthenticated",))


def admin(user: str = "admin") -> Identity:
    return Identity(user, ("system:masters", "system:authenticated"), (EVERYTHING, EVERY_URL))


def viewer(user: str = "viewer") -> Identity:
    """May read everything and change nothing."""
    return Identity(user, ("system:authenticated",), (READ_ONLY,))


def authenticate(tokens: Mapping[str, Identity], header: str) -> Identity:
    """No header is the anonymous user; a wrong token is a 401. A server without tokens lets everybody do everything."""
    if not tokens:
        return admin("system:admin")
    scheme, _, token = header.partition(" ")
    if not header:
        return ANONYMOUS
    if scheme.lower() != "bearer" or token.strip() not in tokens:
        raise errors.unauthorized()
    return tokens[token.strip()]


def _has(values: Iterable[str], wanted: str) -> bool:
    return any(value in ("*", wanted) for value in values)


def _url_allowed(rule: Rule, path: str) -> bool:
    return any(url == path or (url.endswith("*") and path.startswith(url[:-1])) for url in rule.non_resource_urls)


def _resource_allowed(rule: Rule, wanted: Attributes) -> bool:
    full = f"{wanted.resource}/{wanted.subresource}" if wanted.subresource else wanted.resource
    if not (_has(rule.resources, full) or f"*/{wanted.subresource}" in rule.resources):
        return False
    if not _has(rule.api_groups, wanted.group):
        return False
    if rule.resource_names and wanted.name not in rule.resource_names:
        return False
    return "*" in rule.namespaces or (wanted.namespace != "" and wanted.namespace in rule.namespaces)


def is_allowed(identity: Identity, wanted: Attributes) -> bool:
    if wanted.path:
        if wanted.path in _PUBLIC_PATHS:
            return True
        known = identity is not ANONYMOUS
        if known and (wanted.path in _DISCOVERY_PATHS or wanted.path.startswith(("/api/", "/apis/", "/openapi/"))):
            return True
        return any(_has(rule.verbs, wanted.verb) and _url_allowed(rule, wanted.path) for rule in identity.rules)
    if wanted.group in ("authorization.k8s.io", "authentication.k8s.io") and wanted.resource.startswith("selfsubject"):
        return identity is not ANONYMOUS
    return any(_has(rule.verbs, wanted.verb) and _resource_allowed(rule, wanted) for rule in identity.rules)


def authorize(identity: Identity, wanted: Attributes) -> None:
    """Raise the 403 that a real server gives."""
    if is_allowed(identity, wanted):
        return
    if wanted.path:
        text = f'forbidden: User "{identity.user}" cannot {wanted.verb} path "{wanted.path}"'
        raise errors.ApiError(403, "Forbidden", text, {})
    where = f'in the namespace "{wanted.namespace}"' if wanted.namespace else "at the cluster scope"
    full = f"{wanted.resource}/{wanted.subresource}" if wanted.subresource else wanted.resource
    detail = f'User "{identity.user}" cannot {wanted.verb} resource "{full}" in API group "{wanted.group}" {where}'
    raise errors.forbidden(wanted.group, wanted.resource, wanted.name, detail)


def _review_attributes(spec: Obj) -> Attributes:
    if "nonResourceAttributes" in spec:
        asked = spec["nonResourceAttributes"]
        return Attributes(asked.get("verb", "get"), path=asked.get("path", ""))
    asked = spec.get("resourceAttributes") or {}
    keys = ("group", "resource", "subresource", "namespace", "name")
    return Attributes(asked.get("verb", ""), **{key: asked.get(key, "") for key in keys})


def review_access(identity: Identity, review: Obj) -> Obj:
    """SelfSubjectAccessReview."""
    allowed = is_allowed(identity, _review_attributes(review.get("spec") or {}))
    return {**review, "metadata": {"creationTimestamp": None}, "status": {"allowed": allowed}}


def review_rules(identity: Identity, review: Obj) -> Obj:
    """SelfSubjectRulesReview for one namespace."""
    namespace = (review.get("spec") or {}).get("namespace", "")
    resource_rules: list[Obj] = []
    url_rules: list[Obj] = []
    for rule in identity.rules:
        if rule.non_resource_urls:
            url_rules.append({"verbs": list(rule.verbs), "nonResourceURLs": list(rule.non_resource_urls)})
        elif "*" in rule.namespaces or namespace in rule.namespaces:
            entry: Obj = {
                "verbs": list(rule.verbs),
                "apiGroups": list(rule.api_groups),
                "resources": list(rule.resources),
            }
            if rule.resource_names:
                entry["resourceNames"] = list(rule.resource_names)
            resource_rules.append(entry)
    status = {"resourceRules": resource_rules, "nonResourceRules": url_rules, "incomplete": False}
    return {**review, "metadata": {"creationTimestamp": None}, "status": status}


def review_identity(identity: Identity, review: Obj) -> Obj:
    """SelfSubjectReview: who am I."""
    info = {"username": identity.user, "groups": list(identity.groups)}
    return {**review, "metadata": {"creationTimestamp": None}, "status": {"userInfo": info}}
