"""A rollout as the commands drive it: exit codes, what goes where, what is refused."""

from __future__ import annotations

import json
import os
import signal
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

from rollout.cli.wiring import Reach
from rollout.domain.journal import RolloutDecided, RunStarted
from rollout.domain.lifecycle import RolloutEvent
from tests.cli.conftest import QUICK, Run, approved, planned
from tests.cli.simulated import SimulatedWiring
from tests.fakes.store import MemoryJournalStore


def test_a_plan_is_printed_saved_and_written(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "plan.json"
    result = run("plan", *QUICK, "--out", str(out))
    assert result.exit_code == 0
    assert "3 nodes of 3 from veth to netkit: 3 by restarting the agent, 0 by a reboot" in result.stdout
    assert out.read_bytes().endswith(b"}\n")
    assert "wrote" in result.stderr and "wrote" not in result.stdout
    shown = run("show", str(out))
    assert shown.exit_code == 0
    assert "nobody has approved it" in shown.stdout


def test_the_whole_way(run: Run, wiring: SimulatedWiring) -> None:
    rollout = approved(run)
    result = run("apply", rollout)
    assert result.exit_code == 0, result.stderr
    assert set(wiring.cluster.modes.values()) == {"netkit"}
    assert "3 done" in result.stdout
    assert "n1: cordon begins" in result.stderr
    assert "n1: cordon begins" not in result.stdout
    assert run("verify", "--expect", "netkit").exit_code == 0
    assert run("verify", "--expect", "veth").exit_code == 5
    back = run("rollback", rollout, "--output", "json")
    assert back.exit_code == 0, back.stderr
    again = json.loads(back.stdout)["id"]
    assert run("apply", again).exit_code == 4
    assert run("approve", again, "--by", "bob", "--ticket", "CHG-8").exit_code == 0
    assert run("apply", again).exit_code == 0
    assert set(wiring.cluster.modes.values()) == {"veth"}


def test_a_held_rollout_exits_3_and_goes_on(run: Run, wiring: SimulatedWiring) -> None:
    rollout = approved(run)
    wiring.model.stick("web-1")
    result = run("apply", rollout)
    assert result.exit_code == 3
    assert "so it is never evicted" in result.stdout
    why = run("why", "n2", rollout)
    assert "it is held" in why.stdout
    assert "rollout resume" in why.stdout
    assert json.loads(run("status", "--output", "json").stdout)["phase"] == "held"
    wiring.model.loosen()
    assert run("resume").exit_code == 0


def test_failed_nodes_make_exit_5(run: Run, wiring: SimulatedWiring) -> None:
    rollout = approved(run, "--failure-budget", "3")
    wiring.model.blind.add("n2")
    result = run("apply", rollout)
    assert result.exit_code == 5, result.stderr
    assert "skipped" in result.stdout


def test_an_unapproved_used_or_expired_plan_is_refused(run: Run, wiring: SimulatedWiring) -> None:
    rollout = planned(run)
    result = run("apply", rollout)
    assert result.exit_code == 4
    assert result.stderr.startswith(f"error: cannot apply plan {rollout}: nobody has approved it\n  next: have it")
    assert result.stdout == ""
    assert run("approve", rollout, "--by", "bob", "--ticket", "C", "--valid", "1h").exit_code == 0
    twice = run("approve", rollout, "--by", "bob", "--ticket", "C")
    assert twice.exit_code == 4 and "still stands" in twice.stderr
    wiring.model.clock.wait(timedelta(hours=2).total_seconds())
    expired = run("apply", rollout)
    assert expired.exit_code == 4 and "expired" in expired.stderr
    assert run("approve", rollout, "--by", "bob", "--ticket", "C").exit_code == 0
    assert run("apply", rollout).exit_code == 0
    used = run("apply", rollout)
    assert used.exit_code == 4 and "was applied already" in used.stderr
    late = run("approve", rollout, "--by", "eve", "--ticket", "C")
    assert late.exit_code == 4 and "was applied already" in late.stderr


def test_a_plan_of_another_cluster_is_refused(run: Run, wiring: SimulatedWiring) -> None:
    rollout = approved(run)
    wiring.cluster.uid = "cluster-2"
    result = run("apply", rollout)
    assert result.exit_code == 4 and "--context" in result.stderr


def test_an_edited_newer_or_unknown_plan_file_is_refused(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "plan.json"
    assert run("plan", *QUICK, "--out", str(out)).exit_code == 0
    good = json.loads(out.read_text())
    edited = tmp_path / "edited.json"
    edited.write_text(json.dumps(good, indent=1))
    for command in ("show", "apply"):
        result = run(command, str(edited))
        assert result.exit_code == 4 and "is not what rollout wrote" in result.stderr
    newer = tmp_path / "newer.json"
    newer.write_text(json.dumps(good | {"schema": 99}))
    result = run("show", str(newer))
    assert result.exit_code == 4 and "the newer program" in result.stderr
    changed = tmp_path / "changed.json"
    changed.write_text(out.read_text().replace('"canary":1', '"canary":2'))
    result = run("approve", str(changed), "--by", "b", "--ticket", "t")
    assert result.exit_code == 4 and "no plan of this text" in result.stderr
    result = run("show", str(tmp_path / "absent.json"))
    assert result.exit_code == 2 and "cannot read the plan" in result.stderr


def test_an_unknown_node_names_the_near_one(run: Run) -> None:
    result = run("plan", "--node", "n11")
    assert result.exit_code == 2
    assert "did you mean n1?" in result.stderr


def test_preflight_exits_0_or_4(run: Run, wiring: SimulatedWiring) -> None:
    assert run("preflight").exit_code == 0
    wiring.model.blind.add("n2")
    result = run("preflight")
    assert result.exit_code == 4
    assert "connection refused" in result.stdout


def test_verify_says_when_it_could_not_tell(run: Run, wiring: SimulatedWiring) -> None:
    wiring.model.blind.add("n2")
    assert run("verify").exit_code == 6


def test_verify_removes_its_pods_when_it_is_terminated(run: Run, wiring: SimulatedWiring) -> None:
    def terminated(node: str, probe: str) -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the signal was not heard")

    wiring.model.observer.answer = terminated
    assert run("verify").exit_code == 130
    assert wiring.model.probes.made
    assert wiring.model.leftovers() == []


def test_waiving_needs_a_name_and_a_reason(run: Run) -> None:
    result = run("plan", "--waive", "agents-ready")
    assert result.exit_code == 2 and "--waive-by" in result.stderr
    result = run("plan", "--waive", "agent-ready", "--waive-by", "b", "--waive-reason", "r")
    assert result.exit_code == 2 and "did you mean agents-ready?" in result.stderr


def test_journal_commands_open_no_cluster(run: Run, wiring: SimulatedWiring) -> None:
    rollout = approved(run)
    wiring.opened.clear()
    for command in (("status",), ("status", "--all"), ("show", rollout), ("why", "n1"), ("abort",)):
        assert run(*command).exit_code == 0, command
    assert set(wiring.opened) == {Reach.JOURNAL}


def test_without_any_rollout_it_says_so(run: Run) -> None:
    for command in ("status", "pause", "abort", "resume", "rollback", "show"):
        result = run(command)
        assert result.exit_code == 4 and "next: make a plan: rollout plan" in result.stderr, command


def test_interrupt_once_pauses_and_the_rollout_is_held(run: Run, wiring: SimulatedWiring) -> None:
    rollout = approved(run)
    sent = threading.Event()

    def interrupt(_when: str, method: str, _args: tuple[Any, ...]) -> None:
        if method == "evict" and not sent.is_set():
            sent.set()
            os.kill(os.getpid(), signal.SIGINT)

    wiring.cluster.hook = interrupt
    result = run("apply", rollout)
    assert result.exit_code == 3
    assert "pausing: no new node begins" in result.stderr
    assert "paused by Ctrl-C" in result.stdout
    assert run("resume").exit_code == 0


def test_terminate_stops_with_130_and_resume_settles(run: Run, wiring: SimulatedWiring) -> None:
    rollout = approved(run)
    sent = threading.Event()

    def terminate(_when: str, method: str, _args: tuple[Any, ...]) -> None:
        if method == "evict" and not sent.is_set():
            sent.set()
            os.kill(os.getpid(), signal.SIGTERM)

    wiring.cluster.hook = terminate
    result = run("apply", rollout)
    assert result.exit_code == 130
    assert "rollout resume" in result.stderr
    wiring.dead.add(4242)
    shown = run("status").stdout
    assert "which is gone" in shown
    assert f"rollout resume {rollout}" in shown
    assert run("resume").exit_code == 0


def test_resume_beside_a_running_process_takes_the_pause_back(run: Run, wiring: SimulatedWiring) -> None:
    rollout = approved(run)
    store = MemoryJournalStore(wiring.state)
    wiring.model.stick("web-0")
    assert run("apply", rollout).exit_code == 3
    running = RunStarted("ann", "ops-1", 4242, 2)
    with store.exclusive(rollout):
        wiring.state.holder = "process 4242 on ops-1"
        store.append(rollout, [running, RolloutDecided(RolloutEvent.RESUME)], now=wiring.now())
        assert run("pause").exit_code == 0
        result = run("resume")
        assert result.exit_code == 0
        assert "goes on in the process that applies it: 4242 on ops-1" in result.stderr
        wiring.state.holder = "process 99 on ops-1 (another rollout)"
        assert run("resume").exit_code == 4


def test_abort_before_and_while_it_runs(run: Run, wiring: SimulatedWiring) -> None:
    rollout = approved(run)
    assert "no node was touched" in run("abort").stdout
    assert run("apply", rollout).exit_code == 4
    assert run("approve", rollout, "--by", "eve", "--ticket", "C").exit_code == 4
    assert planned(run) != rollout
    second = approved(run, "--canary", "2")
    wiring.model.stick("web-1")
    assert run("apply", second).exit_code == 3
    assert "rollout resume" in run("abort", second).stdout
    assert run("resume", second).exit_code == 130
    assert not any(n.unschedulable for n in wiring.cluster.nodes.values())
