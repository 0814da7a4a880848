"""One lab for all tests here; each test has a state file of its own and leaves the nodes clean."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout.lab.cluster import lab_down, lab_up
from rollout.lab.layout import LabInfo
from tests.support.lab import Rollout


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabInfo]:
    """A lab, brought up once and taken down at the end; `ROLLOUT_TEST_LAB` names a running one to use instead."""
    if os.geteuid() != 0:
        pytest.skip("the lab makes network namespaces and taps: it needs root")
    named = os.environ.get("ROLLOUT_TEST_LAB")
    directory = Path(named) if named else tmp_path_factory.mktemp("lab")
    info = lab_up(directory, lambda _line: None)
    yield info
    if not named:
        lab_down(directory)


@pytest.fixture
def rollout(lab: LabInfo, tmp_path: Path) -> Iterator[Rollout]:
    """The command line with a fresh state; afterwards nodes must carry nothing of ours but the label."""
    found = Rollout(lab, tmp_path)
    found.run("state", "upgrade")
    yield found
    found.stop()
    assert found.api.leftovers() == []
