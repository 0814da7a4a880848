"""Action `onnode`: run a program of `rollout.onnode` on the node, in one remote command and without a temporary file.

Options: `program` (observe, prepare, reboot), `request` (a mapping). The program's text goes in through standard input
of the node's Python, so it is never in a template, in a command line or in sudo's log. The document comes back as
`document`, and as statistics of the host (what `set_stats` would publish).

Decision: an action of our own instead of `command` with `stdin`, or `script`: no Ansible module has to start on the
node, and nothing is copied. Measured over SSH, nodes and controller on one machine: a run over 25 hosts took 5.1 s and
2.6 s of the controller's CPU instead of 9.7 s and 3.8 s with `command`; `script` copies and took longest on one host.
On slow nodes the module's start is most of the time.
"""

from __future__ import annotations

import json
import shlex
from typing import Any

from ansible.plugins.action import ActionBase  # type: ignore[import-untyped]

from rollout.adapters.ansible.bundle import bundle

_NOT_FOUND = 127
_NOT_EXECUTABLE = 126
_ALARM = (142, -14)
_SHOWN = 1000


class ActionModule(ActionBase):  # type: ignore[misc]
    """See the module."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """One remote command; the result carries `document`, or `rollout_code` and `rollout_hint`."""
        super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(
            {"program": {"type": "str", "required": True}, "request": {"type": "dict", "default": {}}}
        )
        python = str((task_vars or {}).get("ansible_python_interpreter") or "/usr/bin/python3")
        text = bundle(options["program"], options["request"])
        done = self._low_level_execute_command(f"{shlex.quote(python)} -I -", in_data=text.encode())
        return _result(done, options["program"], python)


def _result(done: dict[str, Any], program: str, python: str) -> dict[str, Any]:
    document = _document(str(done.get("stdout", "")))
    if document is None:
        return _no_document(done, program, python)
    result = {
        "changed": bool(document.get("rebooting")),
        "document": document,
        "ansible_stats": {"data": document, "per_host": True, "aggregate": True},
    }
    if document.get("failed"):
        failure = {"rollout_code": document.get("code"), "rollout_hint": document.get("hint")}
        result.update(failed=True, msg=document.get("message"), **failure)
    return result


def _document(stdout: str) -> dict[str, Any] | None:
    """The last line, when it is a JSON object: a login banner may come before it."""
    lines = stdout.strip().splitlines()
    try:
        found = json.loads(lines[-1]) if lines else None
    except ValueError:
        return None
    return found if isinstance(found, dict) and "schema" in found else None


def _no_document(done: dict[str, Any], program: str, python: str) -> dict[str, Any]:
    code, output = done.get("rc"), f"{done.get('stderr', '')}\n{done.get('stdout', '')}".strip()[-_SHOWN:]
    result = {"failed": True, "rc": code, "rollout_code": "program-error", "rollout_hint": "read the node's own words"}
    if code in (_NOT_FOUND, _NOT_EXECUTABLE):
        result.update(rollout_code="python-missing", rollout_hint="")
        return {**result, "msg": f"cannot start Python: there is no {python} on the node: {output}"}
    if code in _ALARM:
        result.update(rollout_code="program-timeout", rollout_hint="the node is very slow, or something hangs there")
        return {**result, "msg": f"cannot finish {program}: its time limit passed"}
    return {**result, "msg": f"cannot finish {program}: it printed no document (exit code {code}): {output}"}
