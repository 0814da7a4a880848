"""Documents of a node at its baseline (veth) and in the new mode (netkit), as the probes print them, and edits of them.

Link tables and agent status are recorded ones (the agent's endpoints set to ready); the rest has the probes' shapes.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rollout.checks.catalog import judge_node
from rollout.checks.material import Control, Seen
from rollout.domain.inventory import Observation
from rollout.domain.node import DatapathMode
from rollout.domain.policy import Policy
from rollout.domain.verdict import Status, Verdict
from tests.builders import NOW

DATA = Path(__file__).parent / "data"
POLICY = Policy(target=DatapathMode.NETKIT)

Documents = dict[str, dict[str, Any]]


def load(name: str) -> Documents:
    """A fresh copy of the documents stored under `name`."""
    found: Documents = json.loads((DATA / f"{name}.json").read_text())
    return found


BASELINE, SOUND = load("baseline"), load("sound")


def sound() -> Documents:
    return copy.deepcopy(SOUND)


def baseline() -> Documents:
    return copy.deepcopy(BASELINE)


def observed(documents: Mapping[str, Any], node: str = "n1") -> Seen:
    return {probe: Observation(node, probe, NOW, document) for probe, document in documents.items()}


def edited(documents: Documents, edits: Sequence[Mapping[str, Any]]) -> Documents:
    """`set` fields, or `add` to every number of a list, in rows that match `where`; no `rows`: the document itself."""
    changed = copy.deepcopy(documents)
    for edit in edits:
        document = changed[edit["probe"]]
        rows = document[edit["rows"]] if edit["rows"] else [document]
        hit = [row for row in rows if _matches(row, edit.get("where", {}))]
        assert hit, f"no row of {edit['probe']} matches {edit.get('where')}"
        for row in hit:
            row.update(copy.deepcopy(edit.get("set", {})))
            for key, more in edit.get("add", {}).items():
                row[key] = [value + more for value in row[key]]
    return changed


def _matches(row: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    """A list in `where` stands for any of its values."""
    wanted = {key: value if isinstance(value, list) else [value] for key, value in where.items()}
    return all(row.get(key) in values for key, values in wanted.items())


def judge(
    now: Documents,
    before: Documents | None = BASELINE,
    *,
    policy: Policy = POLICY,
    controls: Sequence[tuple[Documents, Documents]] = (),
    history: Sequence[Documents] = (),
    quick: bool = False,
) -> dict[str, Verdict]:
    """Verdicts by check. A control is given as (baseline, now)."""
    verdicts = judge_node(
        "n1",
        observed(now),
        None if before is None else observed(before),
        policy.target,
        policy=policy,
        controls=[Control(f"c{i}", observed(then), observed(seen)) for i, (then, seen) in enumerate(controls)],
        history=[observed(window) for window in history],
        quick=quick,
    )
    return {verdict.check: verdict for verdict in verdicts}


def with_status(verdicts: Mapping[str, Verdict], status: Status) -> set[str]:
    return {check for check, verdict in verdicts.items() if verdict.status is status}
