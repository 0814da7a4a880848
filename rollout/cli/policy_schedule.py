"""What a policy says about waves, sets to keep, windows and freezes: whether it makes sense."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from zoneinfo import ZoneInfo, available_timezones

from rollout.cli.typed_yaml import near_miss
from rollout.domain.policy import Freeze, KeepRule, Policy, SpreadRule, Window
from rollout.domain.windows import DAYS

Fault = tuple[str, str, str]
_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d", re.ASCII)
_SHARE = re.compile(r"(\d{1,9})(%?)", re.ASCII)
_NAME = re.compile(r"[^\s\x00-\x1f](.{0,61}[^\s\x00-\x1f])?", re.ASCII)
_LABEL_KEY = re.compile(r"([a-z0-9][a-z0-9.-]{0,251}[a-z0-9]/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", re.ASCII)


def schedule_faults(policy: Policy) -> Iterator[Fault]:
    """All that makes no sense, in the order of the keys."""
    for number, rule in enumerate(policy.spread):
        yield from _of_spread(f"spread[{number}]", rule)
    yield from _twice("spread", "key", [rule.key for rule in policy.spread])
    for number, kept in enumerate(policy.keep):
        yield from _of_keep(f"keep[{number}]", kept)
    yield from _twice("keep", "name", [kept.name for kept in policy.keep])
    yield from _twice("cohorts", "word", list(policy.cohorts))
    for key in policy.cohorts:
        if not _LABEL_KEY.fullmatch(key):
            yield "cohorts", f"{key!r} is neither a name known here nor a label key", ""
    for number, window in enumerate(policy.windows):
        yield from _of_window(f"windows[{number}]", window)
    for number, freeze in enumerate(policy.freezes):
        yield from _of_freeze(f"freezes[{number}]", freeze)
    if any(not file.strip() for file in policy.calendars):
        yield "calendars", "an empty name is no file", ""
    if not 0 <= policy.headroom_percent <= 90:
        yield "headroom_percent", f"{policy.headroom_percent} is not between 0 and 90", ""


def _of_spread(key: str, rule: SpreadRule) -> Iterator[Fault]:
    if not _LABEL_KEY.fullmatch(rule.key):
        yield f"{key}.key", f"{rule.key!r} is no label key", "e.g. topology.kubernetes.io/zone"
    if rule.per_value:
        yield from _of_share(f"{key}.per_value", rule.per_value)
    if rule.values_at_once < 0:
        yield f"{key}.values_at_once", f"{rule.values_at_once} is too small; 0 sets no bound", ""
    if not rule.per_value and not rule.values_at_once:
        yield key, "it bounds nothing", "give per_value, values_at_once, or both"


def _of_share(key: str, text: str) -> Iterator[Fault]:
    match = _SHARE.fullmatch(text)
    if match is None:
        yield key, f"{text!r} is neither a count such as 3 nor a percentage such as 10%", ""
    elif int(match[1]) == 0:
        yield key, f"with {text} no node could ever move", ""
    elif match[2] and int(match[1]) > 100:
        yield key, f"{text} is more than all", ""


def _of_keep(key: str, rule: KeepRule) -> Iterator[Fault]:
    if not _NAME.fullmatch(rule.name):
        yield f"{key}.name", f"{rule.name!r} is no name of 1 to 63 characters", ""
    match = _SHARE.fullmatch(rule.keep)
    if rule.keep != "quorum" and match is None:
        yield f"{key}.keep", f"{rule.keep!r} is neither a count, a percentage, nor quorum", ""
    elif match and match[2] and int(match[1]) > 100:
        yield f"{key}.keep", f"{rule.keep} is more than all", ""
    elif match and match[2] and int(match[1]) == 100:
        yield f"{key}.keep", "with 100% no node of the set could ever move", "keep less, or leave its nodes out"
    elif match and int(match[1]) == 0:
        yield f"{key}.keep", f"keeping {rule.keep} keeps nothing", "take the rule out"
    if not rule.pods and not rule.nodes:
        yield key, "the set is empty: it has neither labels of pods nor of nodes", "give pods or nodes"
    elif rule.pods and rule.nodes:
        yield key, "a set is of pods or of nodes, not of both", "make two rules of it"
    if rule.nodes and rule.namespace:
        yield f"{key}.namespace", "nodes have no namespace", ""
    yield from _of_labels(key, rule.pods or rule.nodes)


def _of_labels(key: str, labels: Mapping[str, str]) -> Iterator[Fault]:
    for label in labels:
        if not _LABEL_KEY.fullmatch(label):
            yield key, f"{label!r} is no label key", ""


def _of_window(key: str, window: Window) -> Iterator[Fault]:
    for day in window.days:
        if day not in DAYS:
            yield f"{key}.days", f"there is no day {day!r}", near_miss(day, DAYS)
    if not _CLOCK.fullmatch(window.start):
        yield f"{key}.start", f"{window.start!r} is no time from 00:00 to 23:59", "in YAML quote it: '22:00'"
    if window.end != "24:00" and not _CLOCK.fullmatch(window.end):
        yield f"{key}.end", f"{window.end!r} is no time from 00:00 to 24:00", "in YAML quote it: '06:00'"
    if not _is_zone(window.timezone):
        hint = near_miss(window.timezone, available_timezones())
        yield f"{key}.timezone", f"there is no time zone {window.timezone!r}", hint if "did you" in hint else "e.g. UTC"


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def _of_freeze(key: str, freeze: Freeze) -> Iterator[Fault]:
    times: list[datetime] = []
    for name, text in (("start", freeze.start), ("end", freeze.end)):
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            yield f"{key}.{name}", f"{text!r} is no time", "write 2026-12-20T00:00:00+01:00"
            continue
        if moment.tzinfo is None:
            yield f"{key}.{name}", f"{text!r} has no offset from UTC", "write 2026-12-20T00:00:00+01:00"
        else:
            times.append(moment)
    if len(times) == 2 and times[0] >= times[1]:
        yield key, f"freeze {freeze.name!r} ends no later than it starts", ""


def _twice(key: str, what: str, values: list[str]) -> Iterator[Fault]:
    for value, count in Counter(values).items():
        if count > 1:
            yield key, f"{what} {value} stands there {count} times", "say it once"
