"""Observations for tests."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rollout.domain.inventory import Observation


def observation(probe: str, document: Mapping[str, Any]) -> Observation:
    """An observation of n1."""
    return Observation("n1", probe, datetime(2026, 11, 23, tzinfo=UTC), document)
