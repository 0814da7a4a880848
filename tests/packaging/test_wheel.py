"""The wheel has what an installed `rollout` needs: migrations, playbooks, programs for nodes."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(unpacked: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`rollout` from the unpacked wheel, far from the checkout."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "rollout", *arguments],
        env={**os.environ, "PYTHONPATH": str(unpacked)}, cwd=unpacked, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip


def test_it_creates_its_state_from_its_own_migrations(unpacked: Path, tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    made = run(unpacked, "state", "upgrade", "--state", str(state))
    assert made.returncode == 0, made.stderr
    assert state.exists()
    assert run(unpacked, "state", "check", "--state", str(state)).returncode == 0


@pytest.mark.parametrize(
    "path",
    [
        "rollout/_data/playbooks/reconfigure-agent.yml",
        "rollout/_data/playbooks/hooks/before-node.yml",
        "rollout/_data/migrations/env.py",
        "rollout/_data/bpf/path.c",
        "rollout/_data/bpf/include/linux/types.h",
        "rollout/onnode/links.py",
        "rollout/cli/schema/plan.schema.json",
        "rollout/cli/render/templates/plan.js",
        "rollout/lab/guest/node.py",
        "rollout/lab/manifests/cilium.yaml",
        "rollout/lab/image/guest/lab_node.py",
    ],
)
def test_it_holds_what_is_shipped_elsewhere(unpacked: Path, path: str) -> None:
    assert (unpacked / path).is_file()


def test_nodes_are_sent_the_c_sources_of_the_wheel(unpacked: Path) -> None:
    program = "from rollout.adapters.ansible.bundle import sources; print(sources()['onnode.bpf_sources'])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        env={**os.environ, "PYTHONPATH": str(unpacked)}, cwd=unpacked, capture_output=True, text=True, timeout=60,
        check=True,
    )  # fmt: skip
    assert "tcp_endpoints" in done.stdout


def test_it_holds_no_tests(unpacked: Path) -> None:
    assert not (unpacked / "tests").exists()
