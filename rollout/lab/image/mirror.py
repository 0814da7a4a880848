"""Where this machine gets its Debian packages: read from its own apt configuration, never assumed.

Both forms of apt's source lists are understood: one-line (`deb [options] URI suite component`) and deb822.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from rollout.lab.image.errors import ImageError

APT_FOLDER = Path("/etc/apt")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
ONE_LINE = re.compile(r"^\s*deb\s+(?:\[[^]]*\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>.+?)\s*(?:#.*)?$")
# Archives of other things that Debian's main archive sits beside on the same mirror.
OTHER_ARCHIVES = ("security", "backports", "debug", "ports")
# A private apt must reach the mirror as the host's does: by the same proxy, certificates and notion of expiry.
KEPT_SETTINGS = re.compile(
    r"^Acquire::(?:(?:http|https|ftp)(?:::.*)?|Check-Valid-Until|Check-Date|Retries|ForceIPv4|ForceIPv6"
    r"|Max-FutureTime|AllowInsecureRepositories|Proxy-Auto-Detect|ProxyAutoDetect) "
)


def parse_one_line(text: str) -> Iterator[str]:
    """URIs of the `deb` lines of a sources.list whose components hold `main`."""
    for line in text.splitlines():
        found = ONE_LINE.match(line)
        if found and "main" in found["components"].split():
            yield found["uri"]


def parse_deb822(text: str) -> Iterator[str]:
    """URIs of the enabled `Types: deb` stanzas of a .sources file whose components hold `main`."""
    for stanza in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1].isspace():
                fields[name] = f"{fields.get(name, '')} {line.strip()}"
            elif ":" in line:
                name, value = line.split(":", 1)
                name = name.lower()
                fields[name] = value.strip()
        enabled = fields.get("enabled", "yes").lower() not in ("no", "false", "0")
        if enabled and "deb" in fields.get("types", "").split() and "main" in fields.get("components", "").split():
            yield from fields.get("uris", "").split()


def choose_mirror(uris: Iterable[str]) -> str | None:
    """The first URI that is a mirror of Debian's main archive, without its trailing slash; None if there is none.

    Debian's mirrors keep that archive in a folder named `debian`; a mirror that does not must be named by the caller.
    """
    for uri in uris:
        path = uri.rstrip("/")
        last = path.rsplit("/", 1)[-1].lower()
        if "debian" in last and not any(word in last for word in OTHER_ARCHIVES):
            return path
    for uri in uris:
        if "/debian/" in f"{uri}/" and not any(word in uri for word in OTHER_ARCHIVES):
            return uri.rstrip("/")
    return None


def configured_uris(folder: Path = APT_FOLDER) -> list[str]:
    """URIs of all sources of this machine with a `main` component, in apt's order."""
    one_line = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*.list"))]
    uris = [uri for path in one_line if path.is_file() for uri in parse_one_line(path.read_text())]
    for path in sorted((folder / "sources.list.d").glob("*.sources")):
        uris += parse_deb822(path.read_text())
    return uris


def host_mirror(folder: Path = APT_FOLDER) -> str:
    """The Debian mirror this machine uses. Raises ImageError if it uses none."""
    mirror = choose_mirror(configured_uris(folder))
    if mirror is None:
        raise ImageError(
            f"cannot find a Debian mirror in the apt sources under {folder}; "
            "the lab's guest is Debian: name a mirror that this machine may use (ensure_image's `mirror`)"
        )
    return mirror


def source_line(mirror: str, suite: str) -> str:
    """The one source of the guest's packages, for sources.list."""
    signed = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
    return f"deb {signed}{mirror} {suite} main"


def kept_settings(dump: str) -> str:
    """Of `apt-config dump`, the lines that say how to reach a mirror."""
    return "".join(f"{line}\n" for line in dump.splitlines() if KEPT_SETTINGS.match(line))


def host_settings() -> str:
    """This machine's apt settings on proxies, certificates and expiry, in apt.conf's form."""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    return kept_settings(dump)
