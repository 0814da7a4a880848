"""What every `Observer` has to do."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from rollout.domain.errors import UsageError
from rollout.domain.observed import ALL_PROBES, parse_agent, parse_capability, parse_links
from rollout.ports.hosts import Host
from rollout.ports.observer import Observer


@dataclass(frozen=True)
class Scene:
    """An `Observer`, a host that is well and one that refuses connections."""

    observer: Observer
    well: Host
    refusing: Host


class ObserverContract:
    """Subclasses give the fixture `scene`."""

    def test_every_probe_of_every_node_has_an_answer(self, scene: Scene) -> None:
        found = scene.observer.observe((scene.well, scene.refusing), ALL_PROBES, wall_s=60)
        assert set(found) == {scene.well.node, scene.refusing.node}
        for node, observations in found.items():
            assert set(observations) == set(ALL_PROBES)
            assert all((one.node, one.probe) == (node, probe) for probe, one in observations.items())
            assert all(one.at.tzinfo is not None for one in observations.values())
        assert all(one.error and not one.document for one in found[scene.refusing.node].values())

    def test_documents_are_those_that_parsers_read(self, scene: Scene) -> None:
        found = scene.observer.observe((scene.well,), ALL_PROBES, wall_s=60)[scene.well.node]
        assert all(one.readable and one.document["schema"] == 1 for one in found.values())
        links, agent = parse_links(found["links"]), parse_agent(found["agent"])
        assert links is not None
        assert links.boot_id
        assert links.kernel
        assert agent is not None
        assert agent.state in ("up", "down", "slow")
        assert parse_capability(found["capability"]) is not None

    def test_unknown_probe(self, scene: Scene) -> None:
        with pytest.raises(UsageError):
            scene.observer.observe((scene.well,), ("weather",), wall_s=60)
