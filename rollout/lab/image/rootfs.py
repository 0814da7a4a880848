"""The guest's root file system as a folder: Debian packages, kernel modules, users, keys, boot scripts."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from rollout.lab.image.headers import GUEST_FOLDER as HEADERS_FOLDER
from rollout.lab.image.kernel import Kernel, install_modules
from rollout.lab.image.recipe import LEFT_OUT_PATHS, LOADED_MODULES, OTHER_MODULES, PYROUTE2, Recipe
from rollout.lab.image.steps import Steps

GUEST_FILES = Path(__file__).parent / "guest"
PYTHON_PACKAGES = Path("usr/lib/python3/dist-packages")
# Of `guarded`, whose sudo asks for one. Of no value: the guest is reachable from 127.0.0.1 only, and by key only.
GUARDED_PASSWORD = "guarded"
# Source in guest/: place in the guest, mode.
INSTALLED = {
    "inittab": ("etc/inittab", 0o644),
    "rcS": ("etc/init.d/rcS", 0o755),
    "sshd_config": ("etc/ssh/sshd_config", 0o644),
    "sudoers": ("etc/sudoers.d/lab", 0o440),
    "lab-node": ("usr/local/sbin/lab-node", 0o755),
    "lab_node.py": ("usr/local/lib/lab/lab_node.py", 0o644),
    "lab-supervise": ("usr/local/sbin/lab-supervise", 0o755),
}
# User: (number, home). Root is there already.
USERS = {"ops": (1000, "home/ops"), "guarded": (1001, "home/guarded")}
ENVIRONMENT = f"BCC_KERNEL_SOURCE=/{HEADERS_FOLDER}"


@dataclass(frozen=True)
class Keys:
    """Two key pairs: the guests' host key, and the key that opens root, ops and guarded."""

    host: Path
    login: Path

    @staticmethod
    def create(folder: Path, steps: Steps) -> Keys:
        """Make both pairs in `folder` (mode 0700)."""
        folder.mkdir(mode=0o700)
        keys = Keys(folder / "host_ed25519", folder / "id_ed25519")
        for path, comment in ((keys.host, "lab-host"), (keys.login, "lab-login")):
            command: list[str | Path] = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path]
            steps.run("keys", command, advice="check that openssh-client is installed")
        return keys


def public_key(private: Path) -> Path:
    """The public half that ssh-keygen wrote beside a private key."""
    return private.with_name(f"{private.name}.pub")


def install_packages(recipe: Recipe, source: str, settings: Path, root: Path, steps: Steps) -> None:
    """Fill `root` with the Debian packages of the recipe."""
    excluded = [f"--dpkgopt=path-exclude={path}" for path in LEFT_OUT_PATHS]
    command: list[str | Path] = [
        "mmdebstrap",
        "--mode=root",
        "--variant=essential",
        "--format=directory",
        "--architectures=amd64",
        f"--aptopt={settings}",
        *excluded,
        f"--include={','.join(recipe.packages)}",
        recipe.suite,
        root,
        source,
    ]
    steps.run("packages", command, advice="check that this machine reaches its Debian mirror, then try again")


def install_pyroute2(root: Path, steps: Steps) -> None:
    """Put pyroute2 beside the guest's own Python packages, compiled by the guest's own Python."""
    target = root / PYTHON_PACKAGES
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-compile",
        "--target",
        target,
        PYROUTE2,
    ]
    steps.run("pyroute2", command, advice="check that pip works here (python -m pip download pyroute2), then try again")
    # Under emulation compiling costs seconds at the first import, and what it wrote would go into guest memory.
    compile_command: list[str | Path] = [
        "chroot",
        root,
        "python3",
        "-m",
        "compileall",
        "-q",
        f"/{PYTHON_PACKAGES}/pyroute2",
    ]
    steps.run("pyroute2", compile_command, advice="read the log")


def install_kernel_modules(kernel: Kernel, root: Path, steps: Steps) -> None:
    """Put the recipe's modules into the guest and index them."""
    target = root / "usr/lib/modules" / kernel.version
    install_modules(kernel, (*LOADED_MODULES, *OTHER_MODULES), target)
    (root / "etc/lab-modules").write_text("".join(f"{name}\n" for name in LOADED_MODULES))
    steps.run("modules", ["chroot", root, "depmod", "-a", kernel.version], advice="read the log")


def add_users(root: Path, login_key: str, steps: Steps) -> None:
    """Add ops and guarded, and let the login key open them and root."""
    for name, (number, home) in USERS.items():
        append(root / "etc/passwd", f"{name}:x:{number}:{number}::/{home}:/bin/bash\n")
        append(root / "etc/group", f"{name}:x:{number}:\n")
        # "*": no password fits. "!" would make sshd refuse the key as well.
        append(root / "etc/shadow", f"{name}:*:19000:0:99999:7:::\n")
        shutil.copytree(root / "etc/skel", root / home)
        authorize(root / home, login_key, number)
    shadow = root / "etc/shadow"
    shadow.write_text(shadow.read_text().replace("root:!:", "root:*:").replace("root::", "root:*:"))
    authorize(root / "root", login_key, 0)
    password = f"guarded:{GUARDED_PASSWORD}\n"
    steps.run("users", ["chroot", root, "chpasswd"], stdin=password, advice="read the log")


def authorize(home: Path, login_key: str, number: int) -> None:
    """Let `login_key` open the account whose home folder and number these are."""
    folder = home / ".ssh"
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "authorized_keys").write_text(login_key)
    for path in (home, *home.rglob("*")):
        shutil.chown(path, number, number)


def append(path: Path, text: str) -> None:
    with path.open("a") as output:
        output.write(text)


def install_guest_files(root: Path, keys: Keys, steps: Steps) -> None:
    """Put the boot scripts, sshd's settings and host key, and busybox as init into the guest."""
    for name, (place, mode) in INSTALLED.items():
        target = root / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(GUEST_FILES / name, target)
        target.chmod(mode)
    compile_command: list[str | Path] = [
        "chroot",
        root,
        "python3",
        "-m",
        "compileall",
        "-q",
        "-b",
        "/usr/local/lib/lab",
    ]
    steps.run("guest-files", compile_command, advice="read the log")
    for old in (root / "etc/ssh").glob("ssh_host_*"):
        old.unlink()
    host_key = root / "etc/ssh/ssh_host_ed25519_key"
    shutil.copyfile(keys.host, host_key)
    host_key.chmod(0o600)
    for applet in ("init", "reboot", "poweroff", "halt"):
        link = root / "usr/sbin" / applet
        link.unlink(missing_ok=True)
        link.symlink_to("/usr/bin/busybox")
    append(root / "etc/environment", f"{ENVIRONMENT}\n")
    (root / "etc/profile.d").mkdir(exist_ok=True)
    (root / "etc/profile.d/bcc.sh").write_text(f"export {ENVIRONMENT}\n")
    for name in ("etc/lab", "opt/lab", "var/log"):
        (root / name).mkdir(parents=True, exist_ok=True)


def strip(root: Path) -> None:
    """Remove what only package installation needs."""
    for name in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale"):
        shutil.rmtree(root / name, ignore_errors=True)
    (root / "etc/resolv.conf").unlink(missing_ok=True)
