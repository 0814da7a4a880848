"""Faults on demand, for tests of how clients behave when the API does not; and the count of requests."""

import re
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from rollout.lab.apiserver.errors import bad_request
from rollout.lab.apiserver.objects import Obj


@dataclass
class Fault:
    """One rule. It applies to matching requests `times` times (None: for ever), after letting `skip` of them pass.

    `status` answers with an error of that code; `delay` waits first; `drop` closes the connection with no answer.
    `after_effect` lets the request do its work before the answer is lost or replaced: the case in which a client
    cannot know what happened. `close_after_events` breaks a watch off after that many events.
    """

    method: str = "*"
    path: str = ".*"
    times: int | None = 1
    skip: int = 0
    status: int | None = None
    reason: str = ""
    message: str = "injected fault"
    retry_after: int | None = None
    delay: float = 0.0
    drop: bool = False
    after_effect: bool = False
    close_after_events: int | None = None
    hits: int = field(default=0, compare=False)

    def claims(self, method: str, target: str) -> bool:
        """Whether this fault strikes now; counts the hit if so."""
        if self.times == 0 or self.method not in ("*", method) or not re.search(self.path, target):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        self.hits += 1
        return True


class Faults:
    """The rules in force, in order; the first that claims a request strikes it."""

    def __init__(self) -> None:
        self.rules: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        self.rules.append(fault)
        return fault

    def add_document(self, document: Any) -> Fault:
        try:
            fault = Fault(**document)
            re.compile(fault.path)
        except (TypeError, re.error) as error:
            raise bad_request(f"cannot read fault: {error}") from error
        return self.add(fault)

    def clear(self) -> None:
        self.rules.clear()

    def claim(self, method: str, target: str) -> Fault | None:
        return next((rule for rule in self.rules if rule.claims(method, target)), None)

    def documents(self) -> list[Obj]:
        return [asdict(rule) for rule in self.rules]


class RequestCounter:
    """Requests by verb, resource and user agent: what an API budget is measured with."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str]] = Counter()

    def count(self, verb: str, resource: str, user_agent: str) -> None:
        self._counts[verb, resource, user_agent] += 1

    def clear(self) -> None:
        self._counts.clear()

    def documents(self) -> list[Obj]:
        return [
            {"verb": verb, "resource": resource, "userAgent": agent, "count": count}
            for (verb, resource, agent), count in sorted(self._counts.items())
        ]

    def total(self, user_agent_pattern: str = "") -> int:
        return sum(n for (_, _, agent), n in self._counts.items() if re.search(user_agent_pattern, agent))
