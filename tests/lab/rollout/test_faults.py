"""Faults of the datapath that appear with the switch: each is caught by the check that is named for it, in time.

All of them, each within ten seconds of the new agent's being Ready: `make faults`, where nothing else runs.
The test command runs those of `IN_CI`, since each takes a node there and back, and gives them more time: it runs two
labs at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.support.lab import Rollout
from tests.support.trials import NODE, Trial, run_trial

CAUGHT_BY: Mapping[str, frozenset[str]] = {
    "program-detached": frozenset({"programs", "reach"}),
    "wrong-mtu": frozenset({"reach"}),
    "drop-icmp": frozenset({"reach"}),
    "drop-udp": frozenset({"reach", "dns"}),
    "loss": frozenset({"loss"}),
    "delay": frozenset({"latency"}),
    "one-way": frozenset({"reach"}),
    "leftover-veth": frozenset({"links"}),
    "wrong-mode": frozenset({"agent-mode", "links"}),
    "host-programs-missing": frozenset({"programs"}),
    "policy-open": frozenset({"policy-opened"}),
    "dns-dead": frozenset({"dns"}),
    "unsupported-l3": frozenset({"mixed-mode"}),
    "probe-miscount": frozenset({"path", "drops", "tcp"}),
}
"""Which checks may be the first to catch a fault: several see the same thing."""

IN_CI = ("program-detached", "loss", "policy-open", "probe-miscount")
WITHIN_S = float(os.environ.get("ROLLOUT_FAULTS_WITHIN_S", "60"))

_asked = os.environ.get("ROLLOUT_TEST_FAULTS", "")
FAULTS = tuple(CAUGHT_BY) if _asked == "all" else tuple(_asked.split(",")) if _asked else IN_CI


@pytest.mark.lab
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_caught_in_time_and_stops_the_rollout(
    rollout: Rollout, name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    trial = run_trial(rollout, name)
    record_property("trial", trial.line())
    _keep(trial)
    assert trial.check in CAUGHT_BY[name], trial.line()
    assert trial.changed <= {NODE}, trial.line()
    assert trial.seconds is None or trial.seconds <= WITHIN_S, trial.line()
    assert rollout.kinds() == {node.name: {"veth"} for node in rollout.info.nodes}, "the node was not taken back"


def _keep(trial: Trial) -> None:
    """A line into the table that `ROLLOUT_FAULT_TABLE` names."""
    table = os.environ.get("ROLLOUT_FAULT_TABLE")
    if table:
        with Path(table).open("a", encoding="utf-8") as file:
            file.write(trial.line() + "\n")
