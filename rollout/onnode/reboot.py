"""Reboots the node, once, out of one named boot.

Request: `rollout`, `fencing`, `boot_id` (the boot to end), `reboot_command` (optional: another way to reboot, a list).
When the node runs in another boot already, nothing is done: that makes repeating safe. The reboot starts
about two seconds later and detached, so that the answer still gets out and the connection ends cleanly.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from . import claim, entry

DELAY_S = 2


def main(request: entry.Document) -> entry.Document:
    """Schedule the reboot, or say that it has happened."""
    wanted = str(request.get("boot_id") or "")
    if not wanted:
        raise entry.Refusal("bad-request", "cannot reboot the node: the variable boot_id is required")
    with claim.held(request, "reboot"):
        current = entry.boot_id()
        if current != wanted:
            return {"boot_id": current, "rebooting": False, "reason": "the node is in another boot already"}
        chosen = [str(word) for word in request.get("reboot_command") or ()]
        how = schedule(chosen)
        return {"boot_id": current, "rebooting": True, "how": how}


def schedule(chosen: list[str]) -> str:
    """Start the detached reboot; the name of the way taken."""
    if Path("/run/systemd/system").is_dir():
        # A process left in the login session may be killed with it; a timer of systemd's own is not.
        command = chosen or ["systemctl", "reboot"]
        timer = ["systemd-run", "--quiet", "--collect", f"--on-active={DELAY_S}s", "--timer-property=AccuracySec=100ms"]
        done = subprocess.run(timer + command, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        if done.returncode == 0:
            return "systemd-run"
    command = chosen or ["reboot"]
    script = f'sleep {DELAY_S}; exec "$@"'
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/bin:/bin"
    subprocess.Popen(
        ["/bin/sh", "-c", script, "reboot", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "PATH": path},
    )
    return "setsid"
