"""Kubernetes Events about pods, and the node's own log."""

import sys
import threading
import time
import uuid

from kubeapi import Api, ApiError, ApiUnreachable, Json
from podstatus import now


class EventWriter:
    """Events are told best-effort: nothing waits for them, and a repeated one is only counted."""

    def __init__(self, api: Api, node: str) -> None:
        self._api = api
        self._node = node
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str], tuple[str, int]] = {}

    def report(self, text: str) -> None:
        """One line in the node's log."""
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
        sys.stderr.flush()

    def warn(self, pod: Json, reason: str, message: str) -> None:
        meta = pod["metadata"]
        key = (meta["uid"], reason)
        with self._lock:
            name, count = self._seen.get(key, (f"{meta['name']}.{uuid.uuid4().hex[:16]}", 0))
            self._seen[key] = (name, count + 1)
        try:
            if count:
                body = {"count": count + 1, "lastTimestamp": now(), "message": message}
                self._api.patch(f"/api/v1/namespaces/{meta['namespace']}/events/{name}", body)
            else:
                self._api.create(
                    f"/api/v1/namespaces/{meta['namespace']}/events", self._event(meta, name, reason, message)
                )
        except (ApiError, ApiUnreachable) as error:
            self.report(f"cannot record event {reason}: {error}")

    def forget(self, uid: str) -> None:
        with self._lock:
            self._seen = {key: held for key, held in self._seen.items() if key[0] != uid}

    def _event(self, meta: Json, name: str, reason: str, message: str) -> Json:
        subject = {"kind": "Pod", "apiVersion": "v1", "namespace": meta["namespace"]}
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": meta["namespace"]},
            "involvedObject": subject | {"name": meta["name"], "uid": meta["uid"]},
            "reason": reason,
            "message": message,
            "type": "Warning",
            "count": 1,
            "firstTimestamp": now(),
            "lastTimestamp": now(),
            "source": {"component": "kubelet", "host": self._node},
            "reportingComponent": "kubelet",
            "reportingInstance": self._node,
        }
