"""The toolbox image, as far as it can be judged without building it. `python -m tests.toolbox.rehearse` builds it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path, PurePosixPath

import pytest

from rollout.lab.image.headers import build_headers
from rollout.lab.image.recipe import HEADERS_PACKAGE, PACKAGES, SUITE
from tests.toolbox.dockerfile import PATH, Stage, stages

ROOT = PATH.parents[1]
HEADERS, FINAL = stages()


@pytest.mark.parametrize("stage", [HEADERS, FINAL], ids=["headers", "final"])
def test_its_packages_are_those_that_the_lab_proves_every_day(stage: Stage) -> None:
    """The lab's guests are made of the same suite and packages, and their BCC runs on the same headers."""
    assert stage.base == f"debian:{SUITE}-slim"
    assert stage.packages
    assert set(stage.packages) <= {*PACKAGES, HEADERS_PACKAGE}
    assert stage.packages == sorted(stage.packages)


def test_it_holds_what_the_programs_need() -> None:
    assert {"python3", "python3-bpfcc"} <= set(FINAL.packages)
    assert FINAL.environment["BCC_KERNEL_SOURCE"] == FINAL.of("COPY")[0].split()[-1]
    assert FINAL.command[0] == "python3"
    assert FINAL.of("USER") == ["root"]


@pytest.mark.parametrize("stage", [HEADERS, FINAL], ids=["headers", "final"])
def test_habits(stage: Stage) -> None:
    """hadolint's DL3003, DL3008 (by suite), DL3009, DL3014, DL3015, DL3020 in our words."""
    for run in stage.of("RUN"):
        assert "cd " not in run
        assert "sudo" not in run
        if "apt-get install" in run:
            assert run.startswith("apt-get update &&")
            assert "--yes" in run
            assert "--no-install-recommends" in run
            assert "rm -rf /var/lib/apt/lists/*" in run
    assert ":latest" not in stage.base
    assert all(PurePosixPath(place).is_absolute() for place in stage.of("WORKDIR"))


def test_every_file_it_copies_is_there_and_let_into_the_build() -> None:
    let_in = [line[1:] for line in (PATH.parent / "Dockerfile.dockerignore").read_text().split() if line[0] == "!"]
    copied = [shlex.split(text)[0] for text in HEADERS.of("COPY")]
    assert sorted(copied) == sorted(let_in)
    assert all((ROOT / name).exists() for name in copied)
    assert FINAL.of("COPY") == ["--from=headers /bcc-headers /usr/share/bcc-headers"]


def test_the_headers_are_built_from_an_installed_package(tmp_path: Path) -> None:
    """As the image does it, from a root in which linux-libc-dev is installed: here a few files in its places."""
    package, target = tmp_path / "root", tmp_path / "headers"
    for name in ("linux/bpf.h", "linux/types.h", "asm-generic/types.h", "x86_64-linux-gnu/asm/types.h"):
        file = package / "usr/include" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("#ifndef __LINUX_BPF_H__\n#define __LINUX_BPF_H__\n#endif\n")
    (call,) = re.findall(r"build_headers\((.*)\)'", HEADERS.of("RUN")[-1])
    assert call == 'Path("/"), Path("/bcc-headers")'
    build_headers(package, target)
    assert "_UAPI__LINUX_BPF_H__" in (target / "include/uapi/linux/bpf.h").read_text()
    assert (target / "include/linux/kconfig.h").is_file()


def test_no_kernel_version_is_in_it() -> None:
    text = PATH.read_text()
    assert not re.search(r"uname|linux-(image|headers)|/lib/modules|\b[4-9]\.\d{1,2}\.\d", text)
