"""Rendering: hostile names stay names, colour stays off a pipe, every form holds the facts."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

from markdown_it import MarkdownIt

from rollout.cli.render.blocks import Block, Bullets, Commands, Heading, Pairs, Para, Table, Tone
from rollout.cli.render.json import plan_values, render_json
from rollout.cli.render.markdown import escaped, render_markdown
from rollout.cli.render.plan_page import plan_page
from rollout.cli.render.plan_view import PlanView
from rollout.cli.render.text import render_text
from rollout.cli.render.words import entry_line, failure, plain, span, until
from rollout.domain.approval import Approval
from rollout.domain.consent import judge_consent
from rollout.domain.errors import Refused
from rollout.domain.journal import (
    Approved,
    Body,
    Control,
    Entry,
    GateDecided,
    Intent,
    NodeDecided,
    Outcome,
    PlanSaved,
    Result,
    RolloutDecided,
    RunEnded,
    RunStarted,
    Verb,
    Waiting,
    WaveTakenBack,
)
from rollout.domain.lifecycle import NodeEvent, RolloutEvent
from rollout.domain.node import DatapathMode, PodRef
from rollout.domain.plan import Excluded, Finding, PlannedPod
from rollout.domain.policy import CheckLevel, ExternalGate, GateScope, GateSource, OnFailure, Policy
from rollout.domain.step import StepKind, Track
from tests import builders

HOSTILE = "evil\x1b[2J\u202e|<img src=x>`[a](http://b)`\r\nerror: fake"

PLAN = builders.plan_of(("n1", "n2"), Policy(target=DatapathMode.NETKIT))


def test_plain_shows_what_steers_a_terminal() -> None:
    assert plain("web-1 ünïcode 日本") == "web-1 ünïcode 日本"
    shown = plain(HOSTILE)
    assert "\x1b" not in shown and "\n" not in shown and "\u202e" not in shown
    assert "\\x1b[2J\\u202e" in shown


def test_every_block_is_made_safe_in_both_forms() -> None:
    page: list[Block] = [
        Heading(HOSTILE),
        Para(HOSTILE),
        Bullets((HOSTILE,)),
        Pairs(((HOSTILE, HOSTILE),)),
        Table((HOSTILE, "b"), ((HOSTILE, "c"),)),
        Commands((HOSTILE,)),
    ]
    for text in (render_text(page), render_markdown(page)):
        assert "\x1b" not in text and "\u202e" not in text and "\r" not in text
        assert not any(line.strip().startswith("error: fake") for line in text.splitlines())
    html = MarkdownIt("commonmark").enable("table").render(render_markdown(page))
    assert "<img" not in html and "<a " not in html and "&lt;img" in html
    assert html.count("<td") == 4  # a pipe in a name opens no cell, a line end no row


def test_markdown_escapes_what_would_be_markup() -> None:
    assert escaped("a_b*c|d") == r"a\_b\*c\|d"
    assert escaped("- x") == r"\- x"
    assert escaped("1. x") == r"1\. x"
    assert escaped("https://x") == r"https\://x"


def test_colour_only_when_asked() -> None:
    page: list[Block] = [Para("good", Tone.GOOD), Table(("a",), (("b",),), (Tone.BAD,))]
    assert "\x1b" not in render_text(page)
    assert "\x1b[32m  good\x1b[0m" in render_text(page, colour=True)


def test_a_plan_in_all_forms() -> None:
    web = PlannedPod(PodRef("shop", "web-1", "u1"), "ReplicaSet/web", ("shop/web",), "emptyDir data ends with the pod")
    node = replace(
        PLAN.nodes[0],
        evictions=(web,),
        daemon_pods=(PlannedPod(PodRef("logs", "logd-1", "u2"), "DaemonSet/logd"),),
        stragglers=(PlannedPod(PodRef("net", "probe-1", "u3"), "DaemonSet/probe"),),
        risks=("it is cordoned already and will stay so",),
    )
    plan = replace(
        PLAN,
        nodes=(node, PLAN.nodes[1]),
        excluded=(Excluded("n3", ("node-ready: the node is not Ready",)),),
        findings=(
            *PLAN.findings,
            Finding("scrub", "n1", "waived", "no scrub (waived by ann: tested)", "", "row 6"),
            Finding("version-guard", "", "warn", "may start over old links", "use method reboot", "row 2"),
        ),
    )
    approval = Approval(plan.digest, "bob", "CHG-7", builders.NOW, builders.NOW + timedelta(hours=8))
    consent = judge_consent((approval,), plan.digest, (), makers=(), now=builders.NOW, checks={})
    page = plan_page(PlanView(plan, plan.digest, (approval,), consent))
    text, markdown = render_text(page), render_markdown(page)
    for words in (
        plan.digest, "2 nodes of 2 from veth to netkit", "canary", "at most 1 node out of service at once",
        "rollout abort", "rollout rollback", "CHG-7", "node-ready: the node is not Ready", "waived by ann",
        "use method reboot", "risk: it is cordoned already", "ReplicaSet/web", "shop/web", "emptyDir data",
        "DaemonSet/logd", "straggler", "setting datapath-mode", "30 m", "clear-stragglers",
        "The way of a node by restart: 2 nodes",
    ):  # fmt: skip
        assert words in text, words
        assert escaped(words) in markdown, words
    values = json.loads(render_json(plan_values(plan, plan.digest, (approval,))))
    assert values["digest"] == plan.digest
    assert values["approvals"][0]["by"] == "bob"
    assert values["plan"] == json.loads(plan.encode())


def test_a_plan_says_what_proves_a_node_and_what_follows_when_it_does_not() -> None:
    policy = replace(
        PLAN.policy,
        checks={"agent-health": CheckLevel.ADVISORY},
        on_failure=OnFailure.HOLD_ROLLOUT,
        on_check_failure={"links": OnFailure.ROLL_BACK_WAVE},
        gates=(
            ExternalGate("slo", GateSource.HTTP, "https://slo.example/", timeout_s=5),
            ExternalGate(
                "errors", GateSource.PROMETHEUS, "http://prom", GateScope.NODE, "e{node=$node}", "< 0.01", "> 1"
            ),
        ),
    )
    text = render_text(plan_page(PlanView(replace(PLAN, policy=policy), PLAN.digest)))
    for words in (
        "no other begins, whatever the budget says",
        "when it is the check links that fails, the node and all nodes of its wave are led back",
        "the gate slo is asked for each wave", "the gate errors is asked for each node",
        "GET https://slo.example/ within 5 s", "e{node=$node} at http://prom within 10 s", "every value < 0.01",
        "any value > 1", "python:3.13-alpine", "5000 us or 150 %", "held before it is touched",
    ):  # fmt: skip
        assert words in " ".join(text.split()), words
    rows = [line.split() for line in text.splitlines()]
    assert ["links", "required", "roll-back-wave"] in [[*row[:2], row[-1]] for row in rows if row]
    assert ["agent-health", "advisory", "-"] in [[*row[:2], row[-1]] for row in rows if row]


def test_the_form_of_an_error() -> None:
    error = Refused("code", "cannot do it", context="while\nreading", hint="do this")
    assert failure(error) == "error: cannot do it\n  while\n  reading\n  next: do this"
    assert failure(Refused("code", "cannot\x1b")) == "error: cannot\\x1b"


def test_spans() -> None:
    assert [span(s) for s in (0, 59, 60, 3600, 5400, 90061)] == ["0 s", "59 s", "1 m", "1 h", "1 h 30 m", "1 d 1 h"]
    assert until(timedelta(seconds=90)) == "in 1 m 30 s"
    assert until(timedelta(seconds=-90)) == "passed 1 m 30 s ago"


def test_every_kind_of_entry_has_words() -> None:
    later = builders.at(60)
    cases: dict[Body, str] = {
        PlanSaved("d" * 64, "c"): "rollout: plan dddddddddddd saved",
        Approved("d", "bob", "CHG-7", later): "rollout: approved by bob for CHG-7, until 2026-11-23 12:01:00 UTC",
        RunStarted("ann", "h", 7, 1): "rollout: taken up by ann on h, process 7",
        RunEnded("held"): "rollout: process ended: held",
        GateDecided(0, "hold", "not well"): "rollout: gate of wave 0: hold: not well",
        WaveTakenBack(1, ("n1", "n2"), "n2 failed"): "rollout: wave 1 is taken back (n1, n2): n2 failed",
        Control(Verb.PAUSE, "ann", "lunch"): "rollout: pause asked by ann: lunch",
        RolloutDecided(RolloutEvent.HOLD, "why"): "rollout: decided: hold: why",
        NodeDecided("n1", NodeEvent.HOLD, "why"): "n1: decided: hold: why",
        Waiting("n1", StepKind.DRAIN, "a budget", "do x"): "n1: drain waits: a budget; next: do x",
    }
    for body, words in cases.items():
        assert entry_line(Entry(1, builders.NOW, body)) == f"12:00:00 {words}"
    intent = Intent("n1", Track.BACK, StepKind.DRAIN, 2, {}, later, 1)
    assert entry_line(Entry(1, builders.NOW, intent)) == "12:00:00 n1: drain (back) begins, try 2"
    end = Outcome("n1", Track.FORWARD, StepKind.DRAIN, 1, Result.DONE, settled=True)
    assert entry_line(Entry(1, builders.NOW, end)) == "12:00:00 n1: drain done (found so after a restart)"
