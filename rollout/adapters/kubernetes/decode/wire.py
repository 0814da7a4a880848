"""Bytes to structs."""

from __future__ import annotations

from collections.abc import Hashable
from functools import cache
from typing import Any, TypeVar, cast

import msgspec

from rollout.adapters.kubernetes import documents as docs
from rollout.domain.errors import Unavailable

T = TypeVar("T")
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind, strict=False)


def decode(body: bytes | msgspec.Raw, kind: type[T], what: str) -> T:
    """Decode one object. Raises `Unavailable` when it is not what it should be."""
    try:
        return cast(T, _decoder(cast(Hashable, kind)).decode(body))
    except _UNREADABLE:
        return cast(T, _decode_odd(bytes(body), kind, what))


def _decode_odd(body: bytes, kind: Any, what: str) -> Any:
    try:
        # Back to text first: what is left undecoded is text.
        return _decoder(kind).decode(msgspec.json.encode(_without_nulls(msgspec.json.decode(body))))
    except _UNREADABLE as error:
        named = _name_of(body) or what
        raise Unavailable(
            "unreadable",
            f"cannot read {named}: the API's answer does not have the expected form ({error})",
        ) from error


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value if item is not None]
    return value


def _name_of(body: bytes) -> str:
    try:
        meta = msgspec.json.decode(body)["metadata"]
        return f"{meta.get('namespace', '')}/{meta['name']}".lstrip("/")
    except (*_UNREADABLE, KeyError, TypeError, AttributeError):
        return ""


def decode_page(body: bytes, kind: type[T], what: str) -> tuple[list[T], str, str]:
    """One page of a list: its objects, the list's resourceVersion, and the token of the next page."""
    try:
        page: docs.Page[T] = _decoder(docs.Page[kind]).decode(body)  # type: ignore[valid-type]
        items = page.items or []
    except _UNREADABLE:
        raw = decode(body, docs.Page[msgspec.Raw], what)
        page = cast("docs.Page[T]", raw)
        items = [decode(item, kind, what) for item in raw.items or () if bytes(item) != b"null"]
    meta = page.metadata or docs.ListMetaDoc()
    return items, meta.resourceVersion or "", meta.continue_ or ""


def is_there(raw: msgspec.Raw) -> bool:
    """Whether a field that was left undecoded says anything."""
    return bytes(raw) not in (b"", b"null")
