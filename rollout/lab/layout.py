"""Where a lab keeps its files, and what it tells those who use it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import platformdirs

TIME_SCALE = 0.1
"""The recorded waits (agent start 20-30 s, CNI DEL 49 s, back-off 10 s) come from emulation; the lab plays a tenth."""


def default_directory() -> Path:
    """The lab that commands mean when none is named."""
    return platformdirs.user_state_path("netkit-rollout") / "lab"


def cache_directory() -> Path:
    """Images and templates, by content. `NETKIT_ROLLOUT_LAB_CACHE` moves it."""
    named = os.environ.get("NETKIT_ROLLOUT_LAB_CACHE")
    return Path(named) if named else platformdirs.user_cache_path("netkit-rollout") / "lab"


@dataclass(frozen=True)
class LabNode:
    """One machine as the outside reaches it; ports are on 127.0.0.1."""

    name: str
    index: int
    address: str
    ssh_port: int
    kubelet_port: int


@dataclass(frozen=True)
class LabInfo:
    """What `lab up` leaves behind for its users."""

    directory: Path
    kubeconfig: Path
    config: Path
    network: str
    service: str
    """URL of the workload behind its Service."""
    api: str
    nodes: tuple[LabNode, ...]
    pid: int
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class LabLayout:
    """The files of one lab."""

    directory: Path

    @property
    def network(self) -> str:
        """Name of its network namespace: one per directory."""
        return "nkr-" + hashlib.sha256(str(self.directory.resolve()).encode()).hexdigest()[:8]

    def path(self, name: str) -> Path:
        """A file of the lab."""
        return self.directory / name

    def make(self) -> None:
        """The directory, private: it holds tokens and a key."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.directory.chmod(0o700)

    def write_info(self, info: LabInfo) -> None:
        """Tell that the lab is up."""
        plain = asdict(info) | {k: str(getattr(info, k)) for k in ("directory", "kubeconfig", "config")}
        partial = self.path("ready.json.partial")
        partial.write_text(json.dumps(plain, indent=2))
        partial.rename(self.path("ready.json"))

    def read_info(self) -> LabInfo | None:
        """What the running lab told; None when none is up."""
        try:
            plain = json.loads(self.path("ready.json").read_text())
        except (OSError, json.JSONDecodeError):
            return None
        plain["nodes"] = tuple(LabNode(**node) for node in plain["nodes"])
        for key in ("directory", "kubeconfig", "config"):
            plain[key] = Path(plain[key])
        return LabInfo(**plain)
