"""The programs that containers may run, by command: what images are on a real node."""

import signal
import sys
from collections.abc import Callable, Mapping
from importlib import import_module

import hostcommand

Program = Callable[[list[str], Mapping[str, str]], int]


class UnknownCommand(Exception):
    """The image holds no such program."""


# From the first words of command + args to the module whose main() runs; longer entries first.
_PROGRAMS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("cilium-dbg", "build-config"), "buildconfig"),
    (("cilium-agent",), "agent"),
    (("lab-http",), "webserver"),
    (("lab-dns",), "dnsserver"),
    (("lab-sleep",), "containerimages"),
)
_HOST_COMMAND = "hostcommand"


def resolve(words: list[str]) -> tuple[str, list[str]]:
    """The module that plays the command, and its arguments. Raises UnknownCommand."""
    for head, module in _PROGRAMS:
        if tuple(words[: len(head)]) == head:
            return module, words[len(head) :]
    name = words[0] if words else ""
    if hostcommand.find(name):
        return _HOST_COMMAND, words
    known = ", ".join([*(" ".join(head) for head, _ in _PROGRAMS), *hostcommand.COMMANDS])
    raise UnknownCommand(f'exec: "{name}": executable file not found in $PATH (the lab knows: {known})')


def preload() -> dict[str, Program]:
    """Import every program once, before the runtime forks: its children share the memory and start at once."""
    return {module: import_module(module).main for module in (_HOST_COMMAND, *(module for _, module in _PROGRAMS))}


def main(_argv: list[str], _environment: Mapping[str, str]) -> int:
    """lab-sleep: waits for SIGTERM and ends well."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        signal.pause()
