"""A private apt: fetches single packages of another Debian release without touching this machine's own lists."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from rollout.lab.image.errors import ImageError
from rollout.lab.image.steps import Steps

ADVICE = "check that this machine reaches its Debian mirror (apt-get update), then try again"
DEPENDS = re.compile(r"^\s*(?:Pre)?Depends: (?P<name>\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class PrivateApt:
    """An apt whose lists, cache and settings live in `folder`."""

    folder: Path
    steps: Steps

    def prepare(self, source: str, settings: str) -> None:
        """Lay out the folder for one source line and fetch the package lists."""
        for name in ("lists/partial", "cache/archives/partial", "debs"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "status").touch()
        (self.folder / "sources.list").write_text(f"{source}\n")
        self.settings_file.write_text(settings)
        # The host's own apt.conf is left out: its hooks are about the host. What matters of it is in `settings`.
        (self.folder / "apt.conf").write_text(f'Dir::Etc::parts "/dev/null";\nDir::Etc::main "/dev/null";\n{settings}')
        # By default apt only warns of a mirror that it cannot reach.
        self._apt("apt-get", "-o", "APT::Update::Error-Mode=any", "update")

    @property
    def settings_file(self) -> Path:
        """The host's way to its mirror, in apt.conf's form; mmdebstrap takes it as well."""
        return self.folder / "settings.conf"

    def dependencies(self, package: str) -> list[str]:
        """Names of the packages that `package` depends on, first ones first."""
        return DEPENDS.findall(self._apt("apt-cache", "depends", package))

    def unpack(self, package: str, target: Path) -> None:
        """Download `package` and unpack it, without running its scripts, into `target`."""
        folder = self.folder / "debs" / package
        folder.mkdir()
        self._apt("apt-get", "download", package, folder=folder)
        found = list(folder.glob("*.deb"))
        if len(found) != 1:
            raise ImageError(
                f"cannot build the lab image: step apt: downloading {package} left {len(found)} files in {folder}"
            )
        target.mkdir(parents=True, exist_ok=True)
        self.steps.run("apt", ["dpkg-deb", "-x", found[0], target], advice=ADVICE)

    def _apt(self, program: str, *words: str, folder: Path | None = None) -> str:
        options = {
            "Dir::Etc::sourcelist": self.folder / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::lists": self.folder / "lists",
            "Dir::State::status": self.folder / "status",
            "Dir::Cache": self.folder / "cache",
            "APT::Architecture": "amd64",
            "APT::Architectures": "amd64",
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
        }
        flags = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        return self.steps.run(
            "apt",
            [program, *flags, *words],
            advice=ADVICE,
            folder=folder,
            settings={"APT_CONFIG": str(self.folder / "apt.conf")},
        )
