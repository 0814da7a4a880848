"""Policies whose waves, windows or freezes make no sense are refused before anything is touched."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rollout.cli.calendars import with_freezes
from rollout.cli.policy import require_sane, resolve_policy
from rollout.domain.errors import UsageError
from rollout.domain.node import DatapathMode
from rollout.domain.policy import Freeze, KeepRule, Policy, SpreadRule, Window

BASE = Policy(target=DatapathMode.NETKIT)
ZONE = "topology.kubernetes.io/zone"
SOUND: dict[str, Any] = {
    "spread": (SpreadRule(ZONE, "33%", 1), SpreadRule("rack", "2", 0)),
    "keep": (KeepRule("etcd", "quorum", pods={"component": "etcd"}), KeepRule("edge", "2", nodes={"role": "edge"})),
    "windows": (Window(("mon", "sun"), "22:00", "06:00", "Europe/Berlin"), Window()),
    "freezes": (Freeze("x", "2026-12-20T00:00:00+01:00", "2027-01-02T00:00:00+01:00"),),
    "cohorts": ("kernel", "zone", "example.com/pool"),
    "headroom_percent": 0,
}


def test_a_policy_with_all_of_it_is_sound() -> None:
    require_sane(replace(BASE, **SOUND))


@pytest.mark.parametrize(
    ("changed", "said", "hint"),
    [
        ({"spread": (SpreadRule("no key"),)}, "spread[0].key: 'no key' is no label key", "zone"),
        ({"spread": (SpreadRule("rack", "0"),)}, "spread[0].per_value: with 0 no node could ever move", ""),
        ({"spread": (SpreadRule("rack", "x"),)}, "spread[0].per_value: 'x' is neither", ""),
        ({"spread": (SpreadRule("rack", "", 0),)}, "spread[0]: it bounds nothing", "per_value"),
        ({"spread": (SpreadRule("rack"), SpreadRule("rack"))}, "spread: key rack stands there 2 times", ""),
        ({"keep": (KeepRule("", "1", pods={"a": "b"}),)}, "keep[0].name", ""),
        ({"keep": (KeepRule("x", "most", pods={"a": "b"}),)}, "keep[0].keep: 'most' is neither", ""),
        ({"keep": (KeepRule("x", "100%", pods={"a": "b"}),)}, "with 100% no node of the set could ever move", "leave"),
        ({"keep": (KeepRule("x", "0", pods={"a": "b"}),)}, "keeping 0 keeps nothing", ""),
        ({"keep": (KeepRule("x", "1"),)}, "keep[0]: the set is empty", "give pods or nodes"),
        ({"keep": (KeepRule("x", "1", "", {"a": "b"}, {"a": "b"}),)}, "of pods or of nodes, not of both", "two"),
        ({"keep": (KeepRule("x", "1", "ns", {}, {"a": "b"}),)}, "nodes have no namespace", ""),
        ({"windows": (Window(("monday",)),)}, "windows[0].days: there is no day 'monday'", "did you mean mon"),
        ({"windows": (Window((), "24:00"),)}, "windows[0].start: '24:00' is no time", "quote it"),
        ({"windows": (Window((), "1:00"),)}, "windows[0].start: '1:00' is no time", ""),
        ({"windows": (Window((), end="24:30"),)}, "windows[0].end", ""),
        (
            {"windows": (Window(timezone="Europe/Berlyn"),)},
            "no time zone 'Europe/Berlyn'",
            "did you mean Europe/Berlin",
        ),
        ({"windows": (Window(timezone="../../etc/passwd"),)}, "there is no time zone", "e.g. UTC"),
        ({"freezes": (Freeze("x", "soon", "2027-01-01T00:00:00Z"),)}, "freezes[0].start: 'soon' is no time", ""),
        ({"freezes": (Freeze("x", "2026-12-20T00:00", "2027-01-01T00:00:00Z"),)}, "has no offset from UTC", ""),
        ({"freezes": (Freeze("x", "2027-12-20T00:00Z", "2027-01-01T00:00Z"),)}, "ends no later than it starts", ""),
        ({"cohorts": ("a b",)}, "cohorts: 'a b' is neither", ""),
        ({"headroom_percent": 95}, "headroom_percent: 95 is not between 0 and 90", ""),
        ({"calendars": ("",)}, "calendars: an empty name is no file", ""),
    ],
)
def test_what_makes_no_sense_is_named(changed: dict[str, Any], said: str, hint: str) -> None:
    with pytest.raises(UsageError, match="cannot use the policy: ") as error:
        require_sane(replace(BASE, **{**SOUND, **changed}))
    assert said in error.value.message
    assert hint in error.value.hint


def test_flags_lie_over_the_configuration(tmp_path: Path) -> None:
    flags = {"canary_per_cohort": False, "headroom_percent": 0, "calendars": ("a.ics",)}
    policy = resolve_policy(BASE, flags)
    assert (policy.canary_per_cohort, policy.headroom_percent, policy.calendars) == (False, 0, ("a.ics",))


def test_calendars_become_freezes(tmp_path: Path) -> None:
    file = tmp_path / "a.ics"
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:x", "BEGIN:VEVENT", "UID:1", "SUMMARY:peak",
             "DTSTART:20261224T000000Z", "DTEND:20261227T000000Z", "END:VEVENT", "END:VCALENDAR", ""]  # fmt: skip
    file.write_text("\r\n".join(lines))
    own = Freeze("own", "2026-12-01T00:00:00+00:00", "2026-12-02T00:00:00+00:00")
    policy = replace(BASE, calendars=(str(file),), freezes=(own,))
    found = with_freezes(policy, datetime(2026, 11, 23, tzinfo=UTC))
    assert found.freezes == (own, Freeze("peak", "2026-12-24T00:00:00+00:00", "2026-12-27T00:00:00+00:00", str(file)))
    assert with_freezes(BASE, datetime(2026, 11, 23, tzinfo=UTC)) is BASE
    require_sane(found)
