"""The drain proof: what happens to every pod when its node is emptied, in the order of the plan."""

from rollout.planning.proof.prove import DrainProof, PodProof, never_empties, prove

__all__ = ["DrainProof", "PodProof", "never_empties", "prove"]
