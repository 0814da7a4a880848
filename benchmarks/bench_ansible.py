"""What a run costs, against the same playbook with the same settings run by ansible-playbook alone."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import rollout
from benchmarks.report import report
from rollout.adapters.ansible import rundir
from rollout.adapters.ansible.hosts import AnsibleHosts
from rollout.ports.hosts import Host, HostResult
from tests.support import playbooks
from tests.support.processes import of_folder
from tests.support.sshd import Sshd, sshd_fixture  # noqa: F401  a fixture

PLAYBOOK = Path(rollout.__file__).parents[1] / "playbooks" / "observe-node.yml"
HOSTS = (Host("n1", "127.0.0.1"),)
VARIABLES = {"probes": ["links", "agent"], "agent_socket": "", "agent_timeout_s": 5}
PLAIN = str(Path(sys.executable).with_name("ansible-playbook"))
ROUNDS = 5


def _cpu(act: Callable[[], None]) -> float:
    """CPU seconds of `act`, ours and our children's. Nodes are not our children."""
    before = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    act()
    after = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(b.ru_utime + b.ru_stime - a.ru_utime - a.ru_stime for a, b in zip(before, after, strict=True))


def test_controller_cpu_of_an_observation(sshd: Sshd, tmp_path: Path) -> None:
    settings = playbooks.settings(sshd, tmp_path, PLAYBOOK.parent, become=False)
    hosts = AnsibleHosts(settings)

    def ours() -> None:
        assert hosts.read(PLAYBOOK.name, HOSTS, VARIABLES, wall_s=60)["n1"].result is HostResult.SUCCEEDED

    def plain() -> None:
        with rundir.opened(settings, "plain") as folder, rundir.control_dir(folder) as control:
            rundir.write(settings, folder, control, HOSTS, {**VARIABLES, "limit_s": 60})
            command = [PLAIN, *rundir.arguments(settings, folder, PLAYBOOK, 1)]
            environment = rundir.environment(folder)
            subprocess.run(command, env=environment, cwd=folder, check=True, stdout=subprocess.DEVNULL)
            for left_behind in of_folder(folder):  # ssh masters
                os.kill(left_behind, signal.SIGTERM)

    ours()
    plain()  # warm caches, counted for nobody
    pairs = [(_cpu(ours), _cpu(plain)) for _ in range(ROUNDS)]
    ratio = sum(a for a, _ in pairs) / sum(b for _, b in pairs)
    report("Ansible: controller CPU of one observation against ansible-playbook alone", ratio, 1.1)
