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
    TAINT_WAITING,
    Node,
    OwnerMark,
)

_TRIES = 5
_NO_EXECUTE = "NoExecute"
_PREFER = "PreferNoSchedule"
_UNTAINT = f"{TAINT_WAITING}-"

Decide = Callable[[Node, list[Any]], Mapping[str, Any] | None]
"""From a node and its taints as stored, the patch to send; None when the node is as wanted."""


def read_node(connection: Connection, name: str) -> Node:
    """A fresh read. Raises `NotFound`."""
    return node_value(decode(_read(connection, name), docs.NodeDoc, f"node {name}"))


def cordon(connection: Connection, name: str, mark: OwnerMark) -> Node:
    """Unschedulable, our annotations, and our waiting taint away, in one patch."""

    def decide(node: Node, taints: list[Any]) -> Mapping[str, Any] | None:
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
        patch: dict[str, Any] = {"metadata": {"annotations": annotations}, "spec": {"unschedulable": True}}
        rest = [t for t in taints if not (_is_waiting(t) and t.get("value") in _ours(mark))]
        if len(rest) < len(taints):
            patch["spec"]["taints"] = rest or None
        return patch

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


def add_waiting(connection: Connection, name: str, mark: OwnerMark, known: Node | None) -> Node:
    """Our PreferNoSchedule taint beside all others. `known`: the node as last seen, to spare the reading."""

    def decide(_node: Node, taints: list[Any]) -> Mapping[str, Any] | None:
        own = [t for t in taints if _is_waiting(t)]
        if any(t.get("value") == mark.rollout for t in own):
            return None
        _require_own_waiting(name, own, mark)
        ours = {"key": TAINT_WAITING, "value": mark.rollout, "effect": _PREFER}
        return {"spec": {"taints": [*(t for t in taints if not _is_waiting(t)), ours]}}

    def kept(node: Node) -> bool:
        return any(t.key == TAINT_WAITING and t.value == mark.rollout for t in node.taints)

    return _change(connection, name, decide, kept, known)


def remove_waiting(connection: Connection, name: str, mark: OwnerMark, known: Node | None) -> Node:
    """That taint away, all others as they were. `known`: the node as last seen, to spare the reading."""

    def decide(_node: Node, taints: list[Any]) -> Mapping[str, Any] | None:
        own = [t for t in taints if _is_waiting(t)]
        if not own:
            return None
        _require_own_waiting(name, own, mark)
        return {"spec": {"taints": [t for t in taints if not _is_waiting(t)] or None}}

    def kept(node: Node) -> bool:
        return not any(t.key == TAINT_WAITING and t.effect == _PREFER for t in node.taints)

    return _change(connection, name, decide, kept, known)


def _require_own_waiting(name: str, own: list[Any], mark: OwnerMark) -> None:
    for taint in own:
        if taint.get("value") not in _ours(mark):
            words = f"cannot change the waiting taint of node {name}: it is rollout {taint.get('value')}'s"
            raise Refused("not-ours", words, hint=f"if that rollout has ended: kubectl taint node {name} {_UNTAINT}")


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


def _change(
    connection: Connection, name: str, decide: Decide, kept: Callable[[Node], bool], known: Node | None = None
) -> Node:
    for attempt in range(_TRIES):
        trusted = attempt == 0 and known is not None and _is_plain(known)
        node, taints = _from_known(known) if trusted and known is not None else _read_whole(connection, name)
        patch = decide(node, taints)
        if patch is None and trusted:
            continue  # what was seen may be old: only a fresh reading says that nothing is left to do
        if patch is None:
            return node
        try:
            return _patch(connection, node, patch, kept)
        except Conflict as conflict:
            if attempt == _TRIES - 1 or conflict.code == "not-kept":
                raise
    raise AssertionError("unreachable")


def _patch(connection: Connection, node: Node, patch: Mapping[str, Any], kept: Callable[[Node], bool]) -> Node:
    """Send it, guarded by what it rests on, and check the answer. Raises `Conflict`."""
    request = Request("patch", "nodes", name=node.name)
    guard = {"uid": node.uid, "resourceVersion": node.resource_version}
    guarded = {**patch, "metadata": {**patch.get("metadata", {}), **guard}}
    answer = connection.call(request, body=guarded, kind=MERGE_PATCH)
    after = node_value(decode(answer, docs.NodeDoc, f"node {node.name}"))
    if not kept(after):
        raise Conflict(
            "not-kept",
            f"cannot {request}: the API stored something else",
            hint="see whether an admission webhook changes nodes",
        )
    return after


def _read_whole(connection: Connection, name: str) -> tuple[Node, list[Any]]:
    body = _read(connection, name)
    return node_value(decode(body, docs.NodeDoc, f"node {name}")), _stored_taints(body)


def _is_plain(node: Node) -> bool:
    """Whether nothing of the node's taints was lost in decoding: ours have no more fields than we gave them."""
    return bool(node.resource_version) and all(t.key == TAINT_WAITING for t in node.taints)


def _from_known(node: Node) -> tuple[Node, list[Any]]:
    return node, [{"key": t.key, "value": t.value, "effect": t.effect} for t in node.taints]


def _stored_taints(body: bytes) -> list[Any]:
    """The taints with every field they have (timeAdded and what newer versions add): a list is replaced whole."""
    spec = msgspec.json.decode(body).get("spec") or {}
    return [taint for taint in spec.get("taints") or () if isinstance(taint, dict)]


def _is_our_taint(taint: Mapping[str, Any]) -> bool:
    return taint.get("key") == TAINT_EVACUATE and taint.get("effect") == _NO_EXECUTE


def _is_waiting(taint: Mapping[str, Any]) -> bool:
    return taint.get("key") == TAINT_WAITING and taint.get("effect") == _PREFER


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
