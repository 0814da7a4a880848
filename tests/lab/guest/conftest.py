"""The guest's programs import each other by plain name, as they do in the guest's /opt/lab."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

GUEST = Path(__file__).parents[3] / "rollout" / "lab" / "guest"
DATA = Path(__file__).parent / "data"
for folder in (GUEST, Path(__file__).parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


@pytest.fixture
def recorded() -> Any:
    """Recorded outputs of the real agent, by file name."""

    def read(name: str) -> Any:
        text = (DATA / name).read_text()
        return json.loads(text) if name.endswith(".json") else text

    return read
