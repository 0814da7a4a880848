"""Big clusters made from recorded objects, the same every time.

`sixty_nodes()` is the fleet of the golden plans; `make_fleet(nodes, pods, budgets)` any size. Of a `Fleet`,
`inventory()` gives domain values by the adapter's own decoders, and `shelf` the lists as an API serves them.
"""

from __future__ import annotations

from tests.support.fleet.build import Fleet
from tests.support.fleet.shape import Shape

__all__ = ["Fleet", "Shape", "make_fleet", "sixty_nodes"]


def make_fleet(nodes: int, pods: int, budgets: int) -> Fleet:
    """A fleet of three zones, three instance types and two kernels, with a few troubles in it."""
    some = max(1, nodes // 1000)
    return Fleet(Shape(nodes, pods, budgets, deadlocks=some, bare=some, old_kernels=some, finished_jobs=nodes // 20))


def sixty_nodes() -> Fleet:
    """60 nodes, 700 pods, 40 budgets, three zones that are three cohorts.

    One node has a kernel without netkit, one a pod without controller, and one the only pod of a Deployment whose
    budget keeps it.
    """
    return Fleet(Shape(nodes=60, pods=700, budgets=40, uniform_zones=True))
