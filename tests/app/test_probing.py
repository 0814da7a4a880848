"""The probe rig around a rollout: which peers, from when to when, and what becomes of it when something goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.app.apply import Application
from rollout.app.probing import baseline_of
from rollout.app.probing_inputs import Peer, Surrounding, choose_peers, probe_inputs, usable_copies
from rollout.app.verify import How, verify
from rollout.domain.errors import NotFound, NotPermitted, Refused
from rollout.domain.journal import Intent, Outcome
from rollout.domain.lifecycle import NodePhase, RolloutPhase
from rollout.domain.node import DatapathMode, PodRef
from rollout.domain.policy import CheckLevel, Policy, ProbeRules, WithoutBpf
from rollout.domain.step import StepKind
from rollout.domain.verdict import Status
from rollout.ports.probes import PolicyCopy, PolicySample, ProbePod, Rig, Targets, WantedPod
from tests.support.world import Model, quick

VETH, NETKIT = "veth", "netkit/l3"
ON_THE_WIRE = ("reach", "dns", "loss", "latency", "policy-opened", "policy-closed", "path", "drops", "tcp")
OFF = dict.fromkeys(ON_THE_WIRE, CheckLevel.OFF)


# --- peers and inputs ------------------------------------------------------------------------------------------------


def test_one_peer_in_the_mode_left_and_one_in_the_mode_moved_to() -> None:
    fleet = [Peer("n1", VETH), Peer("n2", VETH), Peer("n3", NETKIT), Peer("n4", NETKIT)]
    assert choose_peers("n2", (VETH, NETKIT), fleet, (), 2) == (Peer("n1", VETH), Peer("n3", NETKIT))
    assert choose_peers("n2", (VETH, NETKIT), fleet, ("n4",), 2) == (Peer("n1", VETH), Peer("n4", NETKIT))
    assert choose_peers("n2", (VETH, NETKIT), fleet, (), 1) == (Peer("n1", VETH),)
    assert choose_peers("n2", (VETH, NETKIT), fleet[1:2], (), 2) == ()
    assert choose_peers("n2", (VETH, NETKIT), [Peer("n9")], (), 2) == (Peer("n9"),)
    assert choose_peers("n2", (VETH, NETKIT), fleet, (), 0) == ()


NAMES = st.lists(st.sampled_from([f"n{i}" for i in range(12)]), unique=True)


@given(names=NAMES, node=st.sampled_from([f"n{i}" for i in range(12)]), preferred=NAMES, most=st.integers(0, 3))
def test_peers_are_others_of_the_kinds_asked_for_whatever_the_order(
    names: list[str], node: str, preferred: list[str], most: int
) -> None:
    fleet = [Peer(name, (VETH, NETKIT, "")[int(name[1:]) % 3]) for name in names]
    chosen = choose_peers(node, (VETH, NETKIT), fleet, preferred, most)
    assert chosen == choose_peers(node, (VETH, NETKIT), fleet[::-1], preferred, most)
    assert len(chosen) <= most
    assert node not in {p.node for p in chosen}
    kinds = [p.kind for p in chosen]
    assert len(kinds) == len(set(kinds))
    others = [p for p in fleet if p.node != node]
    assert bool(chosen) == bool(others and most)


NOTHING = PolicySample()


def around(sample: PolicySample = NOTHING, peers: tuple[Peer, ...] = (Peer("n2", VETH),)) -> Surrounding:
    pods = [ProbePod(PodRef("x", f"nkr-{role}", role), "n1", role, "r", "n1", (f"10.0.0.{n}",)) for n, role in
            enumerate("ab")]  # fmt: skip
    pods += [ProbePod(PodRef("x", f"nkr-{p.node}", p.node), p.node, "peer", "r", "n1", ("10.0.1.1",)) for p in peers]
    return Surrounding(Rig("r", "n1", "secret"), tuple(pods), peers, Targets(), sample, "192.0.2.1")


def test_each_allowed_pair_has_a_denied_one_and_ids_name_no_node() -> None:
    sample = PolicySample((PolicyCopy("web/db", (5432, 5433)), PolicyCopy("web/odd", (8793,))), (("web/x", "no port"),))
    policy = probe_inputs(around(sample), ProbeRules())["policy"]
    assert [(p["id"], p["from"]) for p in policy["pairs"]] == [
        ("nkr-guard/a-to-b/8792", "a"),
        ("nkr-guard/a-to-b/8793", "a"),
        ("nkr-guard/peer-to-b/8792", "peer:n2"),
        ("web/db/a-to-b/5432", "a"),
        ("web/db/a-to-b/5434", "a"),
        ("web/db/peer-to-b/5432", "peer:n2"),
    ]
    assert policy["skipped"] == [{"policy": "web/x", "why": "no port"}]


def test_a_copy_never_opens_a_port_of_our_own() -> None:
    copies = usable_copies(PolicySample((PolicyCopy("x/a", (8791, 80)), PolicyCopy("x/b", (8792,)))))
    assert copies == (PolicyCopy("x/a", (80,)),)


def test_what_is_not_there_is_left_out() -> None:
    reach = probe_inputs(around(peers=()), ProbeRules())["reach"]
    assert reach["peers"] == [] and reach["services"] == []
    assert "dns" not in reach and "api" not in reach


# --- a whole rollout -------------------------------------------------------------------------------------------------


def evidence(model: Model, rollout: str, step: StepKind) -> list[Mapping[str, Any]]:
    entries = model.world().store.read(rollout)
    return [e.body.evidence for e in entries if isinstance(e.body, Outcome) and e.body.step is step]


def test_the_rig_is_up_for_looks_only_and_reaches_both_modes() -> None:
    model = Model(("n1", "n2", "n3"))
    made = model.planned(quick(soak_fenced_s=60))
    up: dict[StepKind, set[str]] = {}

    def watch(when: str, method: str, args: tuple[Any, ...]) -> None:
        if method not in ("evict", "add_taint", "assign_mode", "uncordon") or when != "before":
            return
        steps = [e.body.step for e in model.world().store.read(made.record.id) if isinstance(e.body, Intent)]
        there = {p.ref.name for p in model.probes.leftovers(ProbeRules()) if not p.terminating}
        up.setdefault(steps[-1], set()).update(there)

    model.cluster.hook = watch
    assert Application(model.world(), made.record.id).start().phase is RolloutPhase.COMPLETED
    assert up[StepKind.ASSIGN_MODE] == up[StepKind.UNCORDON] == set()
    assert model.leftovers() == []
    assert model.probes.policies == {}
    kinds = [{p["kind"] for p in told["reach"]["peers"]} for told in model.observer.history if "reach" in told]
    assert {VETH} in kinds and {VETH, NETKIT} in kinds


def test_a_confirmed_node_says_how_long_after_its_agent_was_ready() -> None:
    model = Model()
    made = model.planned()
    Application(model.world(), made.record.id).start()
    for found in evidence(model, made.record.id, StepKind.CONFIRM_MODE):
        assert 0 < found["after_agent_ready_ms"] < 60_000
        assert found["looks"] == 1


def test_without_a_check_that_needs_pods_none_are_made() -> None:
    model = Model()
    model.probes.namespaces.clear()
    assert model.apply(quick(checks=OFF)).phase is RolloutPhase.COMPLETED
    assert model.probes.made == []


@pytest.mark.parametrize("fault", ["namespace", "rights"])
def test_what_would_keep_pods_from_being_made_refuses_before_anything_is_touched(fault: str) -> None:
    model = Model()
    made = model.planned()
    if fault == "namespace":
        model.probes.namespaces.clear()
    else:
        model.probes.forbidden = True
    with pytest.raises(NotFound if fault == "namespace" else NotPermitted):
        Application(model.world(), made.record.id).start()
    assert model.leftovers() == []
    model.probes.forbidden = False
    model.probes.namespaces.add("netkit-rollout")
    assert Application(model.world(), made.record.id).start().phase is RolloutPhase.COMPLETED


def test_leftovers_of_dead_runs_block_neither_plan_nor_drain() -> None:
    model = Model()
    rules = ProbeRules()
    for node in ("n1", "n2"):
        model.probes.ensure(
            Rig("dead-run", node, "t"), [WantedPod(node, "a"), WantedPod(node, "b")], rules, timeout_s=9
        )
    made = model.planned()
    assert not made.plan.excluded
    assert all("nkr-" not in pod.ref.name for node in made.plan.nodes for pod in node.evictions)
    assert Application(model.world(), made.record.id).start().phase is RolloutPhase.COMPLETED
    assert model.leftovers() == []


def broken_reach(model: Model, change: Callable[[dict[str, Any]], None], since: str = "netkit") -> None:
    """From the new mode on, what `reach` says is changed."""
    answer = model.observer.answer

    def changed(node: str, probe: str) -> Any:
        found = answer(node, probe)
        if probe == "reach" and model.cluster.modes.get(node) == since and not isinstance(found, str):
            found = dict(found)
            change(found)
        return found

    model.observer.answer = changed


def dead_cells(path: str) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        rows = document["cells"]
        document["cells"] = [row | {"ok": 0, "error": "timeout", "rtt_us": []} if row["path"] == path else row
                             for row in rows]  # fmt: skip

    return change


def test_what_the_rig_finds_broken_stops_the_rollout_at_one_node_and_leaves_no_pod() -> None:
    model = Model()
    made = model.planned()
    broken_reach(model, dead_cells("same-node"))
    end = Application(model.world(), made.record.id).start()
    first = made.plan.waves[0].nodes[0]
    assert end.phase is RolloutPhase.HELD
    assert end.node(first).phase is NodePhase.QUARANTINED
    last = end.node(first).last
    assert last is not None and last.code == "check-reach"
    assert not [p for p in model.cluster.pods.values() if p.is_probe and not p.terminating]


def test_a_peer_that_goes_away_is_not_held_against_the_node() -> None:
    """The peer is cordoned by a person in the middle of a look, which then fails: it is made again with another."""
    model = Model(("n1", "n2", "n3"))
    made = model.planned(quick(nodes=("n1",)))
    lost: list[str] = []
    answer = model.observer.answer

    def goes(node: str, probe: str) -> Any:
        found: Any = answer(node, probe)
        if probe == "reach" and model.cluster.modes.get(node) == "netkit" and not lost:
            lost.append(found["bursts"][-1]["peer"])
            model.cluster.change_node(lost[0], unschedulable=True)
            found = dict(found)
            dead_cells("cross-node")(found)
        return found

    model.observer.answer = goes
    assert Application(model.world(), made.record.id).start().phase is RolloutPhase.COMPLETED
    assert lost
    later = model.observer.history[-1]["reach"]["peers"]
    assert lost[0] not in {p["node"] for p in later}


def test_pods_that_do_not_come_up_on_a_changed_node_hold_it_in_the_kubelets_words() -> None:
    model = Model()
    made = model.planned()
    first = made.plan.waves[0].nodes[0]

    def stuck_from_now(when: str, method: str, args: tuple[Any, ...]) -> None:
        if method == "assign_mode":
            model.probes.stuck.add(first)

    model.cluster.hook = stuck_from_now
    end = Application(model.world(), made.record.id).start()
    assert end.node(first).phase is NodePhase.HELD
    assert "cannot use probe pod" in end.node(first).reason


def without_bpf(model: Model) -> None:
    answer = model.observer.answer
    gone = {"failed": True, "code": "bpf-unavailable", "message": "there is no BCC: install python3-bpfcc"}
    model.observer.answer = lambda node, probe: gone if probe in ("path", "drops", "tcp") else answer(node, probe)


def test_a_node_without_ebpf_is_held_untouched_unless_the_policy_accepts_it() -> None:
    model = Model()
    without_bpf(model)
    made = model.planned()
    end = Application(model.world(), made.record.id).start()
    first = made.plan.waves[0].nodes[0]
    assert end.node(first).phase is NodePhase.HELD
    assert "python3-bpfcc" in end.node(first).reason
    assert model.leftovers() == []
    accepting = Model()
    without_bpf(accepting)
    rules = ProbeRules(without_bpf=WithoutBpf.ACCEPT)
    assert accepting.apply(quick(probes=rules)).phase is RolloutPhase.COMPLETED


def test_a_long_soak_looks_again_and_again_and_ends_early_on_harm() -> None:
    model = Model()
    made = model.planned(quick(soak_fenced_s=3000))
    seen: list[str] = []
    answer = model.observer.answer

    def fails_late(node: str, probe: str) -> Any:
        found: Any = answer(node, probe)
        if probe == "reach" and model.cluster.modes.get(node) == "netkit":
            seen.append(node)
            if len(seen) > 6:
                found = dict(found)
                dead_cells("service")(found)
        return found

    model.observer.answer = fails_late
    began = model.clock.now()
    end = Application(model.world(), made.record.id).start()
    last = end.node(made.plan.waves[0].nodes[0]).last
    assert last is not None and (last.step, last.code) == (StepKind.SOAK, "check-reach")
    assert (model.clock.now() - began).total_seconds() < 2500


# --- verify on its own -----------------------------------------------------------------------------------------------


def test_verify_removes_its_pods_also_when_it_is_interrupted() -> None:
    model = Model()
    proofs = verify(model.world(), (), None)
    assert {p.status for p in proofs} == {Status.PASS}
    assert model.probes.made
    assert model.leftovers() == []

    def interrupted(node: str, probe: str) -> Any:
        raise KeyboardInterrupt

    model.observer.answer = interrupted
    with pytest.raises(KeyboardInterrupt):
        verify(model.world(), ("n1",), None)
    assert model.leftovers() == []


def test_verify_without_pods_makes_none() -> None:
    model = Model()
    how = How(Policy(target=DatapathMode.VETH), quick=True, pods=False)
    assert {p.status for p in verify(model.world(), (), None, how)} == {Status.PASS}
    assert model.probes.made == []
    assert {probe for _, probe in model.observer.asked} == {"links", "agent", "programs", "counters"}


def test_verify_against_the_baseline_of_a_rollout() -> None:
    model = Model()
    made = model.planned(quick(nodes=("n1",)))
    Application(model.world(), made.record.id).start()
    how = How(Policy(target=DatapathMode.VETH), baseline_from=made.record.id)
    assert verify(model.world(), ("n1",), None, how)[0].status is Status.PASS
    with pytest.raises(Refused, match="has no baseline of it"):
        verify(model.world(), ("n2",), None, how)
    broken_reach(model, dead_cells("dns"))
    assert verify(model.world(), ("n1",), None, how)[0].status is Status.FAIL


def test_a_peer_in_flight_or_out_of_service_is_never_chosen() -> None:
    names = tuple(f"n{i}" for i in range(1, 7))
    model = Model(names)
    made = model.planned(quick(canary=6, max_unavailable="3"))
    wrong: list[str] = []
    ensure = model.probes.ensure

    def watched(rig: Rig, wanted: Any, *args: Any, **more: Any) -> Any:
        out = model.cluster.out_of_service()
        wrong.extend(f"{rig.node}: {w.node}" for w in wanted if w.role == "peer" and w.node in out)
        return ensure(rig, wanted, *args, **more)

    model.probes = replace(model.probes)
    model.probes.ensure = watched  # type: ignore[method-assign]
    assert Application(model.world(), made.record.id).start().phase is RolloutPhase.COMPLETED
    assert wrong == []
    assert model.leftovers() == []


# --- controls --------------------------------------------------------------------------------------------------------


def probes_left(model: Model) -> list[str]:
    model.settle()
    return [pod.ref.name for pod in model.cluster.pods.values() if pod.is_probe]


def slower(model: Model, where: Callable[[str], bool], rollout: str, by_us: int = 20_000) -> None:
    """From the first verification on, every round trip takes longer on the nodes that `where` names."""
    answer = model.observer.answer

    def changed(node: str, probe: str) -> Any:
        found: Any = answer(node, probe)
        steps = [e.body.step for e in model.world().store.read(rollout) if isinstance(e.body, Intent)]
        if probe == "reach" and where(node) and StepKind.VERIFY in steps:
            rows = [row | {"rtt_us": [rtt + by_us for rtt in row["rtt_us"]]} for row in found["bursts"]]
            found = {**found, "bursts": rows}
        return found

    model.observer.answer = changed


def test_harm_that_a_control_shows_as_well_holds_the_node_and_does_not_fail_it() -> None:
    model = Model(("n1", "n2", "n3"))
    made = model.planned()
    slower(model, lambda _: True, made.record.id)
    end = Application(model.world(), made.record.id).start()
    first = end.node(made.plan.waves[0].nodes[0])
    assert first.phase is NodePhase.HELD
    assert "nodes not yet migrated became slower" in first.reason
    (control,) = evidence(model, made.record.id, StepKind.VERIFY)[-1]["controls"]
    assert control != made.plan.waves[0].nodes[0]
    assert probes_left(model) == []


@pytest.mark.parametrize("controls", [0, 1])
def test_harm_on_the_node_alone_fails_it(controls: int) -> None:
    model = Model(("n1", "n2", "n3"))
    made = model.planned(quick(probes=ProbeRules(controls=controls)))
    first = made.plan.waves[0].nodes[0]
    slower(model, lambda node: node == first, made.record.id)
    last = Application(model.world(), made.record.id).start().node(first).last
    assert last is not None and (last.step, last.code) == (StepKind.VERIFY, "check-latency")
    assert probes_left(model) == []


def test_controls_make_their_own_traffic_only_and_never_at_the_fast_look() -> None:
    model = Model(("n1", "n2", "n3"))
    made = model.planned(quick(nodes=("n1", "n2", "n3"), probes=ProbeRules(peers=1)))
    Application(model.world(), made.record.id).start()
    beside = [told for told in model.observer.history if "only" in told]
    assert beside
    assert {tuple(told) for told in beside} == {("only", "reach")}
    assert {tuple(told["only"]) for told in beside} == {("reach",)}
    assert all(told["reach"]["services"] == [] and "dns" not in told["reach"] for told in beside)
    assert {len(told["reach"]["peers"]) for told in beside} <= {0, 1}
    assert {told["reach"]["packets"] for told in beside} == {400, 1600}
    store = model.world().store
    rows = {name: [attempt for attempt, _ in store.observations(made.record.id, name)] for name in ("n1", "n2", "n3")}
    steps = {attempt.split("/")[3] for each in rows.values() for attempt in each if attempt.startswith("control/")}
    assert steps == {"baseline", "verify"}


def test_what_is_seen_of_a_control_is_not_its_own_baseline() -> None:
    model = Model(("n1", "n2"))
    made = model.planned()
    first, second = (name for wave in made.plan.waves for name in wave.nodes)
    Application(model.world(), made.record.id).start()
    rows = model.world().store.observations(made.record.id, second)
    assert rows[0][0] == f"control/{first}/forward/baseline/1/1"
    own = [observation for attempt, observation in rows if attempt.startswith("forward/baseline/")]
    assert own and all(seen in own for seen in baseline_of(model.world().store, made.record.id, second).values())
    assert not [a for a, _ in model.world().store.observations(made.record.id, first) if a.startswith("control/")]


def test_a_control_on_its_own_way_is_none_any_more() -> None:
    """Both nodes at once: each was the other's control at best at the baseline, and neither is one later."""
    names = ("n1", "n2", "n3", "n4")
    model = Model(names)
    made = model.planned(quick(canary=4, max_unavailable="2"))
    wrong: list[str] = []
    observe = model.observer.observe

    def watched(hosts: Any, probes: Any, **more: Any) -> Any:
        out = model.cluster.out_of_service()
        wrong.extend(f"{hosts[0].node}: {host.node}" for host in hosts[1:] if host.node in out)
        return observe(hosts, probes, **more)

    model.observer.observe = watched  # type: ignore[method-assign]
    assert Application(model.world(), made.record.id).start().phase is RolloutPhase.COMPLETED
    assert wrong == []
    assert model.leftovers() == []


def test_a_control_that_goes_away_during_the_look_counts_for_nothing() -> None:
    model = Model(("n1", "n2", "n3"))
    made = model.planned(quick(probes=ProbeRules(peers=0)))
    first = made.plan.waves[0].nodes[0]
    slower(model, lambda _: True, made.record.id)
    answer = model.observer.answer

    def goes(node: str, probe: str) -> Any:
        steps = [e.body.step for e in model.world().store.read(made.record.id) if isinstance(e.body, Intent)]
        if StepKind.VERIFY in steps and node != first and probe == "reach":
            model.cluster.change_node(node, unschedulable=True)
        return answer(node, probe)

    model.observer.answer = goes
    last = Application(model.world(), made.record.id).start().node(first).last
    assert last is not None and (last.step, last.code) == (StepKind.VERIFY, "check-latency")
    assert "controls" not in evidence(model, made.record.id, StepKind.VERIFY)[-1]


@pytest.mark.parametrize("trouble", ["blind", "stuck", "blind later"])
def test_a_control_that_cannot_be_had_is_left_out(trouble: str) -> None:
    model = Model(("n1", "n2", "n3"))
    made = model.planned(quick(canary=1, nodes=("n1", "n2"), probes=ProbeRules(peers=0)))
    answer = model.observer.answer
    asked: list[str] = []

    def blind(node: str, probe: str) -> Any:
        steps = [e.body.step for e in model.world().store.read(made.record.id) if isinstance(e.body, Intent)]
        mine = steps[-1] is not StepKind.BASELINE or trouble == "blind"
        if trouble != "stuck" and model.observer.told[node].get("only") and mine:
            asked.append(node)
            return "connection refused"
        return answer(node, probe)

    def stuck(when: str, method: str, args: tuple[Any, ...]) -> None:
        if trouble == "stuck" and method == "ensure_probes":
            rig, wanted = args
            model.probes.stuck = {w.node for w in wanted if w.node != rig.node}

    model.observer.answer, model.cluster.hook = blind, stuck
    assert Application(model.world(), made.record.id).start().phase is RolloutPhase.COMPLETED
    assert all("controls" not in found for found in evidence(model, made.record.id, StepKind.VERIFY))
    assert len(asked) <= 1
    assert model.leftovers() == []


def test_a_control_that_hangs_costs_no_step_its_deadline() -> None:
    model = Model(("n1", "n2", "n3"))
    made = model.planned(quick(nodes=("n1", "n2")))
    observe = model.observer.observe
    hung: list[int] = []

    def hangs(hosts: Any, probes: Any, *, wall_s: int, **more: Any) -> Any:
        found = dict(observe(hosts, probes, wall_s=wall_s, **more))
        for host in hosts[1:] if len(hosts) > 1 and "only" in more["inputs"].get(hosts[1].node, {}) else ():
            model.clock.wait(wall_s + 5)  # a batch is stopped a moment later
            hung.append(wall_s)
            found[host.node] = {probe: replace(seen, error="no answer in time") for probe, seen in
                                found[host.node].items()}  # fmt: skip
        return found

    model.observer.observe = hangs  # type: ignore[method-assign]
    assert Application(model.world(), made.record.id).start().phase is RolloutPhase.COMPLETED
    assert len(hung) == 1


def test_a_look_with_a_control_asks_for_little_more() -> None:
    """Its pods are asked for once per look, and once more while they start."""
    counted: dict[int, int] = {}
    for controls in (0, 1):
        model = Model(("n1", "n2", "n3"))
        calls: list[str] = []
        made = model.planned(quick(nodes=("n1", "n2"), soak_fenced_s=300, probes=ProbeRules(controls=controls)))

        def count(when: str, method: str, _args: tuple[Any, ...], calls: list[str] = calls) -> None:
            if when == "before" and method == "ensure_probes":
                calls.append(method)

        model.cluster.hook = count
        assert Application(model.world(), made.record.id).start().phase is RolloutPhase.COMPLETED
        looks = sum(found["looks"] for step in (StepKind.VERIFY, StepKind.SOAK)
                    for found in evidence(model, made.record.id, step))  # fmt: skip
        counted[controls] = len(calls)
    assert 0 < counted[1] - counted[0] <= looks
