"""Events of a run turned into one result per host."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rollout.ports.hosts import HostResult, HostRun

_LONGEST = 2000

_STOPPED = {
    "cancelled": (HostResult.CANCELLED, "cancelled", "the run was cancelled"),
    "parent-died": (HostResult.CANCELLED, "cancelled", "the run was cancelled"),
    "wall-timeout": (HostResult.TIMED_OUT, "wall-timeout", "the run took longer than it may"),
    "idle-timeout": (HostResult.TIMED_OUT, "idle-timeout", "the run reported nothing for too long"),
}
_READ_AGAIN = "what was started on the node may have finished: read the node again before anything else"


@dataclass(frozen=True, slots=True)
class Trouble:
    """A failure by the words it shows itself in."""

    code: str
    words: re.Pattern[str]
    hint: str


def _trouble(code: str, words: str, hint: str) -> Trouble:
    return Trouble(code, re.compile(words, re.IGNORECASE), hint)


CONNECTION_TROUBLES = (
    _trouble(
        "host-key-changed",
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|host key for .* has changed",
        "the node shows another key than known_hosts has: find out why (reinstalled?) before you replace it there",
    ),
    _trouble(
        "host-key-unknown",
        r"Host key verification failed|No \S+ host key is known",
        "add the node's host key to the configured known_hosts, from a source you trust",
    ),
    _trouble(
        "ssh-auth",
        r"Permission denied \(|Too many authentication failures|Load key .*(invalid|permission|No such)",
        "the node does not accept this user with this key: check hosts.user, hosts.private_key and authorized_keys",
    ),
    _trouble(
        "ssh-refused",
        r"Connection refused",
        "nothing listens there: check address and port, and whether sshd runs on the node",
    ),
    _trouble(
        "ssh-timeout",
        r"timed out|No route to host|Network is unreachable|Timeout, server",
        "check the address, firewalls, and whether the node is up; raise hosts.connect_timeout_s for slow links",
    ),
    _trouble("ssh-name", r"Could not resolve hostname", "give the node's address in the configuration's mapping"),
)
TASK_TROUBLES = (
    _trouble(
        "sudo-password",
        r"missing sudo password|password is required|incorrect sudo password|terminal is required to read",
        "sudo asks for a password there: let this user use sudo without one (NOPASSWD), or connect as root",
    ),
    _trouble(
        "sudo-refused",
        r"is not in the sudoers|is not allowed to (execute|run)|you must have a tty|sudo: (command )?not found",
        "let this user use sudo on the node without a terminal, or connect as root and set hosts.become to false",
    ),
    _trouble(
        "python-missing",
        r"cannot start Python|interpreter .*was not found|python\S*: (command )?not found"
        r"|python\S*: No such file or directory",
        "install Python 3.9 or newer on the node, or set hosts.python to where it is",
    ),
)


@dataclass(slots=True)
class Tally:
    """What is known of one host so far."""

    facts: dict[str, Any] = field(default_factory=dict)
    failure: Mapping[str, Any] | None = None
    unreachable: str | None = None
    tasks: int = 0


@dataclass(slots=True)
class RunRecord:
    """Everything heard from one run."""

    events: list[Mapping[str, Any]] = field(default_factory=list)
    end: Mapping[str, Any] | None = None
    log: str = ""
    duration_ms: int = 0


def results(nodes: Iterable[str], record: RunRecord) -> dict[str, HostRun]:
    """One result for every node, whatever happened."""
    tallies = {node: Tally() for node in nodes}
    stats: Mapping[str, Any] | None = None
    texts: list[str] = []
    for event in record.events:
        if event["kind"] == "stats":
            stats = event
        elif event["kind"] == "text":
            texts.append(str(event["text"]))
        elif event.get("host") in tallies:
            _count(tallies[event["host"]], event)
    return {node: _result(node, tally, stats, record, texts) for node, tally in tallies.items()}


def _count(tally: Tally, event: Mapping[str, Any]) -> None:
    tally.tasks += 1
    tally.facts.update(event["facts"])
    if event["kind"] == "unreachable":
        tally.unreachable = str(event["message"])
    elif event["kind"] == "failed" and not event["ignored"]:
        tally.failure = event


def _result(node: str, tally: Tally, stats: Mapping[str, Any] | None, record: RunRecord, texts: list[str]) -> HostRun:
    def made(result: HostResult, code: str = "", message: str = "", hint: str = "") -> HostRun:
        return HostRun(node, result, message[:_LONGEST], hint, code, tally.facts, record.duration_ms)

    if tally.unreachable is not None:
        return made(HostResult.UNREACHABLE, *_unreachable(node, tally.unreachable))
    if tally.failure is not None and (stats is None or stats["failures"].get(node)):
        return made(HostResult.FAILED, *_failure(node, tally.failure))
    why = str((record.end or {}).get("why") or "")
    if why in _STOPPED:
        result, code, text = _STOPPED[why]
        return made(result, code, f"cannot tell how the playbook ended on {node}: {text}", _READ_AGAIN)
    if record.end is None:
        text = f"cannot tell how the playbook ended on {node}: the executor ended without a word: {record.log}"
        return made(HostResult.UNREACHABLE, "executor-died", text, _READ_AGAIN)
    clean = stats is not None and not stats["failures"].get(node) and not stats["dark"].get(node)
    if clean and (tally.tasks or record.end.get("rc") == 0):
        return made(HostResult.SUCCEEDED)
    said = " ".join(text.strip() for text in texts if text.strip()) or record.log
    text = f"cannot run the playbook for {node}: {said}"
    return made(
        HostResult.FAILED, "playbook-error", text, "the playbook itself is wrong: check its syntax and variables"
    )


def _unreachable(node: str, message: str) -> tuple[str, str, str]:
    text = f"cannot reach {node}: {message}"
    for trouble in CONNECTION_TROUBLES:
        if trouble.words.search(message):
            return trouble.code, text, trouble.hint
    return "unreachable", text, "try ssh to the node with the same user, key and known_hosts"


def _failure(node: str, failure: Mapping[str, Any]) -> tuple[str, str, str]:
    said = str(failure["message"])
    code, hint = str(failure["code"]), str(failure["hint"])
    for trouble in TASK_TROUBLES:
        if (code in ("", "program-error") and trouble.words.search(said)) or code == trouble.code:
            return trouble.code, f"cannot run on {node}: {said}", trouble.hint
    if code:
        return code, said, hint
    text = f"cannot finish the task {failure['task']!r} on {node}: {said}"
    return "task-failed", text, "read the task in the playbook"
