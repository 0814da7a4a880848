"""One reading of a limit, for the proof, the simulation and the engine."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rollout.domain.limits import FLEET_LIMIT, LimitIndex, count_of
from rollout.domain.plan import Limit

NAMES = tuple(f"n{i}" for i in range(8))


def zone(name: str, nodes: tuple[str, ...], most: int = 2, at_once: int = 1) -> Limit:
    return Limit(f"zone {name}", nodes, most, "spread", "zone", at_once)


ZONES = (zone("a", ("n0", "n1", "n2")), zone("b", ("n3", "n4", "n5")))
QUORUM = Limit("quorum etcd", ("n0", "n3", "n6"), 1, "2 of 3 stay")


def test_shares() -> None:
    assert [count_of(text, 30) for text in ("3", "10%", "1%", "100%")] == [3, 3, 1, 30]


def test_the_fleet_limit_counts_everybody() -> None:
    index = LimitIndex((), "2", 8)
    assert index.blocks("n0", {"n1"}) is None
    assert index.blocks("n0", {"n1", "stranger"}) == FLEET_LIMIT
    assert index.blocks("n1", {"n1", "n2"}) is None, "a node that is out already costs nothing more"
    assert index.blocks("n0", {"n1"}, {"n2", "n3"}) is None, "quarantined nodes have given their slot back"


def test_a_limit_counts_its_own_nodes_only() -> None:
    index = LimitIndex((QUORUM,), "8", 8)
    assert index.blocks("n0", {"n1", "n2", "n4"}) is None
    assert index.blocks("n0", {"n3"}) == "quorum etcd"
    assert index.blocks("n0", set(), {"n3"}) == "quorum etcd", "a quarantined member is out of service"
    assert index.blocks("n7", {"n0", "n3", "n6"}) is None


def test_groups_at_once() -> None:
    index = LimitIndex(ZONES, "8", 8)
    assert index.blocks("n0", {"n1"}) is None
    assert index.blocks("n0", {"n3"}) == "zone at once"
    assert index.blocks("n0", {"n1", "n2"}) == "zone a"
    assert index.blocks("n0", set(), {"n3"}) is None
    assert index.blocks("n7", {"n0", "n3"}) is None
    assert LimitIndex((zone("a", ("n0",), 1, 0), zone("b", ("n3",), 1, 0)), "8", 8).blocks("n0", {"n3"}) is None


def test_who_uses_it_up() -> None:
    index = LimitIndex((*ZONES, QUORUM), "8", 8)
    assert index.holders("quorum etcd", {"n6", "n1", "n3"}) == ("n3", "n6")
    assert index.holders("zone at once", {"n7", "n3"}) == ("n3",)
    assert index.holders(FLEET_LIMIT, {"n7", "n3"}) == ("n3", "n7")
    assert [limit.name for limit in index.of_node("n0")] == ["zone a", "quorum etcd"]


LIMITS = st.lists(
    st.builds(
        Limit,
        st.sampled_from(["w", "x", "y", "z"]),
        st.lists(st.sampled_from(NAMES), unique=True).map(tuple),
        st.integers(1, 3),
        st.just("why"),
        st.sampled_from(["", "zone", "rack"]),
        st.integers(0, 2),
    ),
    max_size=5,
)


@given(LIMITS, st.sampled_from(["1", "3", "50%", "8"]), st.permutations(NAMES))
def test_who_is_let_go_never_breaks_a_limit(limits: list[Limit], most: str, order: list[str]) -> None:
    index = LimitIndex(limits, most, len(NAMES))
    out: set[str] = set()
    for name in order:
        if index.blocks(name, out) is None:
            out.add(name)
        assert index.broken(out) == ()
    assert len(out) <= count_of(most, len(NAMES))
    for limit in limits:
        assert len(out & set(limit.nodes)) <= limit.most_out
        same = [x for x in limits if x.group == limit.group and x.group and x.groups_at_once]
        if limit.group and limit.groups_at_once and set(limit.nodes) & out:
            assert sum(bool(set(x.nodes) & out) for x in same) <= limit.groups_at_once


@given(LIMITS, st.permutations(NAMES), st.integers(0, 8))
def test_a_broken_limit_is_named(limits: list[Limit], order: list[str], count: int) -> None:
    index, out = LimitIndex(limits, "8", len(NAMES)), set(order[:count])
    over = {limit.name for limit in limits if len(set(limit.nodes) & out) > limit.most_out}
    assert over <= set(index.broken(out))
