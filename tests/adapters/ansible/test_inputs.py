"""What probes are told reaches the node as data: names of a cluster's objects are other people's text."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any

import rollout
from rollout.adapters.ansible.hosts import AnsibleHosts
from rollout.adapters.observer import PlaybookObserver
from rollout.ports.hosts import Host
from tests.contracts.hosts import TEMPLATES
from tests.support import playbooks
from tests.support.sshd import Sshd


class _Clock:
    def now(self) -> datetime:
        return datetime(2026, 11, 23, tzinfo=UTC)

    def wait(self, seconds: float, cancel: Event | None = None) -> bool:
        return False


def test_hostile_names_are_never_templates(sshd: Sshd, tmp_path: Path) -> None:
    settings = playbooks.settings(sshd, tmp_path, Path(rollout.__file__).parents[1] / "playbooks", become=False)
    observer = PlaybookObserver(AnsibleHosts(settings), _Clock())
    pair = {"from": "a", "to": "b", "port": 80, "protocol": "tcp"}
    inputs = {
        "policy": {
            "pairs": [{**pair, "id": text, "policy": text} for text in TEMPLATES],
            "skipped": [{"policy": text, "why": text} for text in TEMPLATES],
        }
    }
    told: dict[str, dict[str, Any]] = {"n1": inputs, "n2": {"policy": {"skipped": [{"policy": "of n2", "why": "x"}]}}}
    hosts = (Host("n1", "127.0.0.1"), Host("n2", "127.0.0.1"))
    seen = observer.observe(hosts, ("policy",), wall_s=60, inputs=told)
    rows = seen["n1"]["policy"].document["skipped"]
    assert [row["policy"] for row in rows] == [*TEMPLATES, *TEMPLATES]
    assert [row["id"] for row in rows] == [*[""] * len(TEMPLATES), *TEMPLATES]
    assert [row["why"] for row in rows[: len(TEMPLATES)]] == list(TEMPLATES)
    assert [row["policy"] for row in seen["n2"]["policy"].document["skipped"]] == ["of n2"]
