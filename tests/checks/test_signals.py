"""What answers of other systems mean, from answers as Prometheus gives them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.checks.signals import judge_signal, names_node, parse_comparison, promql, web_address
from rollout.domain.policy import ExternalGate, GateScope, GateSource
from rollout.domain.signal import SignalAnswer, Subjects
from rollout.domain.verdict import GateDecision

PROCEED, HOLD, BACK = GateDecision.PROCEED, GateDecision.HOLD, GateDecision.ROLL_BACK
QUERY = ExternalGate("errors", GateSource.PROMETHEUS, "http://prom", GateScope.WAVE, "q", "< 0.01", "> 0.05")
CHECK = ExternalGate("slo", GateSource.HTTP, "http://slo")


def vector(*values: Any, **more: Any) -> SignalAnswer:
    rows = [{"metric": {"node": f"n{i}"}, "value": [1435781451.781, v]} for i, v in enumerate(values, 1)]
    document = {"status": "success", "data": {"resultType": "vector", "result": rows}, **more}
    return SignalAnswer(200, json.dumps(document))


def scalar(value: str) -> SignalAnswer:
    document = {"status": "success", "data": {"resultType": "scalar", "result": [1435781451.781, value]}}
    return SignalAnswer(200, json.dumps(document))


@pytest.mark.parametrize(
    ("answer", "decision", "words"),
    [
        (vector("0.001", "0"), PROCEED, "{node=n1} 0.001, {node=n2} 0 (< 0.01)"),
        (vector("0.001", "0.01"), HOLD, "{node=n2} 0.01 (wanted < 0.01)"),
        (vector("0.001", "0.06"), BACK, "{node=n2} 0.06 (> 0.05 rolls back)"),
        (vector("0.02", "0.06"), BACK, "{node=n2} 0.06"),
        (vector("NaN", "0.06"), BACK, "{node=n2} 0.06"),
        (vector("0", "NaN"), HOLD, "{node=n2} NaN is no number"),
        (vector("+Inf"), BACK, "+Inf"),
        (vector("-Inf"), PROCEED, "-Inf"),
        (vector("1e-05"), PROCEED, "1e-05"),
        (vector(), HOLD, "no data"),
        (vector("0", warnings=["partial response: store unreachable"]), HOLD, "partial response"),
        (vector("1", warnings=["partial response"]), BACK, "1 (> 0.05"),
        (scalar("0"), PROCEED, "0 (< 0.01)"),
        (scalar("7"), BACK, "7 (> 0.05 rolls back)"),
        (scalar("NaN"), HOLD, "no number"),
        (vector(*["0"] * 9), PROCEED, "and 6 more"),
        (SignalAnswer(error="it refuses connections"), HOLD, "no answer: it refuses connections"),
        (SignalAnswer(400, '{"status":"error","errorType":"bad_data","error":"parse error"}'), HOLD, "parse error"),
        (SignalAnswer(503, "down"), HOLD, "HTTP status 503"),
        (SignalAnswer(302, ""), HOLD, "redirects are not followed"),
        (SignalAnswer(200, "<html>log in</html>"), HOLD, "not that of a Prometheus query"),
        (SignalAnswer(200, '{"status":"success"}'), HOLD, "neither a vector nor a scalar"),
        (SignalAnswer(200, '{"status":"success","data":{"resultType":"matrix","result":[]}}'), HOLD, "neither"),
        (
            SignalAnswer(200, '{"status":"success","data":{"resultType":"vector","result":[{"value":[1,2]}]}}'),
            HOLD,
            "nei",
        ),
        (SignalAnswer(200, "[" * 100_000), HOLD, "not that of a Prometheus query"),
    ],
)
def test_prometheus(answer: SignalAnswer, decision: GateDecision, words: str) -> None:
    said = judge_signal(QUERY, answer)
    assert (said.gate, said.decision) == ("errors", decision)
    assert words in said.reason


@pytest.mark.parametrize(
    ("answer", "decision", "words"),
    [
        (SignalAnswer(200, ""), PROCEED, "200"),
        (SignalAnswer(200, "all is well"), PROCEED, "200"),
        (SignalAnswer(200, '{"status": "ok"}'), PROCEED, "200"),
        (SignalAnswer(200, "[]"), PROCEED, "200"),
        (SignalAnswer(204, ""), PROCEED, "204"),
        (SignalAnswer(200, '{"decision": "proceed"}'), PROCEED, "it said proceed"),
        (SignalAnswer(200, '{"decision": "hold", "reason": "change freeze"}'), HOLD, "change freeze"),
        (SignalAnswer(200, '{"decision": "roll-back", "reason": "burn\\nrate"}'), BACK, "burn rate"),
        (SignalAnswer(200, '{"decision": "maybe"}'), HOLD, "'maybe' is none of proceed, hold, roll-back"),
        (SignalAnswer(200, '{"decision": ["proceed"]}'), HOLD, "none of"),
        (SignalAnswer(500, '{"decision": "proceed"}'), HOLD, "HTTP status 500"),
        (SignalAnswer(404, ""), HOLD, "HTTP status 404"),
        (SignalAnswer(202, ""), HOLD, "HTTP status 202"),
        (SignalAnswer(301, ""), HOLD, "redirects"),
        (SignalAnswer(error="no answer within 10 s"), HOLD, "within 10 s"),
    ],
)
def test_http(answer: SignalAnswer, decision: GateDecision, words: str) -> None:
    said = judge_signal(CHECK, answer)
    assert said.decision is decision
    assert words in said.reason


def test_long_words_of_others_are_cut() -> None:
    said = judge_signal(CHECK, SignalAnswer(200, json.dumps({"decision": "hold", "reason": "x" * 10_000})))
    assert len(said.reason) < 200


@given(st.text(max_size=200), st.integers(200, 599), st.sampled_from([QUERY, CHECK]))
def test_no_text_whatever_rolls_back_or_breaks(body: str, status: int, gate: ExternalGate) -> None:
    said = judge_signal(gate, SignalAnswer(status, body))
    assert said.decision is not BACK
    assert gate is CHECK or said.decision is HOLD


@pytest.mark.parametrize("text", ["< 0.01", "<=1", " >= -2.5e3 ", "== 0", "!= .5", "> 1."])
def test_comparisons(text: str) -> None:
    assert parse_comparison(text) is not None


@pytest.mark.parametrize("text", ["", "0.01", "< ", "< abc", "=< 1", "< 1 2", "< NaN", "< 1e9999", "~ 1", "< ١"])
def test_what_is_no_comparison(text: str) -> None:
    assert parse_comparison(text) is None


def test_places_are_filled_with_quoted_strings() -> None:
    subjects = Subjects("canary", ("a.b", "c"), 'x"} or vector(1) #\\')
    assert promql("up{node=$node}", subjects) == 'up{node="x\\"} or vector(1) #\\\\"}'
    assert promql("up{node=~$wave} # $nodes $1 $waves", subjects) == 'up{node=~"a\\\\.b|c"} # $nodes $1 $waves'
    assert web_address("http://h/$node/$wave", Subjects("w", ("a", "b"), "x/../y?")) == "http://h/x%2F..%2Fy%3F/a%2Cb"


@given(st.text(max_size=50))
def test_a_quoted_string_never_ends_early(name: str) -> None:
    text = promql("$node", Subjects("w", (), name))
    assert text[0] == text[-1] == '"'
    inner, i = text[1:-1], 0
    while i < len(inner):
        assert inner[i] != '"'
        assert inner[i].isprintable()
        i += 2 if inner[i] == "\\" else 1
    assert i == len(inner)


def test_gates_that_speak_of_a_node() -> None:
    assert names_node(ExternalGate("a", GateSource.HTTP, "http://h/$node"))
    assert not names_node(ExternalGate("a", GateSource.PROMETHEUS, "http://h", query="up{node=~$wave}"))
