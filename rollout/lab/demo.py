"""The main job on the lab, told with the real command line: veth to netkit and back, with a client that counts losses.

Run by `make demo`. Exits with 1 when the story did not go as it should.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from rollout.lab.client import SteadyClient
from rollout.lab.cluster import default_directory, lab_down, lab_status, lab_up
from rollout.lab.layout import LabInfo
from rollout.lab.witness import LabApi, link_kinds


class DemoFailed(Exception):
    """The story did not go as it should."""


def say(text: str = "") -> None:
    """A line of the story."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Story:
    """The commands of the demo, run as a person would."""

    def __init__(self, info: LabInfo) -> None:
        self.info = info
        self.api = LabApi(info)
        self.state = f"state of {datetime.now().astimezone():%H:%M:%S}"

    def run(self, *arguments: str, expect: int = 0, quiet: bool = False) -> str:
        """Run one rollout command; its standard output. Raises `DemoFailed` on another exit code."""
        say(f"\n$ rollout {shlex.join(arguments)}")
        done = subprocess.run(
            [sys.executable, "-m", "rollout", *arguments, "--config", str(self.info.config)],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if not quiet:
            say(done.stdout.rstrip())
        if done.returncode != expect:
            raise DemoFailed(f"rollout {arguments[0]} ended with {done.returncode}, expected {expect}")
        return done.stdout

    def move(self, plan_arguments: tuple[str, ...]) -> str:
        """plan, show, approve, apply; the rollout's id."""
        plan = self.info.directory / "plan.json"
        self.run(*plan_arguments, "--out", str(plan))
        self.run("show", str(plan))
        self.run("approve", str(plan), "--by", "reviewer", "--ticket", "CHG-1")
        self.run("apply", str(plan))
        record = json.loads(self.run("status", "--output", "json", quiet=True))
        say(json.dumps(record.get("counts", {})))
        return str(record["rollout"]["id"])

    def kinds(self, title: str) -> dict[str, dict[str, int]]:
        """The kernel's word on every node's endpoint links."""
        found = {node.name: link_kinds(self.info, node) for node in self.info.nodes}
        say(f"\nendpoint links {title}, by the guests' own ip(8): " + json.dumps(found))
        return found


def require(holds: bool, message: str) -> None:
    """Raises `DemoFailed` unless it holds."""
    if not holds:
        raise DemoFailed(message)


def only(kinds: dict[str, int]) -> str:
    """The one kind there is."""
    return next(iter(kinds)) if len(kinds) == 1 else "mixed"


def tell(story: Story) -> None:
    """The whole story. Raises `DemoFailed`."""
    story.run("state", "upgrade")
    before = story.kinds("at the start")
    require(
        {only(k) for k in before.values()} == {"veth"}, "the lab does not start on veth; rollout lab down, and again"
    )
    story.run("preflight", "--target", "netkit")
    first = story.move(("plan", "--target", "netkit"))
    after = story.kinds("after the rollout")
    require({only(k) for k in after.values()} == {"netkit/l3"}, f"not all links are netkit: {after}")
    story.run("verify")
    name = story.info.nodes[0].name
    back = story.move(("rollback", first, "--node", name))
    mixed = story.kinds(f"after rolling {name} back")
    require(only(mixed[name]) == "veth", f"{name} is not back on veth: {mixed}")
    rest = story.info.nodes[1].name
    again = story.move(("rollback", first, "--node", rest))
    end = story.kinds("at the end")
    require({only(k) for k in end.values()} == {"veth"}, f"not all links are veth again: {end}")
    print_times(story, (first, back, again))


def print_times(story: Story, rollouts: tuple[str, ...]) -> None:
    """Seconds per step and node, from the journal."""
    entries = [json.loads(line) for line in story.run("state", "export", quiet=True).splitlines()]
    say("\nseconds per step, from the journal")
    for rollout in rollouts:
        began: dict[tuple[str, str], datetime] = {}
        for entry in entries:
            if entry.get("rollout") == rollout and entry["kind"] == "entry":
                _print_time(entry, began)


def _print_time(entry: dict[str, Any], began: dict[tuple[str, str], datetime]) -> None:
    content = json.loads(entry["content"])
    key = (str(content.get("node")), str(content.get("step")))
    at = datetime.fromisoformat(entry["at"])
    if entry["type"] == "intent":
        began[key] = at
    elif entry["type"] == "outcome" and key in began:
        seconds = (at - began[key]).total_seconds()
        say(f"  {entry['rollout']}  {key[0]:6} {key[1]:18} {seconds:6.1f}  {content['result']}")


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, default=default_directory())
    parser.add_argument("--keep", action="store_true", help="leave the lab running at the end")
    options = parser.parse_args()
    began = time.monotonic()
    found = lab_status(options.directory) is not None
    info = lab_up(options.directory, lambda line: say(f"  {line}"))
    say(f"\nlab up after {time.monotonic() - began:.0f} s, {getattr(lab_status(options.directory), 'rss_mib', 0)} MiB")
    try:
        story = Story(info)
        with SteadyClient(info.service) as client:
            tell(story)
        tally, restarts, left = client.tally, story.api.agent_restarts(), story.api.leftovers()
        say(f"\nrequests: {tally.sent} sent, {tally.lost} lost {dict(tally.reasons)}, slowest {tally.worst_ms} ms")
        say(f"agent restarts counted as crash: {restarts}; left on nodes: {', '.join(left) or 'nothing'}")
        require(tally.lost == 0 and tally.sent > 0, f"{tally.lost} requests were lost")
        require(restarts == 0 and not left, "something was left behind")
    except DemoFailed as failure:
        say(f"\nthe demo failed: {failure}")
        return 1
    finally:
        if not options.keep and not found:
            lab_down(options.directory)
    say(f"\ndone after {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
