"""A container that runs a program of the guest itself, in the pod's network namespace: every image has a python3."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

COMMANDS = ("python3", "sh")


def find(word: str) -> str | None:
    """Where the guest has the program a command starts with; None if it is none of COMMANDS or not there."""
    return shutil.which(word) if Path(word).name in COMMANDS else None


def main(argv: list[str], environment: Mapping[str, str]) -> int:
    """Become the program: its signals, its output and its exit code are the container's. Does not return."""
    os.execvpe(argv[0], argv, dict(environment))  # noqa: S606 - no shell is wanted
