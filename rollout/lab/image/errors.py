"""What can go wrong while building the guest's image."""

from __future__ import annotations


class ImageError(Exception):
    """The image cannot be built or used; the message says what failed, on what, and what to do next."""
