"""What planning a big fleet costs, against reading it. Each measurement is a process of its own, for its memory.

The fleet is made from recorded objects (tests.support.fleet). Listing is real: HTTP on the loopback, from a process
that has its pages ready. CPU seconds are compared, since they do not depend on what else the machine does.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from benchmarks.report import report

NODES, PODS_PER_NODE = 5_000, 30
SIZES = (5_000, 10_000, 20_000, 50_000)
GROWTH_PODS_PER_NODE = 6
"""Fewer than a real node has, so that 50,000 nodes fit into a small machine; the same for every size."""


def _python(*arguments: object) -> list[str]:
    return [sys.executable, "-m", *map(str, arguments)]


@contextmanager
def _served(nodes: int, per_node: int) -> Iterator[tuple[str, int]]:
    """A server of such a fleet: its URL, and how many bytes its lists have."""
    with subprocess.Popen(
        _python("benchmarks.fleet_server", nodes, per_node), stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            port, size = server.stdout.readline().split()
            yield f"http://127.0.0.1:{port}", int(size)
        finally:
            server.terminate()


def _run(*arguments: object) -> dict[str, float]:
    done = subprocess.run(_python("benchmarks.plan_once", *arguments), stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def test_planning_against_reading() -> None:
    """5,000 nodes, 150,000 pods, 2,000 budgets: plan with drain proof and waves, against listing and decoding."""
    with _served(NODES, PODS_PER_NODE) as (url, size):
        found = _run("read", url)
    counts = ", ".join(f"{found[what]:,.0f} {what}" for what in ("nodes", "pods", "budgets"))
    sys.stdout.write(f"\nplanning {counts}: {found['planned']:,.0f} nodes planned in {found['waves']:.0f} waves")
    for part, what in (
        ("read", f"read: list and decode {size / 1e6:.0f} MB"),
        ("plan", "plan, with drain proof, waves and estimate"),
        ("encode", f"plan: its {found['encode_bytes'] / 1e6:.1f} MB of canonical text"),
    ):
        sys.stdout.write(f"\n{what}: {found[f'{part}_cpu_s']:.1f} s CPU, {found[f'{part}_wall_s']:.1f} s wall")
    report("plan: CPU against reading", found["plan_cpu_s"] / found["read_cpu_s"], 2.0)
    report("read and plan: peak memory", found["peak_mib"], 1024, "MiB")


@cache
def _growth(nodes: int) -> float:
    """CPU seconds of planning."""
    return _run("made", nodes, GROWTH_PODS_PER_NODE)["plan_cpu_s"]


def test_growth() -> None:
    """Time over n log n, against the smallest fleet: 1 is n log n exactly."""
    smallest = SIZES[0]
    for nodes in SIZES:
        expected = _growth(smallest) * nodes * math.log(nodes) / (smallest * math.log(smallest))
        sys.stdout.write(f"\nplan: {nodes:,} nodes, {nodes * GROWTH_PODS_PER_NODE:,} pods: {_growth(nodes):.1f} s CPU")
        if nodes != smallest:
            report(f"plan: growth to {nodes:,} nodes over n log n", _growth(nodes) / expected, 1.0)
