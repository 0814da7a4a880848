"""A YAML document into frozen dataclasses, by their type hints, with the line of everything that is wrong.

Decision: our own reader over PyYAML's node graph. Instead of: msgspec or pydantic on plain values, because they have
lost the line numbers, and a person who misspelt a key wants the line.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, NewType, TypeVar, cast

import yaml

from rollout.app.world import Address
from rollout.domain.errors import UsageError

T = TypeVar("T")

Seconds = NewType("Seconds", int)
"""A duration: a whole number of seconds, or text like 30s, 5m, 1h30m."""

Place = NewType("Place", str)
"""A file's path, or a URL."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(?:\d+[smhd])+")


def parse_duration(text: str) -> int:
    """Seconds in `90`, `30s`, `5m`, `1h30m`. Raises ValueError."""
    if text.isdecimal():
        return int(text)
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration such as 30s, 5m or 1h30m")
    return sum(int(n) * _UNITS[unit] for n, unit in re.findall(r"(\d+)([smhd])", text))


def parse_address(text: str) -> Address:
    """`address`, `address:port`, `[v6]:port` or a bare v6 address. Raises ValueError."""
    match = re.fullmatch(r"\[(?P<v6>[^\]]+)\](?::(?P<v6port>\d+))?|(?P<host>[^:\s]+)(?::(?P<port>\d+))?", text)
    if match is None:
        if text.count(":") > 1 and re.fullmatch(r"[0-9a-fA-F:.%a-z]+", text):
            return Address(text)
        raise ValueError(f"{text!r} is not address, address:port or [address]:port")
    port = match["v6port"] or match["port"]
    if port and not 0 < int(port) < 65536:
        raise ValueError(f"{port} is not a port")
    return Address(match["v6"] or match["host"], int(port) if port else None)


def near_miss(word: str, known: Iterable[str]) -> str:
    """A hint naming the nearest known word, else all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(names)}"


class YamlReader:
    """Reads one file. `origins` says, by dotted key path, on which line a value was found."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.origins: dict[str, str] = {}

    def read(self, kind: type[T], base: T) -> T:
        """The file's values laid over `base`. Raises `UsageError` naming file, line and key."""
        try:
            root = yaml.compose(self._file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        except OSError as error:
            raise self._unreadable(error.strerror or str(error)) from error
        except UnicodeDecodeError as error:
            raise self._unreadable("it is not UTF-8 text") from error
        except yaml.YAMLError as error:
            raise self._unreadable(" ".join(str(error).split())) from error
        if root is None:
            return base
        return cast(T, self._record(kind, root, "", base))

    def _unreadable(self, why: str) -> UsageError:
        return UsageError(
            "config-unreadable",
            f"cannot read the configuration {self._file}: {why}",
            hint="mend the file, or name another one: --config FILE",
        )

    def _wrong(self, node: yaml.Node, path: str, why: str, hint: str = "") -> UsageError:
        return UsageError(
            "config-wrong",
            f"cannot use the configuration: {path or 'the document'}: {why}",
            hint=hint or "all keys with their meaning: rollout config show",
            context=f"{self._file}, line {node.start_mark.line + 1}",
        )

    # --- shapes ------------------------------------------------------------------------------------------------

    def _record(self, kind: type, node: yaml.Node, path: str, base: Any = None) -> Any:
        fields = {f.name: f for f in dataclasses.fields(kind)}
        hints, values = typing.get_type_hints(kind), {}
        for key, key_node, item in self._pairs(node, path):
            where = f"{path}.{key}" if path else key
            if key not in fields:
                raise self._wrong(key_node, where, "there is no such key", near_miss(key, fields))
            self.origins[where] = f"{self._file}:{key_node.start_mark.line + 1}"
            inner = getattr(base, key, None)
            values[key] = self._value(hints[key], item, where, inner)
        if base is not None:
            return dataclasses.replace(base, **values)
        for name, spec in fields.items():
            if name not in values and spec.default is spec.default_factory is dataclasses.MISSING:
                raise self._wrong(node, path, f"key {name} is missing")
        return kind(**values)

    def _pairs(self, node: yaml.Node, path: str) -> list[tuple[str, yaml.Node, yaml.Node]]:
        if not isinstance(node, yaml.MappingNode):
            raise self._wrong(node, path, "a mapping of keys to values is wanted here")
        found: dict[str, tuple[str, yaml.Node, yaml.Node]] = {}
        for key_node, item in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._wrong(key_node, path, "a key must be plain text")
            if key_node.value in found:
                raise self._wrong(key_node, f"{path}.{key_node.value}".lstrip("."), "the key is there twice")
            found[key_node.value] = (key_node.value, key_node, item)
        return list(found.values())

    def _value(self, hint: Any, node: yaml.Node, path: str, base: Any = None) -> Any:
        origin = typing.get_origin(hint)
        if origin in (typing.Union, types.UnionType):
            if _tag(node) == "null":
                return None
            (hint,) = (o for o in typing.get_args(hint) if o is not type(None))
            return self._value(hint, node, path)
        if origin is tuple:
            if not isinstance(node, yaml.SequenceNode):
                raise self._wrong(node, path, "a list is wanted here")
            item = typing.get_args(hint)[0]
            return tuple(self._value(item, n, f"{path}[{i}]") for i, n in enumerate(node.value))
        if origin is not None and issubclass(origin, Mapping):
            item = typing.get_args(hint)[1]
            return {key: self._value(item, n, f"{path}.{key}") for key, _, n in self._pairs(node, path)}
        if hint is Address:
            return self._address(node, path)
        if dataclasses.is_dataclass(hint):
            return self._record(cast(type, hint), node, path, base)
        return self._scalar(hint, node, path)

    def _address(self, node: yaml.Node, path: str) -> Address:
        if not isinstance(node, yaml.MappingNode):
            return cast(Address, self._parsed(parse_address, self._text(node, path), node, path))
        entry = self._record(_AddressEntry, node, path)
        assert isinstance(entry, _AddressEntry)
        return Address(entry.address, entry.port)

    # --- scalars -----------------------------------------------------------------------------------------------

    def _scalar(self, hint: Any, node: yaml.Node, path: str) -> Any:
        if hint is bool:
            if _tag(node) != "bool":
                raise self._wrong(node, path, f"true or false is wanted here, found {_shown(node)}")
            return str(node.value).lower() in ("true", "yes", "on")
        if isinstance(hint, type) and issubclass(hint, Enum):
            return self._member(hint, node, path)
        text = self._text(node, path)
        if hint is Seconds or (hint is int and _holds_seconds(path)):
            return self._parsed(parse_duration, text, node, path)
        if hint is int:
            return self._parsed(int, text, node, path, "a whole number is wanted here")
        if hint is Path:
            return self._path(text)
        if hint is Place:
            return text if "://" in text else str(self._path(text))
        assert hint is str, f"{path}: the reader does not know {hint!r}"
        return text

    def _member(self, kind: type[Enum], node: yaml.Node, path: str) -> Enum:
        known = [str(member.value) for member in kind]
        off = _tag(node) == "bool" and str(node.value).lower() == "off"  # YAML 1.1 takes the word off for false
        text = "off" if off and "off" in known else self._text(node, path)
        if text not in known:
            raise self._wrong(node, path, f"{text!r} is not known", near_miss(text, known))
        return kind(text)

    def _text(self, node: yaml.Node, path: str) -> str:
        if not isinstance(node, yaml.ScalarNode) or _tag(node) not in ("str", "int", "timestamp"):
            raise self._wrong(node, path, f"a plain value is wanted here, found {_shown(node)}")
        return str(node.value)

    def _parsed(self, parse: Any, text: str, node: yaml.Node, path: str, why: str = "") -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise self._wrong(node, path, f"{why}, found {text!r}" if why else str(error)) from error

    def _path(self, text: str) -> Path:
        """Relative paths are relative to the file that names them."""
        return (self._file.resolve().parent / Path(text).expanduser()).absolute()


@dataclasses.dataclass(frozen=True, slots=True)
class _AddressEntry:
    """The long form of an address."""

    address: str
    port: int | None = None


def _holds_seconds(path: str) -> bool:
    parts = path.split(".")
    return parts[-1].endswith("_s") or (len(parts) > 1 and parts[-2].endswith("_s"))


def _tag(node: yaml.Node) -> str:
    return str(node.tag).rsplit(":", 1)[-1]


def _shown(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return "nothing" if _tag(node) == "null" else repr(node.value)
