"""`rollout report`: its forms, what no name can do to them, and how large they become."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt

from rollout.app.intervals import Interval, Kind
from rollout.app.record import Report, ShownVerdict
from rollout.cli.render import report_svg as svg
from rollout.cli.render.report_words import duration, interval, numbers, percent
from rollout.cli.report import rendered
from rollout.domain.codec import to_plain
from rollout.domain.journal import (
    Control,
    GateDecided,
    NodeDecided,
    Result,
    RolloutDecided,
    Verb,
)
from rollout.domain.lifecycle import NodeEvent, RolloutEvent
from rollout.domain.node import DatapathMode
from rollout.domain.plan import Excluded
from rollout.domain.policy import Policy, Waiver
from rollout.domain.step import StepKind
from rollout.domain.verdict import Status, Verdict
from tests import builders
from tests.app import evidence_documents as documents
from tests.app.evidence_documents import Telling
from tests.app.test_report import moved, reported
from tests.cli.conftest import Run, approved
from tests.fakes.store import MemoryJournalStore

VOID = frozenset({"meta", "input"})

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "]]></title></svg></style></details><script>alert(1)</script>",
    "--><!-- <![CDATA[",
    "{{ 7 * 7 }}{% raw %}{% endraw %}%s {0} ${x}",
    "line\nbreak\r\n# Heading\n\n- item\n1. one\n\n    code",
    "| a | b |\n| - | - |",
    "`code` ```sh\nrm\n``` ~~~",
    "[a](javascript:alert(1)) ![b](http://evil/x.png) https://evil <https://evil>",
    "&amp;&#x3c;script&#x3e; &lt;b&gt;",
    "\x00\x1b[2J\u202e\u2028 \ufffe bell\x07",
    "emoji \U0001f389 e\u0301 \u00fcml\u00e4ut \u65e5\u672c",
    "x" * 10_000,
    "word " * 2_500,
)


class Structure(HTMLParser):
    """Tags in order, with the names of their attributes; raises where they are not nested."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.open: list[str] = []
        self.attributes: set[tuple[str, str, str]] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs if name != "class")))
        self.attributes |= {(tag, name, value or "") for name, value in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, tag

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")


def structure(html: str) -> Structure:
    found = Structure()
    found.feed(html)
    found.close()
    assert found.open == []
    return found


def markdown_tags(text: str) -> list[str]:
    html = MarkdownIt("commonmark").enable("table").render(text)
    return re.findall(r"</?[a-z][a-z0-9]*", html)


def hostile_story(words: str) -> Telling:
    """A node that failed, with `words` wherever a person, cluster, node or document can put them."""
    plan = builders.plan_of((words,), Policy(target=DatapathMode.NETKIT))
    plan = replace(
        plan,
        purpose=words,
        policy=replace(plan.policy, waivers=(Waiver(words, words, words),)),
        excluded=(Excluded(words, (words, words)),),
        cluster=replace(plan.cluster, agent_image=words),
        nodes=tuple(replace(n, facts=replace(n.facts, kernel=words)) for n in plan.nodes),
    )
    story = Telling(MemoryJournalStore(), plan)
    story.begin(by=words, ticket=words)
    story.say(Control(Verb.PAUSE, words, words), Control(Verb.RESUME, words, words))
    story.say(NodeDecided(words, NodeEvent.START, words))
    looked = documents.full_set(1, "veth", median_us=200, middle=10)
    looked["agent"] |= {"datapath-mode": words, "drops": [{"reason": words, "direction": words, "packets": 3}]}
    looked["drops"]["drops"][0].update(reason=words, protocol=words)
    looked["policy"]["pairs"][0].update(id=words, result=words)
    looked["path"]["hops"][0]["kind"] = words
    looked["path"]["cost"] = {"programs": [{"name": words, "runs": 2, "run_ns": 300}]}
    looked["reach"]["bursts"][0].update(path=words, protocol=words, peer=words, peer_kind=words)
    looked["reach"]["cells"][0].update(id=words, ok=0, error=words)
    looked["reach"]["skipped"][0].update(path=words, why=words)
    story.step(words, StepKind.BASELINE, 5, documents=looked)
    told = {words: words, "compared": {words: {words: words, "before_us": 1}}, "rows": [{"id": words}, [words]]}
    verdict = Verdict(words, words, Status.FAIL, words, told)
    story.step(
        words,
        StepKind.VERIFY,
        5,
        Result.FAILED,
        verdicts=(verdict,),
        documents=looked,
        code=words,
        reason=words,
        hint=words,
    )
    story.say(NodeDecided(words, NodeEvent.QUARANTINE, words), GateDecided(0, words, words))
    story.say(RolloutDecided(RolloutEvent.HOLD, words))
    return story


@cache
def benign() -> Report:
    return reported(hostile_story("plain"))


@pytest.mark.parametrize("words", HOSTILE, ids=lambda w: w[:12].encode("ascii", "backslashreplace").decode())
def test_no_words_change_the_structure(words: str) -> None:
    found = reported(hostile_story(words))
    page, expected = structure(rendered(found, "html")), structure(rendered(benign(), "html"))
    assert page.found == expected.found
    dynamic = {"id", "href"}
    assert {(t, n) for t, n, _ in page.attributes} == {(t, n) for t, n, _ in expected.attributes} | {
        (t, n) for t, n, v in page.attributes if n == "class" and v == "long"
    }
    assert all(re.fullmatch(r"#?(node-\d+|show-\w+)", v) for t, n, v in page.attributes if n in dynamic)
    markdown = rendered(found, "md")
    assert markdown_tags(markdown) == markdown_tags(rendered(benign(), "md"))
    for text in (rendered(found, "html"), markdown, rendered(found, "text")):
        assert not set("\x00\x1b\x07\u202e\u2028\r") & set(text)
    for picture in pictures(rendered(found, "html")):
        ElementTree.fromstring(picture)
    assert json.loads(rendered(found, "json"))["nodes"][0]["name"] == words


def pictures(html: str) -> list[str]:
    return re.findall(r"<svg .*?</svg>", html, re.S)


def test_the_page_is_whole_and_reaches_nothing_outside() -> None:
    html = rendered(reported(moved(4, failing=(2,))), "html")
    page = structure(html)
    tags = {tag for tag, _ in page.found}
    assert not tags & {"script", "link", "iframe", "img", "object", "embed", "form", "base", "audio", "video", "use"}
    assert not {n for _, n, _ in page.attributes if n.startswith("on") or n in {"src", "style", "action", "srcset"}}
    outside = [v for _, n, v in page.attributes if "//" in v and n != "xmlns"]
    assert outside == [] and "url(" not in html and "@import" not in html
    assert "default-src 'none'" in html
    drawn = pictures(html)
    assert len(drawn) > 10
    for picture in drawn:
        root = ElementTree.fromstring(picture)
        title = root.find("{http://www.w3.org/2000/svg}title")
        assert title is not None and title.text
        assert not re.search(r"nan|inf", picture)


WORDS = (
    "3 of 4 nodes moved to netkit and proven; 1 rolled back.",
    "Bob Reviewer for CHG-4711",
    "ann on ops-1",
    "led back to its old mode; now rolled back",
    "failed (check-latency)",
    "netkit/l3: 5",
    "18 of 4,000 packets",
    "same-node udp v4 p99",
    "time across the pod's link",
    "connections per second",
    "NO_SOCKET (ipv4/udp)",
    "nkr-guard/a-to-b-8793",
    "same-node/udp/v4 p50: before_us 210, now_us 20200",
    "CPU per packet of the datapath",
    "the probe pod has no IPv6 address",
    "Nothing is open.",
)


@pytest.mark.parametrize("form", ["text", "html", "md"])
def test_every_form_holds_the_facts(form: str) -> None:
    text = rendered(reported(moved(4, failing=(2,))), form)
    text = text.replace("\\", "").replace("&#39;", "'") if form != "text" else text
    flat = re.sub(r"\s+", " ", text)
    assert [words for words in WORDS if words not in flat] == []


def test_json_is_all_of_it_in_whole_numbers() -> None:
    found = reported(moved(2, failing=(1,)))
    values = json.loads(rendered(found, "json"), parse_float=lambda text: pytest.fail(f"a float: {text}"))
    assert values["schema"] == 1 and values == json.loads(json.dumps(to_plain(found)))
    assert values["nodes"][1]["detail"]["back"]["links"] == {"veth": 5}
    assert values["cohorts"][0]["latency"][0]["before"].keys() == {"value", "low", "high", "kind"}


def test_not_measured_is_said_and_not_drawn() -> None:
    story = Telling(MemoryJournalStore(), builders.plan_of(("n1",), Policy(target=DatapathMode.NETKIT)))
    story.begin()
    story.say(NodeDecided("n1", NodeEvent.START))
    story.step("n1", StepKind.BASELINE, 4, documents={"links": builders.links_document()})
    story.step("n1", StepKind.VERIFY, 4, documents={"links": builders.links_document("netkit/l3")})
    story.say(NodeDecided("n1", NodeEvent.FINISH))
    found = reported(story)
    html, text = rendered(found, "html"), rendered(found, "text")
    assert "Round-trip times: not measured" in text and "TCP: not measured." in text and "Loss: not measured" in text
    assert "not measured: no reach probe answered" in text and "the probe was not run" in text
    titles = [re.findall(r"<title>(.*?)</title>", picture)[0] for picture in pictures(html)]
    assert not [t for t in titles if "Round-trip" in t or "Lost" in t or "TCP" in t or "link" in t]


# --- the command ---------------------------------------------------------------------------------------------------


def test_the_command_writes_every_form(run: Run, tmp_path: Path) -> None:
    rollout = approved(run, "--target", "netkit")
    for form, begins in (
        ("text", f"Rollout {rollout}: approved"),
        ("md", "# Rollout"),
        ("json", "{"),
        ("html", "<!DOC"),
    ):
        result = run("report", rollout, "--output", form)
        assert result.exit_code == 0, result.stderr
        assert result.stdout.lstrip().startswith(begins) and result.stderr == ""
    out = tmp_path / "report.html"
    result = run("report", "--output", "html", "--out", str(out), "--all")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"wrote {out}\n")
    assert "bob for CHG-7" in out.read_text(encoding="utf-8")


def test_the_command_says_what_is_wrong(run: Run, tmp_path: Path) -> None:
    result = run("report")
    assert result.exit_code == 4 and "rollout plan" in result.stderr
    approved(run, "--target", "netkit")
    result = run("report", "ffffff")
    assert result.exit_code == 5 and "cannot find a rollout" in result.stderr
    for out in (tmp_path, tmp_path / "none" / "report.html"):
        result = run("report", "--out", str(out))
        assert result.exit_code == 2 and "cannot write to" in result.stderr


# --- many nodes ----------------------------------------------------------------------------------------------------


def test_five_thousand_nodes_fit_into_ten_megabytes() -> None:
    """One report of a hundred nodes, its nodes told fifty times: what a node costs in each form is what counts."""
    hundred = reported(moved(100, failing=(42,)))
    (cohort,) = hundred.cohorts
    nodes = tuple(
        replace(node, name=f"worker-{tens:02d}-{node.name}.example.internal")
        for tens in range(50)
        for node in hundred.nodes
    )
    found = replace(
        hundred,
        nodes=nodes,
        failures=hundred.failures * 50,
        cohorts=(replace(cohort, nodes=tuple(n.name for n in nodes), apart=cohort.apart * 50),),
    )
    assert len(found.nodes) == 5000 and sum(1 for n in found.nodes if n.detail) == 50
    sizes = {form: len(rendered(found, form).encode()) for form in ("html", "md", "json", "text")}
    assert max(sizes.values()) < 10_000_000, sizes
    html = rendered(found, "html")
    assert html.count("<details") == 50 and nodes[-1].name in html


# --- words and pictures --------------------------------------------------------------------------------------------


def test_numbers_have_units() -> None:
    shown = [duration(v, "us") for v in (0, 310, 1500, 12_345, 1_000_000)]
    assert shown == ["0 µs", "310 µs", "1.5 ms", "12.3 ms", "1 s"]
    assert [duration(v, "ns") for v in (64, 2048, -1500)] == ["64 ns", "2.05 µs", "-1.5 µs"]
    assert [percent(v) for v in (0, 1, 9180, 22_500, 1_000_000)] == ["0 %", "0 %", "0.92 %", "2.2 %", "100 %"]


def test_an_open_end_is_said() -> None:
    assert interval(Interval(1690), "us") == "1.69 ms"
    assert interval(Interval(1690, 1500, None, Kind.CONFIDENCE), "us") == "1.69 ms (1.5 ms to open)"
    assert interval(Interval(1690, 1500, 1900, Kind.RANGE), "us") == "1.69 ms (range 1.5 ms to 1.9 ms)"
    few = interval(Interval(1690, None, None, Kind.CONFIDENCE), "us")
    assert few == "1.69 ms (too few independent samples for an interval)"


def test_a_verdicts_numbers_are_grouped_by_what_was_compared() -> None:
    told = {
        "error_ppm": 1000,
        "counts": {"veth": 2},
        "compared": {"p50": {"now": 2, "limit": None}},
        "names": [1, 2],
        "no": [],
    }
    shown = numbers(ShownVerdict("latency", "pass", "well", told))
    assert shown == "error_ppm 1000, names 1, 2; counts: veth 2; p50: now 2, limit not told"


@pytest.mark.parametrize("values", [[1.0], [0.0], [1.0, 1e9], [310.0, 311.0], [5e5, 5e5]])
def test_scales_hold_their_values(values: Sequence[float]) -> None:
    for scale in (svg.log_scale(values, 0, 100), svg.linear_scale(values, 0, 100, 0.5)):
        assert all(0 <= scale.place(value) <= 100 for value in values)
        assert 2 <= len(scale.ticks) <= 12
        places = [scale.place(tick) for tick in scale.ticks]
        assert places == sorted(places) and places[-1] == pytest.approx(100)


def test_a_plot_of_nothing_is_nothing() -> None:
    series = (svg.Series("before", svg.BEFORE),)
    assert not svg.ranges("t", [svg.RangeRow("a", (None,))], series, str, "x")
    assert not svg.histogram("t", [(0, 0)], series, str, "x")
    assert not svg.gantt("t", [svg.GanttRow("a", ())], str, "x")
    assert not svg.stacked("t", [])


def test_a_long_time_has_few_ticks() -> None:
    rows = [svg.GanttRow("a", (svg.Bar(0, 40 * 86400.0, "#000", "long"),))]
    picture = svg.gantt("t", rows, lambda s: f"{s:.0f}", "x")
    assert 3 <= picture.count("<text") <= 12


def test_the_clock_of_a_picture_is_utc() -> None:
    html = rendered(reported(moved(1)), "html")
    started = builders.NOW + timedelta(seconds=900)
    assert isinstance(started, datetime) and f"from {started:%Y-%m-%d %H:%M:%S} UTC" in html
