"""Who set which field: managedFields, and server-side apply on top of them.

Decision: ownership is kept per leaf, with the paths of FieldsV1 (`f:name`, `k:{"type":"Ready"}`, `v:"x"`). A list with
no merge key is one leaf. That is enough for conflicts, forced takeover and removal of fields that an applier dropped;
a real server also tracks empty maps and owned list items as such.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from rollout.lab.apiserver.errors import ApiError
from rollout.lab.apiserver.objects import Obj, clone, now_text
from rollout.lab.apiserver.patches import is_set, merge_key

Path = tuple[str, ...]
_UNOWNED_METADATA = {
    "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation", "managedFields", "name",
    "namespace", "resourceVersion", "selfLink", "uid", "generateName",
}  # fmt: skip


def leaves(kind: str, obj: Obj, custom: bool) -> dict[Path, Any]:
    """Every owned leaf of an object with its value."""
    found: dict[Path, Any] = {}
    for key, value in obj.items():
        if key in ("apiVersion", "kind"):
            continue
        owned = value
        if key == "metadata":
            owned = {name: item for name, item in (value or {}).items() if name not in _UNOWNED_METADATA}
        _collect(kind, (key,), (f"f:{key}",), owned, custom, found)
    return found


def _collect(kind: str, names: Path, path: Path, value: Any, custom: bool, found: dict[Path, Any]) -> None:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            _collect(kind, (*names, key), (*path, f"f:{key}"), item, custom, found)
        return
    if isinstance(value, list) and value and (not custom or names[0] == "metadata"):
        if is_set(names):
            found.update({(*path, "v:" + json.dumps(item)): item for item in value})
            return
        key = merge_key(kind, names)
        if key and all(isinstance(item, dict) and key in item for item in value):
            for item in value:
                element = (*path, "k:" + json.dumps({key: item[key]}, separators=(",", ":")))
                _collect(kind, names, element, item, custom, found)
            return
    if value != {} or len(path) > 2:
        found[path] = value


def _tree(paths: set[Path]) -> Obj:
    root: Obj = {}
    for path in sorted(paths):
        node = root
        for part in path:
            node = node.setdefault(part, {})
    return root


def _paths(tree: Obj, prefix: Path = ()) -> set[Path]:
    found: set[Path] = set()
    for part, child in tree.items():
        if part == ".":
            continue
        below = _paths(child, (*prefix, part))
        found |= below or {(*prefix, part)}
    return found


@dataclass
class _Manager:
    name: str
    operation: str
    subresource: str
    api_version: str
    time: str
    paths: set[Path] = field(default_factory=set)

    def entry(self) -> Obj:
        entry: Obj = {
            "manager": self.name,
            "operation": self.operation,
            "apiVersion": self.api_version,
            "time": self.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": _tree(self.paths),
        }
        return {**entry, "subresource": self.subresource} if self.subresource else entry


def _read_managers(obj: Obj) -> list[_Manager]:
    return [
        _Manager(
            e.get("manager", ""), e.get("operation", ""), e.get("subresource", ""), e.get("apiVersion", ""),
            e.get("time", ""), _paths(e.get("fieldsV1") or {}),
        )
        for e in obj["metadata"].get("managedFields") or ()
    ]  # fmt: skip


def _write_managers(obj: Obj, managers: list[_Manager]) -> None:
    entries = [manager.entry() for manager in managers if manager.paths]
    if entries:
        obj["metadata"]["managedFields"] = entries
    else:
        obj["metadata"].pop("managedFields", None)


def _find(managers: list[_Manager], name: str, operation: str, subresource: str, api_version: str) -> _Manager:
    for manager in managers:
        if (manager.name, manager.operation, manager.subresource) == (name, operation, subresource):
            return manager
    created = _Manager(name, operation, subresource, api_version, now_text())
    managers.append(created)
    return created


@dataclass(frozen=True)
class Author:
    """Who writes, through which subresource. An empty manager means: do not track."""

    manager: str = ""
    subresource: str = ""


NOBODY = Author()


def track_update(obj: Obj, old: Obj | None, author: Author, custom: bool) -> None:
    """After a plain write: what changed now belongs to its author."""
    if not author.manager:
        return
    kind = obj["kind"]
    after = leaves(kind, obj, custom)
    before = leaves(kind, old, custom) if old is not None else {}
    changed = {path for path, value in after.items() if path not in before or before[path] != value}
    gone = before.keys() - after.keys()
    if not changed and not gone:
        return
    managers = _read_managers(obj)
    for manager in managers:
        manager.paths -= changed | gone
    mine = _find(managers, author.manager, "Update", author.subresource, obj["apiVersion"])
    mine.paths |= changed
    mine.time = now_text()
    _write_managers(obj, managers)


def apply_configuration(live: Obj, config: Obj, author: Author, *, force: bool, custom: bool) -> Obj:
    """Server-side apply onto an object. Raises 409 with a cause for each field of another manager that would change."""
    kind = live["kind"]
    wanted, present = leaves(kind, config, custom), leaves(kind, live, custom)
    managers = _read_managers(live)
    mine = _find(managers, author.manager, "Apply", author.subresource, config["apiVersion"])
    contested = {path for path, value in wanted.items() if path in present and present[path] != value}
    _refuse_conflicts([m for m in managers if m is not mine], contested, force)
    for manager in managers:
        if manager is not mine:
            manager.paths -= contested
    result: Obj = _merge_config(kind, (), live, config, custom)
    others = set().union(*(manager.paths for manager in managers if manager is not mine))
    for path in mine.paths - wanted.keys() - others:
        _delete_path(result, path)
    if mine.paths != set(wanted):
        mine.paths, mine.time = set(wanted), now_text()
    _write_managers(result, managers)
    return result


def _refuse_conflicts(others: list[_Manager], contested: set[Path], force: bool) -> None:
    causes: list[Obj] = []
    for manager in others:
        for path in sorted(contested & manager.paths):
            using = "" if manager.operation == "Apply" else f" using {manager.api_version}"
            text = f'conflict with "{manager.name}"{using}'
            causes.append({"reason": "FieldManagerConflict", "message": text, "field": _field_text(path)})
    if not causes or force:
        return
    count = len(causes)
    listed = "; ".join(f"{cause['message']}: {cause['field']}" for cause in causes)
    plural = "s" if count > 1 else ""
    message = f"Apply failed with {count} conflict{plural}: {listed}"
    raise ApiError(409, "Conflict", message, {"causes": causes})


def _field_text(path: Path) -> str:
    text = ""
    for part in path:
        sort, _, rest = part.partition(":")
        if sort == "k":
            selector = ",".join(f"{key}={json.dumps(value)}" for key, value in json.loads(rest).items())
            text += f"[{selector}]"
        elif sort == "v":
            text += f"[={rest}]"
        else:
            text += f".{rest}"
    return text


def _merge_config(kind: str, names: Path, live: Any, config: Any, custom: bool) -> Any:
    if isinstance(config, dict) and isinstance(live, dict):
        merged = clone(live)
        for key, value in config.items():
            if not names and key in ("apiVersion", "kind"):
                continue
            merged[key] = _merge_config(kind, (*names, key), merged.get(key), value, custom)
        return merged
    if isinstance(config, list) and isinstance(live, list) and (not custom or names[0] == "metadata"):
        if is_set(names):
            return live + [item for item in config if item not in live]
        key = merge_key(kind, names)
        if key and all(isinstance(item, dict) and key in item for item in config):
            return _merge_config_list(kind, names, key, live, config, custom)
    return clone(config)


def _merge_config_list(kind: str, names: Path, key: str, live: list[Obj], config: list[Obj], custom: bool) -> list[Obj]:
    merged = clone(live)
    for item in config:
        index = next((i for i, old in enumerate(merged) if old.get(key) == item[key]), None)
        if index is None:
            merged.append(clone(item))
        else:
            merged[index] = _merge_config(kind, names, merged[index], item, custom)
    return list(merged)


def _delete_path(obj: Any, path: Path) -> None:
    """Take one leaf out; containers that become empty by it go too."""
    part, rest = path[0], path[1:]
    sort, _, text = part.partition(":")
    index: Any = None
    if sort == "f" and isinstance(obj, dict) and text in obj:
        index = text
    elif sort == "k" and isinstance(obj, list):
        keys = json.loads(text)
        index = next((i for i, item in enumerate(obj) if all(item.get(k) == v for k, v in keys.items())), None)
    elif sort == "v" and isinstance(obj, list) and json.loads(text) in obj:
        index = obj.index(json.loads(text))
    if index is None:
        return
    if rest:
        _delete_path(obj[index], rest)
        merge_keys_left = isinstance(obj, list) and isinstance(obj[index], dict) and len(obj[index]) == 0
        if obj[index] not in ({}, []) and not merge_keys_left:
            return
    del obj[index]
