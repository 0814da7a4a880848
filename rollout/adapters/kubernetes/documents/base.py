"""What all objects share: metadata, selectors, lists and discovery."""
# ruff: noqa: N815  (fields are named as on the wire)

from __future__ import annotations

from datetime import datetime
from typing import Generic, TypeVar

import msgspec

Texts = dict[str, str]
T = TypeVar("T")
ABSENT = msgspec.Raw(b"")
"""A field that is left undecoded, and is not there."""


class _Doc(msgspec.Struct, gc=False):
    """Base: partial, never changed after decoding."""


class OwnerDoc(_Doc):
    """One owner reference."""

    kind: str | None = None
    name: str | None = None
    uid: str | None = None
    controller: bool | None = None


class MetaDoc(_Doc):
    """Object metadata. managedFields are left out on purpose: they are half of a large list."""

    name: str | None = None
    namespace: str | None = None
    uid: str | None = None
    resourceVersion: str | None = None
    generation: int | None = None
    creationTimestamp: str | None = None
    deletionTimestamp: datetime | None = None
    labels: Texts | None = None
    annotations: Texts | None = None
    ownerReferences: list[OwnerDoc] | None = None


NO_META = MetaDoc()


class ConditionDoc(_Doc):
    """One status condition."""

    type: str | None = None
    status: str | None = None


class RequirementDoc(_Doc):
    """One matchExpressions row."""

    key: str | None = None
    operator: str | None = None
    values: list[str] | None = None


class SelectorDoc(_Doc):
    """A label selector."""

    matchLabels: Texts | None = None
    matchExpressions: list[RequirementDoc] | None = None


class MetaOnlyDoc(_Doc):
    """Any object, its metadata only."""

    metadata: MetaDoc | None = None


class VersionDoc(_Doc):
    """The answer of /version."""

    gitVersion: str | None = None


class GroupVersionDoc(_Doc):
    """One served version of an API group."""

    version: str | None = None


class GroupDoc(_Doc):
    """An API group."""

    name: str | None = None
    versions: list[GroupVersionDoc] | None = None


class GroupListDoc(_Doc):
    """The answer of /apis."""

    groups: list[GroupDoc] | None = None


class ResourceDoc(_Doc):
    """A served resource."""

    name: str | None = None


class ResourceListDoc(_Doc):
    """The resources of one group and version."""

    resources: list[ResourceDoc] | None = None


class ListMetaDoc(_Doc):
    """List metadata."""

    resourceVersion: str | None = None
    continue_: str | None = msgspec.field(default=None, name="continue")


class Page(msgspec.Struct, Generic[T], gc=False):
    """One page of a list."""

    metadata: ListMetaDoc | None = None
    items: list[T] | None = None


class WatchLine(_Doc):
    """One line of a watch. The object is decoded when its kind is known."""

    type: str | None = None
    object: msgspec.Raw = msgspec.Raw(b"null")
