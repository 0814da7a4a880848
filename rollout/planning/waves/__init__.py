"""Waves: which nodes go together, in what order, and the limits they obey."""

from rollout.planning.waves.pack import Candidate, Packing, pack

__all__ = ["Candidate", "Packing", "pack"]
