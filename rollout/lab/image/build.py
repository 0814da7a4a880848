"""Builds the guest's image once and keeps it: one folder per digest, complete or absent, never half done."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rollout.lab.image import disk, headers, mirror, rootfs
from rollout.lab.image.apt import PrivateApt
from rollout.lab.image.kernel import Kernel, fetch_kernel
from rollout.lab.image.recipe import HEADERS_PACKAGE, Recipe
from rollout.lab.image.steps import Report, Steps, require_programs

# Beginnings of digests name folders; 16 hexadecimal digits do not collide among a handful of images.
DIGEST_LENGTH = 16


@dataclass(frozen=True)
class Image:
    """A guest image: files in one folder of the cache."""

    folder: Path
    digest: str

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd.gz"

    @property
    def disk(self) -> Path:
        """Raw ext4, to be opened read-only."""
        return self.folder / "root.ext4"

    @property
    def ssh_key(self) -> Path:
        """Private key (mode 0600) that opens root, ops and guarded in every guest of this image."""
        return self.folder / "keys/id_ed25519"

    @property
    def host_key_pub(self) -> Path:
        """Public host key of every guest of this image."""
        return rootfs.public_key(self.folder / "keys/host_ed25519")

    @property
    def kernel_version(self) -> str:
        return (self.folder / "kernel-version").read_text().strip()

    def known_hosts_line(self, port: int) -> str:
        """A known_hosts line for a guest reached at 127.0.0.1:`port`."""
        kind, key = self.host_key_pub.read_text().split()[:2]
        return f"[127.0.0.1]:{port} {kind} {key}\n"


def ensure_image(cache_dir: Path, report: Report, *, recipe: Recipe | None = None, source: str | None = None) -> Image:
    """The image of `recipe` from `cache_dir`, built first if it is not there (about a minute, 100 MB of downloads).

    `source` is the URI of the Debian mirror; by default the one this machine's apt uses.
    Raises ImageError naming the step that failed, its log and what to do.
    """
    recipe = recipe or Recipe()
    digest = recipe.digest[:DIGEST_LENGTH]
    image = Image(cache_dir / "images" / digest, digest)
    if image.folder.is_dir():
        return image
    require_programs()
    image.folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(image.folder.with_suffix(".lock"), report):
        # Another builder may have finished it while this one waited for the lock.
        if not image.folder.is_dir():
            build_into(image.folder, recipe, source or mirror.host_mirror(), report)
    return image


@contextmanager
def locked(path: Path, report: Report) -> Iterator[None]:
    """Hold the lock file at `path`; waits for another process that holds it."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"image: waiting for another process that holds {path}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build_into(target: Path, recipe: Recipe, mirror_uri: str, report: Report) -> None:
    """Build in a temporary folder beside `target`, then move the result there in one go."""
    report(f"image: building {target.name} from Debian {recipe.suite}; this takes about a minute")
    begin = time.monotonic()
    logs = target.with_suffix(".logs")
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir()
    steps = Steps(logs, report)
    work = Path(tempfile.mkdtemp(prefix=f"{target.name}.", suffix=".partial", dir=target.parent))
    try:
        result = build(work, recipe, mirror_uri, steps)
        result.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    report(f"image: {target.name} ready in {time.monotonic() - begin:.0f} s")


def build(work: Path, recipe: Recipe, mirror_uri: str, steps: Steps) -> Path:
    """All steps, in order; returns the folder with the finished files."""
    result, root = work / "result", work / "root"
    result.mkdir(mode=0o700)
    source = mirror.source_line(mirror_uri, recipe.suite)
    apt = PrivateApt(work / "apt", steps)
    with steps.step("package lists"):
        apt.prepare(source, mirror.host_settings())
    with steps.step("kernel and headers"):
        kernel = fetch_kernel(apt, work / "kernel")
        apt.unpack(HEADERS_PACKAGE, work / "headers")
    with steps.step(f"{len(recipe.packages)} packages and what they need"):
        rootfs.install_packages(recipe, source, apt.settings_file, root, steps)
    with steps.step("guest files"):
        keys = rootfs.Keys.create(result / "keys", steps)
        furnish(kernel, work / "headers", root, keys, steps)
    with steps.step("initramfs and disk"):
        disk.build_initramfs(kernel, root, work / "initramfs", result / "initrd.gz", steps)
        disk.build_disk(root, result / "root.ext4", steps)
    shutil.copy(kernel.bootable, result / "vmlinuz")
    (result / "kernel-version").write_text(f"{kernel.version}\n")
    return result


def furnish(kernel: Kernel, headers_package: Path, root: Path, keys: rootfs.Keys, steps: Steps) -> None:
    """Everything in the root file system that is not a Debian package."""
    rootfs.install_pyroute2(root, steps)
    rootfs.install_kernel_modules(kernel, root, steps)
    headers.build_headers(headers_package, root / headers.GUEST_FOLDER)
    rootfs.add_users(root, rootfs.public_key(keys.login).read_text(), steps)
    rootfs.install_guest_files(root, keys, steps)
    rootfs.strip(root)
