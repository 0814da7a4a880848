"""The API server in a thread of its own, for synchronous programs and tests."""

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, Protocol, TypeVar

from rollout.lab.apiserver.server import ApiServer

Result = TypeVar("Result")
_START_SECONDS = 10.0


class Companion(Protocol):
    """Something that lives on the server's loop: the controllers, a fake kubelet."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...


def bind_loopback(port: int = 0, address: str = "127.0.0.1") -> socket.socket:
    """A listening socket; port 0 takes a free one."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((address, port))
    bound.listen(512)
    bound.setblocking(False)
    return bound


class ThreadedServer:
    """Runs a server and its companions until the `with` block ends. `call` reaches the store safely from outside."""

    def __init__(
        self, server: ApiServer, companions: Sequence[Companion] = (), *, port: int = 0, scheme: str = "http"
    ) -> None:
        self.server = server
        self._companions = companions
        self._socket = bind_loopback(port)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="apiserver", daemon=True)

    def __enter__(self) -> "ThreadedServer":
        self._thread.start()
        self.run(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_START_SECONDS)
        self._loop.close()
        self._socket.close()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _start(self) -> None:
        await self.server.start([self._socket])
        for companion in self._companions:
            await companion.start()

    async def _stop(self) -> None:
        for companion in reversed(self._companions):
            await companion.stop()
        await self.server.stop()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine on the server's loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def call(self, function: Callable[..., Result], *arguments: Any, **named: Any) -> Result:
        """Call a plain function (a store method, say) on the server's loop."""

        async def work() -> Result:
            return function(*arguments, **named)

        return self.run(work())
