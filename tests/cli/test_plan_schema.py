"""The published JSON Schema: current, true of real plans, and closed to anything else."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import jsonschema
import pytest

from rollout.cli.render.plan_view import PlanView
from rollout.cli.schema import published
from rollout.cli.schema.generate import DIALECT, text
from rollout.cli.show import rendered
from rollout.domain.plan import Plan
from tests.cli.conftest import Run, planned
from tests.cli.plan_examples import full_plan, full_view
from tests.support.plans import sixty_plan

Damage = Callable[[Any], None]


@cache
def validator(part: str = "") -> Any:
    schema = json.loads(published())
    return jsonschema.Draft202012Validator({**schema, "$ref": f"#/$defs/{part}"} if part else schema)


@cache
def shown() -> Any:
    return json.loads(rendered(full_view(), "json"))


def test_the_published_file_is_current() -> None:
    assert published() == text(), "run: python -m rollout.cli.schema.generate write"


def test_it_is_a_schema_of_its_dialect() -> None:
    schema = json.loads(published())
    assert schema["$schema"] == DIALECT
    jsonschema.Draft202012Validator.check_schema(schema)


def _objects(schema: Any) -> Iterator[Any]:
    if isinstance(schema, dict):
        if "properties" in schema:
            yield schema
        for each in schema.values():
            yield from _objects(each)


def test_it_is_closed_and_says_what_things_are() -> None:
    schema = json.loads(published())
    records = [part for part in _objects(schema) if part.get("type") == "object"]
    assert len(records) > 30
    assert all(part["additionalProperties"] is False for part in records)
    assert all(set(part["required"]) == set(part["properties"]) for part in records)
    assert all(part["description"] for part in schema["$defs"].values())
    plan = schema["$defs"]["Plan"]
    assert plan["properties"]["schema"]["const"] == 3
    assert "takes back" in plan["properties"]["supersedes"]["description"]
    assert "never: No waiting helps" in schema["$defs"]["Going"]["description"]


def test_real_plans_are_valid() -> None:
    plan = sixty_plan()
    validator().validate(json.loads(rendered(PlanView(plan, plan.digest), "json")))
    validator("Plan").validate(json.loads(plan.encode()))
    validator().validate(shown())


def test_what_the_commands_print_is_valid(run: Run) -> None:
    rollout = planned(run)
    assert run("approve", rollout, "--by", "bob", "--ticket", "CHG-7").exit_code == 0
    for command in (("show", rollout), ("plan", "--soak-fenced", "0", "--soak-loaded", "1")):
        result = run(*command, "--output", "json")
        validator().validate(json.loads(result.stdout))
    assert json.loads(run("show", "--schema").stdout) == json.loads(published())


def _set(*path: Any, to: Any) -> Damage:
    def damage(document: Any) -> None:
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = to

    return damage


def _drop(*path: Any) -> Damage:
    def damage(document: Any) -> None:
        for key in path[:-1]:
            document = document[key]
        del document[path[-1]]

    return damage


DAMAGES: dict[str, Damage] = {
    "another schema": _set("plan", "schema", to=2),
    "a field nobody knows": _set("plan", "nodes", 0, "extra", to=1),
    "a missing field": _drop("plan", "nodes", 0, "facts", "uid"),
    "a number for a text": _set("plan", "nodes", 0, "name", to=7),
    "a text for a number": _set("plan", "waves", 0, "number", to="0"),
    "a truth for a number": _set("plan", "estimate", "low_s", to=True),
    "a share of a second": _set("plan", "estimate", "low_s", to=1.5),
    "a mode nobody knows": _set("plan", "policy", "target", to="vxlan"),
    "a list for an object": _set("plan", "cluster", "budgets", to=[]),
    "no digest": _drop("digest"),
    "nothing where an approval was": _set("approvals", 0, to=None),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_damaged_ones_are_not(damage: Damage) -> None:
    document = copy.deepcopy(shown())
    damage(document)
    with pytest.raises(jsonschema.ValidationError):
        validator().validate(document)


def test_every_field_of_a_plan_is_required() -> None:
    """The codec would give a default; a published document has all of them."""
    for field in Plan.__dataclass_fields__:
        document = json.loads(full_plan().encode())
        del document[field]
        assert not validator("Plan").is_valid(document), field
