"""What the taint on nodes still to do costs at the API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout.domain.node import OwnerMark, Taint
from rollout.lab.apiserver import ApiServer
from rollout.lab.apiserver.threaded import ThreadedServer
from rollout.lab.pki import write_kubeconfig
from tests.adapters.kubernetes.world import ApiWorld
from tests.contracts.cluster import eventually
from tests.contracts.test_cluster import api_world

MARK = OwnerMark("rollout-1", "0123456789ab")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ApiWorld]:
    with ThreadedServer(ApiServer()) as running:
        write_kubeconfig(tmp_path / "kubeconfig", running.url, "", None)
        made = api_world(tmp_path / "kubeconfig")
        yield made
        made.close()


def sent(world: ApiWorld, before: dict[str, int]) -> dict[str, int]:
    now = world.cluster.request_counts()
    return {key: now[key] - before.get(key, 0) for key in now if "node" in key and now[key] != before.get(key, 0)}


def test_a_mark_that_the_watch_has_seen_costs_one_patch(world: ApiWorld) -> None:
    node = world.add_node()
    eventually(lambda: world.cluster.view(node).node is not None, "the node")
    before = dict(world.cluster.request_counts())
    world.cluster.add_waiting(node, MARK)
    assert sent(world, before) == {"patch nodes": 1}
    eventually(lambda: node in world.cluster.waiting(), "the taint")
    before = dict(world.cluster.request_counts())
    world.cluster.remove_waiting(node, MARK)
    assert sent(world, before) == {"patch nodes": 1}


def test_beside_a_persons_taint_it_costs_a_reading_too_since_a_list_is_replaced_whole(world: ApiWorld) -> None:
    node = world.add_node()
    world.add_taint(node, Taint("example.com/rack", "r1", "NoExecute"))
    eventually(lambda: bool(getattr(world.cluster.view(node).node, "taints", ())), "the person's taint")
    before = dict(world.cluster.request_counts())
    world.cluster.add_waiting(node, MARK)
    assert sent(world, before) == {"get nodes": 1, "patch nodes": 1}
