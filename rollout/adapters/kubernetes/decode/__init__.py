"""Wire structs to domain values. Pure.

The quick way decodes bytes straight into structs. An object that does not fit (a null where a text is due, a number as
text) is decoded again as plain values with the nulls taken out; what fits even then not is `Unavailable` and names the
object, since an object that was left out silently would be a wrong conclusion.
"""

from __future__ import annotations

from rollout.adapters.kubernetes.decode.fleet import claim_value, place_of, workload_value
from rollout.adapters.kubernetes.decode.nodes import budget_value, daemonset_value, node_config_value, node_value
from rollout.adapters.kubernetes.decode.pods import pod_value
from rollout.adapters.kubernetes.decode.quantities import cpu_millis, memory_bytes
from rollout.adapters.kubernetes.decode.wire import decode, decode_page

__all__ = [
    "budget_value",
    "claim_value",
    "cpu_millis",
    "daemonset_value",
    "decode",
    "decode_page",
    "memory_bytes",
    "node_config_value",
    "node_value",
    "place_of",
    "pod_value",
    "workload_value",
]
