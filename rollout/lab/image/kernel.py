"""Takes the guest's kernel apart: the bootable file, and the wanted modules with what they depend on."""

from __future__ import annotations

import lzma
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rollout.lab.image.apt import PrivateApt
from rollout.lab.image.errors import ImageError
from rollout.lab.image.recipe import KERNEL_PACKAGE

# In a module's .modinfo section: NUL-separated key=value.
DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")
KERNEL_PARTS = ("linux-image-", "linux-binary-", "linux-modules-")


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel: its version, its bootable file and the folder of its modules."""

    version: str
    bootable: Path
    modules: Path

    def builtin(self) -> set[str]:
        """Names of the modules that are part of the kernel itself."""
        lines = (self.modules / "modules.builtin").read_text().splitlines()
        return {module_name(Path(line)) for line in lines}

    def files(self) -> dict[str, Path]:
        """Module name to file, compressed as the package has it."""
        found = [path for path in self.modules.rglob("*.ko*") if path.is_file()]
        return {module_name(path): path for path in found}


def module_name(path: Path) -> str:
    """The kernel's name of a module file: `virtio-rng.ko.xz` is `virtio_rng`."""
    return path.name.split(".ko", 1)[0].replace("-", "_")


def fetch_kernel(apt: PrivateApt, folder: Path) -> Kernel:
    """Download and unpack the newest cloud kernel into `folder`. Raises ImageError.

    From 7.x Debian splits the kernel over several packages; all parts of one version are taken.
    """
    pending, seen = apt.dependencies(KERNEL_PACKAGE), set[str]()
    while pending:
        package = pending.pop()
        if package in seen or not package.startswith(KERNEL_PARTS):
            continue
        seen.add(package)
        apt.unpack(package, folder)
        pending += apt.dependencies(package)
    bootable = sorted((folder / "boot").glob("vmlinuz-*"))
    if len(bootable) != 1:
        raise ImageError(f"cannot build the lab image: step kernel: {sorted(seen)} hold {len(bootable)} kernels, not 1")
    version = bootable[0].name.removeprefix("vmlinuz-")
    places = [folder / "usr/lib/modules" / version, folder / "lib/modules" / version]
    modules = next((place for place in places if place.is_dir()), None)
    if modules is None:
        raise ImageError(f"cannot build the lab image: step kernel: no modules of {version} in {sorted(seen)}")
    return Kernel(version, bootable[0], modules)


def parse_depends(module: bytes) -> list[str]:
    """Names of the modules that a module, uncompressed, says it depends on."""
    found = DEPENDS.search(module)
    return [name.replace("-", "_") for name in found[1].decode().split(",") if name] if found else []


def read_module(path: Path) -> bytes:
    """A module's contents, uncompressed. Raises ImageError for a compression not known here."""
    if path.suffix == ".ko":
        return path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    raise ImageError(f"cannot build the lab image: step kernel: module {path.name} is compressed in an unknown way")


def install_modules(kernel: Kernel, wanted: Iterable[str], target: Path) -> list[str]:
    """Write `wanted` and what they depend on, uncompressed, below `target`; returns their names, dependencies first.

    `target` becomes a /lib/modules/<version> folder (without depmod's files). Raises ImageError for an unknown module.
    """
    files, builtin = kernel.files(), kernel.builtin()
    order: list[str] = []

    def install(name: str) -> None:
        if name in builtin or name in order:
            return
        if name not in files:
            raise ImageError(f"cannot build the lab image: step kernel: kernel {kernel.version} has no module {name}")
        contents = read_module(files[name])
        for other in parse_depends(contents):
            install(other)
        order.append(name)
        place = target / files[name].relative_to(kernel.modules)
        place = place.with_name(place.name.split(".ko", 1)[0] + ".ko")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(contents)

    for name in wanted:
        install(name)
    for index in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        if (kernel.modules / index).exists():
            shutil.copy(kernel.modules / index, target / index)
    return order
