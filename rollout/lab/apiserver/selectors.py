"""Label selectors (query text and LabelSelector objects) and field selectors."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rollout.lab.apiserver.errors import ApiError, bad_request
from rollout.lab.apiserver.objects import Obj, dig, labels_of

Predicate = Callable[[Obj], bool]


@dataclass(frozen=True)
class Requirement:
    """One term of a label selector, in the operators of the API."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        present = self.key in labels
        match self.operator:
            case "In":
                return present and labels[self.key] in self.values
            case "NotIn":
                return not present or labels[self.key] not in self.values
            case "Exists":
                return present
            case "DoesNotExist":
                return not present
            case "Gt" | "Lt":
                return present and self._compares(labels[self.key])
        return False

    def _compares(self, text: str) -> bool:
        (bound,) = self.values
        try:
            return int(text) > int(bound) if self.operator == "Gt" else int(text) < int(bound)
        except ValueError:
            return False


_KEY = r"[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?"
_SET_TERM = re.compile(rf"^(?P<key>{_KEY})\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)$")
_EQUALITY_TERM = re.compile(rf"^(?P<key>{_KEY})\s*(?P<op>==|=|!=|>|<)\s*(?P<value>[-A-Za-z0-9_.]*)$")
_EXISTS_TERM = re.compile(rf"^(?P<not>!?)\s*(?P<key>{_KEY})$")
_COMMA_OUTSIDE_PARENTHESES = re.compile(r",(?![^()]*\))")
_EQUALITY_OPERATORS = {"=": "In", "==": "In", "!=": "NotIn", ">": "Gt", "<": "Lt"}


def parse_label_text(text: str) -> list[Requirement]:
    """`a=b,c!=d,e in (f,g),!h`"""
    terms = [term.strip() for term in _COMMA_OUTSIDE_PARENTHESES.split(text)]
    return [_parse_term(term, text) for term in terms if term]


def _parse_term(term: str, whole: str) -> Requirement:
    if found := _SET_TERM.match(term):
        values = frozenset(value.strip() for value in found["values"].split(","))
        return Requirement(found["key"], "In" if found["op"] == "in" else "NotIn", values)
    if found := _EQUALITY_TERM.match(term):
        return Requirement(found["key"], _EQUALITY_OPERATORS[found["op"]], frozenset({found["value"]}))
    if found := _EXISTS_TERM.match(term):
        return Requirement(found["key"], "DoesNotExist" if found["not"] else "Exists")
    raise bad_request(f'unable to parse requirement: found "{term}" in labelSelector "{whole}"')


def selector_requirements(selector: Obj) -> list[Requirement]:
    """A LabelSelector object; an empty one matches everything."""
    wanted = selector.get("matchLabels") or {}
    equal = [Requirement(key, "In", frozenset({value})) for key, value in wanted.items()]
    return equal + expression_requirements(selector.get("matchExpressions") or [])


def expression_requirements(expressions: list[Obj]) -> list[Requirement]:
    return [Requirement(e["key"], e["operator"], frozenset(e.get("values") or ())) for e in expressions]


def selector_matches(selector: Obj | None, labels: Mapping[str, str]) -> bool:
    """None selects nothing, `{}` selects everything: the API's rule."""
    if selector is None:
        return False
    return all(requirement.matches(labels) for requirement in selector_requirements(selector))


# Beside metadata.name and metadata.namespace, which every resource has. A path not listed is a 400 as on a real server.
_FIELDS: dict[str, tuple[str, ...]] = {
    "pods": (
        "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
        "status.phase", "status.podIP", "status.nominatedNodeName",
    ),
    "nodes": ("spec.unschedulable",),
    "namespaces": ("status.phase",),
    "secrets": ("type",),
    "replicasets.apps": ("status.replicas",),
    "jobs.batch": ("status.successful",),
    "services": ("spec.clusterIP", "spec.type"),
    "events": (
        "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
        "involvedObject.apiVersion", "involvedObject.fieldPath", "reason", "reportingComponent", "source", "type",
    ),
}  # fmt: skip
_FIELD_TERM = re.compile(r"^(?P<path>[A-Za-z0-9.]+)(?P<op>==|=|!=)(?P<value>.*)$")


def field_text(value: Any) -> str:
    """How field selectors see a value: absent is empty, except for booleans which are `false`."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


_BOOLEAN_FIELDS = {"spec.unschedulable", "spec.hostNetwork"}


def _parse_field_term(term: str, resource_id: str) -> tuple[tuple[str, ...], bool, str, bool]:
    found = _FIELD_TERM.match(term)
    if not found:
        raise bad_request(f"invalid selector: '{term}'; can't understand '{term}'")
    path = found["path"]
    if path not in ("metadata.name", "metadata.namespace") and path not in _FIELDS.get(resource_id, ()):
        raise _unknown_field(path)
    return tuple(path.split(".")), found["op"] != "!=", found["value"], path in _BOOLEAN_FIELDS


def _unknown_field(path: str) -> ApiError:
    return bad_request(f"field label not supported: {path}")


def parse_field_text(text: str, resource_id: str) -> Predicate:
    terms = [_parse_field_term(term.strip(), resource_id) for term in text.split(",") if term.strip()]

    def matches(obj: Obj) -> bool:
        for path, wanted, value, boolean in terms:
            found = dig(obj, *path)
            if boolean and found is None:
                found = False
            if (field_text(found) == value) is not wanted:
                return False
        return True

    return matches


def build_predicate(label_text: str, field_selector: str, resource_id: str) -> Predicate | None:
    """One predicate for a list or watch; None when nothing is filtered."""
    tests: list[Predicate] = []
    if label_text:
        requirements = parse_label_text(label_text)
        tests.append(lambda obj: all(r.matches(labels_of(obj)) for r in requirements))
    if field_selector:
        tests.append(parse_field_text(field_selector, resource_id))
    if not tests:
        return None
    return lambda obj: all(test(obj) for test in tests)
