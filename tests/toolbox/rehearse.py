"""Build the toolbox image without a container engine: every step of its Dockerfile in scratch roots, then its command.

`python -m tests.toolbox.rehearse FOLDER` as root; a minute or two, 400 MB. The last stage's root stays in FOLDER/final.
The base comes from the mirror that this machine's apt uses, in place of the image that FROM names.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rollout.lab.image import mirror
from tests.toolbox.dockerfile import PATH, Stage, stages

_CONTEXT = PATH.parents[1]


def main(folder: Path) -> None:
    """Raises `CalledProcessError` when a step fails."""
    folder.mkdir(parents=True)
    begun = time.monotonic()
    built: dict[str, Path] = {}
    found = stages()
    _base(found[0].base, folder / "base")
    _say(f"base {found[0].base}", begun)
    for stage in found:
        root = folder / (stage.name or "final")
        subprocess.run(["cp", "-a", folder / "base", root], check=True)
        _build(stage, root, built)
        built[stage.name] = root
        _say(f"stage {root.name}", begun)
    final = found[-1]
    _run(built[final.name], "/", final, final.command)
    size = subprocess.run(["du", "-sm", built[final.name]], capture_output=True, text=True, check=True).stdout
    _say(f"the image's root has {size.split()[0]} MB", begun)


def _base(image: str, root: Path) -> None:
    suite = image.partition(":")[2].removesuffix("-slim")
    settings = root.with_suffix(".apt")
    settings.write_text(mirror.host_settings())
    source = mirror.source_line(mirror.host_mirror(), suite)
    command = ["mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory", f"--aptopt={settings}"]
    command += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "locale", "man")]
    subprocess.run([*command, "--architectures=amd64", "--quiet", suite, root, source], check=True)
    shutil.copy(settings, root / "etc/apt/apt.conf.d/90rehearsal")
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")


def _build(stage: Stage, root: Path, built: dict[str, Path]) -> None:
    folder = "/"
    for word, text in stage.steps:
        if word == "RUN":
            _run(root, folder, stage, ["sh", "-c", text])
        elif word == "WORKDIR":
            folder = text
            (root / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif word == "COPY":
            _copy(shlex.split(text), root, folder, built)


def _copy(words: Sequence[str], root: Path, folder: str, built: dict[str, Path]) -> None:
    source = _CONTEXT
    if words[0].startswith("--from="):
        source, words = built[words[0].removeprefix("--from=")], words[1:]
    name, target = words
    place = root / Path(folder, target).relative_to("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    origin = source / name.lstrip("/")
    if origin.is_dir():
        shutil.copytree(origin, place, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(origin, place)


def _run(root: Path, folder: str, stage: Stage, command: Sequence[str]) -> None:
    settings = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", **stage.environment}
    inside = ["env", "-i", "-C", folder, *(f"{name}={value}" for name, value in settings.items()), *command]
    subprocess.run(["chroot", root, *inside], check=True, stdin=subprocess.DEVNULL)


def _say(text: str, begun: float) -> None:
    print(f"{time.monotonic() - begun:6.1f} s  {text}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
