"""Versions of agent and kernel, read from image tags and kernel strings."""

from __future__ import annotations

import re

Version = tuple[int, int, int]

_VERSION = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?")

GUARD_SINCE: Version = (1, 19, 0)
"""First release sure to have the start-up guard (cilium-netkit.md 2: >=1.19 has it, 1.18 maybe, <=1.17 not)."""


def parse_image_version(image: str) -> Version | None:
    """The version in an image's tag, None when it has none (a digest, `latest`, a private tag)."""
    name = image.split("@", 1)[0].rsplit("/", 1)[-1]
    if ":" not in name:
        return None
    return parse_version(name.split(":", 1)[1])


def parse_version(text: str) -> Version | None:
    """Leading `major.minor[.patch]` of a text, None when there is none."""
    match = _VERSION.match(text)
    if match is None:
        return None
    major, minor, patch = match.groups()
    return int(major), int(minor), int(patch or 0)


def show(version: Version | None) -> str:
    """A version for people."""
    return "unknown" if version is None else ".".join(str(part) for part in version)
