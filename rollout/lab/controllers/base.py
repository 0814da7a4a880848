"""What every controller is made of: watches that name work, and a worker that does it.

Rules: a listener only enqueues; `reconcile` is synchronous, looks at the present state and makes one step towards the
wanted one; running it once too often changes nothing. There is no periodic resync: an idle controller costs nothing.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from rollout.lab.apiserver.errors import ApiError
from rollout.lab.apiserver.objects import Obj
from rollout.lab.apiserver.storage import ADDED, Change
from rollout.lab.apiserver.store import Store

Key = TypeVar("Key", bound=Hashable)
NamedKey = tuple[str, str]
_RETRY_SECONDS = 0.5
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ControllerSettings:
    """Times of the controllers; the defaults are those of a real cluster."""

    # A node whose lease is older than this is NotReady. Nodes without a lease are left as they are.
    node_grace_seconds: float = 40.0
    # The disruption controller gives an eviction this long to become a deletion.
    disrupted_pod_seconds: float = 120.0
    # Pods bound to a node that no longer exists are removed after this long.
    orphaned_pod_seconds: float = 40.0


class Controller(ABC, Generic[Key]):
    """A work queue of keys fed by store changes. Start and stop it on the store's event loop."""

    def __init__(self, store: Store, settings: ControllerSettings) -> None:
        self.store = store
        self.settings = settings
        self._queue: dict[Key, None] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._unsubscribers: list[Callable[[], None]] = []

    @abstractmethod
    def subscribe(self) -> None:
        """Set up the watches."""

    @abstractmethod
    def reconcile(self, key: Key) -> None:
        """Make one object's world as it should be."""

    def watch(self, resource_id: str, listener: Callable[[Change], None]) -> None:
        """Hear of every object that is there, then of every change."""
        self._unsubscribers.append(self.store.subscribe(resource_id, listener))
        for obj in self.store.storage.values(resource_id):
            listener(Change(0, ADDED, None, obj))

    def enqueue(self, key: Key, delay: float = 0.0) -> None:
        """Ask for a reconcile, now or later. Asking twice is asking once; the earlier time wins."""
        if delay <= 0:
            self._cancel_timer(key)
            self._queue[key] = None
            self._wake.set()
            return
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is None or timer.when() > loop.time() + delay:
            self._cancel_timer(key)
            self._timers[key] = loop.call_later(delay, self.enqueue, key)

    @property
    def idle(self) -> bool:
        """Whether nothing is left to look at now. What is asked for later does not count."""
        return not self._queue

    def _cancel_timer(self, key: Key) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    async def start(self) -> None:
        self.subscribe()
        self._task = asyncio.get_running_loop().create_task(self._work(), name=type(self).__name__)

    async def stop(self) -> None:
        for unsubscribe in self._unsubscribers:
            unsubscribe()
        self._unsubscribers.clear()
        for key in list(self._timers):
            self._cancel_timer(key)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _work(self) -> None:
        while True:
            while self._queue:
                key = next(iter(self._queue))
                del self._queue[key]
                self._reconcile_safely(key)
                # Requests go between any two reconciles.
                await asyncio.sleep(0)
            self._wake.clear()
            await self._wake.wait()

    def _reconcile_safely(self, key: Key) -> None:
        try:
            self.reconcile(key)
        except ApiError as error:
            # Something moved, or is refused for now: look again soon.
            _logger.debug("%s: %s: %s", type(self).__name__, key, error)
            self.enqueue(key, _RETRY_SECONDS)
        except Exception:
            # One malformed object must not end the controller for all the others.
            _logger.exception("%s: cannot reconcile %s", type(self).__name__, key)


def named_key(obj: Obj) -> NamedKey:
    return str(obj["metadata"].get("namespace") or ""), str(obj["metadata"]["name"])
