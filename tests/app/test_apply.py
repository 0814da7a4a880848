"""Whole rollouts on the fakes: there and back, failures, other hands."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rollout.app.apply import Application, reference_of_document
from rollout.app.approve import approve
from rollout.app.control import abort, pause, unpause
from rollout.app.make_plan import plan_rollout
from rollout.app.rollback import plan_rollback
from rollout.app.status import status, why
from rollout.app.verify import verify
from rollout.domain.errors import NotFound, Refused, UsageError
from rollout.domain.journal import Intent, Outcome
from rollout.domain.lifecycle import NodePhase, RolloutPhase
from rollout.domain.node import DaemonSet, DatapathMode, Toleration
from rollout.domain.policy import MethodChoice, OnFailure
from rollout.domain.step import StepKind
from rollout.domain.verdict import Status
from rollout.ports.hosts import Host, HostResult, HostRun
from tests.fakes.hosts import failed
from tests.support.world import Model, quick

NETKIT = {"n1": {"netkit"}, "n2": {"netkit"}}
VETH = {"n1": {"veth"}, "n2": {"veth"}}


def take_back(model: Model, rollout: str, **more: Any) -> RolloutPhase:
    made = plan_rollback(model.world(), rollout, **more)
    approve(model.world(), made.record.id, by="bob", ticket="T-2", valid=timedelta(hours=1))
    return Application(model.world(), made.record.id).start().phase


@pytest.mark.parametrize("target", [DatapathMode.NETKIT, DatapathMode.NETKIT_L2])
@pytest.mark.parametrize("method", [MethodChoice.RESTART, MethodChoice.REBOOT])
def test_there_and_back(target: DatapathMode, method: MethodChoice) -> None:
    model = Model()
    made = model.planned(quick(target, method=method))
    assert Application(model.world(), made.record.id).start().phase is RolloutPhase.COMPLETED
    assert model.kinds() == {"n1": {target.value}, "n2": {target.value}}
    assert model.leftovers() == []
    assert take_back(model, made.record.id) is RolloutPhase.COMPLETED
    assert model.kinds() == VETH
    assert model.leftovers() == []
    assert len(model.reboots) == (4 if method is MethodChoice.REBOOT else 0)


def test_after_a_reboot_the_old_readiness_is_not_the_new_agents() -> None:
    """The kubelet tells of the new boot first, and of its pods later: until then they look as before the reboot."""
    model = Model()
    model.cluster.delays = replace(model.cluster.delays, kubelet=20.0)
    made = model.planned(quick(DatapathMode.NETKIT, method=MethodChoice.REBOOT, nodes=("n1",)))
    assert Application(model.world(), made.record.id).start().phase is RolloutPhase.COMPLETED
    assert model.kinds()["n1"] == {"netkit"}
    journal = model.world().store.read(made.record.id)
    begun, ended = (
        next(e.at for e in journal if isinstance(e.body, kind) and e.body.step is StepKind.REBOOT)
        for kind in (Intent, Outcome)
    )
    assert ended - begun >= timedelta(seconds=20)


def test_from_netkit_to_netkit_l2_while_another_node_stays() -> None:
    model = Model()
    model.apply()
    made = model.planned(quick(DatapathMode.NETKIT_L2, nodes=("n2",)))
    Application(model.world(), made.record.id).start()
    assert model.kinds() == {"n1": {"netkit"}, "n2": {"netkit-l2"}}
    assert take_back(model, made.record.id) is RolloutPhase.COMPLETED
    assert model.kinds() == NETKIT


def test_rollback_of_one_node_and_of_one_wave() -> None:
    model = Model()
    made = model.planned()
    Application(model.world(), made.record.id).start()
    take_back(model, made.record.id, nodes=("n1",))
    assert model.kinds() == {"n1": {"veth"}, "n2": {"netkit"}}
    wave = made.plan.wave_of("n2").number
    take_back(model, made.record.id, wave=wave)
    assert model.kinds() == VETH


def test_a_pod_that_tolerates_everything_is_cleared_in_the_gap() -> None:
    model = Model()
    model.cluster.add_daemonset(DaemonSet("default", "clinger", "ds-clinger", True, 2, 2, (Toleration("", "Exists"),)))
    model.settle()
    assert model.apply().phase is RolloutPhase.COMPLETED
    assert model.kinds() == NETKIT


def test_the_plan_is_used_once_and_needs_an_approval_that_stands() -> None:
    model = Model()
    made = plan_rollout(model.world(), quick())
    with pytest.raises(Refused, match="nobody has approved"):
        Application(model.world(), made.record.id).start()
    approve(model.world(), made.record.id, by="bob", ticket="T", valid=timedelta(minutes=1))
    with pytest.raises(Refused, match="still stands"):
        approve(model.world(), made.record.id, by="bob", ticket="T", valid=timedelta(minutes=1))
    model.clock.wait(120)
    with pytest.raises(Refused, match="expired"):
        Application(model.world(), made.record.id).start()
    approve(model.world(), made.record.id, by="bob", ticket="T", valid=timedelta(hours=1))
    Application(model.world(), made.record.id).start()
    with pytest.raises(Refused, match="applied already"):
        Application(model.world(), made.record.id).start()
    with pytest.raises(Refused, match="applied already"):
        approve(model.world(), made.record.id, by="eve", ticket="T", valid=timedelta(hours=1))
    assert plan_rollout(model.world(), quick(DatapathMode.VETH)).plan.serial == 2


def test_a_document_is_found_by_its_very_text() -> None:
    model = Model()
    made = plan_rollout(model.world(), quick())
    assert reference_of_document(model.world(), made.document + b"\n") == made.record.id
    with pytest.raises(Refused):
        reference_of_document(model.world(), made.document.replace(b'"canary":1', b'"canary":2'))
    with pytest.raises(NotFound):
        model.world().store.find("0" * 12)


def test_another_cluster_is_refused() -> None:
    model = Model()
    made = model.planned()
    model.cluster.uid = "cluster-2"
    with pytest.raises(Refused, match="it is of cluster"):
        Application(model.world(), made.record.id).start()
    assert model.leftovers() == []


def test_stale_facts_refuse_the_node_before_it_is_touched() -> None:
    model = Model()
    made = model.planned()
    first = made.plan.waves[0].nodes[0]
    model.cluster.change_node(first, kernel="6.13.0")
    end = Application(model.world(), made.record.id).start()
    assert end.phase is RolloutPhase.HELD
    assert end.node(first).phase is NodePhase.SKIPPED
    last = end.node(first).last
    assert last is not None
    assert "its kernel changed" in last.reason
    assert model.leftovers() == []
    assert model.kinds() == VETH


def test_a_node_replaced_under_its_name_is_lost() -> None:
    model = Model()
    made = model.planned()
    first = made.plan.waves[0].nodes[0]
    model.cluster.nodes[first] = replace(model.cluster.nodes[first], uid="another")
    end = Application(model.world(), made.record.id).start()
    assert end.node(first).phase is NodePhase.LOST
    assert end.phase is RolloutPhase.HELD


def not_empty(host: Host, _variables: Any) -> HostRun:
    return HostRun(host.node, HostResult.FAILED, "lxcabc (veth) is left", "look", "node-not-empty")


@pytest.mark.parametrize(
    ("on_failure", "phase"), [(OnFailure.HOLD, NodePhase.QUARANTINED), (OnFailure.ROLL_BACK, NodePhase.ROLLED_BACK)]
)
def test_a_failure_after_armed(on_failure: OnFailure, phase: NodePhase) -> None:
    model = Model()
    prepare = model.hosts.playbooks["reconfigure-agent.yml"]
    made = model.planned(quick(on_failure=on_failure))
    first = made.plan.waves[0].nodes[0]

    def fails_forward(host: Host, variables: Any) -> HostRun:
        return not_empty(host, variables) if variables["phase"] == "forward" else prepare(host, variables)

    model.hosts.playbooks["reconfigure-agent.yml"] = fails_forward
    end = Application(model.world(), made.record.id).start()
    assert end.phase is RolloutPhase.HELD
    assert end.node(first).phase is phase
    if phase is NodePhase.ROLLED_BACK:
        assert model.leftovers() == []
        assert model.kinds() == VETH
    else:
        assert any("cordoned" in each for each in model.leftovers())
        told = why(model.world(), made.record.id, first)
        assert "is left" in told.status.reason


def test_a_quarantined_node_is_taken_back_by_a_rollback() -> None:
    model = Model()
    prepare = model.hosts.playbooks["reconfigure-agent.yml"]
    model.hosts.playbooks["reconfigure-agent.yml"] = not_empty
    made = model.planned()
    assert Application(model.world(), made.record.id).start().phase is RolloutPhase.HELD
    model.hosts.playbooks["reconfigure-agent.yml"] = prepare
    assert take_back(model, made.record.id) is RolloutPhase.COMPLETED
    assert model.leftovers() == []
    assert model.kinds() == VETH


def test_a_quarantined_node_may_be_tried_again() -> None:
    model = Model()
    prepare = model.hosts.playbooks["reconfigure-agent.yml"]
    model.hosts.playbooks["reconfigure-agent.yml"] = not_empty
    made = model.planned()
    first = made.plan.waves[0].nodes[0]
    Application(model.world(), made.record.id).start()
    model.hosts.playbooks["reconfigure-agent.yml"] = prepare
    with pytest.raises(Refused, match="cannot retry node"):
        Application(model.world(), made.record.id).resume(("n2" if first == "n1" else "n1",))
    end = Application(model.world(), made.record.id).resume((first,))
    assert end.phase is RolloutPhase.COMPLETED
    assert model.kinds() == NETKIT


def test_a_node_that_cannot_be_observed_is_given_up_untouched() -> None:
    model = Model()
    made = model.planned()
    answer = model.observer.answer
    model.observer.answer = lambda _node, _probe: "ssh: connection refused"
    end = Application(model.world(), made.record.id).start()
    assert end.phase is RolloutPhase.HELD
    assert model.leftovers() == []
    model.observer.answer = answer


def test_access_that_a_person_must_mend_holds_the_node() -> None:
    model = Model()
    prepare = model.hosts.playbooks["reconfigure-agent.yml"]
    model.hosts.playbooks["reconfigure-agent.yml"] = failed("sudo-password", "sudo asks for a password")
    made = model.planned()
    first = made.plan.waves[0].nodes[0]
    end = Application(model.world(), made.record.id).start()
    assert (end.phase, end.node(first).phase) == (RolloutPhase.HELD, NodePhase.HELD)
    model.hosts.playbooks["reconfigure-agent.yml"] = prepare
    assert Application(model.world(), made.record.id).resume().phase is RolloutPhase.COMPLETED
    assert model.kinds() == NETKIT


def test_a_playbook_changed_after_approval_holds() -> None:
    model = Model()
    made = model.planned()
    model.hosts.playbooks["a-new-one.yml"] = not_empty
    end = Application(model.world(), made.record.id).start()
    assert end.phase is RolloutPhase.HELD
    assert "is not the one that was approved" in end.reason


def test_pause_then_resume_and_abort() -> None:
    model = Model()
    made = model.planned()
    Application(model.world(), made.record.id)
    seen: list[str] = []

    def pause_at_drain(when: str, method: str, _args: tuple[Any, ...]) -> None:
        if method == "evict" and when == "before" and not seen:
            seen.append("paused")
            pause(model.world(), made.record.id, "lunch")

    model.cluster.hook = pause_at_drain
    end = Application(model.world(), made.record.id).start()
    assert end.phase is RolloutPhase.HELD
    assert "paused by ann: lunch" in end.reason
    first = made.plan.waves[0].nodes[0]
    assert end.node(first).phase is NodePhase.RUNNING
    assert "rollout resume" in status(model.world(), made.record.id).next_command
    abort(model.world(), made.record.id, "enough")
    unpause(model.world(), made.record.id)
    end = Application(model.world(), made.record.id).resume()
    assert end.phase is RolloutPhase.ABORTED
    assert end.node(first).phase is NodePhase.RETURNED
    assert model.leftovers() == []
    assert model.kinds() == VETH


def test_a_human_uncordon_holds() -> None:
    model = Model()
    made = model.planned()
    first = made.plan.waves[0].nodes[0]

    def uncordon_at_evict(when: str, method: str, _args: tuple[Any, ...]) -> None:
        if method == "evict" and when == "before":
            model.cluster.change_node(first, unschedulable=False)

    model.cluster.hook = uncordon_at_evict
    end = Application(model.world(), made.record.id).start()
    assert end.node(first).phase is NodePhase.HELD
    assert "somebody uncordoned" in end.node(first).reason
    assert "kubectl cordon" in why(model.world(), made.record.id, first).status.hint


def test_a_second_process_on_the_same_state_is_refused() -> None:
    model = Model()
    made = model.planned()
    with model.world().store.exclusive(made.record.id), pytest.raises(Refused) as refused:
        Application(model.world(), made.record.id).start()
    assert refused.value.code == "already-running"


def test_a_lease_in_other_hands_is_refused() -> None:
    model = Model()
    made = model.planned()
    model.cluster.take_lease("somebody-else/host/1", 3600, lambda _: False)
    with pytest.raises(Refused, match="lease"):
        Application(model.world(), made.record.id).start()
    assert model.leftovers() == []


def test_verify_says_what_the_kernel_lists() -> None:
    model = Model()
    model.apply(quick(nodes=("n1",)))
    proofs = {p.node: p for p in verify(model.world(), (), None)}
    assert proofs["n1"].status is Status.PASS
    assert proofs["n1"].expected is DatapathMode.NETKIT
    assert proofs["n2"].expected is DatapathMode.VETH
    wrong = verify(model.world(), ("n2",), DatapathMode.NETKIT)
    assert wrong[0].status is Status.FAIL


def test_rollback_refuses_what_it_cannot_mean() -> None:
    model = Model()
    made = model.planned()
    with pytest.raises(Refused, match="it is approved"):
        plan_rollback(model.world(), made.record.id)
    Application(model.world(), made.record.id).start()
    with pytest.raises(UsageError, match="not in this rollout"):
        plan_rollback(model.world(), made.record.id, nodes=("n9",))
    with pytest.raises(UsageError, match="cannot roll back wave 7"):
        plan_rollback(model.world(), made.record.id, wave=7)


def test_three_at_once_share_commits() -> None:
    names = tuple(f"n{i}" for i in range(1, 7))
    alone, together = Model(names), Model(names)
    alone.apply(quick(canary=6, max_unavailable="1"))
    together.apply(quick(canary=6, max_unavailable="3"))
    assert set(map(tuple, together.kinds().values())) == {("netkit",)}
    assert together.leftovers() == []
