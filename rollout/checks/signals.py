"""External gates: what is asked of another system, and what its answer means. No answer and no data hold.

Source of the Prometheus answer's shape: https://prometheus.io/docs/prometheus/latest/querying/api/ (instant queries,
expression query result formats). Sample values are text in JSON there ("0.5", "NaN", "+Inf"), and stay text here.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import quote

from rollout.checks.gate import GateAnswer
from rollout.domain.policy import ExternalGate, GateSource
from rollout.domain.signal import SignalAnswer, Subjects
from rollout.domain.verdict import GateDecision

_PLACE = re.compile(r"\$(node|wave)\b")
_COMPARISON = re.compile(r"\s*(<=|>=|==|!=|<|>)\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?)\s*", re.ASCII)
_OPERATORS: Mapping[str, Callable[[Decimal, Decimal], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
_TELLING = 3
"""Samples named in a reason."""
_SHORT = 160
"""Longest piece of another system's words that is repeated."""


# --- asking ------------------------------------------------------------------------------------------------------


def promql(query: str, subjects: Subjects) -> str:
    """The query with `$node` as a quoted string and `$wave` as a quoted regular expression of the wave's nodes.

    Use them as `{node=$node}` and `{node=~$wave}`: Prometheus anchors regular expressions at both ends.
    """
    values = {"node": subjects.node, "wave": "|".join(_re2(name) for name in subjects.nodes)}
    return _PLACE.sub(lambda match: _quoted(values[match[1]]), query)


def web_address(url: str, subjects: Subjects) -> str:
    """The URL of an HTTP check with `$node` as the name and `$wave` as names joined by commas, percent-encoded."""
    values = {"node": subjects.node, "wave": ",".join(subjects.nodes)}
    return _PLACE.sub(lambda match: quote(values[match[1]], safe=""), url)


def names_node(gate: ExternalGate) -> bool:
    """Whether the gate speaks of `$node`, which only a gate of scope node knows."""
    return any(match == "node" for match in _PLACE.findall(gate.query + " " + gate.url))


def _quoted(text: str) -> str:
    """A PromQL string in double quotes; escapes as in Go (prometheus.io, querying basics, string literals)."""
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n"}
    return '"' + "".join(escapes.get(c, c if c.isprintable() else f"\\U{ord(c):08x}") for c in text) + '"'


def _re2(text: str) -> str:
    return re.sub(r"[\\.+*?()|\[\]{}^$]", lambda match: "\\" + match[0], text)


# --- judging -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Comparison:
    """`<op> number`, as in `< 0.01`."""

    op: str
    bound: Decimal

    def met_by(self, value: Decimal) -> bool:
        """Whether `value` (no NaN) stands in this relation to the bound."""
        return _OPERATORS[self.op](value, self.bound)


def parse_comparison(text: str) -> Comparison | None:
    """A comparison; None when the text is none."""
    match = _COMPARISON.fullmatch(text)
    return Comparison(match[1], Decimal(match[2])) if match else None


def judge_signal(gate: ExternalGate, answer: SignalAnswer) -> GateAnswer:
    """What the answer of a gate's system means."""
    if answer.error:
        return GateAnswer(gate.name, GateDecision.HOLD, f"no answer: {_short(answer.error)}")
    judge = _judge_prometheus if gate.source is GateSource.PROMETHEUS else _judge_http
    decision, reason = judge(gate, answer)
    return GateAnswer(gate.name, decision, reason)


def _judge_http(_gate: ExternalGate, answer: SignalAnswer) -> tuple[GateDecision, str]:
    if answer.status == 204:
        return GateDecision.PROCEED, "it answered 204"
    if answer.status != 200:
        return GateDecision.HOLD, _status_words(answer.status)
    told = _json_object(answer.body)
    if told is None or "decision" not in told:
        return GateDecision.PROCEED, "it answered 200"
    found = next((d for d in GateDecision if d.value == told["decision"]), None)
    if found is None:
        known = ", ".join(d.value for d in GateDecision)
        return GateDecision.HOLD, f"its decision {_short(told['decision'])!r} is none of {known}"
    return found, _short(told.get("reason") or f"it said {found.value}")


def _judge_prometheus(gate: ExternalGate, answer: SignalAnswer) -> tuple[GateDecision, str]:
    told = _json_object(answer.body)
    if answer.status != 200 or told is None or told.get("status") != "success":
        said = f": {_short(told['error'])}" if told and told.get("error") else ""
        odd = "its answer is not that of a Prometheus query" if answer.status == 200 else _status_words(answer.status)
        return GateDecision.HOLD, odd + said
    samples = _samples(told.get("data"))
    if samples is None:
        return GateDecision.HOLD, "the query gives neither a vector nor a scalar of numbers"
    if not samples:
        return GateDecision.HOLD, "the query has no data"
    decision, reason = _judge_samples(gate, samples)
    if decision is GateDecision.PROCEED and told.get("warnings"):  # of a partial answer, for one
        return GateDecision.HOLD, f"the answer came with a warning: {_short(told['warnings'])}"
    return decision, reason


def _judge_samples(gate: ExternalGate, samples: tuple[_Sample, ...]) -> tuple[GateDecision, str]:
    back, proceed = parse_comparison(gate.roll_back_when), parse_comparison(gate.proceed_when)
    known = [s for s in samples if not s.value.is_nan()]
    bad = [s for s in known if back is not None and back.met_by(s.value)]
    if bad:
        return GateDecision.ROLL_BACK, f"{_named(bad)} ({gate.roll_back_when.strip()} rolls back)"
    if len(known) < len(samples):
        return GateDecision.HOLD, f"{_named(s for s in samples if s.value.is_nan())} is no number"
    if proceed is None:
        return GateDecision.HOLD, "it does not say when to proceed"
    short = [s for s in samples if not proceed.met_by(s.value)]
    if short:
        return GateDecision.HOLD, f"{_named(short)} (wanted {gate.proceed_when.strip()})"
    return GateDecision.PROCEED, f"{_named(samples)} ({gate.proceed_when.strip()})"


@dataclass(frozen=True, slots=True)
class _Sample:
    labels: str
    text: str
    value: Decimal


def _samples(data: Any) -> tuple[_Sample, ...] | None:
    """The samples of a result; None for other kinds of result and for values that are not numbers."""
    if not isinstance(data, dict):
        return None
    kind, result = data.get("resultType"), data.get("result")
    if kind == "scalar":
        pairs: list[tuple[Any, Any]] = [({}, result)]
    elif kind == "vector" and isinstance(result, list) and all(isinstance(row, dict) for row in result):
        pairs = [(row.get("metric") or {}, row.get("value")) for row in result]
    else:
        return None
    samples = [_sample(labels, pair) for labels, pair in pairs]
    return None if any(s is None for s in samples) else tuple(s for s in samples if s is not None)


def _sample(labels: Any, pair: Any) -> _Sample | None:
    if not (isinstance(labels, dict) and isinstance(pair, list) and len(pair) == 2 and isinstance(pair[1], str)):
        return None
    try:
        value = Decimal(pair[1])
    except InvalidOperation:
        return None
    if value.is_snan():
        return None
    shown = ", ".join(f"{key}={value}" for key, value in sorted(labels.items()))
    return _Sample(f"{{{shown}}}" if shown else "", pair[1], value)


def _named(samples: Iterable[_Sample]) -> str:
    rows = list(samples)
    shown = ", ".join(f"{_short(s.labels)}{' ' if s.labels else ''}{_short(s.text)}" for s in rows[:_TELLING])
    return shown + (f" and {len(rows) - _TELLING} more" if len(rows) > _TELLING else "")


def _status_words(status: int) -> str:
    more = "; redirects are not followed" if 300 <= status < 400 else ""
    return f"it answered with HTTP status {status}{more}"


def _json_object(body: str) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _short(said: Any) -> str:
    text = " ".join(str(said).split())
    return text if len(text) <= _SHORT else text[: _SHORT - 1] + "…"
