"""Writes a pod's status to the API: only when it changed, and again later if the server did not answer."""

import time

import podstatus
from kubeapi import Api, ApiError, ApiUnreachable, Json, pod_path
from nodeevents import EventWriter
from podstatus import PodFacts

_RETRY_SECONDS = 5.0


class StatusReport:
    def __init__(self, api: Api, events: EventWriter) -> None:
        self._api = api
        self._events = events
        self._published: Json = {}
        self.due = 0.0
        """When to publish again (monotonic seconds); 0 if all is told."""

    def publish(self, pod: Json, facts: PodFacts) -> None:
        meta, seen = pod["metadata"], pod.get("status") or {}
        previous = seen | {"conditions": _newer(seen.get("conditions"), self._published.get("conditions"))}
        status = podstatus.build(facts, previous)
        if status == self._published:
            return
        # The uid makes it a refusal if another pod has taken the name.
        body: Json = {"metadata": {"uid": meta["uid"]}, "status": status}
        try:
            self._api.patch(f"{pod_path(meta['namespace'], meta['name'])}/status", body)
        except ApiError as refused:
            self._events.report(f"cannot write status of {meta['name']}: {refused}")
            if refused.passing:
                self.due = time.monotonic() + _RETRY_SECONDS
                return
        except ApiUnreachable:
            self.due = time.monotonic() + _RETRY_SECONDS
            return
        self._published, self.due = status, 0.0


def _newer(seen: list[Json] | None, published: list[Json] | None) -> list[Json]:
    """Our own conditions as last written, everyone else's as last seen."""
    others = [each for each in seen or [] if each["type"] not in podstatus.OWN_CONDITIONS]
    own = [each for each in published or seen or [] if each["type"] in podstatus.OWN_CONDITIONS]
    return others + own
