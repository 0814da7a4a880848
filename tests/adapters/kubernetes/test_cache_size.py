"""What one watched pod costs in memory: the figure by which a cluster is found too large to watch."""

from __future__ import annotations

import gc
import json
import tracemalloc

from rollout.adapters.kubernetes import documents as docs
from rollout.adapters.kubernetes.cache import Cache
from rollout.adapters.kubernetes.decode import decode, pod_value
from rollout.planning.blast.watch import BYTES_EACH
from tests.support.fleet import make_fleet

PODS = 3000


def test_a_watched_pod_takes_no_more_than_planning_reckons_with() -> None:
    rows = make_fleet(100, PODS, 40).shelf.answer("/api/v1/pods", {})
    assert rows is not None
    bodies = [json.dumps(item).encode() for item in json.loads(rows)["items"]]
    cache = Cache()
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for body in bodies:
        cache.put_pod(pod_value(decode(body, docs.PodDoc, "a pod")))
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    each = (after - before) // len(bodies)
    assert BYTES_EACH // 2 <= each <= BYTES_EACH, each
