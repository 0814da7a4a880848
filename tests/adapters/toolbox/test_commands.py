"""The command line on a cluster whose nodes offer no SSH at all."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.kubelet import LocalKubelets, waiting
from tests.support.toolbox import ToolboxRig, toolbox_rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ToolboxRig]:
    kubelets = LocalKubelets("n1", refuse={"n2": waiting("ImagePullBackOff", "Back-off pulling image")})
    with toolbox_rig(tmp_path, kubelets) as world:
        nodes = [{"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}} for name in ("n1", "n2")]
        world.running.call(world.running.server.store.seed, nodes)
        yield world


def run(rig: ToolboxRig, folder: Path, *words: str, image: str = "toolbox:1") -> subprocess.CompletedProcess[str]:
    config = folder / "rollout.yaml"
    text = f"kubeconfig: {rig.kubeconfig}\nobserver: toolbox\nstate: {folder}/state.db\nrun_dir: {folder}/runs\n"
    text += f"ssh: {{known_hosts: {folder}/absent, private_key: {folder}/absent-too}}\n"
    config.write_text(text + (f"toolbox: {{image: '{image}'}}\n" if image else ""))
    command = [sys.executable, "-m", "rollout", *words, "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def findings(done: subprocess.CompletedProcess[str], rule: str) -> dict[str, Any]:
    found = json.loads(done.stdout)["findings"]
    return {one["node"]: one for one in found if one["rule"] == rule}


def test_preflight_sees_the_nodes_through_pods(rig: ToolboxRig, tmp_path: Path) -> None:
    done = run(rig, tmp_path, "preflight", "--target", "netkit", "--output", "json")
    seen = findings(done, "node-observed")
    assert (seen[""]["status"], seen[""]["count"]) == ("pass", 1), done.stderr  # n1: rules that hold are said together
    assert "ImagePullBackOff" in json.dumps(seen["n2"])
    assert rig.pods() == []
    assert "process" in rig.kubelets.pods[0]["metadata"]["annotations"]["netkit-rollout.io/by"]


def test_without_an_image_nothing_is_tried(rig: ToolboxRig, tmp_path: Path) -> None:
    done = run(rig, tmp_path, "preflight", "--target", "netkit", image="")
    assert done.returncode == 2
    assert "observer: toolbox needs toolbox.image" in done.stderr
    assert rig.kubelets.pods == []
