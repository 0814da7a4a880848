"""The tables: complete, with no dead ends but the ends."""

from __future__ import annotations

import pytest

from rollout.domain.lifecycle import (
    FENCED_PHASES,
    NODE_DEATH,
    NODE_TABLE,
    ROLLOUT_TABLE,
    SETTLED_PHASES,
    IllegalTransition,
    NodeEvent,
    NodePhase,
    RolloutEvent,
    RolloutPhase,
    advance_node,
    advance_rollout,
    render_mermaid,
)


def test_every_phase_has_a_row_and_says_what_a_dead_process_means() -> None:
    assert set(NODE_TABLE) == set(NodePhase) == set(NODE_DEATH)
    assert set(ROLLOUT_TABLE) == set(RolloutPhase)


def test_out_of_a_settled_phase_leads_nothing_but_the_way_back_of_a_whole_wave() -> None:
    ends = {phase for phase, row in NODE_TABLE.items() if not row}
    assert ends | {NodePhase.DONE} == SETTLED_PHASES
    assert NODE_TABLE[NodePhase.DONE] == {NodeEvent.ROLL_BACK: NodePhase.ROLLING_BACK}
    assert not SETTLED_PHASES & FENCED_PHASES


def test_every_phase_can_be_reached() -> None:
    reached = {NodePhase.PENDING} | {target for row in NODE_TABLE.values() for target in row.values()}
    assert reached == set(NodePhase)


@pytest.mark.parametrize("phase", list(NodePhase))
@pytest.mark.parametrize("event", list(NodeEvent))
def test_a_node_moves_by_the_table_or_not_at_all(phase: NodePhase, event: NodeEvent) -> None:
    if event in NODE_TABLE[phase]:
        assert advance_node(phase, event) is NODE_TABLE[phase][event]
    else:
        with pytest.raises(IllegalTransition, match=f"{phase.value} cannot {event.value}"):
            advance_node(phase, event)


@pytest.mark.parametrize("phase", list(RolloutPhase))
@pytest.mark.parametrize("event", list(RolloutEvent))
def test_a_rollout_moves_by_the_table_or_not_at_all(phase: RolloutPhase, event: RolloutEvent) -> None:
    if event in ROLLOUT_TABLE[phase]:
        assert advance_rollout(phase, event) is ROLLOUT_TABLE[phase][event]
    else:
        with pytest.raises(IllegalTransition):
            advance_rollout(phase, event)


def test_the_picture_shows_every_transition() -> None:
    picture = render_mermaid()
    count = sum(len(row) for row in NODE_TABLE.values()) + sum(len(row) for row in ROLLOUT_TABLE.values())
    assert picture.count("-->") == count
