"""Which tests may run side by side: those that share a lab, machines, SSH or a database stay in one process."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import PurePath

import pytest

GROUPS = (
    ("tests/lab/rollout/test_faults", "faults"),
    ("tests/lab/rollout/test_quiet", "faults"),
    ("tests/lab/rollout/", "lab"),
    ("tests/lab/machines/", "machines"),
    ("tests/lab/guest/", "machines"),
    ("tests/adapters/ansible/", "ssh"),
    ("tests/contracts/test_hosts", "ssh"),
    ("tests/contracts/test_observer", "ssh"),
    ("tests/contracts/test_journal_store", "database"),
    ("tests/adapters/store/", "database"),
    ("tests/migrations/", "database"),
)
"""Longest first: they are handed out in this order."""


def group_of(path: str) -> str:
    """The group of a test file, by its path from the root; empty when it may run anywhere."""
    return next((group for start, group in GROUPS if path.startswith(start)), "")


@pytest.hookimpl(wrapper=True, tryfirst=True)  # pytest-xdist reads the groups in the same hook
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None]:
    """Put the groups first, longest first, and name them for pytest-xdist's `--dist loadgroup`.

    Raises pytest.UsageError when pytest-xdist did not take the names: tests that share machines would run apart.
    """
    order = {group: number for number, (_, group) in reversed(list(enumerate(GROUPS)))}

    def named(item: pytest.Item) -> str:
        return group_of(PurePath(item.path).relative_to(config.rootpath).as_posix())

    for item in items:
        if named(item):
            item.add_marker(pytest.mark.xdist_group(named(item)))
    items.sort(key=lambda item: order.get(named(item), len(GROUPS)))
    yield
    if config.getoption("loadgroup", False):
        apart = [item.nodeid for item in items if named(item) and not item.nodeid.endswith(f"@{named(item)}")]
        if apart:
            raise pytest.UsageError(f"pytest-xdist keeps no groups with this pytest: {apart[0]} has none")
