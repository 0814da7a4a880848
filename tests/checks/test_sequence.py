"""Several windows, controls, what is missing, and fault-free noise: the judgement over time."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollout.checks.catalog import CHECKS, NEEDS_BPF, decide, judge_node, levels
from rollout.domain.inventory import Observation
from rollout.domain.node import DatapathMode
from rollout.domain.policy import CheckLevel, ProbeRules, Tolerances, WithoutBpf
from rollout.domain.verdict import Status
from tests.builders import NOW
from tests.checks.documents import (
    POLICY,
    Documents,
    baseline,
    edited,
    judge,
    observed,
    sound,
    with_status,
)

BURSTS = {"probe": "reach", "rows": "bursts", "where": {}}


def bursts(
    rng: random.Random, *, loss: float = 0.0, delay_us: int = 0, sent: int = 400, base_us: int = 300
) -> Documents:
    """A sound node with bursts drawn anew."""
    documents = sound()
    redraw(documents, rng, loss, delay_us, sent, base_us)
    return documents


def redraw(
    documents: Documents, rng: random.Random, loss: float = 0.0, delay_us: int = 0, sent: int = 400, base_us: int = 300
) -> Documents:
    for burst in documents["reach"]["bursts"]:
        received = sum(rng.random() >= loss for _ in range(sent))
        rtt = [delay_us + int(base_us * rng.lognormvariate(0, 0.6)) for _ in range(received)]
        burst |= {"sent": sent, "received": received, "rtt_us": rtt}
    return documents


def status(verdicts: dict[str, Any], check: str) -> Status:
    found: Status = verdicts[check].status
    return found


def share_failing(check: str, runs: int, **world: Any) -> float:
    rng = random.Random(17)
    failing = 0
    for _ in range(runs):
        before = redraw(baseline(), rng)
        failing += status(judge(bursts(rng, **world), before), check) is Status.FAIL
    return failing / runs


def test_two_percent_loss_is_found_in_the_first_window() -> None:
    assert share_failing("loss", 100, loss=0.02) >= 0.95


def test_a_delay_of_20_ms_is_found_in_the_first_window() -> None:
    assert share_failing("latency", 25, delay_us=20_000) == 1.0


def test_a_loss_of_a_tenth_of_a_percent_never_fails() -> None:
    assert share_failing("loss", 100, loss=0.001) == 0.0


def test_a_slow_network_may_vary_by_its_own_measure() -> None:
    """With round trips of 30 ms the percentage counts, not the 5 ms."""
    rng = random.Random(1)
    before = redraw(baseline(), rng, base_us=30_000)
    assert status(judge(bursts(rng, base_us=45_000), before), "latency") is Status.PASS
    assert status(judge(bursts(rng, base_us=150_000), before), "latency") is Status.FAIL


def test_packets_that_wait_on_a_busy_node_fail_only_when_it_stays_busy() -> None:
    """As seen right after an agent's restart: median and p90 far up, the fastest packet as fast as ever."""
    rng = random.Random(6)
    before, history, found = redraw(baseline(), rng), list[Documents](), []
    for _ in range(5):
        busy = bursts(rng)
        for burst in busy["reach"]["bursts"]:
            burst["rtt_us"] = [rtt + rng.randrange(60_000) for rtt in burst["rtt_us"]]
            burst["rtt_us"][7] = 250
        verdict = judge(busy, before, history=history)["latency"]
        found.append(verdict.status)
        history.append(busy)
        assert verdict.status is Status.FAIL or "packets wait on a busy node" in verdict.message
    assert found == [Status.INCONCLUSIVE] * 3 + [Status.FAIL] * 2
    assert status(judge(bursts(rng), before, history=history), "latency") is Status.PASS


def test_peeking_at_a_sound_node_for_many_windows_never_fails_it() -> None:
    rng = random.Random(23)
    for _ in range(6):
        before, history = redraw(baseline(), rng, loss=0.003), list[Documents]()
        for _ in range(8):
            now = bursts(rng, loss=0.003)
            verdicts = judge(now, before, history=history)
            assert with_status(verdicts, Status.FAIL) == set()
            history.append(now)


def test_a_small_loss_on_one_path_is_shown_by_patience() -> None:
    """2 % on one of four bursts: too little for the first window, plain after some."""
    before, history, found = redraw(baseline(), random.Random(5), sent=1600), list[Documents](), []
    for lost in (5, 8, 9, 7):
        now = bursts(random.Random(lost))
        burst = now["reach"]["bursts"][1]
        burst |= {"received": 400 - lost, "rtt_us": burst["rtt_us"][: 400 - lost]}
        found.append(status(judge(now, before, history=history), "loss"))
        history.append(now)
    assert found[0] is Status.INCONCLUSIVE
    assert found[1:] == [Status.FAIL] * 3


def test_what_is_over_is_not_held_against_the_node() -> None:
    rng = random.Random(9)
    ill = bursts(rng, loss=0.05, delay_us=20_000)
    assert with_status(judge(ill, history=[]), Status.FAIL) == {"loss", "latency"}
    assert with_status(judge(bursts(rng), history=[ill]), Status.FAIL) == set()


def test_a_rise_that_may_be_chance_is_looked_at_again() -> None:
    now = edited(sound(), [BURSTS | {"set": {"received": 397}}])
    verdict = judge(now)["loss"]
    assert (verdict.status, verdict.evidence["compared"]["all bursts"]["change_ppm"]) == (Status.INCONCLUSIVE, 7500)
    assert judge(sound(), history=[now])["loss"].status is Status.PASS


def test_the_numbers_of_a_comparison_are_in_its_evidence() -> None:
    now = edited(sound(), [BURSTS | {"set": {"received": 380}}])
    evidence = judge(now)["loss"].evidence
    row = evidence["compared"]["all bursts"]
    assert (row["lost"], row["sent"], row["lost_before"], row["sent_before"]) == (80, 1600, 0, 1600)
    assert row["change_ppm"] == 50_000
    assert 20_000 < row["change_low_ppm"] < 50_000 < row["change_high_ppm"] < 80_000
    assert evidence["tolerance_ppm"] == POLICY.tolerances.loss_ppm
    row = judge(sound())["latency"].evidence["compared"]["same-node/udp/v4 p50"]
    assert row["change_low_us"] < row["change_us"] < row["change_high_us"] < 5000
    assert row["ratio_low_percent"] < row["ratio_percent"] < row["ratio_high_percent"]


def test_what_the_controls_show_too_is_not_the_nodes_fault() -> None:
    rng = random.Random(4)
    ill = bursts(rng, loss=0.05, delay_us=20_000)
    as_ill, well = redraw(baseline(), rng, loss=0.05, delay_us=20_000), redraw(baseline(), rng)
    shared = judge(ill, controls=[(baseline(), as_ill)])
    assert with_status(shared, Status.FAIL) == set()
    assert with_status(shared, Status.INCONCLUSIVE) == {"loss", "latency"}
    assert "nodes not yet migrated" in shared["loss"].message
    assert "nodes not yet migrated" in shared["latency"].message
    half = judge(ill, controls=[(baseline(), as_ill), (baseline(), well)])
    assert with_status(half, Status.FAIL) == {"loss", "latency"}


def test_controls_of_drops_and_mixed_mode() -> None:
    drop = {
        "probe": "drops",
        "rows": "drops",
        "where": {"reason": "NO_SOCKET"},
        "set": {"reason": "CPU_BACKLOG", "packets": 90},
    }
    count = {"probe": "agent", "rows": "drops", "where": {"reason": "Unsupported L3 protocol"}, "set": {"packets": 30}}
    control = (baseline(), edited(baseline(), [drop, count]))
    verdicts = judge(edited(sound(), [drop, count]), controls=[control])
    assert with_status(verdicts, Status.INCONCLUSIVE) == {"drops", "mixed-mode"}
    assert with_status(verdicts, Status.FAIL) == set()


def test_a_counter_that_began_anew_is_counted_from_nothing() -> None:
    count = {"probe": "agent", "rows": "drops", "where": {"reason": "Unsupported L3 protocol"}}
    before = edited(baseline(), [count | {"set": {"packets": 900}}])
    assert judge(sound(), before)["mixed-mode"].status is Status.PASS
    few = edited(sound(), [count | {"set": {"packets": 903}}])
    assert judge(few, before)["mixed-mode"].status is Status.INCONCLUSIVE
    many = edited(sound(), [count | {"set": {"packets": 960}}])
    assert judge(many, before)["mixed-mode"].status is Status.FAIL
    silent = edited(sound(), [{"probe": "agent", "rows": "", "set": {"drops": None}}])
    assert judge(silent, before)["mixed-mode"].status is Status.INCONCLUSIVE


def test_what_a_program_denies_bears_another_reason_on_netkit() -> None:
    """Denied packets: TC_INGRESS behind tc, no reason at all behind netkit. The same rate is the same."""
    denied = {"probe": "drops", "rows": "drops", "where": {"packets": 6}}
    before = edited(baseline(), [denied | {"set": {"packets": 400}}])
    now = edited(sound(), [denied | {"set": {"packets": 410}}])
    assert judge(now, before)["drops"].status is Status.PASS
    assert judge(now)["drops"].status is Status.FAIL


def test_noise_reasons_are_shown_and_never_judged() -> None:
    noisy = {"probe": "drops", "rows": "drops", "where": {"reason": "NO_SOCKET"}, "set": {"packets": 9000}}
    verdict = judge(edited(sound(), [noisy]))["drops"]
    assert (verdict.status, verdict.evidence["noise"]) == (Status.PASS, {"NO_SOCKET": 9000})


# --- what is missing -------------------------------------------------------------------------------------------------


def unread(documents: Documents, code: str = "") -> dict[str, Observation]:
    return {
        probe: Observation("n1", probe, NOW, {}, error="BCC is missing: apt install python3-bpfcc", code=code)
        for probe in documents
    }


def test_nothing_read_is_inconclusive_in_every_check() -> None:
    for seen in ({}, unread(sound())):
        verdicts = judge_node("n1", seen, observed(baseline()), DatapathMode.NETKIT, policy=POLICY)
        assert {v.status for v in verdicts} == {Status.INCONCLUSIVE}
        assert decide(verdicts, levels(DatapathMode.NETKIT, POLICY)) is Status.INCONCLUSIVE


def test_a_lost_baseline_is_inconclusive_and_never_a_pass() -> None:
    verdicts = judge(sound(), {})
    assert with_status(verdicts, Status.INCONCLUSIVE) == set(CHECKS) - {
        "links", "agent-mode", "host-routing", "agent-health", "path",
    }  # fmt: skip
    assert with_status(verdicts, Status.FAIL) == set()


def test_a_node_that_never_had_a_baseline_is_judged_by_what_must_hold_anywhere() -> None:
    verdicts = judge(sound(), None)
    assert with_status(verdicts, Status.SKIPPED) == {
        "mixed-mode", "policy-opened", "policy-closed", "latency", "drops", "tcp",
    }  # fmt: skip
    assert all(v.excused for v in verdicts.values() if v.status is Status.SKIPPED)
    assert decide(verdicts.values(), levels(DatapathMode.NETKIT, POLICY)) is Status.PASS
    dead = {"ok": 0, "rtt_us": [], "error": "no answer"}
    own = edited(sound(), [{"probe": "reach", "rows": "cells", "where": {"path": "same-node"}, "set": dead}])
    assert judge(own, None)["reach"].status is Status.FAIL
    foreign = edited(sound(), [{"probe": "reach", "rows": "cells", "where": {"path": "service"}, "set": dead}])
    assert judge(foreign, None)["reach"].status is Status.INCONCLUSIVE
    assert judge(bursts(random.Random(1), loss=0.05), None)["loss"].status is Status.FAIL
    bare = edited(
        sound(), [{"probe": "programs", "rows": "devices", "where": {"name": "cilium_host"}, "set": {"attached": []}}]
    )
    assert judge(bare, None)["programs"].status is Status.FAIL


@pytest.mark.parametrize(
    ("rule", "decided"), [(WithoutBpf.HOLD, Status.INCONCLUSIVE), (WithoutBpf.ACCEPT, Status.PASS)]
)
def test_without_ebpf_the_policy_decides(rule: WithoutBpf, decided: Status) -> None:
    policy = replace(POLICY, probes=ProbeRules(without_bpf=rule))
    lacking = unread({"path": {}, "drops": {}, "tcp": {}}, "bpf-unavailable")
    seen = dict(observed(sound())) | lacking
    verdicts = judge_node("n1", seen, dict(observed(baseline())) | lacking, DatapathMode.NETKIT, policy=policy)
    found = {v.status for v in verdicts if v.check in NEEDS_BPF}
    assert found == {Status.SKIPPED if rule is WithoutBpf.ACCEPT else Status.INCONCLUSIVE}
    assert all("apt install python3-bpfcc" in v.message for v in verdicts if v.check in NEEDS_BPF)
    assert decide(verdicts, levels(DatapathMode.NETKIT, policy)) is decided


def test_a_cell_that_failed_at_the_baseline_too_is_left_out_by_name() -> None:
    dead = [
        {"probe": "reach", "rows": "cells", "where": {"id": "pod-to-api/tcp/v4/0"}, "set": {"ok": 0, "error": "no"}}
    ]
    verdict = judge(edited(sound(), dead), edited(baseline(), dead))["reach"]
    assert verdict.status is Status.PASS
    assert "pod-to-api/tcp/v4/0" in verdict.message
    all_dead = [{"probe": "reach", "rows": "cells", "where": {}, "set": {"ok": 0, "error": "no"}}]
    assert judge(edited(sound(), all_dead), edited(baseline(), all_dead))["reach"].status is Status.INCONCLUSIVE
    assert judge(edited(sound(), all_dead))["reach"].message.startswith("nothing passes")


def test_a_partial_answer_twice_in_a_row_fails() -> None:
    partial = [{"probe": "reach", "rows": "cells", "where": {"id": "same-node/icmp/v4/64"}, "set": {"ok": 1}}]
    now = edited(sound(), partial)
    assert judge(now)["reach"].status is Status.INCONCLUSIVE
    assert judge(now, history=[now])["reach"].status is Status.FAIL
    assert judge(now, history=[sound()])["reach"].status is Status.INCONCLUSIVE


def test_a_request_that_is_not_made_any_more_is_inconclusive() -> None:
    now = sound()
    now["reach"]["cells"] = [cell for cell in now["reach"]["cells"] if cell["path"] != "inbound"]
    assert judge(now)["reach"].status is Status.INCONCLUSIVE
    other = edited(
        sound(), [{"probe": "reach", "rows": "cells", "where": {"path": "cross-node"}, "set": {"peer": "n9"}}]
    )
    assert judge(other)["reach"].status is Status.PASS
    dead = {"peer": "n9", "ok": 0, "rtt_us": [], "error": "no answer"}
    other = edited(sound(), [{"probe": "reach", "rows": "cells", "where": {"path": "cross-node"}, "set": dead}])
    assert judge(other)["reach"].status is Status.INCONCLUSIVE


def test_where_dns_is_not_asked_it_is_excused() -> None:
    now, before = sound(), baseline()
    for documents in (now, before):
        documents["reach"]["cells"] = [cell for cell in documents["reach"]["cells"] if cell["path"] != "dns"]
    verdict = judge(now, before)["dns"]
    assert (verdict.status, verdict.excused) == (Status.SKIPPED, True)
    assert levels(DatapathMode.NETKIT, POLICY, baseline=observed(before))["dns"] is CheckLevel.ADVISORY
    assert levels(DatapathMode.NETKIT, POLICY, baseline=observed(baseline()))["dns"] is CheckLevel.REQUIRED
    assert judge(now)["dns"].status is Status.INCONCLUSIVE


def test_a_cluster_that_enforces_nothing_is_excused_from_what_it_never_denied() -> None:
    open_all = [{"probe": "policy", "rows": "pairs", "where": {}, "set": {"result": "open"}}]
    verdict = judge(edited(sound(), open_all), edited(baseline(), open_all))["policy-opened"]
    assert (verdict.status, verdict.excused) == (Status.SKIPPED, True)
    unknown = [{"probe": "policy", "rows": "pairs", "where": {}, "set": {"result": "unknown"}}]
    assert judge(sound(), edited(baseline(), unknown))["policy-opened"].status is Status.INCONCLUSIVE
    gone = sound()
    gone["policy"]["pairs"] = []
    assert with_status(judge(gone), Status.INCONCLUSIVE) == {"policy-opened", "policy-closed"}


def test_hooks_that_this_kernel_has_not_are_no_doubt_but_new_gaps_are() -> None:
    old = [{"name": "eth0", "why": "cannot read tcx-ingress: kernel 6.1 has no such hook"}]
    denied = [{"name": "lxc67d48fa832e8", "why": "cannot read netkit-peer: Operation not permitted"}]
    then = edited(baseline(), [{"probe": "programs", "rows": "", "set": {"unread": old}}])
    now = edited(sound(), [{"probe": "programs", "rows": "", "set": {"unread": old}}])
    assert judge(now, then)["programs"].status is Status.PASS
    edits = [
        {"probe": "programs", "rows": "", "set": {"unread": denied}},
        {"probe": "programs", "rows": "devices", "where": {"name": "lxc67d48fa832e8"}, "set": {"attached": []}},
    ]
    assert judge(edited(sound(), edits), then)["programs"].status is Status.INCONCLUSIVE


def test_levels_follow_the_policy() -> None:
    policy = replace(POLICY, checks={"drops": CheckLevel.OFF, "loss": CheckLevel.ADVISORY, "tcp": CheckLevel.REQUIRED})
    verdicts = judge(bursts(random.Random(2), loss=0.1), policy=policy)
    assert "drops" not in verdicts
    assert verdicts["loss"].status is Status.FAIL
    counted = levels(DatapathMode.NETKIT, policy, baseline=observed(baseline()))
    assert decide(verdicts.values(), counted) is Status.PASS
    del verdicts["tcp"]
    assert decide(verdicts.values(), counted) is Status.INCONCLUSIVE


# --- noise -----------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32),
    base_us=st.integers(60, 8000),
    drift=st.floats(0.6, 1.5),
    lost=st.lists(st.integers(0, 1), min_size=4, max_size=4),
    noise=st.integers(0, 500),
    stray=st.integers(0, 15),
    dropped=st.integers(0, 3),
)
def test_plausible_noise_never_fails_a_sound_node(
    seed: int, base_us: int, drift: float, lost: list[int], noise: int, stray: int, dropped: int
) -> None:
    rng = random.Random(seed)
    before, now = redraw(baseline(), rng, base_us=base_us), bursts(rng, base_us=int(base_us * drift))
    for burst, gone in zip(now["reach"]["bursts"], lost, strict=True):
        kept = burst["rtt_us"][: 400 - gone]
        rng.shuffle(kept)
        burst |= {"received": len(kept), "rtt_us": kept, "reordered": rng.randrange(20)}
    for cell in rng.sample(now["reach"]["cells"], dropped):
        cell["ok"] = max(1, cell["ok"] - 1)
    now["drops"]["drops"] += [{"reason": "NO_SOCKET", "packets": noise}, {"reason": "TCP_CSUM", "packets": stray}]
    rng.shuffle(now["reach"]["cells"])
    verdicts = judge(now, before)
    assert with_status(verdicts, Status.FAIL) == set(), {c: v.message for c, v in verdicts.items()}


def test_two_hundred_sound_nodes_pass() -> None:
    rng = random.Random(200)
    for _ in range(200):
        before, now = redraw(baseline(), rng, loss=0.0005), bursts(rng, loss=0.0005)
        verdicts = judge(now, before)
        assert with_status(verdicts, Status.FAIL) == set()


def test_judging_takes_a_moment_only() -> None:
    """400 samples before and now on each of four paths, everything judged."""
    rng = random.Random(0)
    cases = [(redraw(baseline(), rng), bursts(rng, loss=0.01)) for _ in range(5)]
    began = time.process_time()
    for before, now in cases:
        judge(now, before)
    assert (time.process_time() - began) / len(cases) < 0.1


def test_a_stricter_error_needs_more_evidence() -> None:
    now = edited(sound(), [BURSTS | {"set": {"received": 396}}])
    strict = replace(POLICY, tolerances=Tolerances(error_ppm=1))
    assert judge(now)["loss"].status is Status.FAIL
    assert judge(now, policy=strict)["loss"].status is Status.INCONCLUSIVE
