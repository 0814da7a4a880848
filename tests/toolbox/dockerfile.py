"""Reads the few instructions that our Dockerfile uses. Raises `ValueError` for any other."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

PATH = Path(__file__).parents[2] / "toolbox" / "Dockerfile"
KNOWN = ("ARG", "FROM", "RUN", "COPY", "WORKDIR", "LABEL", "ENV", "USER", "CMD")
_INSTALL = re.compile(r"apt-get install ((?:[^&|;\\]|\\\n)*)")


@dataclass
class Stage:
    """One FROM and what follows: words of instructions, by their order."""

    base: str
    name: str = ""
    steps: list[tuple[str, str]] = field(default_factory=list)

    def of(self, kind: str) -> list[str]:
        """Arguments of all instructions of one kind."""
        return [text for word, text in self.steps if word == kind]

    @property
    def packages(self) -> list[str]:
        """What `apt-get install` is given, without options."""
        texts = [found for run in self.of("RUN") for found in _INSTALL.findall(run)]
        return [word for text in texts for word in shlex.split(text) if not word.startswith("-")]

    @property
    def environment(self) -> dict[str, str]:
        """What ENV sets."""
        return dict(word.split("=", 1) for text in self.of("ENV") for word in shlex.split(text))

    @property
    def command(self) -> list[str]:
        """CMD in its exec form."""
        found: list[str] = json.loads(self.of("CMD")[-1])
        return found


def stages(path: Path = PATH) -> list[Stage]:
    """The stages, with ARG defaults put in."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    text = re.sub(r"\\\n", " ", "\n".join(lines))
    arguments: dict[str, str] = {}
    found: list[Stage] = []
    for line in (one.strip() for one in text.splitlines() if one.strip()):
        word, _, rest = line.partition(" ")
        if word not in KNOWN:
            raise ValueError(f"cannot read {path}: instruction {word}")
        for name, value in arguments.items():
            rest = rest.replace(f"${{{name}}}", value)
        if word == "ARG":
            name, _, value = rest.partition("=")
            arguments[name] = value
        elif word == "FROM":
            base, _, name = rest.partition(" AS ")
            found.append(Stage(base.strip(), name.strip()))
        else:
            found[-1].steps.append((word, " ".join(rest.split())))
    return found
