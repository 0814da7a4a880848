"""Whether one node fits into the windows at all."""

from __future__ import annotations

from datetime import datetime

from rollout.domain.errors import UsageError
from rollout.domain.policy import Policy
from rollout.domain.windows import HORIZON, least_node_s, longest_room_s


def require_room(policy: Policy, at: datetime) -> None:
    """Raises `UsageError` when from `at` on no stretch of open time is as long as the fixed waits of one node."""
    if not policy.windows and not policy.freezes:
        return
    room, least = longest_room_s(policy, at), least_node_s(policy)
    if room is None or room >= max(1, least):
        return
    if room == 0:
        raise UsageError(
            "window-never",
            f"cannot plan: windows and freezes leave no moment open in the {HORIZON.days} days from {at:%Y-%m-%d} on",
            hint="change policy.windows, or take the freeze that covers them out",
        )
    raise UsageError(
        "window-too-short",
        f"cannot plan: the longest time that windows and freezes leave open is {_words(room)}; one node takes "
        f"{_words(least)} at least: soak_fenced_s {policy.soak_fenced_s} and twice probes.window_s "
        f"{policy.probes.window_s}",
        hint="lengthen the window, or shorten soak_fenced_s",
    )


def _words(seconds: int) -> str:
    hours, minutes = seconds // 3600, seconds // 60 % 60
    parts = (
        [f"{hours} h"] * (hours > 0) + [f"{minutes} min"] * (minutes > 0) + [f"{seconds % 60} s"] * (seconds % 60 > 0)
    )
    return " ".join(parts) or "0 s"
