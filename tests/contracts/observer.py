"""What every `Observer` has to do."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from rollout.domain.errors import UsageError
from rollout.domain.observed import (
    ALL_PROBES,
    BPF_PROBES,
    parse_agent,
    parse_capability,
    parse_counters,
    parse_drops,
    parse_host,
    parse_links,
    parse_pairs,
    parse_path,
    parse_programs,
    parse_reach,
    parse_tcp,
)
from rollout.ports.hosts import Host
from rollout.ports.observer import Observer

READ_BY = {
    "links": parse_links,
    "agent": parse_agent,
    "capability": parse_capability,
    "host": parse_host,
    "programs": parse_programs,
    "counters": parse_counters,
    "reach": parse_reach,
    "policy": parse_pairs,
    "path": parse_path,
    "drops": parse_drops,
    "tcp": parse_tcp,
}
PLAIN_PROBES = tuple(probe for probe in ALL_PROBES if probe not in BPF_PROBES)


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
        found = scene.observer.observe((scene.well,), PLAIN_PROBES, wall_s=60)[scene.well.node]
        for probe, one in found.items():
            assert one.document.get("schema") == 1, one.error
            assert READ_BY[probe](one) is not None, probe
        links, agent = parse_links(found["links"]), parse_agent(found["agent"])
        assert links is not None
        assert links.boot_id
        assert links.kernel
        assert agent is not None
        assert agent.state in ("up", "down", "slow")

    def test_probes_of_the_wire_are_read_or_say_what_is_missing(self, scene: Scene) -> None:
        found = scene.observer.observe((scene.well,), BPF_PROBES, wall_s=60)[scene.well.node]
        for probe, one in found.items():
            if one.readable:
                assert READ_BY[probe](one) is not None, probe
            else:
                assert one.code not in ("", "program-error"), one.error
                assert one.error

    def test_unknown_probe(self, scene: Scene) -> None:
        with pytest.raises(UsageError):
            scene.observer.observe((scene.well,), ("weather",), wall_s=60)
