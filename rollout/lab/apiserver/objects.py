"""Kubernetes objects as plain dicts, and the few operations everybody needs on them.

Decision: an object in the store is never changed in place. Whoever wants to change one clones it first. So lists,
watch events and paging snapshots can share references, and reading 25,000 objects costs no copying.
"""

import base64
import datetime
import hashlib
import json
import random
from collections.abc import Iterator
from typing import Any

Obj = dict[str, Any]

# Kubernetes leaves out vowels (no words by accident) and look-alike digits.
_NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_NAME_SOURCE = random.SystemRandom()


def clone(value: Any) -> Any:
    """Deep copy of JSON-like data; several times faster than copy.deepcopy."""
    if isinstance(value, dict):
        return {key: clone(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clone(item) for item in value]
    return value


def dig(value: Any, *path: str) -> Any:
    """Follow keys through dicts; None where the way ends."""
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def name_of(obj: Obj) -> str:
    return str(obj["metadata"]["name"])


def namespace_of(obj: Obj) -> str:
    return str(obj["metadata"].get("namespace") or "")


def uid_of(obj: Obj) -> str:
    return str(obj["metadata"]["uid"])


def labels_of(obj: Obj) -> dict[str, str]:
    labels: dict[str, str] = obj["metadata"].get("labels") or {}
    return labels


def key_of(obj: Obj) -> tuple[str, str]:
    return namespace_of(obj), name_of(obj)


def controller_of(obj: Obj) -> Obj | None:
    """The owner reference marked as controller, if any."""
    for owner in obj["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            found: Obj = owner
            return found
    return None


def utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def time_text(moment: datetime.datetime) -> str:
    """metav1.Time: whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def now_text() -> str:
    return time_text(utc_now())


def now_micro_text() -> str:
    """metav1.MicroTime, as Leases and Events use it."""
    return utc_now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str | None) -> datetime.datetime | None:
    if not text:
        return None
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def random_suffix(length: int = 5) -> str:
    return "".join(_NAME_SOURCE.choice(_NAME_ALPHABET) for _ in range(length))


def content_hash(value: Any) -> str:
    """Ten safe letters for a value, in the manner of pod-template-hash (not the same algorithm)."""
    digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()
    return "".join(_NAME_ALPHABET[byte % len(_NAME_ALPHABET)] for byte in digest[:10])


def encode_secret(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def find_condition(obj: Obj, kind: str) -> Obj | None:
    for condition in dig(obj, "status", "conditions") or ():
        if condition.get("type") == kind:
            found: Obj = condition
            return found
    return None


def is_condition_true(obj: Obj, kind: str) -> bool:
    condition = find_condition(obj, kind)
    return condition is not None and condition.get("status") == "True"


def set_condition(status: Obj, condition: Obj) -> None:
    """Put a condition into a status; lastTransitionTime moves only when its status does."""
    conditions: list[Obj] = status.setdefault("conditions", [])
    for index, old in enumerate(conditions):
        if old.get("type") == condition["type"]:
            kept = old.get("lastTransitionTime") if old.get("status") == condition["status"] else None
            conditions[index] = {**old, **condition, "lastTransitionTime": kept or now_text()}
            return
    conditions.append({"lastTransitionTime": now_text(), **condition})


def walk_strings(value: Any) -> Iterator[str]:
    """Every string value inside JSON-like data."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from walk_strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from walk_strings(item)
