"""Whatever a node sends, every row says something, and what could not be told never counts as fine."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.domain.codec import canonical
from rollout.domain.inventory import Inventory, Observation
from rollout.domain.node import DatapathMode
from rollout.domain.policy import Policy
from rollout.planning.preflight import CATALOGUE, judge_preflight, stopping
from tests.builders import NOW, inventory, node, seen

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)
NODES = (node("n1"), node("n2"))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["links", "agent", "capability", "host"]), st.data())
def test_a_document_with_a_part_replaced(probe: str, data: st.DataObject) -> None:
    observations = {name: dict(seen(name)) for name in ("n1", "n2")}
    document: Any = json.loads(json.dumps(dict(observations["n1"][probe].document)))
    key = data.draw(st.sampled_from(sorted(document)))
    place = document
    if isinstance(document[key], list) and document[key] and data.draw(st.booleans()):
        place, key = document[key], data.draw(st.integers(0, len(document[key]) - 1))
    elif isinstance(document[key], dict) and document[key] and data.draw(st.booleans()):
        place = document[key]
        key = data.draw(st.sampled_from(sorted(place)))
    place[key] = data.draw(VALUES)
    observations["n1"][probe] = Observation("n1", probe, NOW, document)
    policy = Policy(target=data.draw(st.sampled_from([DatapathMode.NETKIT, DatapathMode.NETKIT_L2, DatapathMode.VETH])))
    found = judge_preflight(Inventory(inventory(NODES).cluster, observations), policy, NODES)
    canonical(list(found))
    told = {one.rule for one in found}
    assert told == {r.id for r in CATALOGUE if policy.target in r.targets} - {"waiver-used"}
    assert "n2" not in stopping(found)


@settings(max_examples=30, deadline=None)
@given(st.sets(st.sampled_from(["links", "agent", "capability"]), min_size=1))
def test_a_node_that_was_not_seen_is_stopped(missing: set[str]) -> None:
    observations = {"n1": {p: o for p, o in seen("n1").items() if p not in missing}, "n2": seen("n2")}
    found = judge_preflight(
        Inventory(inventory(NODES).cluster, observations), Policy(target=DatapathMode.NETKIT), NODES
    )
    assert set(stopping(found)) == {"n1"}
