"""The guest image of the embedded lab: Debian with a netkit kernel, built from packages and kept by content.

Rules of this package: nothing outside the cache folder is written; this machine's apt lists are not touched; the
mirror is the one this machine is set up with; a folder in the cache is complete or absent.
"""

from rollout.lab.image.build import Image, ensure_image
from rollout.lab.image.errors import ImageError
from rollout.lab.image.recipe import Recipe

__all__ = ["Image", "ImageError", "Recipe", "ensure_image"]
