"""A few cases by hand, through the API alone: on the stand-in, and on a real cluster when one is named.

ROLLOUT_CONTRACT_KUBECONFIG=FILE (and ROLLOUT_CONTRACT_CONTEXT=NAME) runs them there, against its own scheduler and
disruption controller: see `tests.planning.proof.through_api` for what is made there and removed again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rollout.domain.inventory import Inventory
from rollout.domain.node import DatapathMode
from rollout.domain.policy import Policy
from rollout.lab.apiserver import ApiServer
from rollout.lab.apiserver.threaded import ThreadedServer
from rollout.lab.controllers import Controllers
from rollout.lab.pki import write_kubeconfig
from rollout.planning.proof import prove
from tests.planning.proof.reality import RealDrain
from tests.planning.proof.test_against_api import agrees, predicted, waves_of
from tests.planning.proof.through_api import ApiReality

KUBECONFIG, CONTEXT = "ROLLOUT_CONTRACT_KUBECONFIG", "ROLLOUT_CONTRACT_CONTEXT"
_NODES = 3


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[ApiReality]:
    server = ApiServer()
    with ThreadedServer(server, [Controllers(server.store)]) as running:
        kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", running.url, "", None)
        yield from _opened(ApiReality(kubeconfig, None, 0.3))


@pytest.fixture
def real() -> Iterator[ApiReality]:
    if KUBECONFIG not in os.environ:
        pytest.skip(f"{KUBECONFIG} names no cluster")
    yield from _opened(ApiReality(Path(os.environ[KUBECONFIG]), os.environ.get(CONTEXT), 3.0))


def _opened(made: ApiReality) -> Iterator[ApiReality]:
    with made as world:
        yield world


@pytest.fixture(params=["stand_in", "real"])
def world(request: pytest.FixtureRequest) -> ApiReality:
    found: ApiReality = request.getfixturevalue(request.param)
    return found


def alone() -> dict[str, Any]:
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}
    return {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}


def spread() -> dict[str, Any]:
    constraint = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }
    return {"topologySpreadConstraints": [constraint]}


@pytest.mark.parametrize(
    ("replicas", "pod_spec", "budgets", "in_flight", "expected"),
    [
        (6, {}, ({"maxUnavailable": 1},), 1, {"now", "waits for a budget"}),
        (3, {}, ({"minAvailable": 3},), 1, {"never: no eviction"}),
        (3, {}, ({"maxUnavailable": 1}, {"maxUnavailable": 2}), 1, {"never: no eviction"}),
        (3, alone(), ({"maxUnavailable": 1},), 2, {"waits for a place", "waits for a budget"}),
        (3, spread(), (), 1, {"waits for a place"}),
    ],
    ids=["one at a time", "all needed", "two budgets", "one per host", "hard spread"],
)
def test_predictions_by_hand(
    world: ApiReality,
    replicas: int,
    pod_spec: dict[str, Any],
    budgets: tuple[dict[str, Any], ...],
    in_flight: int,
    expected: set[str],
) -> None:
    names = [world.add_node() for _ in range(_NODES)]
    world.add_deployment("web", replicas, **pod_spec)
    for number, spec in enumerate(budgets):
        world.add_budget(f"b{number}", "web", **spec)
    world.come_to_rest()
    policy = Policy(target=DatapathMode.NETKIT, max_unavailable=str(in_flight))
    waves = waves_of(names, _NODES)
    proof = prove(Inventory(world.snapshot(), {}), policy, waves, ())
    facts = RealDrain(world, policy, waves).run()
    told = [(predicted(one), facts[one.pod.ref.uid].word()) for proofs in proof.nodes.values() for one in proofs]
    assert len(told) == replicas
    assert [row for row in told if not agrees(*row)] == []
    assert {word for word, _ in told} == expected
