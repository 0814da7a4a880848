"""Sound nodes looked at again and again: none may fail. `make quiet` looks a hundred times at two nodes."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from rollout.app import probing
from rollout.app.probing import Seen
from rollout.app.probing_inputs import Peer
from rollout.app.world import World
from rollout.checks.catalog import decide, judge_node, levels
from rollout.cli.config import load
from rollout.cli.wiring import Reach, SystemWiring
from rollout.domain.node import LINK_KIND_OF, DatapathMode
from rollout.domain.policy import Policy
from rollout.domain.verdict import Status
from tests.support.lab import Rollout

LOOKS = int(os.environ.get("ROLLOUT_QUIET_LOOKS", "6"))
SOAK = 4
"""Looks that are also judged together with those before them, as a soak does."""
RUN = "quiet"


def modes(rollout: Rollout) -> dict[str, DatapathMode]:
    """What each node runs, by the guests' own ip(8)."""
    of_kind = {kind.value: mode for mode, kind in LINK_KIND_OF.items()}
    return {name: of_kind[next(iter(kinds))] for name, kinds in rollout.kinds().items()}


def look(world: World, policy: Policy, runs: Mapping[str, DatapathMode]) -> dict[str, Seen]:
    """One full look at every node; each has the others for peers."""
    nodes = {node.name: node for node in world.cluster.collect().nodes}
    inputs = {}
    for name in runs:
        peers = [Peer(other, LINK_KIND_OF[mode].value) for other, mode in runs.items() if other != name]
        rig = probing.rig_of("secret", RUN, name)
        standing = probing.stand_up(world, rig, policy.probes, peers, nodes[name].internal_ip, timeout_s=60)
        inputs[name] = standing.inputs
    wanted = probing.probes_for(policy, quick=False, rig=True)
    hosts = [world.host_of(nodes[name]) for name in runs]
    return {name: dict(seen) for name, seen in world.observer.observe(hosts, wanted, wall_s=240, inputs=inputs).items()}


@pytest.mark.lab
def test_sound_nodes_never_fail(rollout: Rollout, record_property: Callable[[str, object], None]) -> None:
    config = load(rollout.info.config, {}, {}).config
    policy = config.policy
    wiring = SystemWiring()
    runs = modes(rollout)
    tally: Counter[str] = Counter()
    failed: list[str] = []
    with wiring.world(config, Reach.NODES, wiring.reporter(io.StringIO(), None)) as world:
        try:
            calm = replace(policy, probes=replace(policy.probes, packets=4 * policy.probes.packets))
            baseline = look(world, calm, runs)
            history: dict[str, list[Seen]] = {name: [] for name in runs}
            for number in range(LOOKS):
                for name, seen in look(world, policy, runs).items():
                    for past in ((), tuple(history[name][-SOAK:])) if history[name] else ((),):
                        verdicts = judge_node(name, seen, baseline[name], runs[name], policy=policy, history=past)
                        counted = levels(runs[name], policy, baseline=baseline[name])
                        tally[decide(verdicts, counted).value + (" in a soak" if past else "")] += 1
                        failed += [f"{number}: {v.check} {v.message}" for v in verdicts if v.status is Status.FAIL]
                        tally.update(f"{v.check} inconclusive" for v in verdicts if v.status is Status.INCONCLUSIVE)
                    history[name].append(seen)
        finally:
            probing.take_down(world, policy.probes, RUN)
    record_property("tally", dict(tally))
    print(dict(tally))  # noqa: T201 - `make quiet` shows it
    assert failed == [], "\n".join(failed)
    assert tally["pass"] >= LOOKS, tally
