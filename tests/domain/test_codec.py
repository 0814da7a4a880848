"""The codec and canonical JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.domain.codec import DecodeError, canonical, from_plain, to_plain
from rollout.domain.node import DatapathMode
from rollout.domain.policy import Policy


@dataclass(frozen=True)
class Inner:
    mode: DatapathMode
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outer:
    inner: Inner
    count: int
    maybe: str | None = None
    table: dict[str, int] = field(default_factory=dict)


values = st.builds(
    Outer,
    st.builds(Inner, st.sampled_from(DatapathMode), st.lists(st.text()).map(tuple)),
    st.integers(),
    st.none() | st.text(),
    st.dictionaries(st.text(), st.integers()),
)


@given(values)
def test_there_and_back(value: Outer) -> None:
    assert from_plain(Outer, to_plain(value)) == value


@given(st.dictionaries(st.text(), st.integers()))
def test_order_of_keys_does_not_matter(table: dict[str, int]) -> None:
    turned = dict(reversed(list(table.items())))
    assert canonical(table) == canonical(turned)


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"inner": {"mode": "veth"}, "count": 1, "extra": 2}, r"\$: unknown field 'extra'"),
        ({"inner": {"mode": "vteh"}, "count": 1}, r"\$\.inner\.mode: 'vteh' is not one of"),
        ({"inner": {"mode": "veth"}}, r"field 'count' is missing"),
        ({"inner": {"mode": "veth"}, "count": True}, r"\$\.count: expected int, found bool"),
        ({"inner": {"mode": "veth", "names": "ab"}, "count": 1}, r"\$\.inner\.names: expected list"),
        ([], r"\$: expected dict, found list"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(plain: Any, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        from_plain(Outer, plain)


def test_floats_are_refused() -> None:
    with pytest.raises(TypeError, match="float"):
        canonical({"a": 1.5})


def test_a_policy_goes_there_and_back() -> None:
    policy = Policy(target=DatapathMode.NETKIT, nodes=("a",), deadlines_s={"drain": 5})
    assert from_plain(Policy, to_plain(policy)) == policy


@dataclass(frozen=True)
class Nest:
    rows: tuple[Outer, ...] = ()
    by_name: dict[str, Inner] = field(default_factory=dict)
    either: Inner | str = ""


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        (
            {"rows": [{"inner": {"mode": "veth"}, "count": 1}, {"inner": 3, "count": 1}]},
            r"\$\.rows\[1\]\.inner: expected",
        ),
        ({"rows": {}}, r"\$\.rows: expected list, found dict"),
        (
            {"rows": [{"inner": {"mode": "veth", "names": [1]}, "count": 1}]},
            r"rows\[0\]\.inner\.names\[0\]: expected str",
        ),
        ({"by_name": {"x": {"mode": "veth"}, "y": {}}}, r"\$\.by_name\.y: field 'mode' is missing"),
        ({"either": 3}, r"\$\.either: expected str, found int"),
    ],
)
def test_the_place_is_named_however_deep(plain: Any, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        from_plain(Nest, plain)


def test_a_union_takes_the_first_that_fits() -> None:
    assert from_plain(Nest, {"either": {"mode": "veth"}}).either == Inner(DatapathMode.VETH)
    assert from_plain(Nest, {"either": "text"}).either == "text"
