"""The kubelet's side of the container runtime: calls, and exits told to a listener."""

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

Json = dict[str, Any]


class RuntimeGone(Exception):
    """The runtime's socket closed: its containers are gone with it."""


def running(path: Path) -> bool:
    """True if a runtime answers on the socket."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.connect(str(path))
    except OSError:
        return False
    return True


class RuntimeClient:
    def __init__(self, path: Path, on_exit: Callable[[Json], None], on_gone: Callable[[], None]) -> None:
        self._on_exit = on_exit
        self._on_gone = on_gone
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(path))
        self._replies: dict[int, Json] = {}
        self._sequence = 0
        self._open = True
        self._changed = threading.Condition()
        threading.Thread(target=self._listen, name="runtime", daemon=True).start()

    def start(self, identity: str, program: str, arguments: list[str], **rest: Any) -> int:
        return int(self._call("start", id=identity, program=program, arguments=arguments, **rest)["pid"])

    def signal(self, identity: str, number: int) -> bool:
        """False if the container is not running."""
        return bool(self._call("signal", id=identity, number=number)["running"])

    def forget(self, identity: str) -> None:
        self._call("forget", id=identity)

    def containers(self) -> dict[str, Json]:
        listed: dict[str, Json] = self._call("list")["containers"]
        return listed

    def _call(self, act: str, **request: Any) -> Json:
        with self._changed:
            self._sequence += 1
            number = self._sequence
            self._socket.sendall(json.dumps({"act": act, "seq": number} | request).encode() + b"\n")
            self._changed.wait_for(lambda: number in self._replies or not self._open)
            if number not in self._replies:
                raise RuntimeGone
            return self._replies.pop(number)

    def _listen(self) -> None:
        with self._socket.makefile("rb") as stream:
            for line in stream:
                message = json.loads(line)
                if "event" in message:
                    self._on_exit(message)
                    continue
                with self._changed:
                    self._replies[message["reply"]] = message
                    self._changed.notify_all()
        with self._changed:
            self._open = False
            self._changed.notify_all()
        self._on_gone()
