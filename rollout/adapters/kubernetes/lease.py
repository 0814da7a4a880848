"""One Lease excludes a second rollout on a cluster; its leaseTransitions is the fencing number.

Decision: a lease is expired when its renewTime plus duration is past by our own clock. Clocks that differ by more than
the margin between renewals and duration could let two holders overlap for a moment; the fencing number in every intent
and the resourceVersion in every write bound what that can do. Instead of: client-go's watching for a while that nobody
renews, which costs every start a whole duration.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rollout.adapters.kubernetes import documents as docs
from rollout.adapters.kubernetes.connection import MERGE_PATCH, Connection
from rollout.adapters.kubernetes.decode import decode
from rollout.adapters.kubernetes.request import COORDINATION, Request
from rollout.domain.errors import Conflict, NotFound, Refused
from rollout.ports.cluster import LeaseHeld

_TRIES = 4


@dataclass(frozen=True, slots=True)
class LeaseStore:
    """The lease's place, and what is done to it."""

    connection: Connection
    namespace: str
    name: str
    now: Callable[[], datetime]

    def take(self, holder: str, duration_s: int, takeover: Callable[[str], bool]) -> LeaseHeld:
        """Take it when it is free, expired, ours already, or when `takeover` says that its holder is dead."""
        for attempt in range(_TRIES):
            try:
                found = self._read()
                if found is None:
                    return self._create(holder, duration_s)
                self._require_takeable(found, holder, takeover)
                spec = self._spec(holder, duration_s, (_spec(found).leaseTransitions or 0) + 1)
                return self._write(found, spec | {"acquireTime": spec["renewTime"]})
            except Conflict:
                if attempt == _TRIES - 1:
                    raise
        raise AssertionError("unreachable")

    def renew(self, holder: str, fencing: int) -> LeaseHeld:
        """Renew what we hold."""
        for attempt in range(_TRIES):
            found = self._require_held(holder, fencing)
            duration = _spec(found).leaseDurationSeconds or 0
            try:
                return self._write(found, self._spec(holder, duration, fencing))
            except (Conflict, NotFound):
                # Somebody wrote in between, perhaps took it: look again.
                if attempt == _TRIES - 1:
                    raise
        raise AssertionError("unreachable")

    def release(self, holder: str, fencing: int) -> None:
        """Give up what we hold; the number stays, so that the next one is higher."""
        for attempt in range(_TRIES):
            try:
                found = self._require_held(holder, fencing)
            except Refused:
                return
            try:
                self._patch(found, {"holderIdentity": None, "renewTime": None, "acquireTime": None})
            except NotFound:
                return
            except Conflict:
                if attempt == _TRIES - 1:
                    raise
            else:
                return

    # -- what it rests on --------------------------------------------------------------------------------------------

    def _require_takeable(self, found: docs.LeaseDoc, holder: str, takeover: Callable[[str], bool]) -> None:
        spec = _spec(found)
        current = spec.holderIdentity or ""
        if not current or current == holder or spec.renewTime is None:
            return
        age = self.now() - spec.renewTime
        if age > timedelta(seconds=spec.leaseDurationSeconds or 0) or takeover(current):
            return
        seconds = max(0, int(age.total_seconds()))
        raise Refused(
            "lease-held",
            f"cannot start: {current} holds this cluster's lease, renewed {seconds} s ago",
            hint=f"wait until it ends, or look at it: kubectl -n {self.namespace} get lease {self.name} -o yaml",
        )

    def _require_held(self, holder: str, fencing: int) -> docs.LeaseDoc:
        found = self._read()
        spec = _spec(found) if found else docs.LeaseSpecDoc()
        if found is None or spec.holderIdentity != holder or (spec.leaseTransitions or 0) != fencing:
            who = spec.holderIdentity or "nobody"
            raise Refused(
                "lease-lost",
                f"cannot go on: this cluster's lease is {who}'s (number {spec.leaseTransitions or 0}),"
                f" not ours (number {fencing})",
                hint="see who works on this cluster, then: rollout resume",
            )
        return found

    def _spec(self, holder: str, duration_s: int, fencing: int) -> dict[str, Any]:
        return {
            "holderIdentity": holder,
            "leaseDurationSeconds": duration_s,
            "renewTime": micro_time(self.now()),
            "leaseTransitions": fencing,
        }

    # -- reads and writes --------------------------------------------------------------------------------------------

    def _request(self, verb: str) -> Request:
        return Request(verb, "leases", COORDINATION, namespace=self.namespace, name=self.name)

    def _read(self) -> docs.LeaseDoc | None:
        try:
            body = self.connection.call(self._request("get"))
        except NotFound:
            return None
        return decode(body, docs.LeaseDoc, f"lease {self.namespace}/{self.name}")

    def _create(self, holder: str, duration_s: int) -> LeaseHeld:
        spec = self._spec(holder, duration_s, 1)
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": spec | {"acquireTime": spec["renewTime"]},
        }
        return self._held(self.connection.call(self._request("create"), body=body))

    def _write(self, found: docs.LeaseDoc, spec: dict[str, Any]) -> LeaseHeld:
        return self._held(self._patch(found, spec))

    def _patch(self, found: docs.LeaseDoc, spec: dict[str, Any]) -> bytes:
        meta = found.metadata or docs.NO_META
        guard = {"uid": meta.uid, "resourceVersion": meta.resourceVersion}
        return self.connection.call(self._request("patch"), body={"metadata": guard, "spec": spec}, kind=MERGE_PATCH)

    def _held(self, body: bytes) -> LeaseHeld:
        spec = _spec(decode(body, docs.LeaseDoc, f"lease {self.namespace}/{self.name}"))
        renewed, duration = spec.renewTime or self.now(), spec.leaseDurationSeconds or 0
        return LeaseHeld(spec.holderIdentity or "", spec.leaseTransitions or 0, renewed, duration)


def _spec(doc: docs.LeaseDoc) -> docs.LeaseSpecDoc:
    return doc.spec or docs.LeaseSpecDoc()


def micro_time(moment: datetime) -> str:
    """Kubernetes' MicroTime: RFC 3339 in UTC with exactly six decimals."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
