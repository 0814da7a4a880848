"""Nodes and their pods as the watches last told, with one version per node and a place to wait for the next.

Decision: versions are per node and only move when something that we decode changed, and waiters wait per node. With
50 nodes in flight on a cluster of 150,000 pods, waking everybody for every change would be the engine's main cost.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from threading import Condition, Lock

from rollout.domain.node import TAINT_WAITING, Node, Pod
from rollout.ports.cluster import NodeView

Key = tuple[str, str]


class Cache:
    """The watches write, everybody reads. Pods of a node come in the order in which they were created."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._count = 0
        self._closed = False
        self._nodes: dict[str, Node] = {}
        self._out: set[str] = set()
        self._pods: dict[str, dict[Key, Pod]] = {}
        self._place: dict[Key, str] = {}
        self._versions: dict[str, int] = {}
        self._waiters: dict[str, Condition] = {}

    # -- reading -----------------------------------------------------------------------------------------------------

    def view(self, node: str) -> NodeView:
        """The newest view."""
        with self._lock:
            return self._view(node)

    def wait(self, node: str, version: int, timeout_s: float) -> NodeView:
        """The newest view, once it is newer than `version` or the time is over."""
        deadline = time.monotonic() + timeout_s
        with self._lock:
            changed = self._waiters.setdefault(node, Condition(self._lock))
            while self._versions.get(node, 0) <= version and not self._closed:
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                changed.wait(left)
            return self._view(node)

    def out_of_service(self) -> frozenset[str]:
        """Nodes that are unschedulable or not known to be Ready."""
        with self._lock:
            return frozenset(self._out)

    def in_service(self) -> tuple[Node, ...]:
        """All the others, in name order."""
        with self._lock:
            return tuple(self._nodes[name] for name in sorted(self._nodes.keys() - self._out))

    def node(self, name: str) -> Node | None:
        """A node as last seen; None when it was not."""
        with self._lock:
            return self._nodes.get(name)

    def waiting(self) -> dict[str, str]:
        """Nodes that carry our waiting taint, each with its value, in name order."""
        with self._lock:
            found = [(n.name, t.value) for n in self._nodes.values() for t in n.taints if t.key == TAINT_WAITING]
        return dict(sorted(found))

    def _view(self, node: str) -> NodeView:
        pods = tuple(self._pods.get(node, {}).values())
        return NodeView(self._versions.get(node, 0), self._nodes.get(node), pods)

    # -- nodes -------------------------------------------------------------------------------------------------------

    def replace_nodes(self, nodes: Iterable[Node]) -> None:
        """A fresh list: everything else is gone."""
        fresh = {node.name: node for node in nodes}
        with self._lock:
            for name in self._nodes.keys() - fresh.keys():
                self._drop_node(name)
            for node in fresh.values():
                self._put_node(node)

    def put_node(self, node: Node) -> None:
        """Added or modified."""
        with self._lock:
            self._put_node(node)

    def drop_node(self, node: Node) -> None:
        """Deleted."""
        with self._lock:
            self._drop_node(node.name)

    def _put_node(self, node: Node) -> None:
        before = self._nodes.get(node.name)
        self._nodes[node.name] = node
        if node.unschedulable or node.ready is not True:
            self._out.add(node.name)
        else:
            self._out.discard(node.name)
        if before is None or replace(before, resource_version=node.resource_version) != node:
            self._touch(node.name)

    def _drop_node(self, name: str) -> None:
        if self._nodes.pop(name, None) is not None:
            self._out.discard(name)
            self._touch(name)

    # -- pods --------------------------------------------------------------------------------------------------------

    def replace_pods(self, pods: Iterable[Pod]) -> None:
        """A fresh list, oldest first: everything else is gone."""
        fresh = {(pod.ref.namespace, pod.ref.name): pod for pod in pods}
        with self._lock:
            for key in self._place.keys() - fresh.keys():
                self._drop_pod(key)
            for key, pod in fresh.items():
                self._put_pod(key, pod)

    def put_pod(self, pod: Pod) -> None:
        """Added or modified."""
        with self._lock:
            self._put_pod((pod.ref.namespace, pod.ref.name), pod)

    def drop_pod(self, pod: Pod) -> None:
        """Deleted."""
        with self._lock:
            self._drop_pod((pod.ref.namespace, pod.ref.name))

    def _put_pod(self, key: Key, pod: Pod) -> None:
        where = self._place.get(key)
        before = self._pods[where][key] if where is not None else None
        if before is not None and (where != pod.node or before.ref.uid != pod.ref.uid):
            # Another incarnation: it takes its place among the newest.
            self._drop_pod(key)
        if not pod.node or before == pod:
            return
        self._place[key] = pod.node
        self._pods.setdefault(pod.node, {})[key] = pod
        self._touch(pod.node)

    def _drop_pod(self, key: Key) -> None:
        where = self._place.pop(key, None)
        if where is None:
            return
        rest = self._pods[where]
        del rest[key]
        if not rest:
            del self._pods[where]
        self._touch(where)

    # -- waiting -----------------------------------------------------------------------------------------------------

    def _touch(self, node: str) -> None:
        self._count += 1
        self._versions[node] = self._count
        waiter = self._waiters.get(node)
        if waiter is not None:
            waiter.notify_all()

    def close(self) -> None:
        """Wake everybody for good."""
        with self._lock:
            self._closed = True
            for waiter in self._waiters.values():
                waiter.notify_all()
