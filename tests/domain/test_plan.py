"""The plan document: equal input gives equal bytes, and any other byte is noticed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.domain.errors import Refused
from rollout.domain.node import DatapathMode
from rollout.domain.plan import SCHEMA, decode_plan
from rollout.domain.policy import Policy
from tests.builders import plan_of

PLAN = plan_of(("n1", "n2"), Policy(target=DatapathMode.NETKIT))


def test_there_and_back() -> None:
    assert decode_plan(PLAN.encode()) == PLAN
    assert decode_plan(PLAN.encode() + b"\n") == PLAN


def test_the_same_twice() -> None:
    assert plan_of(("n1", "n2"), Policy(target=DatapathMode.NETKIT)).encode() == PLAN.encode()


def test_order_of_the_inventory_does_not_matter() -> None:
    assert plan_of(("n2", "n1"), Policy(target=DatapathMode.NETKIT)).digest == PLAN.digest


@given(st.integers(0, len(PLAN.encode()) - 1), st.integers(0, 255))
def test_any_other_byte_is_another_digest_or_refused(place: int, byte: int) -> None:
    text = bytearray(PLAN.encode())
    if text[place] == byte:
        return
    text[place] = byte
    try:
        found = decode_plan(bytes(text))
    except Refused:
        return
    assert found.digest != PLAN.digest


def test_a_newer_schema_is_refused() -> None:
    newer = json.loads(PLAN.encode()) | {"schema": SCHEMA + 1}
    with pytest.raises(Refused, match="schema is 4, this program reads 3") as refused:
        decode_plan(json.dumps(newer).encode())
    assert "newer program" in refused.value.hint


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"not json", "plan-unreadable"),
        (b"[]", "plan-schema"),
        (b'{"schema": 1}', "plan-schema"),
        (b'{"schema": 3}', "plan-damaged"),
        (json.dumps(json.loads(PLAN.encode()), indent=1).encode(), "plan-edited"),
    ],
)
def test_damaged_documents_are_refused(text: bytes, code: str) -> None:
    with pytest.raises(Refused) as refused:
        decode_plan(text)
    assert refused.value.code == code
