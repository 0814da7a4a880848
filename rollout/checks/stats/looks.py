"""How a stated error is shared: over the comparisons made on a node, and over the looks at one of them.

Over comparisons: Bonferroni with weights (Holm's step-down would gain little: one comparison that fails is enough to
fail the node, and intervals that agree with the decision are wanted). Loss and latency get most, since they decide.

Over looks: the k-th look at growing data spends 1 / (k (k + 1)) of the error. The shares sum to one over all k, so by
the union bound the chance that any look ever errs is at most the whole, however many there are and whatever stops them
(alpha spending: Lan and DeMets 1983, doi:10.1093/biomet/70.3.659, here with exact tests and without a horizon).
"""

from __future__ import annotations

from collections.abc import Mapping

LOSS = "loss"
LATENCY = "latency"
DROPS = "drops"
TCP = "tcp"

_TENTHS: Mapping[str, int] = {LOSS: 3, LATENCY: 5, DROPS: 1, TCP: 1}
_MILLION = 1_000_000


def error_of(group: str, error_ppm: int, comparisons: int) -> float:
    """The error of one of `comparisons` equal ones of a group, of a node's error of `error_ppm` parts per million."""
    return error_ppm / _MILLION * _TENTHS[group] / 10 / max(1, comparisons)


def at_look(error: float, look: int) -> float:
    """What the look numbered `look`, from 1, may spend of a comparison's error."""
    return error / (look * (look + 1))
