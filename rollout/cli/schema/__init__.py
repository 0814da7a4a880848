"""The published JSON Schema of plans.

`plan.schema.json` beside this file describes what `rollout show --output json` prints; `#/$defs/Plan` in it is the
document that `rollout plan --out` writes. It is made from the domain's dataclasses by `python -m
rollout.cli.schema.generate write`, and a test keeps it current.
"""

from __future__ import annotations

from importlib.resources import files

FILE = "plan.schema.json"


def published() -> str:
    """The schema's text."""
    return files(__package__).joinpath(FILE).read_text(encoding="utf-8")
