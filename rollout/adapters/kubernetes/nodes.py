"""Writes to Node objects: cordon, taint, label.

Decision: one way for all of them. Read the node, decide on what was read, send a merge patch that carries the
resourceVersion of that reading; a race answers 409 and the decision is made again on a fresh reading. The API's answer
to a patch is the object as stored: it is what we read back, and it is checked for what we wanted.
Instead of: strategic merge (cannot carry a guard for a list) and JSON patch (its `test` of the whole list says less).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from rollout.adapters.kubernetes import documents as docs
from rollout.adapters.kubernetes.connection import MERGE_PATCH, Connection
from rollout.adapters.kubernetes.decode import decode, node_value
from rollout.adapters.kubernetes.request import Request
from rollout.domain.errors import Conflict, Refused
from rollout.domain.node import (
    ANNOTATION_PLAN,
    ANNOTATION_PRIOR,
    ANNOTATION_ROLLOUT,
    LABEL_MODE,
    TAINT_EVACUATE,
    Node,
    OwnerMark,
)

_TRIES = 5
_NO_EXECUTE = "NoExecute"

Decide = Callable[[Node, list[Any]], Mapping[str, Any] | None]
"""From a node and its taints as stored, the patch to send; None when the node is as wanted."""


def read_node(connection: Connection, name: str) -> Node:
    """A fresh read. Raises `NotFound`."""
    return node_value(decode(_read(connection, name), docs.NodeDoc, f"node {name}"))


def cordon(connection: Connection, name: str, mark: OwnerMark) -> Node:
    """Unschedulable and our annotations, in one patch."""

    def decide(node: Node, _taints: list[Any]) -> Mapping[str, Any] | None:
        owner = node.annotations.get(ANNOTATION_ROLLOUT, "")
        if owner == mark.rollout:
            return None
        if owner and owner != mark.supersedes:
            raise _not_ours(f"cannot cordon node {name}: rollout {owner} has marked it", name)
        prior = _recorded_prior(node)
        if prior is None:
            prior = node.unschedulable or mark.prior_unschedulable
        annotations = {
            ANNOTATION_ROLLOUT: mark.rollout,
            ANNOTATION_PLAN: mark.plan,
            ANNOTATION_PRIOR: json.dumps({"unschedulable": prior}),
        }
        return {"metadata": {"annotations": annotations}, "spec": {"unschedulable": True}}

    def kept(node: Node) -> bool:
        return node.annotations.get(ANNOTATION_ROLLOUT) == mark.rollout

    return _change(connection, name, decide, kept)


def uncordon(connection: Connection, name: str, mark: OwnerMark) -> Node:
    """Take our cordon and annotations back; the prior state that was recorded first decides."""

    def decide(node: Node, _taints: list[Any]) -> Mapping[str, Any] | None:
        owner = node.annotations.get(ANNOTATION_ROLLOUT, "")
        if not owner or owner not in _ours(mark):
            found = f"rollout {owner} has marked it" if owner else "it does not carry our mark"
            raise _not_ours(f"cannot uncordon node {name}: {found}", name)
        prior = _recorded_prior(node)
        if prior is None:
            prior = mark.prior_unschedulable
        annotations = dict.fromkeys((ANNOTATION_ROLLOUT, ANNOTATION_PLAN, ANNOTATION_PRIOR))
        patch: dict[str, Any] = {"metadata": {"annotations": annotations}}
        if node.unschedulable and not prior:
            patch["spec"] = {"unschedulable": None}
        return patch

    def kept(node: Node) -> bool:
        return ANNOTATION_ROLLOUT not in node.annotations

    return _change(connection, name, decide, kept)


def add_taint(connection: Connection, name: str, mark: OwnerMark) -> Node:
    """Our NoExecute taint beside all others."""

    def decide(_node: Node, taints: list[Any]) -> Mapping[str, Any] | None:
        own = [t for t in taints if _is_our_taint(t)]
        if any(t.get("value") == mark.rollout for t in own):
            return None
        for taint in own:
            if taint.get("value") not in _ours(mark):
                raise _not_ours(f"cannot taint node {name}: rollout {taint.get('value')} has tainted it", name)
        ours = {"key": TAINT_EVACUATE, "value": mark.rollout, "effect": _NO_EXECUTE}
        return {"spec": {"taints": [*(t for t in taints if not _is_our_taint(t)), ours]}}

    def kept(node: Node) -> bool:
        return any(t.key == TAINT_EVACUATE and t.value == mark.rollout for t in node.taints)

    return _change(connection, name, decide, kept)


def remove_taint(connection: Connection, name: str, mark: OwnerMark) -> Node:
    """Our taint away, all others as they were."""

    def decide(_node: Node, taints: list[Any]) -> Mapping[str, Any] | None:
        own = [t for t in taints if _is_our_taint(t)]
        if not own:
            return None
        for taint in own:
            if taint.get("value") not in _ours(mark):
                raise _not_ours(f"cannot remove the taint of node {name}: it is rollout {taint.get('value')}'s", name)
        rest = [t for t in taints if not _is_our_taint(t)]
        return {"spec": {"taints": rest or None}}

    def kept(node: Node) -> bool:
        return not any(t.key == TAINT_EVACUATE and t.effect == _NO_EXECUTE for t in node.taints)

    return _change(connection, name, decide, kept)


def assign_mode(connection: Connection, name: str, value: str) -> Node:
    """Our label; the empty string removes it."""

    def decide(node: Node, _taints: list[Any]) -> Mapping[str, Any] | None:
        if node.labels.get(LABEL_MODE, "") == value and (value or LABEL_MODE not in node.labels):
            return None
        return {"metadata": {"labels": {LABEL_MODE: value or None}}}

    def kept(node: Node) -> bool:
        return node.labels.get(LABEL_MODE, "") == value

    return _change(connection, name, decide, kept)


# -- the one way -----------------------------------------------------------------------------------------------------


def _read(connection: Connection, name: str) -> bytes:
    return connection.call(Request("get", "nodes", name=name))


def _change(connection: Connection, name: str, decide: Decide, kept: Callable[[Node], bool]) -> Node:
    request = Request("patch", "nodes", name=name)
    for attempt in range(_TRIES):
        body = _read(connection, name)
        node = node_value(decode(body, docs.NodeDoc, f"node {name}"))
        patch = decide(node, _stored_taints(body))
        if patch is None:
            return node
        guard = {"uid": node.uid, "resourceVersion": node.resource_version}
        guarded = {**patch, "metadata": {**patch.get("metadata", {}), **guard}}
        try:
            answer = connection.call(request, body=guarded, kind=MERGE_PATCH)
        except Conflict:
            if attempt == _TRIES - 1:
                raise
            continue
        after = node_value(decode(answer, docs.NodeDoc, f"node {name}"))
        if not kept(after):
            raise Conflict(
                "not-kept",
                f"cannot {request}: the API stored something else",
                hint="see whether an admission webhook changes nodes",
            )
        return after
    raise AssertionError("unreachable")


def _stored_taints(body: bytes) -> list[Any]:
    """The taints with every field they have (timeAdded and what newer versions add): a list is replaced whole."""
    spec = msgspec.json.decode(body).get("spec") or {}
    return [taint for taint in spec.get("taints") or () if isinstance(taint, dict)]


def _is_our_taint(taint: Mapping[str, Any]) -> bool:
    return taint.get("key") == TAINT_EVACUATE and taint.get("effect") == _NO_EXECUTE


def _ours(mark: OwnerMark) -> tuple[str, ...]:
    """Rollouts whose marks we may take back: this one, and the one it rolls back."""
    return (mark.rollout, mark.supersedes) if mark.supersedes else (mark.rollout,)


def _recorded_prior(node: Node) -> bool | None:
    """What the first mark on the node recorded; None when there is nothing readable."""
    try:
        prior = json.loads(node.annotations.get(ANNOTATION_PRIOR, ""))
    except ValueError:
        return None
    found = prior.get("unschedulable") if isinstance(prior, dict) else None
    return found if isinstance(found, bool) else None


def _not_ours(message: str, name: str) -> Refused:
    return Refused("not-ours", message, hint=f"see who did it: kubectl describe node {name}")
