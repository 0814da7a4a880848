"""The plan of the 60-node fleet, made from recorded objects, in all four forms, byte for byte.

`ROLLOUT_GOLDEN=write` writes the files anew; their change is then read like any other.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from rollout.cli.render.plan_view import PlanView
from rollout.cli.show import rendered
from rollout.domain.plan import decode_plan
from tests.support.plans import sixty_plan

FOLDER = Path(__file__).parent
FORMS = {"text": "sixty.txt", "md": "sixty.md", "html": "sixty.html", "json": "sixty.json"}
WRITING = os.environ.get("ROLLOUT_GOLDEN") == "write"

AGAIN = """
import sys
from tests.support.plans import sixty_plan
sys.stdout.buffer.write(sixty_plan().encode())
"""


@cache
def view() -> PlanView:
    plan = sixty_plan()
    return PlanView(plan, plan.digest)


@pytest.mark.parametrize("form", FORMS)
def test_the_plan_in_every_form(form: str) -> None:
    file, text = FOLDER / FORMS[form], rendered(view(), form)
    if WRITING:
        file.write_text(text, encoding="utf-8")
    kept = file.read_text(encoding="utf-8") if file.exists() else ""
    if text != kept:
        pairs = enumerate(zip(text.splitlines(), kept.splitlines(), strict=False), 1)
        where = next((f"first at line {number}" for number, (a, b) in pairs if a != b), "in its length")
        pytest.fail(f"{file.name} differs, {where}; if that is meant: ROLLOUT_GOLDEN=write, and read the change")


@pytest.mark.parametrize("form", FORMS)
def test_the_same_bytes_from_the_document(form: str) -> None:
    """A plan that was saved and read again is shown as the fresh one was."""
    plan = decode_plan(sixty_plan().encode())
    assert rendered(PlanView(plan, plan.digest), form) == rendered(view(), form)


def test_the_same_bytes_twice() -> None:
    first = sixty_plan().encode()
    sixty_plan.cache_clear()
    assert sixty_plan().encode() == first


@pytest.mark.parametrize("seed", ["0", "4711"])
def test_the_same_bytes_in_a_fresh_process(seed: str) -> None:
    """Under another order of sets, too."""
    done = subprocess.run(
        [sys.executable, "-c", AGAIN], capture_output=True, check=True, timeout=120,
        cwd=FOLDER.parents[1], env={**os.environ, "PYTHONHASHSEED": seed},
    )  # fmt: skip
    assert done.stdout == sixty_plan().encode()
