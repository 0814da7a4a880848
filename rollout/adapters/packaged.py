"""Folders that ship with the program: kept at the top of a checkout, installed as package data."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Literal

Folder = Literal["migrations", "playbooks", "bpf"]


def packaged_dir(name: Folder) -> Path:
    """Where a shipped folder is. A missing one is a broken installation, hence a crash, not an error of the user's."""
    package = Path(str(files("rollout")))
    installed, checkout = package / "_data" / name, package.parent / name
    if installed.is_dir():
        return installed
    if checkout.is_dir() and (package.parent / "pyproject.toml").is_file():
        return checkout
    raise FileNotFoundError(f"the folder {name} is not installed with the program (looked for {installed})")
