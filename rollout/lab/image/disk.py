"""Turns the guest's root folder into what QEMU boots: a small initramfs and an ext4 disk."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

from rollout.lab.image.kernel import Kernel, install_modules
from rollout.lab.image.recipe import BOOT_MODULES
from rollout.lab.image.rootfs import GUEST_FILES
from rollout.lab.image.steps import Steps

INITRAMFS_FOLDERS = ("bin", "dev", "proc", "lower", "upper", "new", "modules")
MIB = 1 << 20


def build_initramfs(kernel: Kernel, root: Path, work: Path, target: Path, steps: Steps) -> None:
    """Write the gzipped cpio archive with busybox, the boot modules and the first program."""
    for name in INITRAMFS_FOLDERS:
        (work / name).mkdir(parents=True)
    shutil.copy(root / "usr/bin/busybox", work / "bin/busybox")
    shutil.copyfile(GUEST_FILES / "initramfs-init", work / "init")
    (work / "init").chmod(0o755)
    unsorted = work.with_name("boot-modules")
    order = install_modules(kernel, BOOT_MODULES, unsorted)
    for path in unsorted.rglob("*.ko"):
        shutil.copy(path, work / "modules" / f"{path.stem.replace('-', '_')}.ko")
    (work / "modules/order").write_text("".join(f"{name}.ko\n" for name in order))
    names = "".join(f"{path.relative_to(work)}\n" for path in sorted(work.rglob("*")))
    archive = work.with_name("initrd.cpio")
    command: list[str | Path] = ["cpio", "--quiet", "--create", "--format=newc", "--owner=0:0", "--file", archive]
    steps.run("initramfs", command, folder=work, stdin=names, advice="read the log")
    target.write_bytes(gzip.compress(archive.read_bytes(), compresslevel=6, mtime=0))


def folder_mib(folder: Path) -> int:
    """Space that a folder's files take on disk, in MiB, rounded up."""
    used = sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))
    return -(-used // MIB)


def build_disk(root: Path, target: Path, steps: Steps) -> None:
    """Write `root` as an ext4 file system. Without a journal: it is only ever mounted read-only."""
    size_mib = folder_mib(root) * 108 // 100 + 24
    command = ["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal,^metadata_csum", "-m", "0", "-L", "lab-root"]
    command += ["-b", "4096", "-i", "16384", "-d", str(root), str(target), f"{size_mib}M"]
    steps.run("disk", command, advice=f"check that {target.parent} has {2 * size_mib} MiB free, then try again")
