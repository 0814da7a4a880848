"""The preflight catalogue: what must hold before a node may move, as data.

Rows stand with the judges they name, by theme; here they are put in one order. Numbers are rows of the preflight table
in the project's Cilium notes, names are rules of its notes on other tools; the rest are upstream issues. A claim that
could not be told counts like one that failed: "could not tell" is never fine. Rows about netkit do not apply when the
target is veth.
"""

from __future__ import annotations

from collections.abc import Mapping

from rollout.planning.preflight import (
    agent,
    datapath,
    drain,
    ebpf_users,
    hosts,
    install,
    kernel,
    neighbours,
    node_configs,
    workloads,
)
from rollout.planning.preflight.row import ANY_TARGET, WARN, Facts, Judgement, Row

TABLE_ROWS = range(1, 44)
"""Numbers of the preflight table (cilium-netkit.md 9)."""

NOTED_RULES = (
    "kernel-and-driver", "scrub-for-endpoint-routes", "endpoint-routes-socketlb", "tproxy-off", "bpf-host-routing",
    "no-kata", "l7-proxy", "extra-ip-rules", "node-config-key", "arming-window", "auto-mode", "tolerate-everything",
    "two-node-configs", "roll-on-change", "final-default-flip", "default-deny",
)  # fmt: skip
"""The rules of orchestrators.md 6, in its order."""


def _not_judged(_facts: Facts) -> Judgement:
    raise AssertionError("waivers are judged from the findings, not from facts")


UNUSED_WAIVER = Row(
    "waiver-used", "every waiver lifts something", _not_judged, "the policy's waivers and the findings",
    "take the waiver out of the policy: it would lift the rule on the day it matters", severity=WARN, per_node=False,
    targets=ANY_TARGET,
)  # fmt: skip

CATALOGUE: tuple[Row, ...] = (
    *install.ROWS,
    *node_configs.ROWS,
    *agent.ROWS,
    *kernel.ROWS,
    *datapath.ROWS,
    *neighbours.ROWS,
    *ebpf_users.ROWS,
    *workloads.ROWS,
    *hosts.ROWS,
    *drain.ROWS,
    UNUSED_WAIVER,
)

_BY_ID: Mapping[str, Row] = {row.id: row for row in CATALOGUE}


def explain(rule: str) -> Row:
    """A row by id. Raises KeyError."""
    return _BY_ID[rule]
