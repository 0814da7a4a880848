"""What every `Hosts` has to do."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Event

import pytest

from rollout.domain.errors import UsageError
from rollout.ports.hosts import Host, HostResult, Hosts

ECHO = "echo.yml"
"""Returns its variable `text` as the fact `said`."""
FAIL = "fail.yml"
"""Fails in a task named "Refuse" with the message "no such luck"."""
SLOW = "slow.yml"
"""Takes far longer than two seconds."""

TEMPLATES = (
    "{{ 7 * 6 }}",
    "{{ lookup('pipe', 'id') }}",
    "{% raw %}",
    "{# x #}",
    "!unsafe x",
    'a"b\\c\n\u00e9\U0001f600',
)


@dataclass(frozen=True)
class Scene:
    """A `Hosts` with the three playbooks, two hosts that are well and one that refuses connections."""

    hosts: Hosts
    well: tuple[Host, Host]
    refusing: Host


class HostsContract:
    """Subclasses give the fixture `scene`."""

    def test_success_carries_what_the_playbook_published(self, scene: Scene) -> None:
        run = scene.hosts.act(ECHO, scene.well[0], {"text": "hello"}, wall_s=60)
        assert run.result is HostResult.SUCCEEDED
        assert run.node == scene.well[0].node
        assert run.facts["said"] == "hello"

    def test_values_arrive_as_they_are(self, scene: Scene) -> None:
        run = scene.hosts.act(ECHO, scene.well[0], {"text": list(TEMPLATES)}, wall_s=60)
        assert tuple(run.facts["said"]) == TEMPLATES

    def test_failure_names_the_task(self, scene: Scene) -> None:
        run = scene.hosts.act(FAIL, scene.well[0], {}, wall_s=60)
        assert run.result is HostResult.FAILED
        assert run.code == "task-failed"
        assert "Refuse" in run.message
        assert "no such luck" in run.message
        assert run.hint

    def test_one_hosts_trouble_is_its_own(self, scene: Scene) -> None:
        asked = (scene.well[0], scene.refusing, scene.well[1])
        runs = scene.hosts.read(ECHO, asked, {"text": "hello"}, wall_s=60)
        assert set(runs) == {host.node for host in asked}
        assert [runs[host.node].result for host in scene.well] == [HostResult.SUCCEEDED] * 2
        refused = runs[scene.refusing.node]
        assert (refused.result, refused.code) == (HostResult.UNREACHABLE, "ssh-refused")
        assert refused.hint

    def test_nothing_to_read(self, scene: Scene) -> None:
        assert scene.hosts.read(ECHO, (), {"text": ""}, wall_s=60) == {}

    def test_too_slow_is_a_time_out(self, scene: Scene) -> None:
        run = scene.hosts.act(SLOW, scene.well[0], {}, wall_s=2)
        assert (run.result, run.code) == (HostResult.TIMED_OUT, "wall-timeout")
        assert "read" in run.hint

    def test_cancelled(self, scene: Scene) -> None:
        cancel = Event()
        cancel.set()
        run = scene.hosts.act(SLOW, scene.well[0], {}, wall_s=60, cancel=cancel)
        assert run.result is HostResult.CANCELLED

    def test_unknown_playbook(self, scene: Scene) -> None:
        with pytest.raises(UsageError):
            scene.hosts.act("../none.yml", scene.well[0], {}, wall_s=60)

    def test_a_name_that_is_none(self, scene: Scene) -> None:
        with pytest.raises(UsageError):
            scene.hosts.act(ECHO, Host("n1; reboot", "127.0.0.1"), {"text": ""}, wall_s=60)

    def test_digests(self, scene: Scene) -> None:
        digests = scene.hosts.playbook_digests()
        assert {ECHO, FAIL, SLOW} <= set(digests)
        assert all(len(digest) == 64 for digest in digests.values())
        assert set(scene.hosts.hooks()) == {"before-node", "after-node"}
