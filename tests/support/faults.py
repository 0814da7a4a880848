"""Faults of nodes in the world in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.fakes.observer import links_document
from tests.support.world import Model


class Stray:
    """One of the node's links is of another kind while the node runs `mode`, and while it is `on`."""

    def __init__(self, model: Model, node: str, mode: str = "netkit") -> None:
        self.on = True
        answer = model.observer.answer

        def document(name: str, probe: str) -> Mapping[str, Any] | str:
            found = answer(name, probe)
            if not self.on or (name, probe, model.cluster.modes.get(name)) != (node, "links", mode):
                return found
            assert not isinstance(found, str)
            rows = [(row["name"], row["kind"]) for row in found["links"]]
            return links_document(*rows, ("lxcstray", "veth" if mode != "veth" else "netkit/l3"), boot_id="b")

        model.observer.answer = document
