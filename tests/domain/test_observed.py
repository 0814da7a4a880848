"""Whatever a node sends is read or refused, never raised over."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.checks.catalog import CHECKS, judge_node
from rollout.domain.codec import canonical
from rollout.domain.inventory import Observation
from rollout.domain.node import DatapathMode, LinkKind
from rollout.domain.observed import (
    ALL_PROBES,
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
from rollout.domain.policy import Policy
from tests.builders import NOW
from tests.checks.documents import SOUND

PARSERS: tuple[Callable[[Observation | None], Any], ...] = (
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
WORDS = sorted(set(json.dumps(SOUND).replace('"', " ").replace(":", " ").replace(",", " ").split()))
NAMES = st.sampled_from(
    ["cells", "bursts", "rtt_us", "ok", "tries", "links", "devices", "attached", "unread", "selftest", "drops", "pairs",
     "endpoints", "hops", "log2_ns", "from_pod", "packets", "settings", "modes", "snmp", "window_ms", "state", "kind",
     "sent", "received", "skipped", "frame", "rules", "cni", "nics", "programs", "kernel_config",
     "iptables_targets", "plugins", "failed", "agent", "controllers-failing", "interface-name", "reason"]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(max_size=6), inner, max_size=5),
    max_leaves=25,
)
DOCUMENTS = st.dictionaries(NAMES | st.text(max_size=6), VALUES, max_size=8)


def read(document: Any, probe: str = "any") -> Observation:
    return Observation("n1", probe, NOW, document)


@settings(max_examples=400, deadline=None)
@given(VALUES | DOCUMENTS)
def test_no_document_raises(document: Any) -> None:
    for parse in PARSERS:
        parse(read(document))


@settings(deadline=None)
@given(st.sampled_from(sorted(SOUND)), st.data())
def test_no_document_with_a_part_replaced_raises_in_any_check(probe: str, data: st.DataObject) -> None:
    broken = json.loads(json.dumps(SOUND))
    document: Any = broken[probe]
    key = data.draw(st.sampled_from(sorted(document)))
    if isinstance(document[key], list) and document[key] and data.draw(st.booleans()):
        document, key = document[key], data.draw(st.integers(0, len(document[key]) - 1))
        if isinstance(document[key], dict) and data.draw(st.booleans()):
            document, key = document[key], data.draw(st.sampled_from(sorted(document[key])))
    document[key] = data.draw(VALUES)
    seen = {name: read(found, name) for name, found in broken.items()}
    sound = {name: read(found, name) for name, found in SOUND.items()}
    policy = Policy(target=DatapathMode.NETKIT)
    for now, before in ((seen, sound), (sound, seen), (seen, None)):
        verdicts = judge_node("n1", now, before, policy.target, policy=policy, history=[seen])
        assert [verdict.check for verdict in verdicts] == list(CHECKS)
        canonical(list(verdicts))


@pytest.mark.parametrize("parse", PARSERS)
def test_what_says_that_it_failed_is_no_document(parse: Callable[[Observation | None], Any]) -> None:
    whole = {key: value for document in SOUND.values() for key, value in document.items()}
    assert parse(read(whole | {"failed": True, "code": "bpf-unavailable"})) is None
    assert parse(None) is None
    assert parse(Observation("n1", "any", NOW, whole, error="timed out")) is None


def test_the_documents_are_read_whole() -> None:
    seen = {name: read(document, name) for name, document in SOUND.items()}
    assert set(seen) <= set(ALL_PROBES)
    reach, programs, path = parse_reach(seen["reach"]), parse_programs(seen["programs"]), parse_path(seen["path"])
    assert reach is not None and programs is not None and path is not None
    assert (len(reach.cells), len(reach.bursts)) == (66, 4)
    assert reach.bursts[0].lost == 0
    assert len(reach.bursts[0].rtt_us) == 400
    assert {device.role for device in programs.devices} == {"endpoint", "health", "host", "device"}
    assert path.links[0].kind is LinkKind.NETKIT_L3
    assert (path.links[0].from_pod, path.frame.selftest.seen) == (2500, 64)
    tcp, drops, pairs = parse_tcp(seen["tcp"]), parse_drops(seen["drops"]), parse_pairs(seen["policy"])
    assert tcp is not None and drops is not None and pairs is not None
    assert (tcp.endpoints[0].segments, drops.drops[0].reason) == (900, "NO_SOCKET")
    assert [pair.result for pair in pairs.pairs] == ["open", "closed", "closed"]


def test_counters_and_odd_numbers() -> None:
    document = {
        "links": [{"name": "lxc1", "kind": "veth", "rx_packets": 7, "tx_dropped": -1, "rx_errors": "many"}],
        "snmp": {"Tcp.RetransSegs": 3, "Tcp.OutSegs": None},
        "softnet_dropped": float("inf"),
    }
    found = parse_counters(read(document))
    assert found is not None
    row = found.links[0]
    assert (row.rx_packets, row.tx_dropped, row.rx_errors, found.softnet_dropped) == (7, 0, 0, 0)
    assert found.snmp == {"Tcp.RetransSegs": 3, "Tcp.OutSegs": 0}
