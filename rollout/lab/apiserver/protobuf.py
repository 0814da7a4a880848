"""Just enough protobuf to read the reviews that kubectl sends that way (`kubectl auth can-i`, `whoami`).

Everything else in protobuf is a 415: typed creates of kubectl (`kubectl create deployment`) do not work against this
server, `kubectl create -f` does.
"""

from rollout.lab.apiserver.objects import Obj

_MAGIC = b"k8s\x00"
_RESOURCE_FIELDS = {1: "namespace", 2: "verb", 3: "group", 4: "version", 5: "resource", 6: "subresource", 7: "name"}
_URL_FIELDS = {1: "path", 2: "verb"}


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7


def _fields(data: bytes) -> dict[int, bytes]:
    """The length-delimited fields of a message, by number; numbers are skipped."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        size, at = _varint(data, at)
        if tag & 7 == 2:
            found[tag >> 3] = data[at : at + size]
            at += size
        elif tag & 7 != 0:
            raise ValueError("unexpected wire type")
    return found


def _named(data: bytes, names: dict[int, str]) -> Obj:
    fields = _fields(data)
    return {name: fields[number].decode() for number, name in names.items() if fields.get(number)}


def decode_review(body: bytes) -> Obj | None:
    """The review in a protobuf body; None if it is something else."""
    if not body.startswith(_MAGIC):
        return None
    try:
        envelope = _fields(body[len(_MAGIC) :])
        kind = _named(envelope[1], {1: "apiVersion", 2: "kind"})
        spec = _fields(_fields(envelope.get(2, b"")).get(2, b""))
        if kind["kind"] == "SelfSubjectAccessReview" and 2 in spec:
            return {**kind, "spec": {"nonResourceAttributes": _named(spec[2], _URL_FIELDS)}}
        if kind["kind"] == "SelfSubjectAccessReview":
            return {**kind, "spec": {"resourceAttributes": _named(spec.get(1, b""), _RESOURCE_FIELDS)}}
        if kind["kind"] == "SelfSubjectRulesReview":
            return {**kind, "spec": {"namespace": spec.get(1, b"").decode()}}
        return kind if kind["kind"] == "SelfSubjectReview" else None
    except (IndexError, KeyError, ValueError):
        return None
