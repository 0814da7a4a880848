"""What a plan rests on, what it creates, and where its numbers come from."""

from __future__ import annotations

from collections.abc import Iterator

from rollout.cli.render.blocks import Heading, Pairs, Para, Table
from rollout.cli.render.plan_view import PlanView, settings
from rollout.cli.render.report_parts import Part

SOURCES = "Where the numbers come from"


def rests_on(view: PlanView) -> Iterator[Part]:
    """Facts compared again before each node, and objects of ours."""
    plan = view.plan
    yield Heading("What it rests on")
    yield Para(
        "read again just before each node is touched; when one moved, the node is left alone and counts as failed"
    )
    yield Pairs(
        (
            ("inventory", plan.inventory_digest),
            ("agent settings", plan.cluster.config_digest),
            ("other CiliumNodeConfigs", plan.cluster.node_config_digest),
            *((f"playbook {name}", digest) for name, digest in sorted(plan.playbooks.items())),
        )
    )
    budgets = [(name, text) for name, text in sorted(plan.cluster.budgets.items())]
    if budgets:
        yield from view.table(("PodDisruptionBudget", "as planned with"), budgets, "budgets")
    if plan.pools:
        yield Heading("Pools whose nodes are replaced")
        pools = [(pool.name, str(pool.in_service), str(len(pool.uids))) for pool in plan.pools]
        yield from view.table(("pool", "in service", "nodes when planned"), pools, "pools")
    if plan.node_configs:
        yield Heading("Objects it creates")
        rows = tuple(
            (f"CiliumNodeConfig {c.namespace}/{c.name}", c.version, c.label_value, settings(c.defaults.items()))
            for c in plan.node_configs
        )
        yield Table(("object", "version", "for nodes labelled", "sets"), rows)


def numbers(view: PlanView) -> Iterator[Part]:
    """A sentence for each number; those of limits, waves and findings stand beside them."""
    if view.plan.sources:
        yield Heading(SOURCES)
        yield Table(("number", "source"), tuple(sorted(view.plan.sources.items())))
