"""Whether a cluster is small enough to be watched while a rollout runs.

One watch on nodes and one on pods tell of the whole cluster, whatever part of it a plan moves: foreign outages and
where evicted pods land are seen nowhere else. So it is the cluster that must fit, and a plan in parts does not help.
"""

from __future__ import annotations

from rollout.domain.errors import Refused
from rollout.domain.inventory import ClusterSnapshot
from rollout.domain.policy import Policy

BYTES_EACH = 1_300
"""Memory that one watched pod takes in the cache: 1,047 bytes by tracemalloc, kept by test_cache_size.py, and some."""


def require_watchable(cluster: ClusterSnapshot, policy: Policy) -> None:
    """Raises `Refused` when more nodes and pods would have to be watched than the policy allows."""
    watched = len(cluster.nodes) + len(cluster.pods)
    if watched <= policy.most_watched:
        return
    mebibytes = watched * BYTES_EACH // 2**20
    raise Refused(
        "watch-too-large",
        f"cannot plan: {len(cluster.nodes)} nodes and {len(cluster.pods)} pods would have to be watched while it runs,"
        f" the policy allows {policy.most_watched}",
        hint=f"give the process some {mebibytes} MiB for them and set most_watched: {watched} in the policy; the"
        " watch covers the whole cluster, so planning fewer nodes does not make it smaller",
    )
