"""Any one change to a stored journal is found."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.adapters.store.chain import Head, Link, chain_faults, extend, link_hash

DIGEST = "d" * 64
AT = "2026-03-01T09:30:00.000000+00:00"
ITEMS = st.lists(st.tuples(st.sampled_from(["intent", "outcome"]), st.text(max_size=5)), min_size=1, max_size=8)


def journal(items: list[tuple[str, str]]) -> tuple[list[Link], Head]:
    links = extend("r1", Head(0, DIGEST), AT, items)
    return links, Head(links[-1].seq, links[-1].hash)


def faults(links: list[Link], head: Head | None, digest: str = DIGEST) -> list[int]:
    return [fault.seq for fault in chain_faults("r1", digest, sorted(links, key=lambda link: link.seq), head)]


@settings(deadline=None, max_examples=60)
@given(ITEMS, st.integers(0, 7))
def test_whole_however_it_was_appended(items: list[tuple[str, str]], cut: int) -> None:
    links, head = journal(items)
    assert faults(links, head) == []
    first = extend("r1", Head(0, DIGEST), AT, items[:cut])
    middle = Head(first[-1].seq, first[-1].hash) if first else Head(0, DIGEST)
    assert first + extend("r1", middle, AT, items[cut:]) == links


@settings(deadline=None, max_examples=60)
@given(ITEMS, st.data())
def test_an_edit(items: list[tuple[str, str]], data: st.DataObject) -> None:
    links, head = journal(items)
    index = data.draw(st.integers(0, len(links) - 1))
    name = data.draw(st.sampled_from(["rollout", "at", "type", "content", "prev_hash", "hash"]))
    value = data.draw(st.text(max_size=5))
    changed = replace(links[index], **cast(dict[str, Any], {name: value}))
    if changed != links[index]:
        assert index + 1 in faults([*links[:index], changed, *links[index + 1 :]], head)


@settings(deadline=None, max_examples=60)
@given(ITEMS, st.data())
def test_an_edit_with_its_own_hash_made_to_fit(items: list[tuple[str, str]], data: st.DataObject) -> None:
    links, head = journal(items)
    index = data.draw(st.integers(0, len(links) - 1))
    old = links[index]
    own = link_hash(old.prev_hash, old.rollout, old.seq, old.at, old.type, "forged")
    changed = replace(old, content="forged", hash=own)
    if changed != old:
        assert faults([*links[:index], changed, *links[index + 1 :]], head)


@settings(deadline=None, max_examples=60)
@given(ITEMS, st.data())
def test_deletions(items: list[tuple[str, str]], data: st.DataObject) -> None:
    links, head = journal(items)
    gone = data.draw(st.sets(st.integers(0, len(links) - 1), min_size=1))
    assert faults([link for index, link in enumerate(links) if index not in gone], head)


@settings(deadline=None, max_examples=60)
@given(ITEMS.filter(lambda items: len(items) > 1), st.data())
def test_swapped_numbers(items: list[tuple[str, str]], data: st.DataObject) -> None:
    links, head = journal(items)
    one, two = data.draw(st.lists(st.integers(0, len(links) - 1), min_size=2, max_size=2, unique=True))
    links[one], links[two] = replace(links[one], seq=two + 1), replace(links[two], seq=one + 1)
    assert faults(links, head)


@settings(deadline=None, max_examples=60)
@given(ITEMS, ITEMS)
def test_entries_of_another_journal(items: list[tuple[str, str]], others: list[tuple[str, str]]) -> None:
    links, head = journal(items)
    foreign = [replace(link, rollout="r1") for link in extend("r2", Head(0, "e" * 64), AT, others)]
    assert faults(foreign, Head(foreign[-1].seq, foreign[-1].hash))
    assert faults(links, None)
    assert faults(links, head, digest="e" * 64) == [1]


def test_fields_cannot_be_shifted_into_each_other() -> None:
    assert link_hash("", "r", 1, AT, "ab", "c") != link_hash("", "r", 1, AT, "a", "bc")


def test_known_value() -> None:
    """The format is a promise to every state that exists: it never changes."""
    text = f'["{DIGEST}","0123456789ab",1,"{AT}","waiting","{{\\"node\\":\\"Zürich\\"}}"]'
    expected = "fc57478f14550e47947ac02eadd83749"
    assert hashlib.sha256(text.encode()).hexdigest()[:32] == expected
    assert link_hash(DIGEST, "0123456789ab", 1, AT, "waiting", '{"node":"Zürich"}')[:32] == expected
