"""Names, labels and annotations as Kubernetes validates them, with its words."""

import re
from typing import Any

from rollout.lab.apiserver.errors import Cause, invalid_value, required
from rollout.lab.apiserver.objects import Obj

_LABEL_FORM = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN_FORM = rf"{_LABEL_FORM}(\.{_LABEL_FORM})*"
_QUALIFIED_FORM = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE_FORM = f"({_QUALIFIED_FORM})?"

_LABEL = re.compile(_LABEL_FORM)
_SUBDOMAIN = re.compile(_SUBDOMAIN_FORM)
_SERVICE = re.compile("[a-z]([-a-z0-9]*[a-z0-9])?")
_QUALIFIED = re.compile(_QUALIFIED_FORM)
_VALUE = re.compile(_VALUE_FORM)

_SUBDOMAIN_MESSAGE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    f"end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN_FORM}')"
)
_LABEL_MESSAGE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    f"an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL_FORM}')"
)
_SERVICE_MESSAGE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)
_QUALIFIED_MESSAGE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    f"character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_QUALIFIED_FORM}')"
)
_VALUE_MESSAGE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    f"'{_VALUE_FORM}')"
)
_MAX_ANNOTATIONS = 256 * 1024


def object_name_faults(resource_id: str, name: str) -> list[str]:
    """What is wrong with a name; the rule depends on the resource."""
    if resource_id == "services":
        form, message, limit = _SERVICE, _SERVICE_MESSAGE, 63
    elif resource_id == "namespaces":
        form, message, limit = _LABEL, _LABEL_MESSAGE, 63
    else:
        form, message, limit = _SUBDOMAIN, _SUBDOMAIN_MESSAGE, 253
    faults = [f"must be no more than {limit} bytes"] if len(name) > limit else []
    return faults if form.fullmatch(name) else [*faults, message]


def qualified_name_faults(name: str) -> list[str]:
    """A label or taint key: optional DNS prefix, slash, name."""
    prefix, slash, last = name.rpartition("/")
    if slash and not _SUBDOMAIN.fullmatch(prefix):
        return ["prefix part " + _SUBDOMAIN_MESSAGE]
    if not last:
        return ["name part must be non-empty"]
    if len(last) > 63:
        return ["name part must be no more than 63 bytes"]
    return [] if _QUALIFIED.fullmatch(last) else [_QUALIFIED_MESSAGE]


def label_value_faults(value: str) -> list[str]:
    if len(value) > 63:
        return ["must be no more than 63 bytes"]
    return [] if _VALUE.fullmatch(value) else [_VALUE_MESSAGE]


def _label_causes(labels: dict[str, Any], field: str) -> list[Cause]:
    causes: list[Cause] = []
    for key, value in labels.items():
        causes += [invalid_value(field, key, fault) for fault in qualified_name_faults(key)]
        causes += [invalid_value(field, value, fault) for fault in label_value_faults(value)]
    return causes


def metadata_causes(resource_id: str, metadata: Obj) -> list[Cause]:
    """Everything wrong with an object's metadata."""
    name = metadata.get("name") or ""
    if not name:
        return [required("metadata.name", "name or generateName is required")]
    causes = [invalid_value("metadata.name", name, fault) for fault in object_name_faults(resource_id, name)]
    causes += _label_causes(metadata.get("labels") or {}, "metadata.labels")
    annotations: dict[str, str] = metadata.get("annotations") or {}
    for key in annotations:
        faults = qualified_name_faults(key.lower())
        causes += [invalid_value("metadata.annotations", key, fault) for fault in faults]
    if sum(len(key) + len(value) for key, value in annotations.items()) > _MAX_ANNOTATIONS:
        causes.append(Cause("FieldValueTooLong", "metadata.annotations", "Too long: may not be more than 262144 bytes"))
    for finalizer in metadata.get("finalizers") or ():
        faults = qualified_name_faults(finalizer)
        causes += [invalid_value("metadata.finalizers", finalizer, fault) for fault in faults]
    return causes


def is_string_map(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
