"""Waves: which nodes go together, in what order, and the limits they obey."""

from rollout.planning.waves.candidate import Candidate, Packing
from rollout.planning.waves.pack import pack

__all__ = ["Candidate", "Packing", "pack"]
