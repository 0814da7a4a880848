"""The lists of a made-up cluster as an API server gives them: pages by path, rendered when asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from rollout.adapters.kubernetes.request import Request
from rollout.domain.errors import NotFound

Render = Callable[[int], bytes]


@dataclass(frozen=True)
class Rows:
    """A list: how many objects, and the bytes of the n-th."""

    count: int
    render: Render

    @classmethod
    def of(cls, objects: Sequence[bytes]) -> Rows:
        """Objects that are there already."""
        return cls(len(objects), objects.__getitem__)

    def page(self, start: int, limit: int) -> bytes:
        """One page; the continue token is where the next one starts."""
        end = min(self.count, start + limit) if limit else self.count
        token = b',"continue":"%d"' % end if end < self.count else b""
        items = b",".join(map(self.render, range(start, end)))
        return b'{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"1"%s},"items":[%s]}' % (token, items)


class Shelf:
    """Answers GET requests from lists and single objects."""

    def __init__(self, lists: Mapping[str, Rows], single: Mapping[str, bytes]) -> None:
        self.lists = lists
        self._single = single

    def answer(self, path: str, query: Mapping[str, Any]) -> bytes | None:
        """The body for a path, None when nothing is there."""
        if path in self._single:
            return self._single[path]
        rows = self.lists.get(path)
        if rows is None:
            return None
        return rows.page(int(query.get("continue") or 0), int(query.get("limit") or 0))

    def answer_url(self, url: str) -> bytes | None:
        """The body for a path with a query."""
        parts = urlsplit(url)
        return self.answer(parts.path, dict(parse_qsl(parts.query)))


class ShelfConnection:
    """Takes the place of the adapter's `Connection` for reading, without a socket."""

    target = SimpleNamespace(context="fleet", server="https://fleet.invalid")

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._counts: dict[str, int] = {}

    def call(self, request: Request, *, query: Mapping[str, Any] | None = None, free: bool = False) -> bytes:
        """What the API would answer."""
        del free
        self._counts[request.counted] = self._counts.get(request.counted, 0) + 1
        body = self._shelf.answer(request.path, query or {})
        if body is None:
            raise NotFound("not-found", f"cannot {request}: it is not there")
        return body

    def counts(self) -> dict[str, int]:
        """Requests so far."""
        return dict(self._counts)
