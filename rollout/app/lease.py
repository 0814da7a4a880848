"""The cluster's lease, kept while a rollout is applied.

The holder's name carries the state's id. Who holds the state's exclusive lock and finds a lease of the same state knows
that its holder is dead, and takes over at once instead of waiting for the lease to expire.
"""

from __future__ import annotations

from threading import Event, Thread

from rollout.app.world import World
from rollout.domain.errors import Refused, RolloutError
from rollout.ports.cluster import LeaseHeld


class LeaseKeeper:
    """Takes the lease, renews it from a thread of its own, gives it up at the end.

    `lost` is set when another holder was found; `stale()` when it could not be renewed for a whole duration: then
    somebody else may hold it, and no new effect may begin.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._holder = f"{world.store.id}/{world.who.host}/{world.who.pid}"
        self._held: LeaseHeld | None = None
        self._stop = Event()
        self._thread: Thread | None = None
        self.lost = Event()

    def take(self) -> LeaseHeld:
        """Take the lease. Raises `Refused` naming the holder."""
        mine = f"{self._world.store.id}/"
        held = self._world.cluster.take_lease(self._holder, self._world.lease_s, lambda holder: holder.startswith(mine))
        self._held = held
        self._thread = Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()
        return held

    @property
    def fencing(self) -> int:
        """The fencing number under which effects are made."""
        return self._held.fencing if self._held else 0

    def stale(self) -> bool:
        """Whether the last renewal is older than the lease lasts."""
        if self._held is None:
            return True
        age = (self._world.clock.now() - self._held.renewed).total_seconds()
        return age > self._held.duration_s

    def release(self) -> None:
        """Stop renewing and give the lease up; failures to do so only cost its duration."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
        if self._held is not None and not self.lost.is_set():
            try:
                self._world.cluster.release_lease(self._holder, self._held.fencing)
            except RolloutError as error:
                self._world.reporter.note(f"the lease could not be given up ({error.message}); it expires by itself")

    def _keep(self) -> None:
        try:
            self._renew_until_stopped()
        except BaseException:
            self.lost.set()  # without this thread nobody keeps the lease: the rollout must not go on as if it did
            raise

    def _renew_until_stopped(self) -> None:
        while not self._world.clock.wait(self._world.lease_s / 3, self._stop):
            assert self._held is not None
            try:
                self._held = self._world.cluster.renew_lease(self._holder, self._held.fencing)
            except Refused as refused:
                self._world.reporter.note(refused.message)
                self.lost.set()
                return
            except RolloutError as error:
                self._world.reporter.note(f"the lease could not be renewed: {error.message}")
