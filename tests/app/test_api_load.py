"""The API load that a plan states, against what a whole rollout then asks for."""

from __future__ import annotations

from rollout.app.apply import Application
from rollout.domain.lifecycle import RolloutPhase
from tests.support.world import Model, quick

NODE_WRITES = ("cordon", "add_taint", "assign_mode", "remove_taint", "uncordon")


def test_what_was_stated_is_what_is_asked() -> None:
    model = Model(("n1", "n2", "n3"))
    made = model.planned(quick(soak_fenced_s=0, soak_loaded_s=0))
    before = dict(model.cluster.request_counts())
    assert Application(model.world(), made.record.id).start().phase is RolloutPhase.COMPLETED
    after = model.cluster.request_counts()

    def asked(*methods: str) -> int:
        return sum(after.get(name, 0) - before.get(name, 0) for name in methods)

    stated = made.plan.blast.api_requests
    assert stated["node patches"] == 2 * asked(*NODE_WRITES)
    assert stated["waiting taints"] == asked("add_waiting")
    assert stated["CiliumNodeConfigs"] == asked("ensure_node_config")
    assert stated["agent restarts"] == asked("delete_pod")
    # A pod may move more than once, and a budget may refuse: what was stated is the least.
    assert stated["evictions"] <= asked("evict") <= 2 * stated["evictions"]
    rechecks = asked("agent_install", "agent_install", "node_configs", "budgets")
    assert stated["rechecks of facts"] <= rechecks + asked("read_node")
