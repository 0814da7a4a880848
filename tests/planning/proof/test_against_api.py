"""The proof's predictions against what evictions then really do, on random clusters.

ROLLOUT_PROOF_RUNS=N draws N clusters instead of a few. `pytest -s` prints how often each prediction met each outcome.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from rollout.domain.inventory import Inventory
from rollout.domain.node import DatapathMode
from rollout.domain.plan import Going, Wave
from rollout.domain.policy import DrainRules, Policy
from rollout.planning.proof import DrainProof, PodProof, prove
from tests.planning.proof.draw import Drawn, clusters
from tests.planning.proof.reality import Fact, RealDrain, Reality

RUNS = int(os.environ.get("ROLLOUT_PROOF_RUNS", "40"))
_TABLE: Counter[tuple[str, str]] = Counter()

_EXPECTED = {
    "now": {"accepted at first, placed at once", "accepted at first, no replacement"},
    "now, down until its node is back": {"accepted at first, placed later"},
    "waits for a budget": {
        "refused, then accepted, placed at once",
        "refused, then accepted, placed later",
        "refused, then accepted, no replacement",
        "held back",
    },
    "waits for a place": {"accepted at first, placed later"},
    "waits for one that never goes": {"never accepted", "held back"},
    "never: no eviction": {"never accepted"},
    "never: a knot": {"never accepted"},
    "never: no place": {"accepted at first, never placed", "refused, then accepted, never placed"},
    "never: comes back": {"accepted at first, on a fenced node", "refused, then accepted, on a fenced node"},
}


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    """Prints the table when all have run."""
    yield
    rows = [f"{predicted:34} {became:44} {number}" for (predicted, became), number in sorted(_TABLE.items())]
    sys.stdout.write("\n".join(["", f"{'predicted':34} {'became':44} pods", *rows, ""]))


def predicted(proof: PodProof) -> str:
    """The prediction as a row of the table."""
    no_place = any(words in proof.why for words in ("no place until", "fits on no node", "makes it again"))
    if proof.going is Going.NOW:
        return "now, down until its node is back" if proof.lands_on == proof.pod.node else "now"
    if proof.going is Going.WAITS and "never finds a place" in proof.why:
        return "waits for one that never goes"
    if proof.going is Going.WAITS:
        return "waits for a place" if no_place else "waits for a budget"
    if "comes straight back" in proof.why:
        return "never: comes back"
    if "wait for each other" in proof.why or "waits for this pod" in proof.why:
        return "never: a knot"
    return "never: no place" if no_place else "never: no eviction"


def agrees(word: str, became: str) -> bool:
    """Whether an outcome is what a prediction means."""
    return became in _EXPECTED[word]


def waves_of(names: list[str], canary: int) -> tuple[Wave, ...]:
    made: list[Wave] = []
    size, start = canary, 0
    while start < len(names):
        made.append(Wave(len(made), f"wave {len(made)}", tuple(names[start : start + size])))
        start, size = start + size, size * 2
    return tuple(made)


def take_through(drawn: Drawn, directory: Path) -> tuple[DrainProof, dict[str, Fact], str]:
    """Predict, then do. The text tells what the cluster looked like."""
    policy = Policy(
        target=DatapathMode.NETKIT,
        max_unavailable=str(drawn.max_unavailable),
        soft_taint=drawn.soft_taint,
        drain=DrainRules(evict_unowned=True),
    )
    with Reality(directory) as reality:
        reality.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        reality.create(*drawn.objects)
        reality.come_to_rest()
        for name in drawn.cordoned:
            reality.change_node(name, lambda spec: spec.update(unschedulable=True))
        reality.come_to_rest()
        snapshot = reality.snapshot()
        waves = waves_of(sorted(node.name for node in snapshot.nodes), drawn.canary)
        proof = prove(Inventory(snapshot, {}), policy, waves, ())
        facts = RealDrain(reality, policy, waves).run()
    placed = [f"{pod.ref} on {pod.node or 'nowhere'}{'' if pod.ready else ' not Ready'}" for pod in snapshot.pods]
    return proof, facts, "; ".join(placed)


def compare(drawn: Drawn) -> tuple[Counter[tuple[str, str]], list[str]]:
    """How often each prediction met each outcome, and the pods for which they differ."""
    with TemporaryDirectory() as directory:
        proof, facts, looked = take_through(drawn, Path(directory))
    told, wrong = Counter[tuple[str, str]](), []
    for proofs in proof.nodes.values():
        for one in proofs:
            word, became = predicted(one), facts[one.pod.ref.uid].word()
            told[(word, became)] += 1
            if not agrees(word, became):
                wrong.append(f"{one.pod.ref} on {one.pod.node}: predicted {word} ({one.why}), became {became}")
    assert {p.pod.ref.uid for proofs in proof.nodes.values() for p in proofs} == facts.keys()
    return told, [f"{one} in {looked}" for one in wrong]


def test_predictions_are_what_evictions_do() -> None:
    """Names of replacements are random, and with them which of several equal pods gets a contested place."""
    wrong: list[str] = []

    @settings(
        max_examples=RUNS, derandomize=True, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(clusters())
    def run(drawn: Drawn) -> None:
        told, differing = compare(drawn)
        _TABLE.update(told)
        wrong.extend(differing)

    run()
    assert _TABLE.total() > 3 * RUNS
    assert len(wrong) * 100 <= _TABLE.total(), "\n".join(wrong)
