"""Each fault of the lab does what it says, on a netkit node, and nothing else; cleared, it leaves nothing behind."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from probed_lab import PORT, ProbedLab, probed_lab, until

from rollout.lab.faults import FAULTS, FaultError, clear_fault, faults_of, set_fault
from rollout.lab.witness import link_kinds

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]
TO_B = ("tcp", "tcp-large", "udp", "ping", "ping-large")
NAMES = ("dns-udp", "dns-tcp")
COUNT = """
from bcc import BPF
import subprocess
text = 'BPF_ARRAY(seen, u64, 1); TRACEPOINT_PROBE(net, netif_rx) { int zero = 0; u64 *count = seen.lookup(&zero); '
text += 'if (count && args->len == 1041) { *count += 1; } return 0; }'
probe = BPF(text=text)
subprocess.run(['ping', '-c', '100', '-i', '0.002', '-s', '1013', '127.0.0.1'], check=True, capture_output=True)
print(probe['seen'][0].value)
"""


def cells(ways: str, whats: tuple[str, ...]) -> set[str]:
    return {f"{way} {what}" for way in ways.split() for what in whats}


SILENT: Mapping[str, set[str]] = {
    "program-detached": cells("same other host out", TO_B) | cells("same out", (*NAMES, "api")),
    "wrong-mtu": cells("same other host out", ("tcp-large", "ping-large")),
    "drop-icmp": cells("same other host out", ("ping", "ping-large")),
    # The DNS pods are on the other node: only answers to pods of this one are hit.
    "drop-udp": cells("same other host out", ("udp",)) | cells("same out", ("dns-udp",)),
    "one-way": cells("same other", TO_B),
    "dns-dead": cells("same host out", NAMES),
}
"""What is silent under a fault; nothing is under the others."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProbedLab]:
    with probed_lab(tmp_path_factory.mktemp("faults")) as running:
        yield running


@contextmanager
def fault(lab: ProbedLab, name: str, node: str = "n1", *, always: bool = False) -> Iterator[None]:
    set_fault(lab.info, node, name, always=always)
    try:
        yield
    finally:
        clear_fault(lab.info, node, name)


def settles(look: Callable[[], Any], wanted: Any) -> None:
    """The look has the wanted result, at once or after the agent has heard of the change."""
    seen: list[Any] = []

    def same() -> bool:
        seen.append(look())
        return bool(seen[-1] == wanted)

    try:
        until(same, "never", 20.0)
    except TimeoutError:
        assert seen[-1] == wanted


def programs(lab: ProbedLab) -> dict[str, list[str]]:
    """Names of the programs on each link of n1."""
    found: dict[str, list[str]] = {}
    for each in json.loads(lab.on("n1", "bpftool -j net show"))[0]["tc"]:
        found.setdefault(each["devname"], []).append(each["name"])
    return {link: sorted(names) for link, names in found.items()}


def pod_programs(lab: ProbedLab) -> list[list[str]]:
    return [names for link, names in programs(lab).items() if link.startswith("lxc") and link != "lxc_health"]


def test_without_a_fault_all_ways_work(lab: ProbedLab) -> None:
    settles(lab.silent, set())
    assert set(link_kinds(lab.info, lab.info.nodes[0])) == {"netkit/l3"}
    assert lab.burst("n1", "a", "b")[0] == 0


def test_programs_are_the_real_ones_by_name(lab: ProbedLab) -> None:
    found = programs(lab)
    assert found["eth1"] == ["cil_from_netdev", "cil_to_netdev"]
    assert found["cilium_host"] == ["cil_from_host", "cil_to_host"]
    assert pod_programs(lab) == [["cil_from_contai", "cil_to_containe"]] * 3


@pytest.mark.parametrize("name", SILENT)
def test_what_falls_silent(lab: ProbedLab, name: str) -> None:
    with fault(lab, name):
        settles(lab.silent, SILENT[name])
    settles(lab.silent, set())


def test_loss(lab: ProbedLab) -> None:
    with fault(lab, "loss"):
        until(lambda: "loss 2%" in lab.on("n1", "tc qdisc"), "no netem")
        # Two links, 2 % each: 16 of 400, and none at all once in ten million runs.
        assert 1 <= lab.burst("n1", "a", "b")[0] <= 60
    until(lambda: "netem" not in lab.on("n1", "tc qdisc"), "netem stays")
    assert lab.burst("n1", "a", "b")[0] == 0


def test_delay(lab: ProbedLab) -> None:
    before = lab.burst("n1", "", "b")
    with fault(lab, "delay"):
        until(lambda: "delay 20ms" in lab.on("n1", "tc qdisc"), "no netem")
        lost, late = lab.burst("n1", "", "b")
        assert lost == 0
        assert late >= 20_000
    until(lambda: "netem" not in lab.on("n1", "tc qdisc"), "netem stays")
    assert before[1] < 20_000


def test_leftover_veth(lab: ProbedLab) -> None:
    node = lab.info.nodes[0]
    before = link_kinds(lab.info, node)
    with fault(lab, "leftover-veth"):
        settles(lambda: link_kinds(lab.info, node), before | {"veth": 1})
        assert lab.silent() == set()
    settles(lambda: link_kinds(lab.info, node), before)


def test_host_programs_missing(lab: ProbedLab) -> None:
    before = programs(lab)
    with fault(lab, "host-programs-missing"):
        settles(lambda: programs(lab).keys() & {"eth1", "cilium_host"}, set())
        assert pod_programs(lab) == [["cil_from_contai", "cil_to_containe"]] * 3
        assert lab.silent() == set()
    settles(lambda: programs(lab), before)


def test_policy_open(lab: ProbedLab) -> None:
    def reached() -> Any:
        return lab.attempt("n1", [lab.addresses["a"], "tcp", lab.addresses["b"], PORT, 64])[0]

    lab.guard("b")
    try:
        settles(reached, None)
        assert lab.silent() == cells("same other", TO_B)
        with fault(lab, "policy-open"):
            settles(reached, True)
        settles(reached, None)
    finally:
        lab.unguard()
    settles(reached, True)


def test_unsupported_l3(lab: ProbedLab) -> None:
    def drops() -> float:
        rows = lab.agent_answers("n1", "/v1/metrics")
        wanted = {"direction": "EGRESS", "reason": "Unsupported L3 protocol"}
        return float(next(row["value"] for row in rows if row["labels"] == wanted))

    quiet = drops()
    assert drops() == quiet
    with fault(lab, "unsupported-l3"):
        until(lambda: drops() > quiet + 5, "the counter does not grow")
    settles(drops, quiet)


def test_probe_miscount(lab: ProbedLab) -> None:
    # 100 requests and 100 answers.
    assert int(lab.on("n1", "python3 -", COUNT)) == 200
    with fault(lab, "probe-miscount"):
        assert 100 <= int(lab.on("n1", "python3 -", COUNT)) < 200
        set_fault(lab.info, "n1", "probe-miscount")
        assert faults_of(lab.info, "n1") == ("probe-miscount",)
    assert int(lab.on("n1", "python3 -", COUNT)) == 200


def test_a_fault_waits_for_netkit_unless_it_is_to_be_at_once(lab: ProbedLab) -> None:
    with fault(lab, "delay", "n2"):
        assert lab.burst("n2", "", "p")[1] < 20_000
        set_fault(lab.info, "n2", "delay", always=True)
        until(lambda: "delay 20ms" in lab.on("n2", "tc qdisc"), "no netem")
        assert lab.burst("n2", "", "p")[1] >= 20_000
    until(lambda: "netem" not in lab.on("n2", "tc qdisc"), "netem stays")


def test_unknown_faults_and_nodes_are_refused(lab: ProbedLab) -> None:
    with pytest.raises(FaultError, match="there is no fault nope"):
        set_fault(lab.info, "n1", "nope")
    with pytest.raises(FaultError, match="no node n9"):
        clear_fault(lab.info, "n9", "loss")


def test_wrong_mode(lab: ProbedLab) -> None:
    # Last: it starts the agent of n1 anew, without the pods.
    with fault(lab, "wrong-mode"):
        lab.delete_pods()
        lab.restart_agent("n1", "netkit")
        status = lab.agent_answers("n1", "/v1/healthz")
        assert (status["configured-datapath-mode"], status["datapath-mode"]) == ("netkit", "veth")
        lab.make_pod("c", "n1")
        assert set(link_kinds(lab.info, lab.info.nodes[0])) == {"veth"}
    lab.delete_pods()
    lab.restart_agent("n1", "netkit")
    lab.make_pod("d", "n1")
    assert set(link_kinds(lab.info, lab.info.nodes[0])) == {"netkit/l3"}


def test_every_fault_is_tried_here() -> None:
    text = Path(__file__).read_text()
    assert [name for name in FAULTS if f'"{name}"' not in text] == []
