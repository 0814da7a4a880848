"""Two real guests from one template. Needs root and QEMU; builds image and template if the cache lacks them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import platformdirs
import pytest
from machine_seeds import node_seed

from rollout.lab.image import Image, ensure_image
from rollout.lab.image.steps import missing_programs
from rollout.lab.machine import Machine, MachineSpec
from rollout.lab.network import LabNetwork, free_port, machine_address
from rollout.lab.template import ensure_template

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(bool(missing_programs()), reason=f"programs missing: {', '.join(missing_programs())}"),
]
# As the lab's own use, so that a run of the tests warms the cache for the lab and the reverse.
CACHE = Path(os.environ.get("NETKIT_ROLLOUT_LAB_CACHE") or platformdirs.user_cache_path("netkit-rollout") / "lab")
PROBE = """
from bcc import BPF
probe = BPF(text='BPF_ARRAY(seen, u64, 1); TRACEPOINT_PROBE(net, netif_receive_skb) { seen.increment(0); return 0; }')
import subprocess
subprocess.run(['ping', '-c', '1', '127.0.0.1'], check=True, capture_output=True)
assert probe['seen'][0].value > 0, 'no packet was counted'
"""
WARM_UP = ("python3 -c 'import pyroute2, bcc'",)


@pytest.fixture(scope="module")
def image() -> Image:
    return ensure_image(CACHE, print)


@pytest.fixture(scope="module")
def network() -> Iterator[LabNetwork]:
    network = LabNetwork.create(f"lab-test-{os.getpid()}")
    yield network
    network.delete()


@pytest.fixture(scope="module")
def pair(
    image: Image, network: LabNetwork, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Machine, Machine]]:
    template = ensure_template(image, CACHE, WARM_UP, print)
    run_dir = tmp_path_factory.mktemp("machines")
    machines: list[Machine] = []

    def start(index: int) -> Machine:
        spec = MachineSpec(f"node-{index}", index, free_port(), free_port(), node_seed(index, 3 - index))
        machine = Machine.restore(image, template, spec, network.tap(index), run_dir)
        machines.append(machine)
        machine.wait_ready(90)
        return machine

    try:
        with ThreadPoolExecutor(2) as starters:
            first, second = starters.map(start, (1, 2))
        yield first, second
    finally:
        for machine in machines:
            machine.stop()


def run(machine: Machine, command: str, user: str = "root") -> str:
    done = machine.ssh(["sh", "-c", command], user=user)
    assert done.returncode == 0, f"{command}: {done.stderr}\n{machine.console_tail()}"
    return done.stdout.strip()


def require_configured(machine: Machine) -> None:
    address = machine_address(machine.spec.index)
    state = run(
        machine, "hostname; cat /proc/sys/net/ipv4/ip_forward; ip -br address show eth1; cat /var/log/lab-node.log"
    )
    assert state.startswith(f"{machine.spec.name}\n1\n")
    assert f"{address}/24" in state
    assert "node up" in state


def test_second_ensure_does_nothing(image: Image) -> None:
    reports: list[str] = []
    assert ensure_image(CACHE, reports.append) == image
    assert reports == []


def test_guests_reach_each_other(pair: tuple[Machine, Machine]) -> None:
    first, second = pair
    require_configured(first)
    require_configured(second)
    run(first, f"ping -c 2 -i 0.2 -W 5 {machine_address(second.spec.index)}")


def test_socket_inside_reaches_a_guest(pair: tuple[Machine, Machine], network: LabNetwork) -> None:
    with network.connect((machine_address(pair[0].spec.index), 22), 20) as connection:
        assert connection.recv(4) == b"SSH-"


def test_netkit_pair_can_be_made(pair: tuple[Machine, Machine]) -> None:
    made = run(pair[0], "ip link add lxc0 type netkit peer name eth9 && ip -d link show lxc0 && ip link del lxc0")
    assert "netkit mode l3" in made


def test_boot_ids_differ(pair: tuple[Machine, Machine]) -> None:
    assert pair[0].boot_id() != pair[1].boot_id()


def test_clock_is_right(pair: tuple[Machine, Machine]) -> None:
    host = float(subprocess.run(["date", "+%s.%N"], capture_output=True, text=True, check=True).stdout)
    assert abs(float(run(pair[0], "date +%s.%N")) - host) < 10


def test_probe_counts_packets(pair: tuple[Machine, Machine]) -> None:
    run(pair[0], f'sudo python3 -c "{PROBE}"', user="ops")


def test_sudo_of_guarded_asks_for_a_password(pair: tuple[Machine, Machine]) -> None:
    refused = pair[0].ssh(["sudo", "-n", "true"], user="guarded")
    assert refused.returncode == 1 and "password is required" in refused.stderr


def test_files_go_over_sftp(pair: tuple[Machine, Machine]) -> None:
    machine = pair[0]
    command = ["sftp", *machine.ssh_options(), "-P", str(machine.spec.ssh_port), "-b", "-", "ops@127.0.0.1"]
    subprocess.run(command, input=f"put {__file__} copy\n", text=True, capture_output=True, check=True, timeout=60)
    assert "def test_files_go_over_sftp" in run(machine, "cat /home/ops/copy")


def test_reboot_is_real(pair: tuple[Machine, Machine]) -> None:
    machine = pair[1]
    before = machine.boot_id()
    machine.ssh(["sudo", "reboot"], user="ops")
    machine.wait_ready(120, unlike_boot_id=before)
    assert machine.boot_id() != before
    require_configured(machine)
    run(pair[0], f"ping -c 2 -i 0.2 -W 5 {machine_address(machine.spec.index)}")


def test_panic_is_reported(pair: tuple[Machine, Machine]) -> None:
    # Last: it leaves the first machine dead.
    machine = pair[0]
    assert machine.alive()
    machine.ssh(["sh", "-c", "echo c > /proc/sysrq-trigger"], timeout_s=5)
    assert not machine.alive()
    assert machine.panic() == "sysrq triggered crash"
