"""DaemonSet pods on the host network that our taint sends away are back before their node takes pods again."""

from __future__ import annotations

from rollout.app.apply import Application
from rollout.domain.lifecycle import RolloutPhase
from rollout.domain.node import DaemonSet
from tests.support.world import Model, quick


def test_a_csi_plugin_without_a_toleration_leaves_and_is_waited_for() -> None:
    model = Model()
    model.cluster.add_daemonset(DaemonSet("default", "csi-node", "ds-csi", False, 2, 2))
    model.settle()
    made = model.planned(quick(soak_fenced_s=0, soak_loaded_s=0))
    assert "default/csi-node" in " ".join(str(p.ref) for p in made.plan.node("n1").daemon_pods)
    assert [c.name for c in made.plan.blast.changes] == ["csi-node"]
    seen: dict[str, list[bool]] = {}

    def ready(name: str) -> list[bool]:
        return [p.ready for p in model.cluster.pods_on(name) if p.owner_name == "csi-node" and not p.terminating]

    def hook(when: str, method: str, args: tuple[object, ...]) -> None:
        if when == "before" and method in ("assign_mode", "uncordon"):
            seen.setdefault(method, []).extend(ready(str(args[0])))

    model.cluster.hook = hook
    assert Application(model.world(), made.record.id).start().phase is RolloutPhase.COMPLETED
    assert seen == {"assign_mode": [], "uncordon": [True, True]}
    assert model.leftovers() == []
