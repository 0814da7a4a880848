"""What the nodes that were not migrated show in the same minutes: difference in differences.

The change of a node is judged after the change that its controls show is taken off (Card and Krueger 1994, American
Economic Review 84, 772-793; here with estimates only for the controls). It only ever takes harm away, so the error
stated for a fail stays what it is; harm that the controls show as well is no proof of innocence either: the verdict is
then inconclusive, never pass.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def common_shift(shifts: Sequence[int]) -> int:
    """How much worse the controls became: their lower median, so that half of them show at least as much.

    0 without controls, and when they became better.
    """
    return max(0, statistics.median_low(shifts)) if shifts else 0
