"""Pools are told by what their owners write on nodes; each kind says how it is used."""

from __future__ import annotations

import pytest

from rollout.domain.node import LABEL_MODE
from rollout.planning.pools import KINDS, PoolKind, pool_of
from tests.builders import node


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.label or k.annotation)
def test_every_kind_is_recognised_and_has_its_words(kind: PoolKind) -> None:
    labels = {kind.label: "big"} if kind.label else {}
    annotations = {kind.annotation: "big"} if kind.annotation else {}
    found = pool_of(node("n1", labels=labels, annotations=annotations))
    assert found is not None
    assert str(found) == f"{kind.name} big"
    assert f"{LABEL_MODE}=netkit" in found.template_words("netkit")
    for words in (found.template_words("netkit"), found.hand_over_words("n1"), found.empties):
        assert words
        assert "$" not in words


def test_a_machine_of_its_own_belongs_to_none() -> None:
    assert pool_of(node("n1")) is None
    assert pool_of(node("n1", labels={"eks.amazonaws.com/nodegroup": ""})) is None
