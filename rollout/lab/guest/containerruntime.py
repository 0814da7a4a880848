"""The container runtime stand-in: one small process that forks containers from programs already in its memory.

It outlives the kubelet stand-in, as containerd does, so that a restarted kubelet finds its containers running; when it
dies itself, the kernel ends them. One thread, JSON lines over a unix socket; it sleeps in the kernel while idle.

Requests: start, signal, list, forget. Events: {"event": "exit", "id": …, "code": …, "finished": …} to every client.
"""

import gc
import json
import os
import resource
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import namespaces
from containerimages import Program

Json = dict[str, Any]


class ContainerRuntime:
    def __init__(self, path: Path, programs: Mapping[str, Program]) -> None:
        self._programs = programs
        self._containers: dict[str, Json] = {}
        self._buffers: dict[socket.socket, bytes] = {}
        self._selector = selectors.DefaultSelector()
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(8)
        self._selector.register(self._listener, selectors.EVENT_READ)
        wake_read, self._wake_write = socket.socketpair()
        wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._wake_read = wake_read
        self._selector.register(wake_read, selectors.EVENT_READ)

    def serve(self) -> None:
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)
        # What is in memory now stays shared with the children: the collector must not touch it.
        gc.freeze()
        while True:
            for key, _ in self._selector.select():
                sock = key.fileobj
                if sock is self._listener:
                    self._greet()
                elif sock is self._wake_read:
                    self._wake_read.recv(512)
                    self._reap()
                elif isinstance(sock, socket.socket):
                    self._read(sock)

    def _greet(self) -> None:
        client, _ = self._listener.accept()
        self._buffers[client] = b""
        self._selector.register(client, selectors.EVENT_READ)

    def _read(self, client: socket.socket) -> None:
        try:
            chunk = client.recv(65536)
        except OSError:
            chunk = b""
        if not chunk:
            self._drop(client)
            return
        *lines, self._buffers[client] = (self._buffers[client] + chunk).split(b"\n")
        for line in lines:
            request = json.loads(line)
            self._send(client, {"reply": request["seq"]} | self._perform(request))

    def _drop(self, client: socket.socket) -> None:
        if self._buffers.pop(client, None) is not None:
            self._selector.unregister(client)
            client.close()

    def _send(self, client: socket.socket, message: Json) -> None:
        try:
            client.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            self._drop(client)

    def _perform(self, request: Json) -> Json:
        match request["act"]:
            case "start":
                return self._start(request)
            case "signal":
                return self._signal(request["id"], request["number"])
            case "forget":
                self._containers.pop(request["id"], None)
                return {}
            case _:
                return {"containers": self._containers}

    def _start(self, request: Json) -> Json:
        pid = os.fork()
        if pid == 0:
            self._become(request)
        self._containers[request["id"]] = {"pid": pid, "started": time.time(), "code": None, "finished": None}
        return {"pid": pid}

    def _signal(self, identity: str, number: int) -> Json:
        container = self._containers.get(identity)
        if container is None or container["code"] is not None:
            return {"running": False}
        # Its whole session: a container's own children are part of it.
        try:
            os.killpg(container["pid"], number)
        except ProcessLookupError:
            # Forked a moment ago: not yet the leader of its own session.
            os.kill(container["pid"], number)
        return {"running": True}

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._note_exit(pid, status)

    def _note_exit(self, pid: int, status: int) -> None:
        code = os.waitstatus_to_exitcode(status)
        for identity, container in self._containers.items():
            if container["pid"] == pid and container["code"] is None:
                container.update(code=128 - code if code < 0 else code, finished=time.time())
                event = {"event": "exit", "id": identity} | container
                for client in list(self._buffers):
                    self._send(client, event)

    def _become(self, request: Json) -> None:
        """The child: never returns."""
        code = 1
        try:
            _detach(Path(request["log"]), request.get("netns"))
            os.environ.update(request["environment"])
            program = self._programs[request["program"]]
            code = program(request["arguments"], os.environ)
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
        except BaseException:  # noqa: BLE001 - a container's fault belongs in its own log
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code & 0xFF)


def _detach(log: Path, namespace: str | None) -> None:
    """Own session, own output, own network namespace; nothing of the runtime's is left open."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    namespaces.die_with_parent()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.closerange(3, min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[0]))
    if namespace:
        namespaces.enter(Path(namespace))


def spawn(path: Path, programs: Mapping[str, Program]) -> None:
    """Fork the runtime off for good: twice, so that nobody has to wait for it. Call before starting threads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    os.setsid()
    runtime = ContainerRuntime(path, programs)
    if os.fork():
        os._exit(0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    path.with_suffix(".pid").write_text(str(os.getpid()))
    quiet = os.open(os.devnull, os.O_RDONLY)
    os.dup2(quiet, 0)
    try:
        runtime.serve()
    except BaseException:  # noqa: BLE001 - the last chance to say why
        traceback.print_exc()
    os._exit(1)
