"""The hash chain of a journal.

Each entry's hash covers the hash before it and its own rollout, seq, time, type and content; the first one continues
from the plan's digest. An edit, a hole and a reorder break a link; a cut at the end disagrees with the stored head.

What it cannot find: a person who rewrites every hash from some entry on, and the head. The last hash, noted anywhere
outside this database (an export, a change record), is the anchor against that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rollout.domain.codec import canonical, sha256
from rollout.ports.store import ChainFault


@dataclass(frozen=True, slots=True)
class Link:
    """One stored entry. Fields are named like the columns of the journal."""

    rollout: str
    seq: int
    at: str
    type: str
    content: str
    prev_hash: str
    hash: str


@dataclass(frozen=True, slots=True)
class Head:
    """The last entry of a journal, as remembered beside it."""

    seq: int
    hash: str


def link_hash(prev_hash: str, rollout: str, seq: int, at: str, tag: str, content: str) -> str:
    """SHA-256 over the canonical JSON array of the fields: no two different entries give the same text."""
    return sha256(canonical([prev_hash, rollout, seq, at, tag, content]))


def extend(rollout: str, head: Head, at: str, items: Sequence[tuple[str, str]]) -> list[Link]:
    """Links for `items` (type, content) after `head`. A new journal's head is seq 0 with the plan's digest."""
    links: list[Link] = []
    seq, prev = head.seq, head.hash
    for tag, content in items:
        seq += 1
        own = link_hash(prev, rollout, seq, at, tag, content)
        links.append(Link(rollout, seq, at, tag, content, prev, own))
        prev = own
    return links


def chain_faults(rollout: str, digest: str, links: Iterable[Link], head: Head | None) -> Iterator[ChainFault]:
    """Every place where the chain does not hold. `links` in order of seq."""
    seq, prev = 0, digest
    for link in links:
        if link.seq != seq + 1:
            yield ChainFault(rollout, seq + 1, f"entries are missing before entry {link.seq}")
        elif link.prev_hash != prev:
            before = f"entry {seq}" if seq else "the plan"
            yield ChainFault(rollout, link.seq, f"entry {link.seq} does not continue from {before}")
        if link.hash != link_hash(link.prev_hash, link.rollout, link.seq, link.at, link.type, link.content):
            yield ChainFault(rollout, link.seq, f"entry {link.seq} is not what its hash was taken over")
        seq, prev = link.seq, link.hash
    if head is None:
        yield ChainFault(rollout, seq, "the journal has no head: a cut at its end would not show")
    elif head.seq != seq:
        yield ChainFault(rollout, min(seq, head.seq) + 1, f"the journal ends at entry {seq}, its head says {head.seq}")
    elif head.hash != prev:
        yield ChainFault(rollout, seq, f"the journal's head does not match entry {seq}")
