"""A node's ways by method: what they hold, and what they never hold."""

from __future__ import annotations

import pytest

from rollout.domain.node import Method
from rollout.domain.step import REPLACE_STEPS, STEPS, StepKind, ways


def test_every_kind_of_step_is_part_of_some_way() -> None:
    used = {
        kind for method in Method for way in (ways(method),) for kind in (*way.forward, *way.returning, *way.backing)
    }
    assert used == set(StepKind)


@pytest.mark.parametrize("method", [Method.RESTART, Method.REBOOT])
def test_adopting_leaves_out_what_needs_a_workload_and_keeps_the_rest_in_order(method: Method) -> None:
    whole, adopting = ways(method), ways(method, adopts=True)
    left_out = [kind for kind in whole.forward if kind not in adopting.forward]
    assert left_out == [StepKind.BASELINE, StepKind.SOAK]
    assert list(adopting.forward) == [kind for kind in whole.forward if kind in adopting.forward]
    assert (adopting.returning, adopting.backing) == (whole.returning, whole.backing)


def test_a_node_that_is_replaced_is_never_armed_and_has_no_way_back() -> None:
    way = ways(Method.REPLACE, adopts=True)
    assert way.forward == REPLACE_STEPS
    assert way.backing == ()
    assert not any(STEPS[kind].armed for kind in way.forward)
    assert way.forward.index(StepKind.AWAIT_CAPACITY) < way.forward.index(StepKind.CORDON)
