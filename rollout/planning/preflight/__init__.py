"""Preflight: which nodes may move, and why the others may not. `catalogue` has the rows, `judge` judges them."""

from rollout.planning.preflight.catalogue import CATALOGUE, NOTED_RULES, TABLE_ROWS, explain
from rollout.planning.preflight.drain import AFTER_SWITCH
from rollout.planning.preflight.judge import judge_preflight, stopping
from rollout.planning.preflight.remedies import Remedy, by_remedy
from rollout.planning.preflight.row import Facts, Row, Span

__all__ = [
    "AFTER_SWITCH",
    "CATALOGUE",
    "NOTED_RULES",
    "TABLE_ROWS",
    "Facts",
    "Remedy",
    "Row",
    "Span",
    "by_remedy",
    "explain",
    "judge_preflight",
    "stopping",
]
