"""The contract of `Hosts` on the fake and on Ansible over SSH."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rollout.adapters.ansible.hosts import AnsibleHosts
from rollout.ports.hosts import Host, HostResult, HostRun
from tests.contracts.hosts import ECHO, FAIL, SLOW, HostsContract, Scene
from tests.fakes.hosts import FakeHosts, timed_out
from tests.support import playbooks
from tests.support.sshd import Sshd, free_port, sshd_fixture  # noqa: F401  a fixture


class TestFake(HostsContract):
    @pytest.fixture
    def scene(self) -> Scene:
        def echo(host: Host, variables: Mapping[str, Any]) -> HostRun:
            return HostRun(host.node, HostResult.SUCCEEDED, facts={"said": variables["text"]})

        def fail(host: Host, _: Mapping[str, Any]) -> HostRun:
            text = "cannot finish the task 'Refuse': no such luck"
            return HostRun(host.node, HostResult.FAILED, text, "read the task", "task-failed")

        hosts = FakeHosts({ECHO: echo, FAIL: fail, SLOW: timed_out}, down={"n3"})
        return Scene(hosts, (Host("n1", "127.0.0.1"), Host("n2", "127.0.0.2")), Host("n3", "127.0.0.3"))


class TestAnsible(HostsContract):
    @pytest.fixture
    def scene(self, sshd: Sshd, tmp_path: Path) -> Scene:
        hosts = AnsibleHosts(playbooks.settings(sshd, tmp_path, playbooks.write(tmp_path / "playbooks")))
        well = (Host("n1", "127.0.0.1"), Host("n2", "127.0.0.2"))
        return Scene(hosts, well, Host("n3", "127.0.0.3", free_port()))
